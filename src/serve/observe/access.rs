//! What is logged of a request. Of review text nothing is: of an address its path, without the query.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Method, Request, Response, Uri};
use hyper::body::{Frame, SizeHint};

use crate::serve::http::trace::TraceContext;
use crate::serve::problem::ProblemType;

/// Most bytes of a path in a log line: whatever a client made up.
const MAX_PATH_BYTES: usize = 256;

tokio::task_local! {
    static TEXTS: Cell<usize>;
}

/// Notes that the request of this task asks for `count` more texts.
pub fn note_texts(count: usize) {
    // Outside of a request that is logged nobody asks.
    let _ = TEXTS.try_with(|texts| texts.set(texts.get() + count));
}

/// Runs the handler of a request; its outcome, and the texts that were asked for.
pub async fn with_texts<T>(handler: impl Future<Output = T>) -> (T, usize) {
    let counted = async {
        let outcome = handler.await;
        (outcome, TEXTS.get().get())
    };
    TEXTS.scope(Cell::new(0), counted).await
}

/// What is known of a request before it is answered.
#[derive(Debug)]
pub struct Asked {
    method: Method,
    uri: Uri,
    /// `None` for a Unix socket of this machine.
    client: Option<IpAddr>,
    bytes: Option<u64>,
    start: Instant,
}

/// How much is to be made of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is one of all that are logged.
    Plain,
    /// The server could not answer it; so many others before it were not logged.
    Failed { suppressed: Option<u64> },
}

/// What came of a request.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The answer's status.
    pub status: u16,
    /// Bytes of its body, where they are known.
    pub request_bytes: Option<u64>,
    /// Bytes of the answer's body, where they are known.
    pub response_bytes: Option<u64>,
    /// Texts that it asked for.
    pub texts: Option<usize>,
    /// Why it was not answered, or not to its end.
    pub problem: Option<ProblemType>,
}

impl Outcome {
    /// What is known of it when its answer begins.
    pub fn of(response: &Response<Body>, texts: Option<usize>) -> Self {
        Self {
            status: response.status().as_u16(),
            request_bytes: None,
            response_bytes: response.body().size_hint().exact(),
            texts,
            problem: response.extensions().get().copied(),
        }
    }
}

impl Asked {
    /// The request `request` of `client`.
    pub fn new<B: HttpBody>(request: &Request<B>, client: Option<IpAddr>) -> Self {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Self { method, uri, client, bytes: request.body().size_hint().exact(), start: Instant::now() }
    }

    /// Writes the line.
    pub fn log(
        &self,
        notice: Notice,
        route: &str,
        outcome: Outcome,
        id: &HeaderValue,
        context: Option<&TraceContext>,
    ) {
        let (method, path) = (shown(self.method.as_str()), shown(self.uri.path()));
        let (method, path) = (&*method, &*path);
        let client = self.client.map_or(Cow::Borrowed("unix"), |address| address.to_string().into());
        let client = &*client;
        let Outcome { status, texts, .. } = outcome;
        // The body that a HEAD is told of is not sent.
        let response_bytes = if self.method == Method::HEAD { Some(0) } else { outcome.response_bytes };
        let request_bytes = outcome.request_bytes.or(self.bytes);
        let problem = outcome.problem.map(|problem| problem.0);
        let elapsed_us = self.start.elapsed().as_micros() as u64;
        let request_id = id.to_str().unwrap_or_default();
        let (trace_id, span_id) =
            context.map(|context| (context.trace_id.as_str(), context.span_id.as_str())).unzip();
        macro_rules! line {
            ($level:ident, $message:literal, $suppressed:expr) => {
                tracing::$level!(
                    target: "imdb_sentiment::requests",
                    method,
                    route,
                    path,
                    client,
                    status,
                    request_bytes,
                    response_bytes,
                    texts,
                    problem,
                    elapsed_us,
                    request_id,
                    trace_id,
                    span_id,
                    suppressed = $suppressed,
                    $message
                )
            };
        }
        match notice {
            Notice::Plain => line!(info, "request", None::<u64>),
            Notice::Failed { suppressed } => line!(warn, "request failed", suppressed),
        }
    }
}

/// An answer that is made bit by bit: when it has ended, or its client is gone, it is told how many bytes it had.
pub struct ToldAtTheEnd<F: FnOnce(u64)> {
    body: Body,
    bytes: u64,
    tell: Option<F>,
}

impl<F: FnOnce(u64)> ToldAtTheEnd<F> {
    /// `body`, at whose end `tell` is called.
    pub fn new(body: Body, tell: F) -> Self {
        Self { body, bytes: 0, tell: Some(tell) }
    }
}

impl<F: FnOnce(u64) + Unpin> HttpBody for ToldAtTheEnd<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<F: FnOnce(u64)> Drop for ToldAtTheEnd<F> {
    fn drop(&mut self) {
        if let Some(tell) = self.tell.take() {
            tell(self.bytes);
        }
    }
}

/// `text` as it is, or its beginning.
fn shown(text: &str) -> Cow<'_, str> {
    let end = (0..=MAX_PATH_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    if end == text.len() { text.into() } else { format!("{}…", &text[..end]).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_where_a_character_ends() {
        assert_eq!(shown("/predict"), "/predict");
        let long = shown(&"é".repeat(1000)).into_owned();
        assert!(long.len() <= MAX_PATH_BYTES + 3 && long.ends_with("é…"), "{long}");
    }
}
