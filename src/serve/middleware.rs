//! What happens to every request, whatever its route: id, key, count, log, headers.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::http::body;
use super::http::trace::{REQUEST_ID, TRACEPARENT, TraceContext, request_id};
use super::observe::telemetry::Telemetry;
use super::problem::{Kind, Problem};
use super::{App, AppState};

/// Headers of every answer: it is data, never a page of ours to be framed, sniffed or kept.
const FIXED_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// The one layer around the routes.
pub async fn around(State(app): State<AppState>, request: Request<Body>, next: Next) -> Response {
    let mut watch = Watch::new(&app.telemetry, request.extensions().get::<MatchedPath>().cloned());
    let id = request_id(request.headers());
    #[cfg_attr(not(feature = "otlp"), expect(unused_mut))]
    let mut context = TraceContext::from_headers(request.headers());
    #[cfg(feature = "otlp")]
    let mut span = app.spans.as_ref().and_then(|spans| spans.open(&request, &id, &mut context));
    let allowed = watch.path().is_some_and(is_health) || app.keys.admit(request.headers());
    let mut response = if allowed {
        next.run(request).await
    } else {
        body::drain(&app, request.into_body()).await;
        Problem::new(Kind::Unauthorized, "send one of the server's keys: `Authorization: Bearer KEY`")
            .into_response()
    };
    let headers = response.headers_mut();
    headers.reserve(FIXED_HEADERS.len() + 3);
    for (name, value) in FIXED_HEADERS {
        headers.insert(name, value);
    }
    if app.tls.is_some() {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        );
    }
    headers.insert(REQUEST_ID, id.clone());
    if let Some(context) = &context {
        headers.insert(TRACEPARENT, context.header());
    }
    let status = response.status().as_u16();
    #[cfg(feature = "otlp")]
    if let Some(span) = &mut span {
        span.answered(status);
    }
    watch.finish(status);
    log(&app, &watch, status, &id, context.as_ref());
    response
}

/// Health is asked by machines that have no key.
fn is_health(path: &str) -> bool {
    matches!(path, "/health" | "/health/live" | "/health/ready" | "/v2/health/live" | "/v2/health/ready")
}

/// Review text is in none of this: path templates, never what filled them.
fn log(app: &App, watch: &Watch, status: u16, id: &HeaderValue, context: Option<&TraceContext>) {
    let failed = status >= 500;
    if !failed && !app.settings.log_requests {
        return;
    }
    // Refusing must stay cheap however many there are: a line costs more than the answer.
    let others = if status == 503 && !app.settings.log_requests {
        let Some(others) = app.refusals.pass() else { return };
        Some(others)
    } else {
        None
    };
    let route = watch.path().unwrap_or("other");
    let elapsed_us = watch.start.elapsed().as_micros() as u64;
    let request_id = id.to_str().unwrap_or_default();
    let (trace_id, span_id) =
        context.map_or(("", ""), |context| (context.trace_id.as_str(), context.span_id.as_str()));
    if failed {
        tracing::warn!(route, status, elapsed_us, request_id, trace_id, span_id, others, "request failed");
    } else {
        tracing::info!(route, status, elapsed_us, request_id, trace_id, span_id, "request");
    }
}

/// Counts a request once, also where its client leaves and the handler is dropped in the middle.
struct Watch<'a> {
    telemetry: &'a Telemetry,
    path: Option<MatchedPath>,
    start: Instant,
    finished: bool,
}

impl<'a> Watch<'a> {
    fn new(telemetry: &'a Telemetry, path: Option<MatchedPath>) -> Self {
        telemetry.in_flight.add(1);
        Self { telemetry, path, start: Instant::now(), finished: false }
    }

    fn path(&self) -> Option<&str> {
        self.path.as_ref().map(MatchedPath::as_str)
    }

    fn finish(&mut self, status: u16) {
        self.finished = true;
        self.telemetry.request(self.path(), status, self.start.elapsed());
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.telemetry.in_flight.add(-1);
        if !self.finished {
            self.telemetry.request(self.path(), 499, self.start.elapsed());
        }
    }
}
