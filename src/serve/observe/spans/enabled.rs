//! A span of every request, sent in batches to an OpenTelemetry collector (OTLP over HTTP, protobuf).
//!
//! The request's own thread only puts the span into a bounded queue, or drops it where that is full; a thread of the
//! SDK's sends. `OTEL_BSP_*` sets its batches, `OTEL_EXPORTER_OTLP_HEADERS` headers, `OTEL_RESOURCE_ATTRIBUTES` what
//! else is said of the service; `choices` tells the others.

use std::time::{Duration, Instant, SystemTime};

use axum::extract::MatchedPath;
use axum::http::uri::Uri;
use axum::http::{HeaderValue, Method, Request};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, SpanData, SpanEvents, SpanExporter as _, SpanLinks, SpanProcessor,
};

use super::choices::{Choices, Sampling};
use crate::error::{Error, Result};
use crate::serve::http::trace::TraceContext;
use crate::serve::observe::throttle::LogThrottle;
use crate::serve::settings::Settings;

/// Time for the collector to take one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for the last spans to be sent at the end; a collector that is silent must not hold the process.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest answer of a collector that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Spans of requests, where a collector is named.
#[derive(Debug)]
pub struct Spans(Option<Sender>);

/// What spans are handed to.
#[derive(Debug)]
struct Sender {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    sampling: Sampling,
}

impl Spans {
    /// Starts the sending thread where `settings` name a collector.
    ///
    /// # Errors
    /// [`Error::Setting`] for an address that is none, and for what [`Choices::read`] refuses.
    pub fn start(settings: &Settings) -> Result<Self> {
        // A variable that is set to nothing counts as not set (OpenTelemetry's general rule).
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let (whole, base) = (given(&settings.otlp_traces_endpoint), given(&settings.otlp_endpoint));
        if whole.is_none() && base.is_none() {
            return Ok(Self(None));
        }
        let choices = Choices::read(|name| std::env::var(name).ok())?;
        choices.notes.iter().for_each(|note| tracing::warn!("{note}"));
        if choices.off {
            return Ok(Self(None));
        }
        let (name, address, path) = match whole {
            Some(whole) => ("--otlp-traces-endpoint", whole, ""),
            None => ("--otlp-endpoint", base.unwrap_or_default(), "/v1/traces"),
        };
        let address = check_address(name, &address, path)?;
        check_batches()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(address)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|e| Error::setting(name, e.to_string()))?;
        exporter.set_resource(&resource(given(&settings.otlp_service_name)));
        let processor = BatchSpanProcessor::builder(exporter).build();
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build();
        Ok(Self(Some(Sender { processor, scope, sampling: choices.sampling })))
    }

    /// Begins the span of a request in its caller's trace, or in one of its own, which `context` then holds.
    ///
    /// `None` where there is no collector, or the sampler leaves the request out.
    pub fn open<B>(
        &self,
        request: &Request<B>,
        request_id: &HeaderValue,
        context: &mut Option<TraceContext>,
    ) -> Option<OpenSpan<'_>> {
        let sender = self.0.as_ref()?;
        let context = context.get_or_insert_with(TraceContext::root);
        let takes = sender.sampling.takes(context);
        context.set_sampled(takes);
        takes.then(|| OpenSpan {
            sender,
            context: context.clone(),
            method: method_name(request.method()),
            route: request.extensions().get::<MatchedPath>().cloned(),
            request_id: request_id.clone(),
            began_at: SystemTime::now(),
            start: Instant::now(),
            status: None,
        })
    }

    /// Sends what is left, for a second at most.
    pub fn stop(&self) {
        let Some(sender) = &self.0 else { return };
        if let Err(error) = sender.processor.shutdown_with_timeout(STOP_TIMEOUT) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// What is said of the service: `name`, else what `OTEL_RESOURCE_ATTRIBUTES` says, else our own name and version.
fn resource(name: Option<String>) -> Resource {
    let told = Resource::builder().build();
    let told = |key: &'static str| told.get(&Key::new(key)).map(|value| value.to_string());
    let mut builder = Resource::builder();
    if told("service.version").is_none() {
        builder = builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    let unnamed = told("service.name").is_none_or(|name| name.starts_with("unknown_service"));
    match name.or_else(|| unnamed.then(|| env!("CARGO_PKG_NAME").to_string())) {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

/// Checks the variables from which the SDK takes its batches: some values make it spin, drop everything or panic.
fn check_batches() -> Result<()> {
    for (name, most) in [
        ("OTEL_BSP_SCHEDULE_DELAY", 3_600_000),
        ("OTEL_BSP_MAX_QUEUE_SIZE", 1_000_000),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1_000_000),
    ] {
        let value = std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        if let Some(value) = value.filter(|value| !(1..=most).contains(value)) {
            return Err(Error::setting(name, format!("{value} does not lie in 1 to {most}")));
        }
    }
    Ok(())
}

/// The span of a request that is not answered yet; it ends when it is dropped, however that comes about.
///
/// It holds path templates, never what filled them, and nothing of a body.
#[derive(Debug)]
pub struct OpenSpan<'a> {
    sender: &'a Sender,
    context: TraceContext,
    method: &'static str,
    route: Option<MatchedPath>,
    request_id: HeaderValue,
    began_at: SystemTime,
    start: Instant,
    status: Option<u16>,
}

impl OpenSpan<'_> {
    /// Notes the status of the answer.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The span as it is sent, with the names of OpenTelemetry's conventions for HTTP servers.
    fn data(&self) -> SpanData {
        let context = &self.context;
        let trace_id = TraceId::from_hex(&context.trace_id).unwrap_or(TraceId::INVALID);
        let id = |hex: &str| SpanId::from_hex(hex).unwrap_or(SpanId::INVALID);
        let request_id = self.request_id.to_str().unwrap_or_default().to_string();
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new("http.request.method", self.method));
        attributes.push(KeyValue::new("request_id", request_id));
        let route = self.route.as_ref().map(MatchedPath::as_str);
        if let Some(route) = route {
            attributes.push(KeyValue::new("http.route", route.to_string()));
        }
        let error = match self.status {
            Some(status) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
                (status >= 500).then(|| status.to_string())
            }
            None => Some("client_gone".into()),
        };
        let status = if error.is_some() { Status::error("") } else { Status::Unset };
        attributes.extend(error.map(|kind| KeyValue::new("error.type", kind)));
        SpanData {
            span_context: SpanContext::new(
                trace_id,
                id(&context.span_id),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: id(&context.parent_id),
            parent_span_is_remote: !context.parent_id.is_empty(),
            span_kind: SpanKind::Server,
            name: match route {
                Some(route) => format!("{} {route}", self.method).into(),
                None => self.method.into(),
            },
            start_time: self.began_at,
            end_time: self.began_at + self.start.elapsed(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.sender.scope.clone(),
        }
    }
}

impl Drop for OpenSpan<'_> {
    fn drop(&mut self) {
        self.sender.processor.on_end(self.data());
    }
}

