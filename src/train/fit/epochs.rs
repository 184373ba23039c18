//! The loop of every stage that trains a network: epochs, steps, rate, the stop in between. What a step computes and what
//! follows an epoch is the stage's own.

use std::time::Instant;

use candle_core::Tensor;
use candle_nn::Optimizer;
use rand_chacha::ChaCha8Rng;

use super::optimizer::clip_global_norm;
use super::state::State;
use crate::error::Result;
use crate::train::progress;
use crate::train::random::{Stream, stream_rng};
use crate::train::settings::LinearDecay;

/// What of a loop stays the same.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Passes over the examples.
    pub epochs: usize,
    /// Steps of all epochs.
    pub steps: u64,
    /// Examples of an epoch.
    pub examples: usize,
    /// Seed of what is drawn in a step.
    pub seed: u64,
    /// Largest norm of all gradients together; 0 leaves them.
    pub clip_norm: f64,
    /// Size of a step.
    pub learning_rate: LinearDecay,
}

/// What one step gives.
#[derive(Debug)]
pub struct StepOutcome {
    /// The mean loss, to go back from.
    pub loss: Tensor,
    /// Weights of the examples together, by which the loss counts in the epoch's mean.
    pub weight: f64,
    /// Examples.
    pub seen: usize,
    /// Right labels among them, where they have labels.
    pub right: Option<usize>,
}

/// What a stage does with its examples.
pub trait Lessons {
    /// The examples of one step.
    type Batch;

    /// The batches of one epoch, from 0.
    fn batches(&self, epoch: usize) -> Vec<Self::Batch>;

    /// Forward through one batch; `step` counts from the start of the run.
    ///
    /// # Errors
    /// Those of the network.
    fn step(&self, batch: &Self::Batch, step: u64, rng: &mut ChaCha8Rng) -> Result<StepOutcome>;

    /// Ends the epoch of `state`, which has taken `seconds` by now, and begins the next; whether there is to be one.
    ///
    /// # Errors
    /// Those of what the stage does then, among them [`crate::Error::Data`] for weights that are not finite.
    fn end_epoch(&mut self, state: &mut State, seconds: &dyn Fn() -> f64) -> Result<bool>;
}

/// Trains until the plan or `lessons` end, or `stop` says so of the steps done; returns whether it came to the end.
///
/// # Errors
/// Those of `lessons` and of the optimizer.
pub fn train_epochs(
    plan: &Plan,
    state: &mut State,
    stop: &dyn Fn(u64) -> bool,
    lessons: &mut impl Lessons,
) -> Result<bool> {
    let vars = state.variables.vars();
    while state.position.epoch < plan.epochs {
        let epoch = state.position.epoch;
        let batches = lessons.batches(epoch);
        let bar = progress::epoch(plan.examples, state.position.seen, epoch + 1, plan.epochs);
        let (started, before) = (Instant::now(), state.position.seconds);
        let seconds = || before + started.elapsed().as_secs_f64();
        while state.position.batch < batches.len() {
            let step = state.optimizer.steps();
            if stop(step) {
                state.position.seconds = seconds();
                bar.finish_and_clear();
                return Ok(false);
            }
            let mut rng = stream_rng(plan.seed, Stream::Step, step);
            let outcome = lessons.step(&batches[state.position.batch], step, &mut rng)?;
            let mut grads = outcome.loss.backward()?;
            if plan.clip_norm > 0.0 {
                clip_global_norm(&vars, &mut grads, plan.clip_norm)?;
            }
            state.optimizer.set_learning_rate(plan.learning_rate.at(step, plan.steps));
            state.optimizer.step(&grads)?;
            let position = &mut state.position;
            let loss = f64::from(outcome.loss.to_scalar::<f32>()?);
            position.add_loss(outcome.weight * loss, outcome.weight);
            position.right += outcome.right.unwrap_or(0) as u64;
            position.seen += outcome.seen as u64;
            position.batch += 1;
            bar.set_position(position.seen);
            let accuracy = match outcome.right {
                Some(_) => format!(" acc {:.4}", position.accuracy()),
                None => String::new(),
            };
            bar.set_message(format!("loss {:.4}{accuracy}", position.mean_loss()));
        }
        bar.finish_and_clear();
        if !lessons.end_epoch(state, &seconds)? {
            break;
        }
    }
    Ok(true)
}
