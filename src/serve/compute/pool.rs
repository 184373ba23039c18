//! Compute threads of the service's own behind a bounded, fair queue.
//!
//! Requests take turns. A thread takes a batch of the request in front (about a millisecond of work, or as many texts as the
//! kernel computes together, in two or three), and the rest of that request goes to the back of the queue. So a single review
//! waits for at most one batch of every request before it, however many texts those have. Requests that wait for the same
//! model are computed together, where there are more of them than threads.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::admission::{Admission, Gate};
use super::fair::FairQueue;
use super::task::{ComputeError, Input, Job, Outcome, Progress, TURN, Task, WorkItem};
use crate::serve::observe::telemetry::{ShedReason, Telemetry};

/// Most units in one turn: more than any batch kernel gains from. Untuned.
const MAX_TOGETHER: usize = 64;
/// Most shadow texts waiting; further ones are dropped, they are a sample anyway.
const MAX_BACKGROUND: usize = 128;

type Closure = Box<dyn FnOnce() + Send>;

/// The compute threads.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
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
    ready: FairQueue<Arc<Task>>,
    /// Reading and writing of large bodies.
    closures: VecDeque<Closure>,
    /// Work in turns of its own, which alternate with those of `ready`.
    turns: VecDeque<Closure>,
    /// Whether the next turn is one of `turns`, where there is any.
    turns_next: bool,
    /// What nobody waits for.
    background: VecDeque<Closure>,
    closed: bool,
    /// Whether the last turn was a closure's: then a batch goes first.
    closure_before: bool,
}

/// Some units of one task.
struct Batch {
    task: Arc<Task>,
    units: Vec<WorkItem>,
}

enum Work {
    Closure(Closure),
    Batches(Vec<Batch>),
}

