//! `trainer calibrate`: how sure a model sounds on data of one's own; temperature and bias are fitted, or the scale by
//! length; weights stay.

use std::io::Write;
use std::path::PathBuf;

use half::f16;
use rand::seq::SliceRandom;

use crate::error::{Error, Result};
use crate::model::{
    BASELINE_FILE, DirectoryKind, GOLDEN_FILE, ModelFiles, NGRAMS_FILE, Precision, SUBJECTIVITY_BIAS,
    SUBJECTIVITY_WEIGHT, ShortScale, TRAINING_FILE, load_directory, save_directory,
};
use crate::predict::{Predictor, Truncate};
use crate::train::calibration::scale::{self, Fitted, Told, neutral};
use crate::train::calibration::subjectivity::Subjectivity;
use crate::train::data::labelled::{self, DataSource, TableArgs};
use crate::train::data::minimal_pairs::{behaviour, judge, load_pairs};
use crate::train::data::own::file_name;
use crate::train::metrics::{Metrics, ece_by_chance, surest_first};
use crate::train::ngrams::logistic::platt;
use crate::train::random::{Stream, stream_rng};
use crate::train::report::record::{Calibration, OtherHalf, TrainingRecord};
use crate::train::report::{card, companions, curve, reliability};
use crate::train::score::{encode_all, logits, mean_logits_of};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, print};

/// Rows under which two numbers cannot be fitted.
const FEWEST: usize = 20;

/// What to calibrate, on what.
#[derive(Clone, Debug)]
pub struct CalibrateJob {
    /// The model directory.
    pub model: PathBuf,
    /// A table of one's own, or a folder of classes.
    pub data: DataSource,
    /// How it is read.
    pub table: TableArgs,
    /// The wanted share of right answers among those that are given; the others abstain.
    pub precision: Option<f64>,
    /// Whether the scale by length is fitted in place of temperature and bias.
    pub by_length: bool,
    /// The model directory to write.
    pub output: OutputArgs,
    /// The command as it was typed, for the record.
    pub command: String,
}

