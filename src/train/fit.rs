//! The fit loop: batches, steps, epochs, the best epoch; and the state from which it goes on after a stop.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::time::Instant;

use candle_nn::Optimizer;
use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use super::optimizer::{StatefulOptimizer, binary_cross_entropy, clip_global_norm};
use super::progress;
use super::random::{Purpose, generator};
use super::settings::Keep;
use super::variables::Variables;
use crate::error::Result;
use crate::model::{Array, Dropout, Network};

/// A review to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Start id first, at most `max_length`.
    pub ids: Vec<u32>,
    /// Probability that it is positive: 0 or 1 for a label, anything between for a teacher's opinion.
    pub target: f32,
    /// How much it counts beside the others of its batch; 1 by default.
    pub weight: f32,
}

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
    /// Mean loss over the epoch's steps, as the weights were at each of them.
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
    /// Size of a step at the start and, reached in a straight line, at the end.
    pub learning_rate: (f64, f64),
    /// What a step leaves out.
    pub dropout: Dropout,
    /// Tokens of a review that a step reads at most; 0 for all.
    pub crop: usize,
    /// Share of the reviews of a step that are cut to a short stretch.
    pub short_crops: f64,
    /// The tokens that end a sentence: a short stretch holds whole ones. Without any it begins anywhere.
    pub sentence_ends: &'t [u32],
}

/// Lengths between which a short stretch is drawn, in tokens: a sentence or a few.
const SHORT_TOKENS: RangeInclusive<usize> = 5..=60;

