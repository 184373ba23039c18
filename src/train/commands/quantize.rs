//! `trainer quantize`: turns a model into one whose recurrent weights and hidden states have 8 bits, and says what that
//! changes.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{
    BASELINE_FILE, DirectoryKind, GOLDEN_FILE, ModelFiles, NGRAMS_FILE, Precision, RecurrentPrecision,
    TRAINING_FILE, load_directory, save_directory,
};
use crate::predict::Predictor;
use crate::train::data::corpus::{Corpus, Review};
use crate::train::data::digest::digest_of_reviews;
use crate::train::data::split::DataSplit;
use crate::train::metrics::Metrics;
use crate::train::report::record::TrainingRecord;
use crate::train::report::{companions, curve, reliability};
use crate::train::score::{encode_all, logits};
use crate::train::stage::{OutputArgs, ResumeArgs, Stage, print};

/// Name of the model card.
const CARD_FILE: &str = "README.md";

/// The heading under which the card says what the rounding changed.
const CARD_HEADING: &str = "## In 8 bits\n";

/// What to round, and on what to measure it.
#[derive(Clone, Debug)]
pub struct QuantizeJob {
    /// The model directory.
    pub model: PathBuf,
    /// The data set (folder or `.tar.gz`): its labelled training reviews are scored.
    pub data: PathBuf,
    /// The model directory to write.
    pub output: OutputArgs,
}

/// How the logits of some reviews differ between two precisions.
#[derive(Clone, Debug, PartialEq)]
struct Difference {
    reviews: usize,
    /// Reviews that get the other label.
    decisions: usize,
    mean: f64,
    largest: f64,
    exact: Metrics,
    rounded: Metrics,
}

impl Difference {
    fn of(exact: &[f32], rounded: &[f32], targets: &[f32]) -> Self {
        let gaps = || exact.iter().zip(rounded).map(|(a, b)| f64::from((a - b).abs()));
        Self {
            reviews: exact.len(),
            decisions: exact.iter().zip(rounded).filter(|(a, b)| (**a >= 0.0) != (**b >= 0.0)).count(),
            mean: gaps().sum::<f64>() / exact.len().max(1) as f64,
            largest: gaps().fold(0.0, f64::max),
            exact: Metrics::of(exact, targets),
            rounded: Metrics::of(rounded, targets),
        }
    }

    fn row(&self, name: &str) -> String {
        let share = 100.0 * self.decisions as f64 / self.reviews.max(1) as f64;
        format!(
            "| {name} | {} | {} ({share:.3} %) | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} | {:.4} |\n",
            self.reviews,
            self.decisions,
            self.mean,
            self.largest,
            self.exact.accuracy,
            self.rounded.accuracy,
            self.exact.ece,
            self.rounded.ece,
        )
    }
}

/// Rounds as `job` says, tells `out` what that changes, and writes the directory.
///
/// # Errors
/// Those of reading the model and the data and of writing; [`Error::Data`] for a model that has 8 bits already and for
/// data without a labelled review.
pub fn quantize(job: &QuantizeJob, out: &mut dyn Write) -> Result<()> {
    let stage = Stage::claim(&job.output, DirectoryKind::Model, &ResumeArgs::default())?;
    let files = load_directory(&job.model)?;
    if files.config.recurrent_precision == RecurrentPrecision::Int8 {
        return Err(Error::Data(format!("{}: it has 8 bits already", job.model.display())));
    }
    let mut rounded = files.clone();
    rounded.config.recurrent_precision = RecurrentPrecision::Int8;
    rounded.config.check().map_err(|reason| Error::invalid(job.model.join("config.json"), reason))?;
    let record = TrainingRecord::load(&job.model)?;

    let corpus = Corpus::read(&job.data, false)?;
    let labelled: Vec<&Review> =
        corpus.train.iter().filter(|review| review.class.target().is_some()).collect();
    if labelled.is_empty() {
        return Err(Error::Data(format!("{}: no labelled training review", job.data.display())));
    }
    let (exact, rounded_predictor) = (Predictor::new(files.clone()), Predictor::new(rounded.clone()));
    let scored = |reviews: &[&Review]| {
        let texts: Vec<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
        let ids = encode_all(&texts, exact.config(), exact.vocabulary());
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let targets: Vec<f32> = reviews.iter().filter_map(|review| review.class.target()).collect();
        (logits(&exact, &ids), logits(&rounded_predictor, &ids), targets)
    };
    let mut rows = String::new();
    let (before, after, targets) = scored(&labelled);
    rows += &Difference::of(&before, &after, &targets).row("all labelled training reviews");
    let held_out = record.as_ref().and_then(|record| held_out(&corpus, record)).unwrap_or_default();
    let mut record = record;
    if !held_out.is_empty() {
        let (before, after, targets) = scored(&held_out);
        let difference = Difference::of(&before, &after, &targets);
        rows += &difference.row("held out when it was trained");
        if let Some(record) = &mut record {
            record.results.insert("validation".into(), difference.rounded);
            record.results.insert("validation, before 8 bits".into(), difference.exact);
        }
    }
    if let Some(record) = &mut record {
        record.settings.recurrent_precision = RecurrentPrecision::Int8;
    }
    let section = section(&rows);
    print(out, &section)?;

    let seen = if held_out.is_empty() { &labelled } else { &held_out };
    let extra = companions(&job.model, &rounded, &rounded_predictor, record.as_ref(), seen, &section)?;
    let extra: Vec<(&str, Vec<u8>)> = extra.iter().map(|(name, bytes)| (*name, bytes.clone())).collect();
    let ModelFiles { config, vocabulary, tensors, metadata, .. } = &rounded;
    // As they were stored: numbers that 16 bits hold go back into 16 bits.
    let in_16_bits =
        tensors.values().flat_map(|array| &array.data).all(|&value| Precision::F16.round(value) == value);
    let precision = if in_16_bits { Precision::F16 } else { Precision::F32 };
    save_directory(stage.output(), config, vocabulary, tensors, metadata, precision, &extra)?;
    stage.end(true, out)
}

