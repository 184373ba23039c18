//! The fit loop: batches, steps, epochs, the best epoch; and the state from which it goes on after a stop.

pub mod batch;
pub mod checkpoint;
pub mod loss;
pub mod optimizer;
pub mod variables;

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;
use candle_nn::Optimizer;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use self::batch::{Sampling, Step};
use self::loss::binary_cross_entropy;
use self::optimizer::{StatefulOptimizer, clip_global_norm};
use self::variables::Variables;
use crate::error::Result;
use crate::model::{Array, Dropout, Network};
use crate::train::data::example::Example;
use crate::train::metrics::Metrics;
use crate::train::progress;
use crate::train::random::{Purpose, generator};
use crate::train::settings::{Keep, LinearDecay};

/// Which examples make up each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Passes over the examples.
    pub epochs: usize,
    /// Examples per step; the last step of an epoch has what remains.
    pub batch_size: usize,
    /// Whether the examples of a step are of like length.
    pub bucketed: bool,
    /// Seed of the order.
    pub seed: u64,
}

/// Examples over which a bucketed epoch sorts by length before it cuts batches: wide enough for batches of like
/// length, narrow enough that an epoch's batches differ from the last epoch's.
const BUCKET_BATCHES: usize = 32;

impl Schedule {
    /// The batches of one epoch (from 0), as positions in `examples`: a fresh shuffle, cut; with `bucketed`, stretches
    /// of it sorted by length before the cut, and the batches shuffled.
    pub fn batches(&self, examples: &[Example], epoch: usize) -> Vec<Vec<usize>> {
        let mut rng = generator(self.seed, Purpose::Order, epoch as u64);
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.shuffle(&mut rng);
        if self.bucketed {
            for bucket in order.chunks_mut(BUCKET_BATCHES * self.batch_size) {
                bucket.sort_by_key(|&at| examples[at].ids.len());
            }
        }
        let mut batches: Vec<Vec<usize>> = order.chunks(self.batch_size).map(<[usize]>::to_vec).collect();
        if self.bucketed {
            batches.shuffle(&mut rng);
        }
        batches
    }

    /// Steps of all epochs.
    fn steps(&self, examples: &[Example]) -> u64 {
        (self.epochs * examples.len().div_ceil(self.batch_size)) as u64
    }
}

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

/// What stays the same during a run.
#[derive(Clone, Copy, Debug)]
pub struct Task<'t> {
    /// What to learn from.
    pub examples: &'t [Example],
    /// In which order.
    pub schedule: Schedule,
    /// Largest norm of all gradients together; 0 leaves them.
    pub clip_norm: f64,
    /// Which weights to keep.
    pub keep: Keep,
    /// Epochs without a lower validation loss after which training ends; 0 for none.
    pub patience: usize,
    /// Size of a step.
    pub learning_rate: LinearDecay,
    /// What a step leaves out.
    pub dropout: Dropout,
    /// What a step reads of its examples, and what beside them.
    pub sampling: Sampling<'t>,
}

/// What the loop calls on its way.
pub struct Hooks<'h> {
    /// Figures on the held-out reviews with these weights; `None` where none are held out.
    pub validate: &'h mut dyn FnMut(&Variables) -> Result<Option<Metrics>>,
    /// A finished epoch.
    pub epoch: &'h mut dyn FnMut(&EpochRow) -> Result<()>,
    /// Time to write a checkpoint.
    pub checkpoint: &'h mut dyn FnMut(&State) -> Result<()>,
    /// Whether to stop, given the number of steps taken in all.
    pub stop: &'h dyn Fn(u64) -> bool,
}

