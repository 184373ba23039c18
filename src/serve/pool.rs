//! Compute threads of the service's own behind a bounded, fair queue.
//!
//! What waits is served in turns: a thread takes one slice (about a millisecond of work) of the request in front,
//! and what is left of it goes to the back. So a single review waits for at most one slice of every request before
//! it, however many texts those have. Requests that wait for the same model are computed together, where there are
//! more of them than threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::models::Loaded;
use super::telemetry::Telemetry;
use crate::error::Error;
use crate::predict::{Encoding, Prediction, Truncate};

/// Work in one turn: long against the price of a turn (about a microsecond), short against what a client notices.
const SLICE: Duration = Duration::from_millis(1);
/// Most reviews in one turn: more than any batch kernel gains from. Untuned.
const MAX_TOGETHER: usize = 64;
/// Most shadow requests waiting; further ones are dropped, they are a sample anyway.
const MAX_BACKGROUND: usize = 128;

/// A text to score, cut into ids or not yet.
#[derive(Debug)]
pub enum Item {
    /// A text as it came.
    Text(String),
    /// A text already cut into ids.
    Encoded(Encoding),
}

/// What is to be computed for one request.
#[derive(Debug)]
pub struct Job {
    /// The model, as it was when the request came.
    pub loaded: Arc<Loaded>,
    /// The texts.
    pub items: Vec<Item>,
    /// What to do with long ones.
    pub truncate: Truncate,
    /// Most windows of one text.
    pub max_windows: usize,
    /// When the answer is no longer wanted.
    pub deadline: Instant,
    /// The job's place among what may wait; given back when the work is done or dropped.
    pub permit: OwnedSemaphorePermit,
}

/// Why a job has no predictions.
#[derive(Debug)]
pub enum Fault {
    /// A text cannot be scored: which one, and why.
    Text(usize, Error),
    /// The deadline passed.
    Deadline,
    /// The computation panicked.
    Panicked,
}

/// The answer to a job.
pub type Outcome = Result<Vec<Prediction>, Fault>;

type Closure = Box<dyn FnOnce() + Send>;

/// The compute threads.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    admission: Arc<Semaphore>,
    capacity: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    telemetry: Arc<Telemetry>,
    threads: usize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    /// Requests with something left to take, in order of their turns.
    ready: VecDeque<Arc<Task>>,
    /// Reading and writing of large bodies.
    closures: VecDeque<Closure>,
    /// What nobody waits for.
    background: VecDeque<Closure>,
    closed: bool,
}

/// A job on its way.
struct Task {
    loaded: Arc<Loaded>,
    truncate: Truncate,
    max_windows: usize,
    deadline: Instant,
    queued: Instant,
    progress: Mutex<Progress>,
    _permit: OwnedSemaphorePermit,
}

struct Progress {
    items: VecDeque<Item>,
    taken: usize,
    done: usize,
    predictions: Vec<Option<Prediction>>,
    fault: Option<Fault>,
    reply: Option<oneshot::Sender<Outcome>>,
}

/// Consecutive items of one task.
struct Slice {
    task: Arc<Task>,
    from: usize,
    items: Vec<Item>,
}

enum Turn {
    Closure(Closure),
    Slices(Vec<Slice>),
}

