//! Where the streams of an HTTP/2 connection run.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Runs each stream of one connection as a task, but for those that are turned away, which are done with on the spot.
///
/// A task waits in line behind all others, with what its answer takes: sixty thousand streams that were turned away at
/// once held more than all that were let in.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    next_is_turned_away: Arc<AtomicBool>,
}

impl Streams {
    /// Tells that the stream which is handed over next is turned away.
    pub fn next_is_turned_away(&self) {
        self.next_is_turned_away.store(true, Relaxed);
    }
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        if !self.next_is_turned_away.swap(false, Relaxed) {
            tokio::spawn(stream);
            return;
        }
        let mut stream = Box::pin(stream);
        // Where the client lets nothing be sent it has to wait after all.
        if stream.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            tokio::spawn(stream);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_turned_away_is_done_with_on_the_spot() {
        let (streams, done) = (Streams::default(), Arc::<AtomicBool>::default());
        let stream = |waits: bool| {
            let done = done.clone();
            async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                done.store(true, Relaxed);
            }
        };
        streams.execute(stream(false));
        assert!(!done.swap(false, Relaxed), "a task of its own has not begun");
        tokio::task::yield_now().await;
        assert!(done.swap(false, Relaxed));
        streams.next_is_turned_away();
        streams.execute(stream(false));
        assert!(done.swap(false, Relaxed));
        streams.next_is_turned_away();
        streams.execute(stream(true));
        assert!(!done.load(Relaxed));
        while !done.load(Relaxed) {
            tokio::task::yield_now().await;
        }
    }
}
