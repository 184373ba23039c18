//! What a connection has asked for so far, as its bytes and its requests tell: what its time-outs go by.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The requests of one connection.
#[derive(Debug)]
pub struct Activity {
    created: Instant,
    asked: AtomicU64,
    open: AtomicU64,
    http2: AtomicBool,
    /// When the first byte came after the last request, in milliseconds since `created` and one; 0 where none came.
    header_ms: AtomicU64,
}

/// A request that is not answered yet, until it is dropped.
#[derive(Debug)]
pub struct OpenRequest(Arc<Activity>);

impl Default for Activity {
    fn default() -> Self {
        let (asked, open, http2, header_ms) = Default::default();
        Self { created: Instant::now(), asked, open, http2, header_ms }
    }
}

impl Activity {
    /// Notes that the header of a request is there whole.
    pub fn begin(self: &Arc<Self>, http2: bool) -> OpenRequest {
        self.asked.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
        self.http2.store(http2, Relaxed);
        self.header_ms.store(0, Relaxed);
        OpenRequest(self.clone())
    }

    /// Whether anything was asked so far.
    pub fn has_asked(&self) -> bool {
        self.asked.load(Relaxed) > 0
    }

    /// Whether no request is open.
    pub fn is_quiet(&self) -> bool {
        self.open.load(Relaxed) == 0
    }

    /// Whether the requests came by HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// For how long the header of a request has been arriving; `None` where none is. HTTP/2 has other frames besides, so
    /// that its bytes tell nothing.
    pub fn header_age(&self) -> Option<Duration> {
        let since = self.header_ms.load(Relaxed).checked_sub(1)?;
        (self.is_quiet() && !self.is_http2())
            .then(|| self.created.elapsed().saturating_sub(Duration::from_millis(since)))
    }

    fn note_bytes(&self) {
        if self.is_quiet() && self.header_ms.load(Relaxed) == 0 {
            self.header_ms.store(self.created.elapsed().as_millis() as u64 + 1, Relaxed);
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// A stream whose incoming bytes are noted.
pub struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    /// Notes the bytes of `stream` in `activity`.
    pub fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.note_bytes();
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context,
        buffers: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_arrives_from_its_first_byte_until_its_request() {
        let activity = Arc::<Activity>::default();
        assert!(activity.header_age().is_none() && !activity.has_asked());
        activity.note_bytes();
        assert!(activity.header_age().is_some());
        let request = activity.begin(false);
        activity.note_bytes();
        assert!(activity.header_age().is_none() && !activity.is_quiet(), "bytes of its body");
        drop(request);
        assert!(activity.header_age().is_none() && activity.is_quiet() && activity.has_asked());
        activity.note_bytes();
        assert!(activity.header_age().is_some());
        drop(activity.begin(true));
        activity.note_bytes();
        assert!(activity.header_age().is_none(), "a PING, for all we know");
    }
}
