//! `training.json`: how a model came to be, and how good it is.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::ShortScale;
use crate::model::{TRAINING_FILE, load_companion};
use crate::train::data::minimal_pairs::Behaviour;
use crate::train::fit::EpochRow;
use crate::train::metrics::Metrics;
use crate::train::ngrams::stack::Stack;
use crate::train::settings::Settings;

/// How a model was fitted to data of somebody's own after its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Name of the data.
    pub data: String,
    /// The command, as it was typed.
    pub command: String,
    /// Labelled rows with a word.
    pub rows: usize,
    /// Positive ones among them.
    pub positives: usize,
    /// What the logit is divided by.
    pub temperature: f32,
    /// What is added to it then.
    pub bias: f32,
    /// How short texts are told, where that was fitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short: Option<ShortScale>,
    /// How well a scale does on rows that it was not fitted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_half: Option<OtherHalf>,
    /// The score from which on answers are right as often as was wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abstain: Option<f64>,
}

/// How well a scale does on rows that it was not fitted to: each half of them is told by the one fitted to the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherHalf {
    /// The calibration error.
    pub ece: f64,
    /// What that is in the mean of a model whose probabilities are right.
    pub ece_by_chance: f64,
}

/// The figures of one of several seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedFigures {
    /// The seed.
    pub seed: u64,
    /// Figures on the held-out reviews.
    pub validation: Metrics,
}

/// The training record of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// The trainer's version.
    pub version: String,
    /// The command, as it was typed.
    pub command: String,
    /// The resolved settings.
    pub settings: Settings,
    /// What it learnt from.
    pub data: DataRecord,
    /// One row per finished epoch.
    pub epochs: Vec<EpochRow>,
    /// The epoch (from 1) whose weights were saved; absent when training stopped within the first.
    pub kept_epoch: Option<usize>,
    /// Whether the schedule ended; false when it was stopped before.
    pub finished: bool,
    /// How network and n-grams are weighed; absent for a model without n-grams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<Stack>,
    /// How it was fitted to other data afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// Figures of the saved weights by set of reviews (`validation`, `test`).
    pub results: BTreeMap<String, Metrics>,
    /// Figures of each seed, that of the saved weights first; empty where there was one alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<SeedFigures>,
    /// How the saved weights did on the minimal pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behaviour: Vec<Behaviour>,
}

/// What a model learnt from, and what was held out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Whether it is a table or folder of the user's own; the public release otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// The column whose equal values stand on one side of the split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Name of the table that is held out, where it is one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_data: Option<String>,
    /// The model that training started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<String>,
    /// File or folder name of the data set, without its path.
    pub name: String,
    /// Where the words come from: `counted`, or the word index's file name.
    pub vocabulary: String,
    /// Labelled reviews learnt from.
    pub train: usize,
    /// Unlabelled reviews learnt from, as the teachers see them.
    #[serde(default)]
    pub unlabelled: usize,
    /// Names of the teachers' directories.
    #[serde(default)]
    pub teachers: Vec<String>,
    /// Names of the files of opinions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub opinions: Vec<String>,
    /// Whole reviews of `unlabelled` and `train` that have an opinion of these files.
    #[serde(default)]
    pub judged: usize,
    /// Stretches and other short texts learnt from by these opinions.
    #[serde(default)]
    pub judged_stretches: usize,
    /// Reviews held out.
    pub validation: usize,
    /// SHA-256 over class, id and text of the held-out reviews, in their order.
    pub validation_sha256: String,
}

impl TrainingRecord {
    /// The record of the model in `directory`, or `None` where it has none (weights made elsewhere).
    ///
    /// # Errors
    /// As [`load_companion`].
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        load_companion(directory, TRAINING_FILE)
    }

    /// The text of `training.json`.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }
}
