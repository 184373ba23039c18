//! What changes during a run: weights, optimizer, and how far it has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::optimizer::StatefulOptimizer;
use super::variables::Variables;
use crate::error::Result;
use crate::model::Array;

/// One row of the training history; losses and shares rounded to six digits, so that text holds them exactly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochRow {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean loss over the epoch's steps, made-up sentences included, as the weights were at each of them.
    pub loss: f64,
    /// Share of right labels over the epoch's steps.
    pub accuracy: f64,
    /// Loss on the held-out reviews after the epoch; absent where none are held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Share of right labels on the held-out reviews after the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Wall time, validation included.
    pub seconds: f64,
}

/// How far a run has come, the tensors apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Epochs finished.
    pub epoch: usize,
    /// Steps finished within the epoch that is under way.
    pub batch: usize,
    /// Sum of losses within it (the bits of an f64, so that nothing is lost on the way through text).
    pub loss_bits: u64,
    /// Sum of the examples' weights within it, bits likewise.
    pub weight_bits: u64,
    /// Right labels within it.
    pub right: u64,
    /// Examples within it.
    pub seen: u64,
    /// Seconds spent within it.
    pub seconds: f64,
    /// Rows of the finished epochs.
    pub rows: Vec<EpochRow>,
    /// The epoch (from 1) whose weights are kept so far.
    pub kept: Option<usize>,
}

impl Position {
    /// Counts the loss of a step, already times its weight.
    pub(super) fn add_loss(&mut self, loss: f64, weight: f64) {
        self.loss_bits = (f64::from_bits(self.loss_bits) + loss).to_bits();
        self.weight_bits = (f64::from_bits(self.weight_bits) + weight).to_bits();
    }

    /// The mean loss of the epoch's steps so far.
    pub fn mean_loss(&self) -> f64 {
        f64::from_bits(self.loss_bits) / f64::from_bits(self.weight_bits)
    }

    /// The share of right labels in them.
    pub(super) fn accuracy(&self) -> f64 {
        self.right as f64 / self.seen as f64
    }
}

/// Everything that changes during a run.
#[derive(Debug)]
pub struct State {
    /// The weights in training.
    pub variables: Variables,
    /// The optimizer over them.
    pub optimizer: StatefulOptimizer,
    /// How far the run has come.
    pub position: Position,
    /// Weights of the kept epoch; `None` before the first is kept, and with [`Keep::Last`].
    pub best: Option<BTreeMap<String, Array>>,
}

impl State {
    /// The weights to save: those of the kept epoch, or the present ones.
    ///
    /// # Errors
    /// As [`Variables::to_arrays`].
    pub fn kept_weights(&self) -> Result<BTreeMap<String, Array>> {
        match &self.best {
            Some(best) => Ok(best.clone()),
            None => self.variables.to_arrays(),
        }
    }
}
