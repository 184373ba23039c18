//! `trainer report`: one page of HTML that shows how good a model is on labelled reviews, and where it errs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::model::{load_directory, unpack_ngram};
use crate::predict::{Prediction, Predictor, Truncate, WordWeight};
use crate::train::commands::rows::{Evaluation, MeasuredRow, Part, rows};
use crate::train::data::labelled::DataSource;
use crate::train::data::minimal_pairs::{self, Behaviour};
use crate::train::data::output::{Output, check_file_outside, check_ours};
use crate::train::data::own::file_name;
use crate::train::data::reader::Input;
use crate::train::metrics::Metrics;
use crate::train::report::charts::Group;
use crate::train::report::page::{Influence, MARK, Mistake, Report};
use crate::train::report::record::TrainingRecord;

/// Reviews whose words are looked at, at most.
const LOOKED_AT: usize = 400;
/// Reviews that a word must stand in to be named.
const FEWEST: usize = 4;
/// Words of either side that are named.
const NAMED: usize = 15;
/// Tokens up to which a review counts as so long, with the names of these lengths.
const LENGTHS: [(usize, &str); 7] = [
    (10, "≤ 10"),
    (25, "–25"),
    (50, "–50"),
    (100, "–100"),
    (200, "–200"),
    (400, "–400"),
    (usize::MAX, "more"),
];
/// Reviews of a length from which on it is shown.
const FEWEST_OF_A_LENGTH: usize = 10;
/// Kinds of labels that are shown, at most.
const KINDS: usize = 10;

/// What to report, and where.
#[derive(Clone, Debug)]
pub struct ReportJob {
    /// The model and the reviews.
    pub evaluation: Evaluation,
    /// The file to write.
    pub output: PathBuf,
    /// Whether another file may be replaced.
    pub force: bool,
    /// Mistakes that are listed.
    pub mistakes: usize,
    /// The command as it was typed.
    pub command: String,
}

/// Measures the model and writes the page; what was taken for what goes to `log`.
///
/// # Errors
/// Those of [`rows`], of reading the model and of writing; [`Error::Invalid`] where the output is the data, or a file that
/// is no report and is not to be replaced.
pub fn report(job: &ReportJob, out: &mut (dyn Write + Send), log: &mut dyn Write) -> Result<()> {
    check_file_outside(&job.evaluation.data, &job.output)?;
    check_output(&job.output, job.force)?;
    let model = &job.evaluation.models[0];
    let files = load_directory(model)?;
    let record = TrainingRecord::load(model)?;
    let models = [Predictor::new(files.clone())];
    let (rows, notes) = rows(&job.evaluation, &models)?;
    // A closed log is no reason to fail.
    notes.iter().for_each(|text| drop(writeln!(log, "{text}")));
    let read = Input::of(Some(&job.evaluation.data)).map_or_else(|_| Vec::new(), |input| input.ids());
    let output = Output::open(Some(&job.output), &read, out)?;
    let [predictor] = models;

    let predictions = predict_all(&predictor, &rows)?;
    let logits: Vec<f32> = predictions.iter().map(|said| said.logit).collect();
    let targets: Vec<f32> = rows.iter().map(|row| row.target).collect();
    let kinds = by_kind(&rows, &predictions);
    let mut grams: Vec<Influence> = Vec::new();
    if let Some(table) = &files.ngrams {
        let name = |key| {
            let words = unpack_ngram(key).into_iter().map(|id| files.vocabulary.word(id).unwrap_or("?"));
            words.collect::<Vec<_>>().join(" ")
        };
        let of = |gram: crate::model::Ngram| Influence {
            name: name(gram.key),
            weight: gram.ratio * gram.weight,
            reviews: None,
        };
        grams = strongest(table.iter().map(of).collect());
    }
    let (words, looked_at) = words(&predictor, &rows);
    let page = Report {
        model: predictor.name(),
        data: &what(&job.evaluation),
        record: record.as_ref(),
        metrics: &Metrics::of(&logits, &targets),
        logits: &logits,
        targets: &targets,
        lengths: &by_length(&rows, &predictions),
        kinds: kinds.as_ref().map(|(name, groups)| (*name, groups.as_slice())),
        mistakes: &mistakes(&predictor, &rows, &predictions, job.mistakes),
        words: (&words, looked_at),
        grams: &grams,
        behaviour: &behaviour(&predictor, record.as_ref())?,
        command: &job.command,
    };
    let mut output = output;
    output.write_all(page.html().as_bytes()).map_err(Error::io(&job.output))?;
    output.finish()?;
    let _ = writeln!(log, "saved {}", job.output.display());
    Ok(())
}