impl Pool {
    /// Starts `threads` threads, with room for `capacity` reviews of `longest` tokens waiting and in
    /// work.
    pub fn start(
        threads: usize,
        capacity: usize,
        longest: usize,
        telemetry: Arc<Telemetry>,
    ) -> std::io::Result<Self> {
        let (queue, wake) = Default::default();
        let shared = Arc::new(Shared { queue, wake, telemetry, threads });
        for index in 0..threads {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("compute-{index}")).spawn(move || shared.work())?;
        }
        Ok(Self { shared, gate: Gate::new(capacity.saturating_mul(longest)), capacity })
    }

    /// Room for `reviews` of `client` with `tokens` together, all or none; `None` at once where there is not so much.
    pub fn admit(&self, client: u64, reviews: usize, tokens: usize) -> Option<Admission> {
        self.gate.admit(client, reviews, tokens)
    }

    /// The same, when there is so much room; `None` where there never is.
    pub async fn admit_in_turn(&self, client: u64, reviews: usize, tokens: usize) -> Option<Admission> {
        self.gate.admit_in_turn(client, reviews, tokens).await
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Most reviews of full length waiting and in work.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Reviews waiting and in work.
    pub fn pending(&self) -> usize {
        self.gate.reviews()
    }

    /// Requests waiting for a turn.
    pub fn depth(&self) -> usize {
        let queue = lock(&self.shared.queue);
        queue.ready.len() + queue.closures.len() + queue.turns.len()
    }

    /// Computes `job`; dropping the future drops what of it has not begun.
    pub async fn run(&self, job: Job) -> Outcome {
        let deadline = job.deadline;
        let (task, answer) = Task::new(job);
        lock(&self.shared.queue).ready.push_back(task.client, Arc::new(task));
        self.shared.wake.notify_one();
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(ComputeError::Panicked),
            Err(_) => Err(ComputeError::Deadline),
        }
    }

    /// Runs `work` on a compute thread: for what is no inference but would hold an HTTP thread too long.
    ///
    /// # Errors
    /// [`ComputeError::Panicked`] where `work` panics.
    pub async fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        self.answered(work, |queue| &mut queue.closures).await
    }

    /// Runs `work`, which takes about a turn's time, when its turn comes: one such turn for each turn of predictions.
    ///
    /// # Errors
    /// [`ComputeError::Panicked`] where `work` panics.
    pub async fn turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ComputeError> {
        self.answered(work, |queue| &mut queue.turns).await
    }

    /// Puts `work` into a part of the queue and waits for what it gives; it is not done for one who has gone.
    async fn answered<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        part: fn(&mut Queue) -> &mut VecDeque<Closure>,
    ) -> Result<T, ComputeError> {
        let (reply, answer) = oneshot::channel();
        let closure = move || {
            if !reply.is_closed() {
                let _ = reply.send(work());
            }
        };
        part(&mut lock(&self.shared.queue)).push_back(Box::new(closure));
        self.shared.wake.notify_one();
        answer.await.map_err(|_| ComputeError::Panicked)
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
                Work::Closure(closure) => drop(catch_unwind(AssertUnwindSafe(closure))),
                Work::Batches(batches) => self.compute(batches),
            }
        }
    }

    /// The next turn, waiting for one; `None` when the pool is closed and empty.
    fn take(&self) -> Option<Work> {
        let mut queue = lock(&self.queue);
        loop {
            // Large bodies and texts take turns, so that neither waits for all of the other.
            let batch_first = std::mem::take(&mut queue.closure_before);
            if !batch_first && let Some(closure) = queue.closures.pop_front() {
                queue.closure_before = true;
                return Some(Work::Closure(closure));
            }
            if queue.turns_next
                && let Some(closure) = queue.turns.pop_front()
            {
                queue.turns_next = false;
                return Some(Work::Closure(closure));
            }
            let batches = self.take_batches(&mut queue);
            if !batches.is_empty() {
                queue.turns_next = true;
                return Some(Work::Batches(batches));
            }
            if let Some(closure) = queue.turns.pop_front() {
                return Some(Work::Closure(closure));
            }
            if let Some(closure) = queue.closures.pop_front() {
                queue.closure_before = true;
                return Some(Work::Closure(closure));
            }
            if let Some(closure) = queue.background.pop_front() {
                return Some(Work::Closure(closure));
            }
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A batch of the request in front, and of those after it as far as they fit into the same turn.
    fn take_batches(&self, queue: &mut Queue) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let (mut spent, mut taken) = (Duration::ZERO, 0);
        // Each thread its share of what waits: one must not take everything while others are idle.
        let share = queue.ready.len().div_ceil(self.threads);
        while let Some(task) = queue.ready.front() {
            if let Some(first) = batches.first()
                && (batches.len() >= share
                    || taken == MAX_TOGETHER
                    || !Arc::ptr_eq(&first.task.loaded, &task.loaded))
            {
                break;
            }
            let mut progress = task.progress();
            if self.give_up(task, &mut progress) {
                progress.in_queue = false;
                drop(progress);
                queue.ready.pop_front();
                continue;
            }
            if !std::mem::replace(&mut progress.started, true) {
                self.telemetry.queue_wait.observe_duration(task.queued.elapsed());
            }
            let mut units = Vec::new();
            while let Some(unit) = progress.units.front() {
                let cost = task.cost(unit);
                let begun = !units.is_empty() || !batches.is_empty();
                // As many as are worth computing together may cost a turn each one by one: together they cost little more
                // than half of that on registers, and less in tiles.
                let rows = task.loaded.predictor.batch_rows();
                let limit = if taken < rows { TURN * rows as u32 } else { TURN };
                if begun && (cost > limit.saturating_sub(spent) || taken == MAX_TOGETHER) {
                    break;
                }
                spent += cost;
                taken += 1;
                units.extend(progress.units.pop_front());
            }
            if units.is_empty() && !progress.units.is_empty() {
                // It does not fit into this turn any more.
                break;
            }
            let rest = !progress.units.is_empty();
            progress.in_queue = rest;
            drop(progress);
            let task = queue.ready.pop_front().expect("it was in front");
            batches.push(Batch { task: task.clone(), units });
            if rest {
                // Other threads may take from it at once; requests that came meanwhile go first.
                queue.ready.push_back(task.client, task);
                self.wake.notify_one();
                break;
            }
        }
        batches
    }

    /// Whether nobody wants the answer any more, or it is known; then the task is dropped.
    fn give_up(&self, task: &Task, progress: &mut Progress) -> bool {
        if progress.is_answered() {
            return true;
        }
        let late = Instant::now() >= task.deadline;
        if progress.is_abandoned() && !late {
            // Past the deadline it was the handler that left, and counted it.
            self.telemetry.shed.inc(ShedReason::ClientGone);
        }
        if progress.is_abandoned() || late {
            progress.answer(Err(ComputeError::Deadline));
            return true;
        }
        false
    }

    /// Computes the batches together and answers the requests that are complete by that.
    fn compute(&self, batches: Vec<Batch>) {
        let loaded = batches[0].task.loaded.clone();
        let tasks: Vec<Arc<Task>> = batches.iter().map(|batch| batch.task.clone()).collect();
        let (mut encodings, mut places) = (Vec::new(), Vec::new());
        let start = Instant::now();
        let mut cut = false;
        for (number, Batch { task, units }) in batches.into_iter().enumerate() {
            for WorkItem { index, part, item } in units {
                let text = match item {
                    Input::Encoded(encoding) => {
                        encodings.push(encoding);
                        places.push((number, index, part));
                        continue;
                    }
                    Input::Text(text) => text,
                    Input::Fault(error) => {
                        task.progress().fail(index, error);
                        continue;
                    }
                };
                cut = true;
                // The tokenizer is total; should it ever panic, the thread lives on.
                let encode = || loaded.encode(&text, task.truncate, task.max_windows);
                match catch_unwind(AssertUnwindSafe(encode)) {
                    Ok(Ok(encoding)) if encoding.windows.len() == 1 => {
                        encodings.push(encoding);
                        places.push((number, index, part));
                    }
                    Ok(Ok(encoding)) => self.put_back(&task, index, encoding),
                    Ok(Err(error)) => task.progress().fail(index, error),
                    Err(_) => task.progress().answer(Err(ComputeError::Panicked)),
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
                    for ((number, index, part), prediction) in places.into_iter().zip(predictions) {
                        tasks[number].progress().put(index, part, prediction);
                    }
                }
                Err(_) => tasks.iter().for_each(|task| task.progress().answer(Err(ComputeError::Panicked))),
            }
        }
        tasks.iter().for_each(|task| task.progress().answer_if_complete());
    }

    /// Puts a text that turned out to have several windows back into its task, which gets further turns for it.
    fn put_back(&self, task: &Arc<Task>, index: usize, encoding: crate::predict::Encoding) {
        let mut queue = lock(&self.queue);
        let mut progress = task.progress();
        progress.add(index, encoding, &task.loaded.cost);
        if !std::mem::replace(&mut progress.in_queue, true) {
            queue.ready.push_back(task.client, task.clone());
        }
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
