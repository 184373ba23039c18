//! `trainer evaluate`: how good a model is on labelled reviews.

use std::path::{Path, PathBuf};

use super::corpus::{Corpus, Review};
use super::fit::Example;
use super::metrics::Metrics;
use super::record::TrainingRecord;
use super::run::{digest_of_reviews, examples, measure};
use super::split::Sides;
use super::table::{Format, Table};
use crate::error::{Error, Result};
use crate::predict::{Predictor, encode_tail};

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

impl Part {
    /// The part's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Train => "train",
            Self::Final => "final",
            Self::Test => "test",
        }
    }
}

/// What to evaluate, on what.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The model directory.
    pub model: PathBuf,
    /// The data set (folder or `.tar.gz`), or a file of `text,label` (`.jsonl`, `.csv`).
    pub data: PathBuf,
    /// Which reviews of the data set; not used for a file.
    pub part: Part,
}

/// Figures of a model, as `evaluation` asks.
///
/// # Errors
/// Those of reading model and data; [`Error::Data`] where the data set has no such part, or is not the one that the
/// model was trained on and its held-out reviews are asked for.
pub fn evaluate(evaluation: &Evaluation) -> Result<Metrics> {
    let predictor = Predictor::load(&evaluation.model)?;
    let examples = match Format::of_path(&evaluation.data).filter(|_| evaluation.data.is_file()) {
        Some(format) => from_table(&predictor, &evaluation.data, format)?,
        None => from_corpus(&predictor, evaluation)?,
    };
    Ok(measure(&predictor, &examples))
}

fn from_table(predictor: &Predictor, path: &Path, format: Format) -> Result<Vec<Example>> {
    let mut examples = Vec::new();
    for (at, row) in Table::open(path, format)?.enumerate() {
        let row = row?;
        let target =
            row.target.ok_or_else(|| Error::invalid(path, format!("review {} has no label", at + 1)))?;
        let ids = encode_tail(&row.text, predictor.config(), predictor.vocabulary());
        examples.push(Example { ids, target, weight: 1.0 });
    }
    if examples.is_empty() {
        return Err(Error::invalid(path, "no review"));
    }
    Ok(examples)
}

fn from_corpus(predictor: &Predictor, evaluation: &Evaluation) -> Result<Vec<Example>> {
    let corpus = Corpus::read(&evaluation.data, false)?;
    let reviews: Vec<&Review> = match evaluation.part {
        Part::Test if corpus.test.is_empty() => {
            let reason = "has no test half; the full public release has one (trainer evaluate --download)";
            return Err(Error::Data(format!("{} {reason}", evaluation.data.display())));
        }
        Part::Test => corpus.test.iter().collect(),
        part => {
            let record = TrainingRecord::load(&evaluation.model)?.ok_or_else(|| {
                let reason = "it has no training.json, so nobody knows which reviews were held out";
                Error::Data(format!("{}: {reason}; --on test, or a file, works", evaluation.model.display()))
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
    Ok(examples(&reviews, predictor.config(), predictor.vocabulary()))
}