/// Refuses an output that is there and was not written by this command.
fn check_output(path: &Path, force: bool) -> Result<()> {
    if force {
        return Ok(());
    }
    check_ours(path, |file, _| {
        let mut start = Vec::new();
        file.take(MARK.len() as u64).read_to_end(&mut start)?;
        Ok((start != MARK.as_bytes()).then(|| " and no report".into()))
    })
}

/// The data in words.
fn what(evaluation: &Evaluation) -> String {
    let name = file_name(&evaluation.data);
    if !matches!(DataSource::of(&evaluation.data, &evaluation.table.read), Ok(DataSource::Release(_))) {
        return name;
    }
    match evaluation.part.unwrap_or(Part::Validation) {
        Part::Validation => format!("{name}, held out when it was trained"),
        Part::Train => format!("{name}, of those that it learnt from"),
        Part::Final => format!("{name}, set aside for one last look"),
        Part::Test => format!("the test half of {name}"),
    }
}

fn predict_all(predictor: &Predictor, rows: &[MeasuredRow]) -> Result<Vec<Prediction>> {
    let chunks: Vec<Vec<Prediction>> = rows
        .par_chunks(64)
        .map(|chunk| {
            let encodings = chunk.iter().map(|row| predictor.encode(&row.text, Truncate::Tail));
            Ok(predictor.run(&encodings.collect::<Result<Vec<_>>>()?))
        })
        .collect::<Result<_>>()?;
    Ok(chunks.concat())
}

fn is_right(row: &MeasuredRow, said: &Prediction) -> bool {
    (said.logit >= 0.0) == (row.target >= 0.5)
}

fn count(groups: &mut Group, row: &MeasuredRow, said: &Prediction) {
    groups.all += 1;
    groups.right += usize::from(is_right(row, said));
}

fn by_length(rows: &[MeasuredRow], predictions: &[Prediction]) -> Vec<Group> {
    let mut groups = LENGTHS.map(|(_, name)| Group { name: name.into(), right: 0, all: 0 });
    for (row, said) in rows.iter().zip(predictions) {
        let tokens = said.tokens + said.dropped_tokens;
        let at = LENGTHS.iter().position(|(longest, _)| tokens <= *longest).expect("the last takes all");
        count(&mut groups[at], row, said);
    }
    // What few reviews say would stretch the picture and tell nothing.
    let enough = FEWEST_OF_A_LENGTH.min(rows.len().div_ceil(LENGTHS.len()));
    groups.into_iter().filter(|group| group.all >= enough).collect()
}

/// Accuracy by stars, or whatever else the labels were read from; `None` where they were the two labels themselves.
fn by_kind(rows: &[MeasuredRow], predictions: &[Prediction]) -> Option<(&'static str, Vec<Group>)> {
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (row, said) in rows.iter().zip(predictions) {
        let name = row.said.trim();
        let group = groups.entry(name).or_insert_with(|| Group { name: name.into(), right: 0, all: 0 });
        count(group, row, said);
    }
    if groups.len() < 3 || groups.len() > KINDS || groups.keys().any(|name| name.is_empty()) {
        return None;
    }
    let number = |group: &Group| group.name.parse::<f64>().ok();
    let numbers = groups.values().all(|group| number(group).is_some());
    let mut groups: Vec<Group> = groups.into_values().collect();
    if numbers {
        groups.sort_by(|a, b| number(a).partial_cmp(&number(b)).expect("numbers"));
    }
    Some((if numbers { "stars" } else { "label" }, groups))
}