/// Fits temperature and bias, or the scale by length, to labelled rows, and finds from which score on answers are as often right as is wanted;
/// writes the model with them, new golden reviews and a new baseline.
///
/// # Errors
/// As [`Stage::claim`], [`load_directory`] and [`labelled::read`]; [`Error::Data`] where there are too few rows, one class
/// alone, or the model tells nothing about them.
pub fn calibrate(job: &CalibrateJob, out: &mut (dyn Write + Send)) -> Result<()> {
    job.data.check_holds_not(&job.output.output)?;
    let stage = Stage::claim(&job.output, DirectoryKind::Model, &ResumeArgs::default())?;
    if matches!(job.data, DataSource::Release(_)) {
        return Err(Error::Data(
            "`calibrate` takes a table of texts and labels, or a folder of classes".into(),
        ));
    }
    let mut files = load_directory(&job.model)?;
    let given = [Predictor::new(files.clone())];
    let read = labelled::read(&job.data, &job.table, None)?;
    read.notes.iter().try_for_each(|note| print(out, &format!("{note}\n")))?;
    let mut rows = read.rows;
    rows.retain(|row| row.target.is_some() && given[0].encode(&row.text, Truncate::Tail).is_ok());
    let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
    let targets: Vec<f32> = rows.iter().filter_map(|row| row.target).collect();
    let positives = targets.iter().filter(|target| **target >= 0.5).count();
    if rows.len() < FEWEST || positives == 0 || positives == rows.len() {
        let reason =
            format!("{} labelled rows with a word, {positives} positive: too few of one kind", rows.len());
        return Err(Error::Data(reason));
    }
    let told = mean_logits_of(&given, &texts);
    let mut other_half = None;
    if job.by_length {
        other_half = Some(fit_short(&mut files, &texts, &targets)?);
    } else {
        let (factor, shift) = platt(&told, &targets);
        // Rising certainty must mean rising odds.
        if !(factor.is_finite() && factor > 1e-3 && shift.is_finite()) {
            return Err(Error::Data("the model's probabilities tell nothing about these labels".into()));
        }
        files.config.temperature = (files.config.temperature / factor).clamp(1e-3, 1e3);
        files.config.bias = files.config.bias * factor + shift;
    }
    let short = Some(files.config.short_texts).filter(|short| !short.is_nothing());

    let after = Predictor::new(files.clone());
    let models = [after];
    let fitted = mean_logits_of(&models, &texts);
    let (old, new) = (Metrics::of(&told, &targets), Metrics::of(&fitted, &targets));
    let abstain = job.precision.map(|wanted| abstain_below(&fitted, &targets, wanted));
    let mut text = format!(
        "{} rows, {positives} positive\ntemperature {:.3}, bias {:+.3}{}\nbefore: loss {:.4} accuracy {:.4} calibration error \
         {:.4}\nafter:  loss {:.4} accuracy {:.4} calibration error {:.4}\n",
        rows.len(),
        files.config.temperature,
        files.config.bias,
        short.map_or(String::new(), |short| {
            format!(
                "; with s = exp(-n / {}) for n tokens and the probability u that a text holds an opinion, {short}",
                short.tokens
            )
        }),
        old.loss,
        old.accuracy,
        old.ece,
        new.loss,
        new.accuracy,
        new.ece
    );
    if let Some(OtherHalf { ece, ece_by_chance }) = other_half {
        text += &format!(
            "each half told by a scale fitted to the other: calibration error {ece:.4} (by chance {ece_by_chance:.4})\n"
        );
    }
    match (abstain, job.precision) {
        (Some(Some((score, share))), Some(wanted)) => {
            text += &format!(
                "answers of a score from {score} on are right in {wanted} of all cases; {:.1} % of the rows have one \
                 (server --abstain {score})\n",
                100.0 * share
            );
        }
        (Some(None), Some(wanted)) => text += &format!("no score is right in {wanted} of all cases\n"),
        _ => {}
    }
    print(out, &text)?;

    let calibration = Calibration {
        data: match &job.data {
            DataSource::Release(path) | DataSource::Folders(path) | DataSource::Table(path) => {
                file_name(path)
            }
        },
        command: job.command.clone(),
        rows: rows.len(),
        positives,
        temperature: files.config.temperature,
        bias: files.config.bias,
        short,
        other_half,
        abstain: abstain.flatten().map(|(score, _)| score),
    };
    save(&stage, job, files, &models[0], calibration, new, (&fitted, &targets), &texts)?;
    stage.end(true, out)
}

/// The seed that parts the rows in halves.
const HALVES_SEED: u64 = 1;

/// Fits the scale by length of `files` to the rows, with what tells texts that hold an opinion; how it does on each half of
/// them when fitted to the other.
fn fit_short(files: &mut ModelFiles, texts: &[&str], targets: &[f32]) -> Result<OtherHalf> {
    // A scale that the model has is fitted anew, from what it says without one.
    files.config.short_texts = ShortScale::default();
    files.tensors.retain(|name, _| ![SUBJECTIVITY_WEIGHT, SUBJECTIVITY_BIAS].contains(&name.as_str()));
    let plain = Predictor::new(files.clone());
    let subjectivity = Subjectivity::learn(&plain)?;
    let ids = encode_all(texts, &files.config, &files.vocabulary);
    let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    let bias = files.config.bias;
    let told = logits(&plain, &ids).into_iter().zip(subjectivity.logits(&plain, &ids));
    let rows: Vec<Told> = told
        .zip(ids.iter().zip(targets))
        .map(|((logit, opinion), (ids, &target))| Told {
            logit: logit - bias,
            ids: ids.len(),
            opinion,
            target,
        })
        .collect();
    let neutral = neutral(&plain, &subjectivity)?;

    let mut shuffled = rows.clone();
    shuffled.shuffle(&mut stream_rng(HALVES_SEED, Stream::Split, 0));
    let (one, other) = shuffled.split_at(shuffled.len() / 2);
    let crossed = |fitted_to: &[Told], told: &[Told]| -> Vec<f32> {
        let fitted = scale::fit(fitted_to, &neutral, bias);
        told.iter().map(|row| fitted.apply(row) + bias).collect()
    };
    let logits = [crossed(other, one), crossed(one, other)].concat();
    let targets: Vec<f32> = shuffled.iter().map(|row| row.target).collect();
    let other_half =
        OtherHalf { ece: Metrics::of(&logits, &targets).ece, ece_by_chance: ece_by_chance(&logits) };

    let Fitted { scale, slope, offset } = scale::fit(&rows, &neutral, bias);
    files.config.short_texts = scale;
    files.tensors.extend(subjectivity.tensors(slope, offset));
    Ok(other_half)
}

