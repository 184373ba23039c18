//! Requests of one kind: how many, with how many texts, for how long, and when the last one was.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A tally of requests.
#[derive(Debug, Default)]
pub struct Tally {
    requests: AtomicU64,
    texts: AtomicU64,
    nanoseconds: AtomicU64,
    last_ms: AtomicU64,
}

impl Tally {
    /// Counts a request about `texts` texts that took `elapsed`.
    pub fn add(&self, texts: usize, elapsed: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.requests.fetch_add(1, Relaxed);
        self.texts.fetch_add(texts as u64, Relaxed);
        self.nanoseconds.fetch_add(elapsed.as_nanos() as u64, Relaxed);
        self.last_ms.fetch_max(now.as_millis() as u64, Relaxed);
    }

    /// How many requests.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// How many texts they had together.
    pub fn texts(&self) -> u64 {
        self.texts.load(Relaxed)
    }

    /// How long they took together.
    pub fn nanoseconds(&self) -> u64 {
        self.nanoseconds.load(Relaxed)
    }

    /// When the last one was, in milliseconds since 1970; 0 where there was none.
    pub fn last_ms(&self) -> u64 {
        self.last_ms.load(Relaxed)
    }
}
