//! One request's work on its way through the compute threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::Admission;
use crate::error::Error;
use crate::predict::{Encoding, Prediction, Truncate, sigmoid};
use crate::serve::budget::Charge;
use crate::serve::models::LoadedModel;
use crate::serve::models::cost::Cost;

/// Work in one turn: long against the price of a turn (about a microsecond), short against what a client notices.
pub const TURN: Duration = Duration::from_millis(1);

/// A text to score, cut into ids or not yet.
#[derive(Debug)]
pub enum Input {
    /// A text as it came.
    Text(String),
    /// A text already cut into ids.
    Encoded(Encoding),
    /// A text of which it is known that it cannot be scored.
    Fault(Error),
}

/// What is to be computed for one request.
#[derive(Debug)]
pub struct Job {
    /// The model, as it was when the request came.
    pub loaded: Arc<LoadedModel>,
    /// The texts.
    pub items: Vec<Input>,
    /// What to do with long ones.
    pub truncate: Truncate,
    /// Most windows of one text.
    pub max_windows: usize,
    /// Whether a text that cannot be scored costs itself alone.
    pub report: bool,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
    /// The job's place among what may wait; given back when the work is done or dropped.
    pub permit: Arc<Admission>,
    /// What is held for it.
    pub charge: Option<Charge>,
}

/// Why there are no predictions.
#[derive(Debug)]
pub enum ComputeError {
    /// Too much is waiting.
    Overload,
    /// A text cannot be scored: which one, and why.
    Text(usize, Error),
    /// The deadline passed.
    Deadline,
    /// The computation panicked.
    Panicked,
}

/// What was computed.
#[derive(Debug, Default)]
pub struct Computed {
    /// One for each text that can be scored, in order.
    pub predictions: Vec<Prediction>,
    /// Which texts cannot, and why, in order; none but where the job said `report`.
    pub faults: Vec<(usize, Error)>,
}

/// The answer to a job.
pub type Outcome = Result<Computed, ComputeError>;

/// What one thread takes: a text, or some of a long text's windows.
#[derive(Debug)]
pub struct WorkItem {
    /// Which of the request's texts.
    pub index: usize,
    /// Which part of it, where it was cut into several.
    pub part: usize,
    /// The work.
    pub item: Input,
}

/// A job on its way.
#[derive(Debug)]
pub struct Task {
    /// The model.
    pub loaded: Arc<LoadedModel>,
    /// What to do with long texts.
    pub truncate: Truncate,
    /// Most windows of one text.
    pub max_windows: usize,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
    /// Whose it is.
    pub client: u64,
    /// When it was admitted.
    pub queued: Instant,
    progress: Mutex<Progress>,
}

/// What of a task is left, done and known.
#[derive(Debug)]
pub struct Progress {
    /// What nobody has taken yet.
    pub units: VecDeque<WorkItem>,
    /// Whether a thread has taken anything.
    pub started: bool,
    /// Whether the task stands in the queue; written under the queue's lock.
    pub in_queue: bool,
    done: usize,
    predictions: Vec<Option<Prediction>>,
    /// Texts that were cut into parts, and the parts' predictions so far.
    parts: BTreeMap<usize, Vec<Option<Prediction>>>,
    fault: Option<ComputeError>,
    /// Texts that cannot be scored, where they cost themselves alone.
    faults: Option<BTreeMap<usize, Error>>,
    reply: Option<oneshot::Sender<Outcome>>,
    /// Its place among what waits and what is held for it, until it is answered.
    held: Option<(Arc<Admission>, Option<Charge>)>,
}

impl Task {
    /// `job` as a task, and where its answer will come.
    pub fn new(job: Job) -> (Self, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let mut progress = Progress {
            units: VecDeque::with_capacity(job.items.len()),
            started: false,
            in_queue: true,
            done: 0,
            predictions: vec![None; job.items.len()],
            parts: BTreeMap::new(),
            fault: None,
            faults: job.report.then(BTreeMap::new),
            reply: Some(reply),
            held: Some((job.permit.clone(), job.charge)),
        };
        for (index, item) in job.items.into_iter().enumerate() {
            match item {
                Input::Encoded(encoding) => progress.add(index, encoding, &job.loaded.cost),
                Input::Fault(error) => progress.fail(index, error),
                item => progress.units.push_back(WorkItem { index, part: 0, item }),
            }
        }
        // Nothing may be left to compute.
        progress.answer_if_complete();
        let task = Self {
            loaded: job.loaded,
            truncate: job.truncate,
            max_windows: job.max_windows,
            deadline: job.deadline,
            client: job.permit.client,
            queued: Instant::now(),
            progress: Mutex::new(progress),
        };
        (task, answer)
    }

    /// Its progress, locked.
    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `unit` will take.
    pub fn cost(&self, unit: &WorkItem) -> Duration {
        match &unit.item {
            // As far as a text is run in the turn that cuts it.
            Input::Text(text) => self.loaded.cost.of_text(text.len(), self.truncate).min(2 * TURN),
            Input::Encoded(encoding) => self.loaded.cost.running(encoding),
            Input::Fault(_) => Duration::ZERO,
        }
    }
}

