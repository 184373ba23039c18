//! What is logged of a request. Of review text nothing is: of an address its path, without the query.

use std::borrow::Cow;
use std::cell::Cell;
use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Method, Request, Response, Uri};

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
        response: &Response<Body>,
        texts: Option<usize>,
        id: &HeaderValue,
        context: Option<&TraceContext>,
    ) {
        let (method, path) = (shown(self.method.as_str()), shown(self.uri.path()));
        let (method, path) = (&*method, &*path);
        let client = self.client.map_or(Cow::Borrowed("unix"), |address| address.to_string().into());
        let client = &*client;
        let status = response.status().as_u16();
        let (request_bytes, response_bytes) = (self.bytes, response.body().size_hint().exact());
        let problem = response.extensions().get::<ProblemType>().map(|problem| problem.0);
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
