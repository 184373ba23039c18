//! The fit of a classifier: batches, steps, the best epoch; and the state from which it goes on after a stop.

pub mod batch;
pub mod checkpoint;
pub mod epochs;
pub mod loss;
pub mod optimizer;
mod state;
pub mod variables;

use candle_core::Tensor;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use self::batch::{Batch, Sampling};
use self::epochs::{Lessons, Plan, StepOutcome, train_epochs};
use self::loss::binary_cross_entropy;
pub use self::state::{EpochRow, Position, State};
use self::variables::Variables;
use crate::error::Result;
use crate::model::{Dropout, Network};
use crate::train::data::example::Example;
use crate::train::metrics::Metrics;
use crate::train::random::{Stream, stream_rng};
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
        let mut rng = stream_rng(self.seed, Stream::Order, epoch as u64);
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
    let plan = Plan {
        epochs: task.schedule.epochs,
        steps: task.schedule.steps(task.examples),
        examples: task.examples.len(),
        seed: task.schedule.seed,
        clip_norm: task.clip_norm,
        learning_rate: task.learning_rate,
    };
    let stop = hooks.stop;
    let finished = train_epochs(&plan, state, stop, &mut Classifier { task, network, hooks })?;
    if !finished {
        (hooks.checkpoint)(state)?;
    }
    Ok(finished)
}

/// Labelled examples, and what a classifier learns from them.
struct Classifier<'c, 't, 'h> {
    task: &'c Task<'t>,
    network: &'c Network,
    hooks: &'c mut Hooks<'h>,
}

impl Lessons for Classifier<'_, '_, '_> {
    type Batch = Vec<usize>;

    fn batches(&self, epoch: usize) -> Vec<Vec<usize>> {
        self.task.schedule.batches(self.task.examples, epoch)
    }

    fn step(&self, batch: &Vec<usize>, step: u64, rng: &mut ChaCha8Rng) -> Result<StepOutcome> {
        let batch: Vec<&Example> = batch.iter().map(|&at| &self.task.examples[at]).collect();
        let Batch { ids, targets, weights, logit_offset } =
            self.task.sampling.sample_batch(&batch, step, rng);
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let logits = self.network.forward_training(&ids, &self.task.dropout, rng)?; // [B]
        let logits = (&logits + Tensor::from_slice(&logit_offset, logit_offset.len(), logits.device())?)?;
        let loss = binary_cross_entropy(&logits, &targets, &weights)?;
        let logits = logits.to_vec1::<f32>()?;
        let reviews = logits.iter().zip(&targets).take(batch.len());
        let right = reviews.filter(|(z, t)| (**z >= 0.0) == (**t >= 0.5)).count();
        let weight = weights.iter().map(|weight| f64::from(*weight)).sum();
        Ok(StepOutcome { loss, weight, seen: batch.len(), right: Some(right) })
    }

    fn end_epoch(&mut self, state: &mut State, seconds: &dyn Fn() -> f64) -> Result<bool> {
        let metrics = (self.hooks.validate)(&state.variables)?;
        let position = &mut state.position;
        let row = EpochRow {
            epoch: position.epoch + 1,
            loss: rounded(position.mean_loss()),
            accuracy: rounded(position.accuracy()),
            validation_loss: metrics.as_ref().map(|metrics| rounded(metrics.loss)),
            validation_accuracy: metrics.as_ref().map(|metrics| rounded(metrics.accuracy)),
            seconds: (seconds() * 100.0).round() / 100.0,
        };
        // Also what notices weights that are not numbers any more.
        let arrays = state.variables.to_arrays()?;
        let best_loss =
            position.rows.iter().filter_map(|row| row.validation_loss).fold(f64::INFINITY, f64::min);
        let better = row.validation_loss.is_none_or(|loss| loss < best_loss);
        match self.task.keep {
            Keep::Best if better => (state.best, position.kept) = (Some(arrays), Some(row.epoch)),
            Keep::Best => {}
            Keep::Last => position.kept = Some(row.epoch),
        }
        (self.hooks.epoch)(&row)?;
        let mut rows = std::mem::take(&mut position.rows);
        let epoch = row.epoch;
        rows.push(row);
        *position = Position { epoch, kept: position.kept, rows, ..Position::default() };
        (self.hooks.checkpoint)(state)?;
        let patience = self.task.patience;
        Ok(patience == 0 || epochs_in_vain(&state.position.rows) < patience)
    }
}

/// Epochs since the one with the lowest validation loss.
fn epochs_in_vain(rows: &[EpochRow]) -> usize {
    let losses = rows.iter().map(|row| row.validation_loss.unwrap_or(f64::INFINITY)).enumerate();
    // Of equals the first.
    let best = losses.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(at, _)| at);
    rows.len().saturating_sub(best + 1)
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_each_example_once_in_an_order_of_its_own() {
        let examples = vec![Example { ids: vec![1], target: 1.0, weight: 1.0, logit_offset: 0.0 }; 10];
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
            .map(|n| Example { ids: vec![1; 1 + n * 7 % 300], target: 1.0, weight: 1.0, logit_offset: 0.0 })
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
