//! `trainer evaluate`: how good a model is on labelled reviews.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::train::data::corpus::{Corpus, Review};
use crate::train::data::digest::digest_of_reviews;
use crate::train::data::labelled_file::{Format, Table};
use crate::train::data::split::Sides;
use crate::train::metrics::Metrics;
use crate::train::report::record::TrainingRecord;
use crate::train::score::mean_logits;

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

/// What to evaluate, on what.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The model directories; the mean logit of several is what counts, as it is what a student learns from.
    pub models: Vec<PathBuf>,
    /// The data set (folder or `.tar.gz`), or a file of `text,label` (`.jsonl`, `.csv`).
    pub data: PathBuf,
    /// Which reviews of the data set; not used for a file.
    pub part: Part,
}

/// A text with its label, 0 or 1.
type Labelled = (String, f32);

/// Figures of the models together, as `evaluation` asks.
///
/// # Errors
/// Those of reading models and data; [`Error::Data`] where no model is named, the data set has no such part, or is not
/// the one that a model was trained on and its held-out reviews are asked for, or models hold out different ones.
pub fn evaluate(evaluation: &Evaluation) -> Result<Metrics> {
    let first = evaluation.models.first().ok_or_else(|| Error::Data("no model to evaluate".into()))?;
    let labelled = match Format::of_path(&evaluation.data).filter(|_| evaluation.data.is_file()) {
        Some(format) => from_table(&evaluation.data, format)?,
        None => {
            let corpus = Corpus::read(&evaluation.data, false)?;
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
    };
    let texts: Vec<&str> = labelled.iter().map(|(text, _)| text.as_str()).collect();
    let targets: Vec<f32> = labelled.iter().map(|(_, target)| *target).collect();
    Ok(Metrics::of(&mean_logits(&evaluation.models, &texts)?, &targets))
}

fn from_table(path: &Path, format: Format) -> Result<Vec<Labelled>> {
    let mut labelled = Vec::new();
    for (at, row) in Table::open(path, format)?.enumerate() {
        let row = row?;
        let target =
            row.target.ok_or_else(|| Error::invalid(path, format!("review {} has no label", at + 1)))?;
        labelled.push((row.text, target));
    }
    match labelled.is_empty() {
        true => Err(Error::invalid(path, "no review")),
        false => Ok(labelled),
    }
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
                Error::Data(format!("{}: {reason}; --on test, or a file, works", model.display()))
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
    let labelled = reviews.iter().filter_map(|review| Some((review.text.clone(), review.class.target()?)));
    Ok(labelled.collect())
}
