//! One budget for every byte that is held for clients: bodies, texts, ids, open streams, answers not yet taken.
//!
//! Every connection may hold a little by right, so that a small request is answered however much others hold; all that
//! goes beyond comes from one room that all connections share. So what is held at most is known when the server starts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::observe::telemetry::{ShedReason, Telemetry};
use super::problem::{Problem, ProblemKind};
use super::settings::PERMIT_BYTES;

/// What one connection may hold by right: some reviews with all that scoring them takes.
pub const ALLOWANCE_BYTES: usize = 16 * 1024;
/// What an open stream or request costs besides its body: the tasks and buffers of hyper, h2 and the router. Measured are
/// 6.5 to 7.6 KiB for one of many streams that wait for their bodies, a third more with what the allocator loses.
pub const REQUEST_BYTES: usize = 10 * 1024;
/// What an HTTP/2 connection costs by itself: measured are 18 KiB, and half a KiB more for each stream that was ever open
/// together with others, which `--max-streams` bounds.
pub const CONNECTION_BYTES: usize = 18 * 1024;

/// The room that all connections share; clones are the same room.
#[derive(Clone, Debug)]
pub struct Budget {
    room: Arc<Semaphore>,
    /// Bytes of the room when nobody holds any.
    whole: usize,
    telemetry: Arc<Telemetry>,
}

impl Budget {
    /// Room for `bytes` beyond what each connection may hold by right.
    pub fn new(bytes: usize, telemetry: Arc<Telemetry>) -> Self {
        Self { room: Arc::new(Semaphore::new(bytes / PERMIT_BYTES)), whole: bytes, telemetry }
    }

    /// Takes `bytes` for `client`.
    ///
    /// # Errors
    /// As [`Charge::add`].
    pub fn charge(&self, client: &Arc<Client>, bytes: usize) -> Result<Charge, Problem> {
        let mut charge = self.empty(client);
        charge.add(bytes)?;
        Ok(charge)
    }

    /// Takes `bytes` out of the shared room for the connection of `client` itself, where there is room: it is served all
    /// the same where there is none, by what it may hold by right.
    pub fn set_aside(&self, client: &Arc<Client>, bytes: usize) -> Option<Charge> {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        let shared = self.room.clone().try_acquire_many_owned(u32::try_from(permits).ok()?).ok()?;
        self.telemetry.held_bytes.add((permits * PERMIT_BYTES) as i64);
        let mut charge = self.empty(client);
        charge.shared = Some(shared);
        Some(charge)
    }

    fn empty(&self, client: &Arc<Client>) -> Charge {
        Charge { client: client.clone(), budget: self.clone(), beside: 0, own: 0, shared: None }
    }

    /// Takes `bytes` for `client`, which waits where there is no room: that is no refusal, and not counted as one.
    pub fn try_charge(&self, client: &Arc<Client>, bytes: usize) -> Option<Charge> {
        let permits = bytes.div_ceil(PERMIT_BYTES);
        // The connection's own allowance may spare some of it; without a look at that, no more is asked for than needed.
        if permits > self.room.available_permits() + ALLOWANCE_BYTES / PERMIT_BYTES {
            return None;
        }
        self.charge(client, bytes).ok()
    }
}

/// What is held for one request; given back when it is dropped.
#[derive(Debug)]
pub struct Charge {
    client: Arc<Client>,
    budget: Budget,
    /// Bytes that the same request held already when this was begun, in a charge of its own.
    beside: usize,
    /// Bytes out of the connection's own allowance.
    own: usize,
    /// Those out of the shared room.
    shared: Option<OwnedSemaphorePermit>,
}

impl Charge {
    /// Takes `bytes` more.
    ///
    /// # Errors
    /// 503 where there is no room, 413 where there never is, whoever else gives up what he holds; then nothing has changed.
    pub fn add(&mut self, bytes: usize) -> Result<(), Problem> {
        if self.held().saturating_add(bytes) > self.budget.whole.saturating_add(ALLOWANCE_BYTES) {
            let detail =
                "the request takes more memory than there is for all clients together; ask for less at once";
            return Err(Problem::new(ProblemKind::TooLarge, detail));
        }
        let own = self.client.take_allowance(bytes);
        let permits = (bytes - own).div_ceil(PERMIT_BYTES);
        if permits > 0 {
            let taken = u32::try_from(permits).ok();
            let taken = taken.and_then(|count| self.budget.room.clone().try_acquire_many_owned(count).ok());
            let Some(more) = taken else {
                self.client.allowance.fetch_add(own, Relaxed);
                self.budget.telemetry.shed.inc(ShedReason::Overload);
                let detail = "too many bytes of other requests are being held; come back later";
                return Err(Problem::new(ProblemKind::Overloaded, detail));
            };
            match &mut self.shared {
                Some(shared) => shared.merge(more),
                None => self.shared = Some(more),
            }
        }
        self.own += own;
        self.budget.telemetry.held_bytes.add((own + permits * PERMIT_BYTES) as i64);
        Ok(())
    }