/// The reviews of `corpus` that were held out when the model was trained, where this is the data set it was trained on.
fn held_out<'a>(corpus: &'a Corpus, record: &TrainingRecord) -> Option<Vec<&'a Review>> {
    let split = DataSplit::of(&corpus.train, &record.settings).ok()?;
    let reviews: Vec<&Review> = split.validation.iter().map(|&at| &corpus.train[at]).collect();
    (digest_of_reviews(&reviews) == record.data.validation_sha256).then_some(reviews)
}

/// What the card says of the rounding.
fn section(rows: &str) -> String {
    let mut text = String::from(CARD_HEADING);
    let _ = write!(
        text,
        "\nRecurrent weights and hidden states have 8 bits, gates 16 (`\"recurrent_precision\": \"int8\"` in `config.json`; \
         the stored weights are those of before). The answers are the same bits on every processor. Against the weights \
         as they are stored, measured by `trainer quantize`:\n\n\
         | reviews | number | decisions that differ | logit moved, mean | at most | accuracy before | after | ECE before | after |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}"
    );
    text
}

/// The files beside the weights: those of the old directory, and anew what speaks of answers.
fn companions(
    model: &Path,
    files: &ModelFiles,
    predictor: &Predictor,
    record: Option<&TrainingRecord>,
    seen: &[&Review],
    section: &str,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let json = |value: serde_json::Result<String>| (value.expect("plain data") + "\n").into_bytes();
    let golden = companions::golden(predictor)?;
    let mut extra = vec![(GOLDEN_FILE, json(serde_json::to_string_pretty(&golden)))];
    let texts: Vec<String> = seen.iter().map(|review| review.text.clone()).collect();
    if let Some(baseline) = companions::baseline(predictor, &texts) {
        extra.push((BASELINE_FILE, json(serde_json::to_string_pretty(&baseline))));
    }
    if let Some(table) = &files.ngrams {
        extra.push((NGRAMS_FILE, table.to_bytes()));
    }
    if let Some(record) = record {
        extra.push((TRAINING_FILE, record.to_json().into_bytes()));
    }
    for name in [curve::CURVE_FILE, reliability::RELIABILITY_FILE] {
        match fs::read(model.join(name)) {
            Ok(bytes) => extra.push((name, bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(model.join(name))(e)),
        }
    }
    let card = match fs::read_to_string(model.join(CARD_FILE)) {
        Ok(card) => card.trim_end().to_string() + "\n\n",
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io(model.join(CARD_FILE))(e)),
    };
    extra.push((CARD_FILE, (card + section).into_bytes()));
    Ok(extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_labels_that_change_and_how_far_logits_move() {
        let difference =
            Difference::of(&[1.0, -0.5, 0.01, -2.0], &[1.5, -0.5, -0.01, -2.0], &[1.0, 0.0, 1.0, 1.0]);
        assert_eq!((difference.reviews, difference.decisions), (4, 1));
        assert!((difference.mean - 0.13).abs() < 1e-6 && (difference.largest - 0.5).abs() < 1e-6);
        assert_eq!((difference.exact.accuracy, difference.rounded.accuracy), (0.75, 0.5));
        assert!(difference.row("some").contains("| 1 (25.000 %) |"));
    }
}
