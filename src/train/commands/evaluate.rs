//! `trainer evaluate`: how good a model is on labelled reviews.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::predict::{Predictor, Truncate};
use crate::train::data::corpus::{Corpus, Review};
use crate::train::data::digest::digest_of_reviews;
use crate::train::data::labelled::{self, DataSource, LeftOut, TableArgs};
use crate::train::data::split::Sides;
use crate::train::metrics::{Metrics, best_threshold};
use crate::train::report::record::TrainingRecord;
use crate::train::score::mean_logits_of;

/// Which reviews of a data set to evaluate on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Those held out when the model was trained.
    Validation,
    /// Those it learnt from.
    Train,
    /// Those set aside for one last look (`final_share`).
    Final,
    /// The data set's `test/` half.
    Test,
}

/// Reviews from which on a threshold that would be better is no chance.
const ENOUGH: usize = 50;

/// What to evaluate, on what.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The model directories; the mean logit of several is what counts, as it is what a student learns from.
    pub models: Vec<PathBuf>,
    /// The public release (folder or `.tar.gz`), a table of texts and labels, or a folder of one class a sub-folder.
    pub data: PathBuf,
    /// How a table is read.
    pub table: TableArgs,
    /// Which reviews of the public release; not used for a table.
    pub part: Part,
}

/// A text with its label, 0 or 1, and its place.
type Labelled = (String, f32, u64);

/// Figures of the models together, as `evaluation` asks; what was taken for what, and what was left out, goes to `log`.
///
/// # Errors
/// Those of reading models and data; [`Error::Data`] where no model is named, the data set has no such part, or is not
/// the one that a model was trained on and its held-out reviews are asked for, or models hold out different ones.
pub fn evaluate(evaluation: &Evaluation, log: &mut dyn Write) -> Result<Metrics> {
    let first = evaluation.models.first().ok_or_else(|| Error::Data("no model to evaluate".into()))?;
    let source = DataSource::of(&evaluation.data, &evaluation.table.read)?;
    let mut note = |text: &str| {
        // A closed log is no reason to fail.
        let _ = writeln!(log, "{text}");
    };
    let mut labelled = match &source {
        DataSource::Release(path) => {
            let corpus = Corpus::read(path, false)?;
            let labelled = from_corpus(&corpus, evaluation, first)?;
            for model in &evaluation.models[1..] {
                if from_corpus(&corpus, evaluation, model)? != labelled {
                    let reason = "it was trained with other reviews held out";
                    return Err(Error::Data(format!(
                        "{}: {reason} than {}",
                        model.display(),
                        first.display()
                    )));
                }
            }
            labelled
        }
        _ => {
            let read = labelled::read(&source, &evaluation.table, None)?;
            read.notes.iter().for_each(|text| note(text));
            let rows = read.rows.into_iter();
            rows.filter_map(|row| Some((row.text, row.target?, row.line))).collect()
        }
    };
    let models = evaluation.models.iter().map(Predictor::load).collect::<Result<Vec<_>>>()?;
    let mut wordless = LeftOut::default();
    labelled.retain(|(text, _, line)| {
        let words = models.iter().all(|model| model.encode(text, Truncate::Tail).is_ok());
        if !words {
            wordless.note(*line, "");
        }
        words
    });
    wordless.summary("left out, without a word").iter().for_each(|text| note(text));
    if labelled.is_empty() {
        return Err(Error::invalid(&evaluation.data, "no row has both a text and a label"));
    }
    let texts: Vec<&str> = labelled.iter().map(|(text, ..)| text.as_str()).collect();
    let targets: Vec<f32> = labelled.iter().map(|(_, target, _)| *target).collect();
    let logits = mean_logits_of(&models, &texts);
    let metrics = Metrics::of(&logits, &targets);
    let (threshold, accuracy) = best_threshold(&logits, &targets);
    if metrics.reviews >= ENOUGH && accuracy - metrics.accuracy > 0.05 {
        note(&format!(
            "the order is better than the labels: parted at a probability of {threshold:.3} in place of .5, {accuracy:.4} \
             would be right; `trainer calibrate` moves it there"
        ));
    }
    Ok(metrics)
}

/// The reviews of `corpus` that `evaluation` asks for, as `model` was trained.
fn from_corpus(corpus: &Corpus, evaluation: &Evaluation, model: &Path) -> Result<Vec<Labelled>> {
    let reviews: Vec<&Review> = match evaluation.part {
        Part::Test if corpus.test.is_empty() => {
            let reason = "has no test half; the full public release has one (trainer evaluate --download)";
            return Err(Error::Data(format!("{} {reason}", evaluation.data.display())));
        }
        Part::Test => corpus.test.iter().collect(),
        part => {
            let record = TrainingRecord::load(model)?.ok_or_else(|| {
                let reason = "it has no training.json, so nobody knows which reviews were held out";
                Error::Data(format!("{}: {reason}; --on test, or a table, works", model.display()))
            })?;
            let sides = Sides::of(&corpus.train, &record.settings)?;
            let pick = |at: &[usize]| at.iter().map(|&at| &corpus.train[at]).collect::<Vec<_>>();
            let held_out = pick(&sides.validation);
            if digest_of_reviews(&held_out) != record.data.validation_sha256 {
                let reason =
                    "is not the data set that the model was trained on: other reviews would be held out";
                return Err(Error::Data(format!("{} {reason}", evaluation.data.display())));
            }
            match part {
                Part::Train => pick(&sides.train),
                Part::Final => pick(&sides.last),
                _ => held_out,
            }
        }
    };
    if reviews.is_empty() {
        return Err(Error::Data("the model was trained without such reviews".into()));
    }
    let labelled = reviews
        .iter()
        .filter_map(|review| Some((review.text.clone(), review.class.target()?, u64::from(review.id))));
    Ok(labelled.collect())
}