    /// Takes `bytes` for the same connection, to be held by themselves.
    ///
    /// # Errors
    /// As [`Charge::add`].
    pub fn another(&self, bytes: usize) -> Result<Self, Problem> {
        let mut charge = self.budget.empty(&self.client);
        charge.beside = self.held();
        charge.add(bytes)?;
        Ok(charge)
    }

    /// Bytes that the request holds, as far as this charge knows.
    fn held(&self) -> usize {
        let shared = self.shared.as_ref().map_or(0, |shared| shared.num_permits() * PERMIT_BYTES);
        self.beside + self.own + shared
    }

    /// For whom it is held.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let shared = self.shared.as_ref().map_or(0, |shared| shared.num_permits() * PERMIT_BYTES);
        self.budget.telemetry.held_bytes.add(-((self.own + shared) as i64));
        self.client.allowance.fetch_add(self.own, Relaxed);
    }
}

/// What is held as long as an answer is not taken: for its request, and for itself.
pub type Held = (Option<Arc<Charge>>, Option<Charge>);

/// One connection, as the rest of the service sees it: what it holds, and whether it does anything.
#[derive(Debug)]
pub struct Client {
    /// A number that no other connection of this process has.
    pub id: u64,
    /// The address of its other end; `None` for a Unix socket.
    pub peer: Option<IpAddr>,
    /// Bytes that it may still hold by right.
    allowance: AtomicUsize,
    /// Requests that the server is at; one whose body is awaited is not among them.
    working: AtomicI64,
    /// When it last asked or was answered, in milliseconds of [`now_ms`].
    last_ms: AtomicU64,
    /// Answers that it has not taken whole, by the order in which they came.
    answers: Mutex<Answers>,
    /// Told when it has to give way.
    close: Notify,
}

#[derive(Debug, Default)]
struct Answers {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl Default for Client {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Relaxed),
            peer: None,
            allowance: AtomicUsize::new(ALLOWANCE_BYTES),
            working: AtomicI64::new(0),
            last_ms: AtomicU64::new(now_ms()),
            answers: Mutex::default(),
            close: Notify::new(),
        }
    }
}

/// As long as it lives, the server is at work for the connection, or (`begin` -1) waits for its body meanwhile.
#[derive(Debug)]
pub struct Working {
    client: Arc<Client>,
    by: i64,
}

impl Client {
    /// The connection from `peer`.
    pub fn of(peer: Option<IpAddr>) -> Self {
        Self { peer, ..Self::default() }
    }

    /// Notes that the server works for it until the guard is dropped.
    pub fn work(self: &Arc<Self>) -> Working {
        self.note(1);
        Working { client: self.clone(), by: 1 }
    }

    /// Notes that the server waits for it, in the middle of its work, until the guard is dropped.
    pub fn wait(self: &Arc<Self>) -> Working {
        self.note(-1);
        Working { client: self.clone(), by: -1 }
    }

    /// How long the server has not worked for it; `None` where it does.
    pub fn idle(&self) -> Option<Duration> {
        let idle_ms = now_ms().saturating_sub(self.last_ms.load(Relaxed));
        (self.working.load(Relaxed) <= 0).then_some(Duration::from_millis(idle_ms))
    }

    /// `bytes` as an answer that is watched, and `held` with it, until the connection has taken all of it.
    pub fn watch(self: &Arc<Self>, bytes: Bytes, held: Held) -> Bytes {
        let mut answers = self.answers();
        let number = answers.next;
        answers.next += 1;
        answers.since.insert(number, Instant::now());
        drop(answers);
        Bytes::from_owner(WatchedAnswer { bytes, number, client: self.clone(), _held: held })
    }

