//! Answers over HTTP/2 that their client does not take: a window that stays shut keeps an answer in memory for ever,
//! and no write waits that could be timed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// The answers of one connection that have not been taken whole, by the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct StalledResponses(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    next: u64,
    since: BTreeMap<u64, Instant>,
}

impl StalledResponses {
    /// `body`, counted until it is taken or dropped.
    pub fn watch(&self, body: Body) -> Body {
        let mut answers = self.lock();
        let number = answers.next;
        answers.next += 1;
        answers.since.insert(number, Instant::now());
        drop(answers);
        Body::new(Watched { body, number, untaken: self.clone() })
    }

    /// Whether one has waited for longer than `limit`.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        self.lock().since.first_key_value().is_some_and(|(_, since)| since.elapsed() > limit)
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    body: Body,
    number: u64,
    untaken: StalledResponses,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.untaken.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_counts_until_it_is_taken() {
        let untaken = StalledResponses::default();
        let (first, second) = (untaken.watch("one".into()), untaken.watch("two".into()));
        std::thread::sleep(Duration::from_millis(2));
        assert!(untaken.is_stuck(Duration::from_millis(1)));
        assert!(!untaken.is_stuck(Duration::from_secs(60)));
        assert_eq!(first.size_hint().exact(), Some(3));
        assert_eq!(first.collect().await.unwrap().to_bytes(), "one");
        assert!(untaken.is_stuck(Duration::from_millis(1)));
        drop(second);
        assert!(!untaken.is_stuck(Duration::ZERO));
    }
}
