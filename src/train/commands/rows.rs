//! The labelled reviews that a model is measured on: of the public release as it was trained, or of a table.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::predict::{Predictor, Truncate};
use crate::train::data::corpus::{Corpus, Review};
use crate::train::data::digest::digest_of_reviews;
use crate::train::data::labelled::{self, DataSource, LeftOut, TableArgs};
use crate::train::data::places::Place;
use crate::train::data::split::DataSplit;
use crate::train::report::record::TrainingRecord;

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

/// What to measure, on what.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The model directories; the mean logit of several is what counts, as it is what a student learns from.
    pub models: Vec<PathBuf>,
    /// The public release (folder or `.tar.gz`), a table of texts and labels, or a folder of one class a sub-folder.
    pub data: PathBuf,
    /// How a table is read.
    pub table: TableArgs,
    /// Which reviews of the public release, those held out where nothing is said; of a table all rows are measured.
    pub part: Option<Part>,
}

/// A text with its label.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredRow {
    /// The text.
    pub text: String,
    /// 1 for positive, 0 for negative.
    pub target: f32,
    /// Where it stands: in a table its line, in the release its number.
    pub place: Place,
    /// What the label was read from: the stars of a review of the release, or the label as it stands in a table.
    pub said: String,
}

/// The rows that `evaluation` asks for and that hold a word, with what was taken for what, and what was left out, a line each.
///
/// # Errors
/// Those of reading the data; [`Error::Data`] where no model is named, the data set has no such part, or is not the one
/// that a model was trained on and its held-out reviews are asked for, or models hold out different ones.
pub fn rows(evaluation: &Evaluation, models: &[Predictor]) -> Result<(Vec<MeasuredRow>, Vec<String>)> {
    let first = evaluation.models.first().ok_or_else(|| Error::Data("no model to evaluate".into()))?;
    let source = DataSource::of(&evaluation.data, &evaluation.table.read)?;
    let mut notes = Vec::new();
    let mut rows: Vec<MeasuredRow> = match &source {
        DataSource::Release(path) => {
            let corpus = Corpus::read(path, false)?;
            let rows = from_corpus(&corpus, evaluation, first)?;
            for model in &evaluation.models[1..] {
                if from_corpus(&corpus, evaluation, model)? != rows {
                    let reason = "it was trained with other reviews held out";
                    return Err(Error::Data(format!(
                        "{}: {reason} than {}",
                        model.display(),
                        first.display()
                    )));
                }
            }
            rows
        }
        _ if evaluation.part.is_some() => {
            let reason = "names reviews of the public release; of a table or a folder of classes all rows are measured: \
                          leave it out";
            return Err(Error::setting("on", reason));
        }
        _ => {
            let mut read = labelled::read(&source, &evaluation.table, None)?;
            notes.append(&mut read.notes);
            let rows = read.rows.into_iter();
            let measured = |row: labelled::LabelledRow| {
                let (target, said) = (row.target?, row.label.unwrap_or_default());
                Some(MeasuredRow { text: row.text, target, place: row.place, said })
            };
            rows.filter_map(measured).collect()
        }
    };
    let mut wordless = LeftOut::default();
    rows.retain(|row| {
        let words = models.iter().all(|model| model.encode(&row.text, Truncate::Tail).is_ok());
        if !words {
            wordless.note(&row.place, "");
        }
        words
    });
    notes.extend(wordless.summary("left out, without a word"));
    if rows.is_empty() {
        return Err(Error::invalid(&evaluation.data, "no row has both a text and a label"));
    }
    Ok((rows, notes))
}

/// The reviews of `corpus` that `evaluation` asks for, as `model` was trained.
fn from_corpus(corpus: &Corpus, evaluation: &Evaluation, model: &Path) -> Result<Vec<MeasuredRow>> {
    let reviews: Vec<&Review> = match evaluation.part.unwrap_or(Part::Validation) {
        Part::Test if corpus.test.is_empty() => {
            let reason = "has no test half; the full public release has one (trainer evaluate --download)";
            return Err(Error::Data(format!("{} {reason}", evaluation.data.display())));
        }
        Part::Test => corpus.test.iter().collect(),
        part => {
            let split = split(corpus, model)?;
            let at = match part {
                Part::Train => &split.train,
                Part::Final => &split.final_test,
                _ => &split.validation,
            };
            at.iter().map(|&at| &corpus.train[at]).collect()
        }
    };
    if reviews.is_empty() {
        return Err(Error::Data("the model was trained without such reviews".into()));
    }
    let measured = |review: &&Review| {
        let (text, target) = (review.text.clone(), review.class.target()?);
        let place = Place { file: Some(format!("number {}", review.id).into()), line: 0 };
        Some(MeasuredRow { text, target, place, said: review.rating.to_string() })
    };
    Ok(reviews.iter().filter_map(measured).collect())
}

/// The reviews of `corpus` that were held out when `model` was trained.
///
/// # Errors
/// [`Error::Data`] where the model does not say which, or these are not the data that it was trained on.
pub fn held_out<'c>(corpus: &'c Corpus, model: &Path) -> Result<Vec<&'c Review>> {
    Ok(split(corpus, model)?.validation.into_iter().map(|at| &corpus.train[at]).collect())
}

/// The split of the reviews of `corpus` when `model` was trained.
fn split(corpus: &Corpus, model: &Path) -> Result<DataSplit> {
    let record = TrainingRecord::load(model)?.ok_or_else(|| {
        let reason = "it has no training.json, so nobody knows which reviews were held out";
        Error::Data(format!("{}: {reason}; --on test, or a table, works", model.display()))
    })?;
    let split = DataSplit::of(&corpus.train, &record.settings)?;
    let held_out: Vec<&Review> = split.validation.iter().map(|&at| &corpus.train[at]).collect();
    if digest_of_reviews(&held_out) != record.data.validation_sha256 {
        let reason = "was not trained on these data: other reviews would be held out";
        return Err(Error::Data(format!("{} {reason}", model.display())));
    }
    Ok(split)
}