/// The score from which on answers are right in the share `wanted` of all cases, and the share of rows that have one.
fn abstain_below(logits: &[f32], targets: &[f32], wanted: f64) -> Option<(f64, f64)> {
    let rows = surest_first(logits, targets);
    let often_enough = |&at: &usize| rows[at].1 as f64 >= wanted * (at + 1) as f64;
    let last = (0..rows.len()).rev().find(often_enough)?;
    // Few digits, and none that leaves out the row itself, which a server may round otherwise.
    let score = (rows[last].0 * 1e6).floor() / 1e6;
    Some((score, (last + 1) as f64 / rows.len() as f64))
}

/// Writes the model with what was measured.
#[allow(clippy::too_many_arguments)]
fn save(
    stage: &Stage,
    job: &CalibrateJob,
    files: ModelFiles,
    predictor: &Predictor,
    calibration: Calibration,
    metrics: Metrics,
    (logits, targets): (&[f32], &[f32]),
    texts: &[&str],
) -> Result<()> {
    let name = file_name(stage.output());
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let owned: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    let golden = companions::golden(predictor)?;
    let mut extra = vec![
        (GOLDEN_FILE, json(serde_json::to_string_pretty(&golden))),
        (reliability::RELIABILITY_FILE, reliability::reliability(logits, targets).file().into_bytes()),
    ];
    if let Some(baseline) = companions::baseline(predictor, &owned) {
        extra.push((BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
    }
    if let Some(table) = &files.ngrams {
        extra.push((NGRAMS_FILE, table.to_bytes()));
    }
    // A model that was made elsewhere has no record to go on from.
    if let Some(mut record) = TrainingRecord::load(&job.model)? {
        record.results.insert(format!("{}, calibrated on it", calibration.data), metrics);
        record.calibration = Some(calibration);
        if !record.behaviour.is_empty() {
            record.behaviour = behaviour(&judge(predictor, load_pairs(None)?)?);
        }
        extra.push(("README.md", card::model_card(&name, &record).into_bytes()));
        extra.push((curve::CURVE_FILE, curve::curve(&record.epochs, record.kept_epoch).into_bytes()));
        extra.push(("history.csv", curve::history(&record.epochs).into_bytes()));
        extra.push((TRAINING_FILE, record.to_json().into_bytes()));
    }
    let half = files
        .tensors
        .values()
        .flat_map(|array| &array.data)
        .all(|value| f16::from_f32(*value).to_f32() == *value);
    let precision = if half { Precision::F16 } else { Precision::F32 };
    let (config, words, tensors) = (&files.config, &files.vocabulary, &files.tensors);
    save_directory(stage.output(), config, words, tensors, &files.metadata, precision, &extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::metrics::sigmoid;

    #[test]
    fn one_abstains_below_the_score_that_is_right_often_enough() {
        // The two surest are right, the third is wrong, the fourth right.
        let (logits, targets) = ([4.0, -3.0, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0]);
        let (score, share) = abstain_below(&logits, &targets, 0.9).unwrap();
        assert!((0.0..=1e-6).contains(&(sigmoid(3.0) - score)) && share == 0.5);
        assert_eq!(abstain_below(&logits, &targets, 0.75).unwrap().1, 1.0);
        assert_eq!(abstain_below(&[1.0], &[0.0], 0.9), None);
    }
}
