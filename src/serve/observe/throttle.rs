//! Log lines of which there may be very many: one a second, with the number of those left out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Milliseconds from one line to the next.
const PERIOD_MS: u64 = 1000;

/// Lets one event a second pass.
#[derive(Debug)]
pub struct LogThrottle {
    began: Instant,
    /// When the next one may pass, in milliseconds since `began`.
    opens_ms: AtomicU64,
    suppressed: AtomicU64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self { began: Instant::now(), opens_ms: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }
}

impl LogThrottle {
    /// Whether this event may pass, and if so how many did not since the last that did.
    pub fn pass(&self) -> Option<u64> {
        self.pass_at(self.began.elapsed().as_millis() as u64)
    }

    fn pass_at(&self, now_ms: u64) -> Option<u64> {
        let opens_ms = self.opens_ms.load(Relaxed);
        let open = now_ms >= opens_ms
            && self.opens_ms.compare_exchange(opens_ms, now_ms + PERIOD_MS, Relaxed, Relaxed).is_ok();
        if open {
            return Some(self.suppressed.swap(0, Relaxed));
        }
        self.suppressed.fetch_add(1, Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second_passes_and_knows_of_the_others() {
        let throttle = LogThrottle::default();
        let passed = [0, 1, 999, 1000, 1500, 2100, 9000].map(|now_ms| throttle.pass_at(now_ms));
        assert_eq!(passed, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