impl Pool {
    /// Starts `threads` threads, with room for `capacity` reviews waiting and in work.
    pub fn start(threads: usize, capacity: usize, telemetry: Arc<Telemetry>) -> std::io::Result<Self> {
        let (queue, wake) = Default::default();
        let shared = Arc::new(Shared { queue, wake, telemetry, threads });
        for index in 0..threads {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("compute-{index}")).spawn(move || shared.work())?;
        }
        Ok(Self { shared, admission: Arc::new(Semaphore::new(capacity)), capacity })
    }

    /// Room for `reviews`, all or none; `None` at once where there is not so much.
    pub fn admit(&self, reviews: usize) -> Option<OwnedSemaphorePermit> {
        self.admission.clone().try_acquire_many_owned(u32::try_from(reviews).ok()?).ok()
    }

    /// Reviews waiting and in work.
    pub fn pending(&self) -> usize {
        self.capacity - self.admission.available_permits()
    }

    /// Requests waiting for a turn.
    pub fn depth(&self) -> usize {
        let queue = lock(&self.shared.queue);
        queue.ready.len() + queue.closures.len()
    }

    /// Computes `job`; dropping the future drops what of it has not begun.
    pub async fn run(&self, job: Job) -> Outcome {
        let (reply, answer) = oneshot::channel();
        let count = job.items.len();
        let deadline = job.deadline;
        let task = Arc::new(Task {
            loaded: job.loaded,
            truncate: job.truncate,
            max_windows: job.max_windows,
            deadline,
            queued: Instant::now(),
            progress: Mutex::new(Progress {
                items: job.items.into(),
                taken: 0,
                done: 0,
                predictions: vec![None; count],
                fault: None,
                reply: Some(reply),
            }),
            _permit: job.permit,
        });
        lock(&self.shared.queue).ready.push_back(task);
        self.shared.wake.notify_one();
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Fault::Panicked),
            Err(_) => Err(Fault::Deadline),
        }
    }

    /// Runs `work` on a compute thread: for what is no inference but would hold an HTTP thread too long.
    pub async fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let closure = move || {
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        lock(&self.shared.queue).closures.push_back(Box::new(closure));
        self.shared.wake.notify_one();
        answer.await.map_err(|_| Fault::Panicked)
    }

    /// Runs `work` when nothing else is to be done; false, and nothing, where much of that kind waits already.
    pub fn background(&self, work: impl FnOnce() + Send + 'static) -> bool {
        let mut queue = lock(&self.shared.queue);
        if queue.background.len() >= MAX_BACKGROUND {
            return false;
        }
        queue.background.push_back(Box::new(work));
        drop(queue);
        self.shared.wake.notify_one();
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        while let Some(turn) = self.take() {
            match turn {
                // A panic costs the request, whose reply is dropped with it, never the thread.
                Turn::Closure(closure) => drop(catch_unwind(AssertUnwindSafe(closure))),
                Turn::Slices(slices) => self.compute(slices),
            }
        }
    }

    /// The next turn, waiting for one; `None` when the pool is closed and empty.
    fn take(&self) -> Option<Turn> {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(closure) = queue.closures.pop_front() {
                return Some(Turn::Closure(closure));
            }
            let slices = self.take_slices(&mut queue);
            if !slices.is_empty() {
                return Some(Turn::Slices(slices));
            }
            if let Some(closure) = queue.background.pop_front() {
                return Some(Turn::Closure(closure));
            }
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A slice of the request in front, and of those after it as far as they fit into the same turn.
    fn take_slices(&self, queue: &mut Queue) -> Vec<Slice> {
        let mut slices: Vec<Slice> = Vec::new();
        let (mut left, mut room) = (SLICE, MAX_TOGETHER);
        // Each thread its share of what waits: one must not take everything while others are idle.
        let share = queue.ready.len().div_ceil(self.threads);
        while let Some(task) = queue.ready.front() {
            if let Some(first) = slices.first()
                && (slices.len() >= share || room == 0 || !Arc::ptr_eq(&first.task.loaded, &task.loaded))
            {
                break;
            }
            let mut progress = lock(&task.progress);
            if self.give_up(task, &mut progress) {
                drop(progress);
                queue.ready.pop_front();
                continue;
            }
            if progress.taken == 0 {
                self.telemetry.queue_wait.observe_duration(task.queued.elapsed());
            }
            let from = progress.taken;
            let mut items = Vec::new();
            while let Some(item) = progress.items.front() {
                let cost = task.cost(item);
                let begun = !items.is_empty() || !slices.is_empty();
                if begun && (cost > left || room == 0) {
                    break;
                }
                left = left.saturating_sub(cost);
                room = room.saturating_sub(1);
                items.extend(progress.items.pop_front());
            }
            progress.taken += items.len();
            let rest = !progress.items.is_empty();
            drop(progress);
            if items.is_empty() {
                break;
            }
            let task = queue.ready.pop_front().expect("it was in front");
            slices.push(Slice { task: task.clone(), from, items });
            if rest {
                // Other threads may take from it at once; requests that came meanwhile go first.
                queue.ready.push_back(task);
                self.wake.notify_one();
                break;
            }
        }
        slices
    }

    /// Whether nobody wants the answer any more, or it is known; then the task is dropped.
    fn give_up(&self, task: &Task, progress: &mut Progress) -> bool {
        if progress.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            // Past the deadline it was the handler that left, and counted it.
            if progress.reply.is_some() && Instant::now() < task.deadline {
                self.telemetry.shed_client_gone.inc();
            }
            progress.items.clear();
            return true;
        }
        if Instant::now() >= task.deadline {
            progress.items.clear();
            progress.answer(Err(Fault::Deadline));
            return true;
        }
        false
    }

    /// Computes the slices together and answers the requests that are complete by that.
    fn compute(&self, slices: Vec<Slice>) {
        let loaded = slices[0].task.loaded.clone();
        let tasks: Vec<Arc<Task>> = slices.iter().map(|slice| slice.task.clone()).collect();
        let (mut encodings, mut places) = (Vec::new(), Vec::new());
        let start = Instant::now();
        let mut cut = false;
        for (number, slice) in slices.into_iter().enumerate() {
            for (offset, item) in slice.items.into_iter().enumerate() {
                let index = slice.from + offset;
                let encoding = match item {
                    Item::Encoded(encoding) => Ok(encoding),
                    Item::Text(text) => {
                        cut = true;
                        // The tokenizer is total; should it ever panic, the thread lives on.
                        let encode = || loaded.encode(&text, slice.task.truncate, slice.task.max_windows);
                        match catch_unwind(AssertUnwindSafe(encode)) {
                            Ok(result) => result.map_err(|error| Fault::Text(index, error)),
                            Err(_) => Err(Fault::Panicked),
                        }
                    }
                };
                match encoding {
                    Ok(encoding) => {
                        encodings.push(encoding);
                        places.push((number, index));
                    }
                    Err(fault) => lock(&slice.task.progress).fail(fault),
                }
            }
        }
        let encoded = Instant::now();
        if cut {
            self.telemetry.tokenize.observe_duration(encoded - start);
        }
        if !encodings.is_empty() {
            let run = catch_unwind(AssertUnwindSafe(|| loaded.predictor.run(&encodings)));
            self.telemetry.inference.observe_duration(encoded.elapsed());
            self.telemetry.batch_reviews.observe(encodings.len() as f64);
            match run {
                Ok(predictions) => {
                    for ((number, index), prediction) in places.into_iter().zip(predictions) {
                        lock(&tasks[number].progress).put(index, prediction);
                    }
                }
                Err(_) => {
                    places.iter().for_each(|(number, _)| lock(&tasks[*number].progress).fail(Fault::Panicked))
                }
            }
        }
        tasks.iter().for_each(|task| lock(&task.progress).answer_if_complete());
    }
}

impl Task {
    fn cost(&self, item: &Item) -> Duration {
        match item {
            Item::Text(text) => self.loaded.cost.of_text(text.len(), self.truncate),
            Item::Encoded(encoding) => self.loaded.cost.running(encoding),
        }
    }
}

impl Progress {
    fn put(&mut self, index: usize, prediction: Prediction) {
        self.predictions[index] = Some(prediction);
        self.done += 1;
    }

    /// Notes a fault; of several texts the first one is named, in whatever order they were computed.
    fn fail(&mut self, fault: Fault) {
        self.done += 1;
        let first = match (&self.fault, &fault) {
            (Some(Fault::Text(old, _)), Fault::Text(new, _)) => new < old,
            (Some(_), _) => false,
            (None, _) => true,
        };
        if first {
            self.fault = Some(fault);
        }
    }

    fn answer_if_complete(&mut self) {
        if self.done < self.predictions.len() {
            return;
        }
        let outcome = match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(std::mem::take(&mut self.predictions).into_iter().flatten().collect()),
        };
        self.answer(outcome);
    }

    fn answer(&mut self, outcome: Outcome) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(outcome);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
