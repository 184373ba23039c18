//! A page that is made once a second at most, however often it is asked for.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;

/// How long a page is as good as a new one: Prometheus asks every few seconds at the most.
const LIFE: Duration = Duration::from_secs(1);

/// The latest page, and when it was made.
#[derive(Debug, Default)]
pub struct CachedPage(Mutex<Option<(Instant, Bytes)>>);

impl CachedPage {
    /// The page; `make` makes it where there is none that is young enough.
    pub fn get(&self, make: impl FnOnce() -> Bytes) -> Bytes {
        let mut page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*page {
            Some((made, bytes)) if made.elapsed() < LIFE => bytes.clone(),
            _ => {
                let bytes = make();
                *page = Some((Instant::now(), bytes.clone()));
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_readers_share_one_page() {
        let page = CachedPage::default();
        let mut made = 0;
        for _ in 0..1000 {
            let bytes = page.get(|| {
                made += 1;
                "figures".into()
            });
            assert_eq!(bytes, "figures");
        }
        assert!(made <= 2, "{made}");
    }
}
