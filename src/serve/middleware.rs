//! What happens to every request, whatever its route: id, key, count, log, headers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{MatchedPath, State};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;

use super::app::{App, AppState};
use super::budget::{Charge, Client};
use super::forwarded::client_address;
use super::http::trace::{REQUEST_ID, TRACEPARENT, TraceContext, request_id};
use super::http::{SharedPage, Streamed};
use super::observe::access::{self, Asked, Notice, Outcome, ToldAtTheEnd};
use super::observe::routes::{CLIENT_GONE, RouteSeries};
use super::observe::telemetry::Telemetry;
use super::problem::{PROBLEM_JSON, Problem, ProblemKind, ProblemType};

/// Headers of every answer that has none of its own (the page has): it is data, never to be framed, sniffed or kept.
const FIXED_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Most short errors that a connection may leave untaken where there is no room to charge it for them.
const MAX_UNCHARGED: usize = 8;

/// Whose errors are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Ours,
    OpenInference,
}

impl Protocol {
    fn of(uri: &Uri) -> Self {
        match uri.path().strip_prefix("/v2") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Self::OpenInference,
            _ => Self::Ours,
        }
    }
}

/// The one layer around the routes.
pub async fn layer(State(app): State<AppState>, request: Request<Body>, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let served = app.served.get().expect("the router is made before it is asked");
    let mut guard = RequestGuard::new(&app.telemetry, served.routes.get(path.map(MatchedPath::as_str)));
    let id = request_id(request.headers());
    let mut context = TraceContext::from_headers(request.headers());
    let mut span = app.spans.open(&request, &id, &mut context);
    let client = request.extensions().get::<Arc<Client>>().cloned().unwrap_or_default();
    let charge = request.extensions().get::<Arc<Charge>>().cloned();
    let asked = asked(&app, &client, &request);
    let (version, protocol) = (request.version(), Protocol::of(request.uri()));
    let (response, texts) = if !(guard.route.is_open(request.method()) || app.keys.admit(request.headers())) {
        app.bodies.drain(request).await;
        let detail = "send one of the server's keys: `Authorization: Bearer KEY`";
        (Problem::new(ProblemKind::Unauthorized, detail).into_response(), None)
    } else if app.settings.log_requests {
        let (response, texts) = access::with_texts(next.run(request)).await;
        (response, Some(texts))
    } else {
        (next.run(request).await, None)
    };
    // What packs answers has found that none of its ways is taken.
    let streamed = response.extensions().get::<Streamed>().cloned();
    let response = match response.status() {
        StatusCode::NOT_ACCEPTABLE => Problem::new(
            ProblemKind::NotAcceptable,
            "accept-encoding takes none of identity, gzip, deflate, zstd",
        )
        .into_response(),
        _ => response,
    };
    let mut response = hold(&app, &client, response, charge).await;
    let status = response.status().as_u16();
    finish(&app, protocol, &mut response, version, &id, context.as_ref());
    if let Some(span) = &mut span {
        span.answered(status);
    }
    guard.finish(status);
    let Some(notice) = notice(&app, &response) else { return response };
    let outcome = Outcome::of(&response, texts);
    let Some(streamed) = streamed else {
        asked.log(notice, &guard.route.path, outcome, &id, context.as_ref());
        return response;
    };
    let route = guard.route.path.clone();
    response.map(|body| {
        Body::new(ToldAtTheEnd::new(body, move |sent| {
            let (texts, bytes, problem) = streamed.figures();
            let outcome = Outcome {
                request_bytes: Some(bytes),
                response_bytes: Some(sent),
                texts: Some(texts),
                problem,
                ..outcome
            };
            asked.log(notice, &route, outcome, &id, context.as_ref());
        }))
    })
}

/// What the log may have to tell of `request`.
fn asked<B: HttpBody>(app: &App, client: &Client, request: &Request<B>) -> Asked {
    Asked::new(request, client_address(client.peer, request.headers(), &app.settings.trusted_proxies))
}

/// The answer to a request for which there is no room: made at once, without a look at its path or its body.
///
/// # Errors
/// Where the connection has left some of them untaken already: HTTP/2 gets a frame of thirteen bytes for the stream
/// (REFUSED_STREAM: nothing was done for it, it may be sent again), HTTP/1 an end.
pub fn turn_away<B: HttpBody>(
    app: &App,
    client: &Arc<Client>,
    request: &Request<B>,
    problem: Problem,
) -> Result<Response, h2::Error> {
    let served = app.served.get().expect("the router is made before it is asked");
    let mut guard = RequestGuard::new(&app.telemetry, served.routes.get(None));
    let id = request_id(request.headers());
    let asked = asked(app, client, request);
    // Nothing is held for it beside a short error, and not many of those.
    if client.untaken() >= MAX_UNCHARGED {
        guard.finish(problem.kind().status().as_u16());
        return Err(h2::Reason::REFUSED_STREAM.into());
    }
    let (parts, body) = problem.into_response().into_parts();
    let mut response = Response::from_parts(parts, client.watch(whole(body), (None, None)).into());
    let status = response.status().as_u16();
    finish(app, Protocol::of(request.uri()), &mut response, request.version(), &id, None);
    guard.finish(status);
    if let Some(notice) = notice(app, &response) {
        asked.log(notice, &guard.route.path, Outcome::of(&response, None), &id, None);
    }
    Ok(response)
}