/// The method's name; one that HTTP does not know may be anything a client wrote.
fn method_name(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// What of an address may be shown: it may hold a password before the host, or a token in its query.
fn shown(uri: &Uri) -> String {
    let port = uri.port_u16().map_or(String::new(), |port| format!(":{port}"));
    format!("{}://{}{port}{}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default(), uri.path())
}

/// `text` with `path` behind it, where that is an address to send to.
fn check_address(setting: &str, text: &str, path: &str) -> Result<String> {
    // The text itself is not repeated, for what it may hold.
    let fault = |reason: &str| Error::setting(setting, reason);
    let uri: Uri = text.parse().map_err(|e: axum::http::uri::InvalidUri| fault(&e.to_string()))?;
    let host = uri.host().unwrap_or_default();
    if !matches!(uri.scheme_str(), Some("http" | "https")) || host.is_empty() {
        return Err(fault("write scheme and host, such as http://127.0.0.1:4318"));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if !authority.ends_with(host) && uri.port_u16().is_none() {
        return Err(fault("the port is no number from 0 to 65535"));
    }
    if !path.is_empty() && text.contains(['?', '#']) {
        return Err(fault(
            "a path is added to it, so it can have no query; --otlp-traces-endpoint takes one",
        ));
    }
    let base = if path.is_empty() { text } else { text.trim_end_matches('/') };
    Ok(format!("{base}{path}"))
}

/// The exporter's HTTP client.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    failures: LogThrottle,
}

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(EXPORT_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), failures: LogThrottle::default() }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let (parts, mut body) = self.agent.run(Request::from_parts(parts, &body[..]))?.into_parts();
        let body = body.with_config().limit(MAX_ANSWER_BYTES).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    /// Blocks, which the sending thread may: it does nothing else.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let address = shown(request.uri());
        let outcome = self.send(request);
        let reason = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("the collector answered {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = reason
            && let Some(suppressed) = self.failures.pass()
        {
            tracing::warn!(address, reason, suppressed, "spans not sent");
        }
        Ok(outcome?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_and_a_base_gets_its_path() {
        let base = |text: &str| check_address("x", text, "/v1/traces");
        assert_eq!(base("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(base("https://[::1]:4318/otlp/").unwrap(), "https://[::1]:4318/otlp/v1/traces");
        assert_eq!(base("http://collector").unwrap(), "http://collector/v1/traces");
        assert_eq!(check_address("x", "http://c/t?a=b", "").unwrap(), "http://c/t?a=b");
        for bad in
            ["collector", "localhost:4318", "grpc://c:4317", "http://", "http://c:99999", "http://c?a", "/"]
        {
            assert!(base(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_secret_of_an_address_is_shown() {
        assert_eq!(shown(&"https://me:pass@c:4318/t?token=x".parse().unwrap()), "https://c:4318/t");
        let fault = check_address("x", "ftp://me:pass@c", "").unwrap_err().to_string();
        assert!(!fault.contains("pass"), "{fault}");
    }

    #[test]
    fn only_known_methods_are_named() {
        assert_eq!(method_name(&Method::POST), "POST");
        assert_eq!(method_name(&Method::from_bytes(b"MADEUP").unwrap()), "_OTHER");
    }
}