    /// Whether an answer has waited to be taken for longer than `limit`.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        self.answers().since.first_key_value().is_some_and(|(_, since)| since.elapsed() > limit)
    }

    /// Answers that it has not taken.
    pub fn untaken(&self) -> usize {
        self.answers().since.len()
    }

    /// Has the connection closed.
    pub fn close(&self) {
        self.close.notify_one();
    }

    /// Ready when the connection has to be closed.
    pub async fn closed(&self) {
        self.close.notified().await;
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, by: i64) {
        self.working.fetch_add(by, Relaxed);
        self.last_ms.store(now_ms(), Relaxed);
    }

    /// Takes as much of `bytes` as it may still hold by right.
    fn take_allowance(&self, bytes: usize) -> usize {
        let take = |left: usize| Some(left - left.min(bytes));
        let left = self.allowance.fetch_update(Relaxed, Relaxed, take).unwrap_or_default();
        left.min(bytes)
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.client.note(-self.by);
    }
}

/// The bytes of an answer; whoever writes them to the connection drops them when all are written.
struct WatchedAnswer {
    bytes: Bytes,
    number: u64,
    client: Arc<Client>,
    _held: Held,
}

impl AsRef<[u8]> for WatchedAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for WatchedAnswer {
    fn drop(&mut self) {
        self.client.answers().since.remove(&self.number);
    }
}

/// Milliseconds since the first call.
fn now_ms() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_request_is_held_by_right_and_a_large_one_out_of_the_room() {
        let telemetry = Arc::new(Telemetry::default());
        let budget = Budget::new(64 * 1024, telemetry.clone());
        let (greedy, modest) = (Arc::<Client>::default(), Arc::<Client>::default());
        let mut all = budget.charge(&greedy, 64 * 1024 + ALLOWANCE_BYTES).unwrap();
        // What it holds itself it cannot wait for, whether this charge or one beside it holds it.
        assert_eq!(all.add(1).unwrap_err().kind(), ProblemKind::TooLarge);
        assert_eq!(all.another(1).unwrap_err().kind(), ProblemKind::TooLarge);
        let more_than_is_left = budget.charge(&modest, ALLOWANCE_BYTES + 1).unwrap_err();
        assert_eq!(more_than_is_left.kind(), ProblemKind::Overloaded);
        let small = budget.charge(&modest, ALLOWANCE_BYTES).unwrap();
        assert!(budget.charge(&modest, 1).is_err());
        drop(small);
        assert!(budget.charge(&modest, ALLOWANCE_BYTES + 1).is_err());
        let never = budget.charge(&modest, 64 * 1024 + ALLOWANCE_BYTES + 1).unwrap_err();
        assert_eq!(never.kind(), ProblemKind::TooLarge);
        assert_eq!(telemetry.held_bytes.get(), (64 * 1024 + ALLOWANCE_BYTES) as i64);
        drop(all);
        assert_eq!(telemetry.held_bytes.get(), 0);
        let aside = budget.set_aside(&modest, 64 * 1024).unwrap();
        assert!(budget.set_aside(&greedy, 1).is_none());
        assert!(budget.charge(&modest, ALLOWANCE_BYTES).is_ok(), "what it may hold by right is left");
        assert_eq!(telemetry.held_bytes.get(), 64 * 1024);
        drop(aside);
        assert!(budget.charge(&modest, 64 * 1024 + ALLOWANCE_BYTES).is_ok());
    }

    #[test]
    fn an_answer_counts_until_its_last_byte_is_taken() {
        let client = Arc::<Client>::default();
        let (first, second) =
            (client.watch("one".into(), (None, None)), client.watch("two".into(), (None, None)));
        std::thread::sleep(Duration::from_millis(2));
        assert!(client.is_stuck(Duration::from_millis(1)));
        assert!(!client.is_stuck(Duration::from_secs(60)));
        let rest = first.slice(1..);
        assert_eq!((&first[..], &rest[..]), (&b"one"[..], &b"ne"[..]));
        drop((first, second));
        assert!(client.is_stuck(Duration::ZERO), "a byte of the first is not taken");
        drop(rest);
        assert!(!client.is_stuck(Duration::ZERO));
    }

    #[test]
    fn a_connection_whose_body_is_awaited_is_idle() {
        let client = Arc::<Client>::default();
        let work = client.work();
        assert!(client.idle().is_none());
        let wait = client.wait();
        assert!(client.idle().is_some());
        drop(wait);
        assert!(client.idle().is_none());
        drop(work);
        assert!(client.idle().is_some());
    }
}