impl Task<'_> {
    /// The ids of a review that a step reads: all of them, or a stretch behind the start id.
    fn stretch(&self, ids: &[u32], rng: &mut impl Rng) -> Vec<u32> {
        let short = self.short_crops > 0.0 && rng.random_bool(self.short_crops);
        let limit = match (short, self.crop) {
            (true, _) => 1 + rng.random_range(SHORT_TOKENS),
            (false, 0) => ids.len(),
            (false, crop) => crop,
        };
        if ids.len() <= limit {
            return ids.to_vec();
        }
        let from = rng.random_range(1..=ids.len() - (limit - 1));
        let range = if short { self.sentences(ids, from, limit - 1) } else { from..from + limit - 1 };
        std::iter::once(ids[0]).chain(ids[range].iter().copied()).collect()
    }

    /// Whole sentences from the one that holds `from` on: as many as fit into `limit` tokens, at least the first, cut
    /// where it alone is longer than any short stretch.
    fn sentences(&self, ids: &[u32], from: usize, limit: usize) -> Range<usize> {
        let longest = *SHORT_TOKENS.end();
        let ends = |at: usize| self.sentence_ends.contains(&ids[at]);
        if self.sentence_ends.is_empty() {
            return from..from + limit;
        }
        let earliest = from.saturating_sub(longest).max(1);
        let first = match (earliest..from).rev().find(|&at| ends(at)) {
            Some(end) => end + 1,
            None if earliest == 1 => 1,
            None => from,
        };
        // A run of marks ends one sentence.
        let closed = |at: usize| ends(at) && (at + 1 == ids.len() || !ends(at + 1));
        let mut last = None;
        for at in first..ids.len().min(first + longest) {
            if at >= first + limit && last.is_some() {
                break;
            }
            if at >= from && closed(at) {
                last = Some(at + 1);
            }
        }
        first..last.unwrap_or(ids.len().min(first + longest))
    }
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
        let bar = progress::epoch(task.examples.len(), epoch + 1, task.schedule.epochs);
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
            let stretches: Vec<Vec<u32>> =
                batch.iter().map(|example| task.stretch(&example.ids, &mut rng)).collect();
            let ids: Vec<&[u32]> = stretches.iter().map(Vec::as_slice).collect();
            let targets: Vec<f32> = batch.iter().map(|example| example.target).collect();
            let weights: Vec<f32> = batch.iter().map(|example| example.weight).collect();

            let logits = network.forward_training(&ids, &task.dropout, &mut rng)?; // [B]
            let loss = binary_cross_entropy(&logits, &targets, &weights)?;
            let mut grads = loss.backward()?;
            if task.clip_norm > 0.0 {
                clip_global_norm(&vars, &mut grads, task.clip_norm)?;
            }
            let (start, end) = task.learning_rate;
            let done = state.optimizer.steps() as f64 / total_steps as f64;
            state.optimizer.set_learning_rate(start + (end - start) * done);
            state.optimizer.step(&grads)?;

            let position = &mut state.position;
            let weight = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
            let loss_sum = f64::from_bits(position.loss_bits) + weight * f64::from(loss.to_scalar::<f32>()?);
            let weight_sum = f64::from_bits(position.weight_bits) + weight;
            (position.loss_bits, position.weight_bits) = (loss_sum.to_bits(), weight_sum.to_bits());
            let logits = logits.to_vec1::<f32>()?;
            let right = logits.iter().zip(&targets).filter(|(z, t)| (**z >= 0.0) == (**t >= 0.5)).count();
            position.right += right as u64;
            position.seen += batch.len() as u64;
            position.batch += 1;
            bar.set_position(position.seen);
            let accuracy = position.right as f64 / position.seen as f64;
            bar.set_message(format!("loss {:.4} accuracy {accuracy:.4}", loss_sum / weight_sum));
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
    }
    Ok(true)
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
        let examples = vec![Example { ids: vec![1], target: 1.0, weight: 1.0 }; 10];
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
        let examples: Vec<Example> =
            (0..960).map(|n| Example { ids: vec![1; 1 + n * 7 % 300], target: 1.0, weight: 1.0 }).collect();
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

    fn task(crop: usize, short_crops: f64, sentence_ends: &[u32]) -> Task<'_> {
        Task {
            examples: &[],
            schedule: Schedule { epochs: 1, batch_size: 1, bucketed: false, seed: 1 },
            clip_norm: 0.0,
            keep: Keep::Last,
            learning_rate: (0.1, 0.1),
            dropout: Dropout::default(),
            crop,
            short_crops,
            sentence_ends,
        }
    }

    #[test]
    fn a_stretch_keeps_the_start_and_lies_within_the_review() {
        let ids: Vec<u32> = (1..=500).collect();
        let task = |crop, short_crops| task(crop, short_crops, &[]);
        let mut rng = generator(1, Purpose::Step, 0);
        assert_eq!(task(0, 0.0).stretch(&ids, &mut rng), ids);
        for _ in 0..200 {
            let stretch = task(100, 0.5).stretch(&ids, &mut rng);
            assert!(stretch.len() == 100 || SHORT_TOKENS.contains(&(stretch.len() - 1)));
            assert_eq!(stretch[0], 1);
            assert!(stretch[1] > 1 && stretch[1..].windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
        assert_eq!(task(100, 0.0).stretch(&ids[..50], &mut rng), ids[..50]);
    }

    #[test]
    fn a_short_stretch_holds_whole_sentences() {
        // Sentences of 4, 9, 2 and 100 tokens; 7 ends them, and a run of it ends one.
        let sentence = |tokens: usize| std::iter::repeat_n(3, tokens - 1).chain([7]);
        let lengths = [4, 9, 2, 100];
        let ids: Vec<u32> =
            [1].into_iter().chain(lengths.into_iter().flat_map(sentence)).chain([7, 7]).collect();
        let task = task(0, 0.999, &[7]);
        assert_eq!(task.sentences(&ids, 1, 5), 1..5);
        assert_eq!(task.sentences(&ids, 4, 3), 1..5);
        assert_eq!(task.sentences(&ids, 5, 8), 5..14);
        assert_eq!(task.sentences(&ids, 2, 15), 1..16);
        assert_eq!(task.sentences(&ids, 20, 10), 16..76, "a sentence longer than any stretch is cut");
        assert_eq!(task.sentences(&ids, 110, 10), 110..118, "and entered where the draw fell");
        let mut rng = generator(1, Purpose::Step, 0);
        for _ in 0..500 {
            let stretch = task.stretch(&ids, &mut rng);
            assert!(stretch.len() > 1 && stretch[0] == 1 && stretch.len() <= ids.len());
        }
    }
}