impl Progress {
    /// Adds the work of a text cut into ids: in parts, where it would take more than its turn.
    pub fn add(&mut self, index: usize, encoding: Encoding, cost: &Cost) {
        let parts = split(encoding, cost);
        if parts.len() > 1 {
            self.parts.insert(index, vec![None; parts.len()]);
        }
        let units = parts.into_iter().enumerate();
        self.units.extend(units.map(|(part, encoding)| WorkItem {
            index,
            part,
            item: Input::Encoded(encoding),
        }));
    }

    /// Notes the prediction of a text, or of a part of it.
    pub fn put(&mut self, index: usize, part: usize, prediction: Prediction) {
        let prediction = match self.parts.get_mut(&index) {
            None => prediction,
            Some(parts) => {
                parts[part] = Some(prediction);
                if parts.iter().any(Option::is_none) {
                    return;
                }
                combine(self.parts.remove(&index).into_iter().flatten().flatten())
            }
        };
        self.predictions[index] = Some(prediction);
        self.done += 1;
    }

    /// Notes that a text cannot be scored; where that costs the others, of several the first one is named, in whatever
    /// order they were computed.
    pub fn fail(&mut self, index: usize, error: Error) {
        self.done += 1;
        if let Some(faults) = &mut self.faults {
            faults.insert(index, error);
            return;
        }
        if !matches!(self.fault, Some(ComputeError::Text(earlier, _)) if earlier < index) {
            self.fault = Some(ComputeError::Text(index, error));
        }
    }

    /// Answers, if every text is done.
    pub fn answer_if_complete(&mut self) {
        if self.done < self.predictions.len() {
            return;
        }
        let outcome = match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(Computed {
                predictions: std::mem::take(&mut self.predictions).into_iter().flatten().collect(),
                faults: self.faults.take().into_iter().flatten().collect(),
            }),
        };
        self.answer(outcome);
    }

    /// Answers at once; what is left is dropped.
    pub fn answer(&mut self, outcome: Outcome) {
        self.units.clear();
        // Before the answer: whoever gets it may have more to ask.
        self.held = None;
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(outcome);
        }
    }

    /// Whether the answer was given.
    pub fn is_answered(&self) -> bool {
        self.reply.is_none()
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

/// Cuts a text of many windows into parts that take a turn each.
fn split(mut encoding: Encoding, cost: &Cost) -> Vec<Encoding> {
    let whole = cost.running(&encoding);
    if whole <= TURN || encoding.windows.len() < 2 {
        return vec![encoding];
    }
    let one = (whole / encoding.windows.len() as u32).max(Duration::from_nanos(1));
    let together = ((TURN.as_nanos() / one.as_nanos()) as usize).max(1);
    let mut windows = std::mem::take(&mut encoding.windows).into_iter().peekable();
    let mut parts = Vec::new();
    while windows.peek().is_some() {
        parts.push(Encoding { windows: windows.by_ref().take(together).collect(), ..encoding.clone() });
    }
    parts
}

/// The prediction of a text from those of its parts, as if it had been run in one: the mean of all windows' logits.
fn combine(parts: impl Iterator<Item = Prediction>) -> Prediction {
    let (mut sum, mut windows, mut last) = (0.0, Vec::new(), None);
    for mut part in parts {
        if part.windows.is_empty() {
            part.windows.push(part.probability);
        }
        sum += part.logit * part.windows.len() as f32;
        windows.append(&mut part.windows);
        last = Some(part);
    }
    let last = last.expect("a text has at least one part");
    let logit = sum / windows.len() as f32;
    Prediction { logit, probability: sigmoid(logit), windows, ..last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_into_turns_and_put_together_again() {
        // One millisecond for each window of ten tokens.
        let cost = Cost::per_token(1e5, 10);
        let encoding = Encoding { windows: vec![vec![1; 10]; 5], tokens: 30, ..Encoding::default() };
        let parts = split(encoding, &cost);
        assert_eq!(parts.iter().map(|part| part.windows.len()).collect::<Vec<_>>(), [1; 5]);
        assert!(parts.iter().all(|part| part.tokens == 30));
        let parts = split(Encoding { windows: vec![vec![1; 3]; 5], ..Encoding::default() }, &cost);
        assert_eq!(parts.iter().map(|part| part.windows.len()).collect::<Vec<_>>(), [3, 2]);
        let prediction = |logit: f32, windows: &[f32]| Prediction {
            logit,
            probability: sigmoid(logit),
            windows: windows.into(),
            tokens: 30,
            unknown_tokens: 2,
            dropped_tokens: 0,
        };
        let whole = combine([prediction(1.0, &[0.1, 0.2]), prediction(-2.0, &[])].into_iter());
        assert!((whole.logit - 0.0).abs() < 1e-6 && (whole.probability - 0.5).abs() < 1e-6);
        assert_eq!(whole.windows[..2], [0.1, 0.2]);
        assert_eq!((whole.windows.len(), whole.tokens, whole.unknown_tokens), (3, 30, 2));
    }
}