/// Headers that every answer has.
fn finish(
    app: &App,
    protocol: Protocol,
    response: &mut Response,
    version: Version,
    id: &HeaderValue,
    context: Option<&TraceContext>,
) {
    let status = response.status();
    let headers = response.headers_mut();
    headers.reserve(FIXED_HEADERS.len() + 4);
    for (name, value) in FIXED_HEADERS {
        headers.entry(name).or_insert(value);
    }
    if app.tls.is_some() {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000; includeSubDomains"),
        );
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, app.settings.retry_after_seconds.into());
    }
    // A client that is told goes by itself, and loses nothing: its next request could meet a connection that is closed. Over
    // HTTP/2 a GOAWAY tells it.
    if app.is_draining() && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    // The protocol's clients look for `error` in what is called JSON alone.
    if protocol == Protocol::OpenInference
        && headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON)
    {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(REQUEST_ID, id.clone());
    if let Some(context) = context {
        headers.insert(TRACEPARENT, context.header());
    }
}

/// An answer whose bytes, and whose request by `charge`, are held and watched until the client has taken them.
async fn hold(app: &App, client: &Arc<Client>, response: Response, charge: Option<Arc<Charge>>) -> Response {
    let (mut parts, body) = response.into_parts();
    if parts.extensions.remove::<Streamed>().is_some() {
        return Response::from_parts(parts, body);
    }
    // All of it is there: made at once, or out of that by what packs it.
    let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if bytes.is_empty() {
        return Response::from_parts(parts, Body::empty());
    }
    // A page that all readers share costs nothing more for one more of them; what is packed for one is a copy.
    let shared = parts.extensions.remove::<SharedPage>().is_some();
    let (packed, varies) = (header::CONTENT_ENCODING, header::VARY);
    let copied = parts.headers.contains_key(packed) && parts.headers.contains_key(varies);
    let cost = if shared && !copied { 0 } else { bytes.len() };
    match app.budget.charge(client, cost) {
        Ok(own) => Response::from_parts(parts, client.watch(bytes, (charge, Some(own))).into()),
        Err(problem) if parts.status.is_success() => {
            let (parts, body) = problem.into_response().into_parts();
            Response::from_parts(parts, client.watch(whole(body), (charge, None)).into())
        }
        // An error is short and must get through.
        Err(_) => Response::from_parts(parts, client.watch(bytes, (charge, None)).into()),
    }
}

/// The bytes of `body`, which is an error's and whole in memory already.
fn whole(mut body: Body) -> Bytes {
    match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        _ => Bytes::new(),
    }
}

/// What the log is to make of a request that is answered with `response`, if anything.
fn notice(app: &App, response: &Response) -> Option<Notice> {
    let status = response.status();
    let log_requests = app.settings.log_requests;
    // A server that was told to stop is not ready, and that is no fault.
    let told = response.extensions().get::<ProblemType>();
    let drains = app.is_draining() && told == Some(&ProblemKind::NotReady.problem_type());
    if !status.is_server_error() || drains {
        return log_requests.then_some(Notice::Plain);
    }
    // Refusing must stay cheap however many there are: a line costs more than the answer.
    let suppressed = match status {
        StatusCode::SERVICE_UNAVAILABLE if !log_requests => Some(app.refusals.pass()?),
        _ => None,
    };
    Some(Notice::Failed { suppressed })
}

/// Counts a request once, also where its client leaves and the handler is dropped in the middle.
struct RequestGuard<'a> {
    telemetry: &'a Telemetry,
    route: &'a RouteSeries,
    start: Instant,
    finished: bool,
}

impl<'a> RequestGuard<'a> {
    fn new(telemetry: &'a Telemetry, route: &'a RouteSeries) -> Self {
        telemetry.in_flight.add(1);
        Self { telemetry, route, start: Instant::now(), finished: false }
    }

    fn finish(&mut self, status: u16) {
        self.finished = true;
        self.route.count(status, self.start.elapsed());
    }
}

impl Drop for RequestGuard<'_> {
    fn drop(&mut self) {
        self.telemetry.in_flight.add(-1);
        if !self.finished {
            self.route.count(CLIENT_GONE, self.start.elapsed());
        }
    }
}