fn mistakes(
    predictor: &Predictor,
    rows: &[MeasuredRow],
    predictions: &[Prediction],
    wanted: usize,
) -> Vec<Mistake> {
    let mut wrong: Vec<usize> =
        (0..rows.len()).filter(|&at| !is_right(&rows[at], &predictions[at])).collect();
    wrong.sort_by(|&a, &b| predictions[b].logit.abs().total_cmp(&predictions[a].logit.abs()).then(a.cmp(&b)));
    wrong.truncate(wanted);
    let mistake = |at: usize| Mistake {
        text: rows[at].text.clone(),
        place: rows[at].place.to_string(),
        said: rows[at].said.clone(),
        prediction: predictions[at].clone(),
        words: predictor.explain(&rows[at].text, Truncate::Tail).unwrap_or_default(),
    };
    wrong.into_par_iter().map(mistake).collect()
}

/// What words add to the logit in the mean, in reviews that lie evenly among all; and how many those are.
fn words(predictor: &Predictor, rows: &[MeasuredRow]) -> (Vec<Influence>, usize) {
    let step = rows.len().div_ceil(LOOKED_AT).max(1);
    let looked_at: Vec<&MeasuredRow> = rows.iter().step_by(step).collect();
    let explained: Vec<Vec<WordWeight>> = looked_at
        .par_iter()
        .map(|row| predictor.explain(&row.text, Truncate::Tail).unwrap_or_default())
        .collect();
    // Sum of weights, number of words, number of reviews.
    let mut sums: BTreeMap<String, (f32, usize, usize)> = BTreeMap::new();
    for (row, words) in looked_at.iter().zip(explained) {
        let mut here = BTreeSet::new();
        for word in words {
            let name = row.text[word.range].to_lowercase();
            if !name.contains(char::is_alphanumeric) {
                continue;
            }
            let sum = sums.entry(name.clone()).or_default();
            (sum.0, sum.1) = (sum.0 + word.weight, sum.1 + 1);
            if here.insert(name) {
                sum.2 += 1;
            }
        }
    }
    let fewest = FEWEST.min(1 + looked_at.len() / 25);
    let named = sums.into_iter().filter(|(_, (.., reviews))| *reviews >= fewest);
    let influence = |(name, (sum, words, reviews)): (String, (f32, usize, usize))| Influence {
        name,
        weight: sum / words as f32,
        reviews: Some(reviews),
    };
    (strongest(named.map(influence).collect()), looked_at.len())
}

/// The strongest of either side, the strongest first.
fn strongest(mut all: Vec<Influence>) -> Vec<Influence> {
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight).then_with(|| a.name.cmp(&b.name)));
    let positive = all.iter().take_while(|one| one.weight > 0.0).count().min(NAMED);
    let negative = all.iter().rev().take_while(|one| one.weight < 0.0).count().min(NAMED);
    let mut last: Vec<Influence> = all.split_off(all.len() - negative);
    last.reverse();
    all.truncate(positive);
    all.extend(last);
    all
}

/// The minimal pairs, which are English and about films: for models that learnt from such.
fn behaviour(predictor: &Predictor, record: Option<&TrainingRecord>) -> Result<Vec<Behaviour>> {
    let about_films = record.is_some_and(|record| !record.data.own || record.data.init.is_some());
    match about_films {
        true => {
            Ok(minimal_pairs::behaviour(&minimal_pairs::judge(predictor, minimal_pairs::load_pairs(None)?)?))
        }
        false => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn influence(name: &str, weight: f32) -> Influence {
        Influence { name: name.into(), weight, reviews: None }
    }

    #[test]
    fn the_strongest_of_either_side_come_first() {
        let all = vec![influence("a", -1.0), influence("b", 2.0), influence("c", 0.0), influence("d", 1.0)];
        let names: Vec<String> = strongest(all).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["b", "d", "a"]);
        let many = (0..50).map(|at| influence("x", at as f32 - 24.5)).collect();
        assert_eq!(strongest(many).len(), 2 * NAMED);
    }

    #[test]
    fn another_file_is_not_replaced_unless_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        assert!(check_output(&path, false).is_ok());
        std::fs::write(&path, "<!doctype html>\n<p>mine").unwrap();
        assert!(check_output(&path, false).unwrap_err().to_string().contains("--force"));
        assert!(check_output(&path, true).is_ok());
        std::fs::write(&path, format!("{MARK}<p>a report")).unwrap();
        assert!(check_output(&path, false).is_ok());
    }
}