/// Trains until the schedule ends or `hooks.stop` says so; returns whether it ended.
///
/// # Errors
/// Those of the network and of the hooks.
pub fn fit(task: &Task, network: &Network, state: &mut State, hooks: &mut Hooks) -> Result<bool> {
    let vars = state.variables.vars();
    let total_steps = task.schedule.steps(task.examples);
    while state.position.epoch < task.schedule.epochs {
        let epoch = state.position.epoch;
        let batches = task.schedule.batches(task.examples, epoch);
        let bar = progress::epoch(task.examples.len(), state.position.seen, epoch + 1, task.schedule.epochs);
        let started = Instant::now();
        let seconds_before = state.position.seconds;
        while state.position.batch < batches.len() {
            if (hooks.stop)(state.optimizer.steps()) {
                state.position.seconds = seconds_before + started.elapsed().as_secs_f64();
                (hooks.checkpoint)(state)?;
                bar.finish_and_clear();
                return Ok(false);
            }
            let batch: Vec<&Example> =
                batches[state.position.batch].iter().map(|&at| &task.examples[at]).collect();
            let mut rng = generator(task.schedule.seed, Purpose::Step, state.optimizer.steps());
            let Step { ids, targets, weights, beside } =
                task.sampling.step(&batch, state.optimizer.steps(), &mut rng);
            let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();

            let logits = network.forward_training(&ids, &task.dropout, &mut rng)?; // [B]
            let logits = (&logits + Tensor::from_slice(&beside, beside.len(), logits.device())?)?;
            let loss = binary_cross_entropy(&logits, &targets, &weights)?;
            let mut grads = loss.backward()?;
            if task.clip_norm > 0.0 {
                clip_global_norm(&vars, &mut grads, task.clip_norm)?;
            }
            let rate = task.learning_rate.at(state.optimizer.steps(), total_steps);
            state.optimizer.set_learning_rate(rate);
            state.optimizer.step(&grads)?;

            let position = &mut state.position;
            let weight = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
            let loss_sum = f64::from_bits(position.loss_bits) + weight * f64::from(loss.to_scalar::<f32>()?);
            let weight_sum = f64::from_bits(position.weight_bits) + weight;
            (position.loss_bits, position.weight_bits) = (loss_sum.to_bits(), weight_sum.to_bits());
            let logits = logits.to_vec1::<f32>()?;
            let reviews = logits.iter().zip(&targets).take(batch.len());
            let right = reviews.filter(|(z, t)| (**z >= 0.0) == (**t >= 0.5)).count();
            position.right += right as u64;
            position.seen += batch.len() as u64;
            position.batch += 1;
            bar.set_position(position.seen);
            let accuracy = position.right as f64 / position.seen as f64;
            bar.set_message(format!("loss {:.4} acc {accuracy:.4}", loss_sum / weight_sum));
        }
        bar.finish_and_clear();

        let metrics = (hooks.validate)(&state.variables)?;
        let position = &mut state.position;
        let row = EpochRow {
            epoch: epoch + 1,
            loss: rounded(f64::from_bits(position.loss_bits) / f64::from_bits(position.weight_bits)),
            accuracy: rounded(position.right as f64 / position.seen as f64),
            validation_loss: metrics.as_ref().map(|metrics| rounded(metrics.loss)),
            validation_accuracy: metrics.as_ref().map(|metrics| rounded(metrics.accuracy)),
            seconds: ((seconds_before + started.elapsed().as_secs_f64()) * 100.0).round() / 100.0,
        };
        // Also what notices weights that are not numbers any more.
        let arrays = state.variables.to_arrays()?;
        let best_loss =
            position.rows.iter().filter_map(|row| row.validation_loss).fold(f64::INFINITY, f64::min);
        let better = row.validation_loss.is_none_or(|loss| loss < best_loss);
        match task.keep {
            Keep::Best if better => (state.best, position.kept) = (Some(arrays), Some(epoch + 1)),
            Keep::Best => {}
            Keep::Last => position.kept = Some(epoch + 1),
        }
        (hooks.epoch)(&row)?;
        let mut rows = std::mem::take(&mut position.rows);
        rows.push(row);
        *position = Position { epoch: epoch + 1, kept: position.kept, rows, ..Position::default() };
        (hooks.checkpoint)(state)?;
        if task.patience > 0 && epochs_in_vain(&state.position.rows) >= task.patience {
            break;
        }
    }
    Ok(true)
}

/// Epochs since the one with the lowest validation loss.
fn epochs_in_vain(rows: &[EpochRow]) -> usize {
    let losses = rows.iter().map(|row| row.validation_loss.unwrap_or(f64::INFINITY)).enumerate();
    // Of equals the first.
    let best = losses.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at);
    rows.len().saturating_sub(best + 1)
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

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_each_example_once_in_an_order_of_its_own() {
        let examples = vec![Example { ids: vec![1], target: 1.0, weight: 1.0, beside: 0.0 }; 10];
        let schedule = Schedule { epochs: 2, batch_size: 4, bucketed: false, seed: 1 };
        let batches = schedule.batches(&examples, 0);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..10).collect::<Vec<_>>());
        assert_ne!(batches, schedule.batches(&examples, 1));
        assert_eq!(batches, schedule.batches(&examples, 0));
    }

    #[test]
    fn bucketed_batches_are_of_like_length() {
        let examples: Vec<Example> = (0..960)
            .map(|n| Example { ids: vec![1; 1 + n * 7 % 300], target: 1.0, weight: 1.0, beside: 0.0 })
            .collect();
        let schedule = Schedule { epochs: 1, batch_size: 10, bucketed: true, seed: 1 };
        let batches = schedule.batches(&examples, 0);
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..960).collect::<Vec<_>>());
        let spread = |batch: &Vec<usize>| {
            let lengths = batch.iter().map(|&at| examples[at].ids.len());
            lengths.clone().max().unwrap() - lengths.min().unwrap()
        };
        assert!(batches.iter().all(|batch| spread(batch) < 60));
    }
}
