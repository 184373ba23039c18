//! Spans of requests, with a collector played by the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::common::{Server, command, fatal, write_model};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that takes whatever comes: its address, and request line and body of each request.
fn collector() -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = read_request(&mut stream) {
                    let _ = sender.send(request);
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                    stream.get_mut().write_all(answer).unwrap();
                }
            });
        }
    });
    (address, receiver)
}

fn read_request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut first = String::new();
    stream.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim_end().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((first.trim_end().to_string(), body))
}

/// A server on a small model that sends its spans to `address`.
fn start(folder: &Path, address: &str, more: &[&str]) -> Server {
    write_model(&folder.join("m"), 1, 8);
    let model = folder.join("m");
    Server::start(&[&["--model", model.to_str().unwrap(), "--otlp-endpoint", address], more].concat())
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()) {
        Some(AnyValue { value: Some(Value::StringValue(text)), .. }) => text.clone(),
        Some(AnyValue { value: Some(Value::IntValue(number)), .. }) => number.to_string(),
        other => panic!("{key}: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_span_of_each_request_goes_to_the_collector() {
    let folder = tempfile::tempdir().unwrap();
    let (address, received) = collector();
    let mut server = start(folder.path(), &address, &["--otlp-service-name", "reviews"]);
    let ask = |path: &str, flags: &str| {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        let headers =
            [("content-type", "application/json"), ("traceparent", &parent), ("x-request-id", "mine-7")];
        server.send("POST", path, &headers, br#"{"text": "zebra film"}"#)
    };
    let answer = ask("/predict", "01");
    assert_eq!(ask("/predict", "00").status, 200);
    assert_eq!(ask("/secret/path", "01").status, 404);
    let own = server.get("/health/live").headers["traceparent"].clone();
    // The queue is sent every five seconds; what waits is sent at the end.
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));

    let (mut spans, mut bytes) = (Vec::<Span>::new(), Vec::new());
    for (first, body) in received.try_iter() {
        assert_eq!(first, "POST /v1/traces HTTP/1.1");
        for resource in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            assert_eq!(text(&attributes, "service.name"), "reviews");
            spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        bytes.extend(body);
    }
    let sent = String::from_utf8_lossy(&bytes);
    assert!(!sent.contains("zebra") && !sent.contains("secret"), "texts and made-up paths stay here");
    // The one that its caller does not record is missing.
    assert_eq!(spans.len(), 3, "{spans:?}");

    let span = spans.iter().find(|span| span.name == "POST /predict").unwrap();
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(answer.headers["traceparent"], format!("00-{TRACE}-{}-01", hex(&span.span_id)));
    assert_eq!(span.kind, SpanKind::Server as i32);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/predict"),
        ("http.response.status_code", "200"),
        ("request_id", "mine-7"),
    ] {
        assert_eq!(text(&span.attributes, key), value);
    }
    let age = Duration::from_nanos(span.end_time_unix_nano - span.start_time_unix_nano);
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano && age < Duration::from_secs(5), "{age:?}");

    let span = spans.iter().find(|span| span.name == "POST").unwrap();
    assert_eq!(text(&span.attributes, "http.response.status_code"), "404");
    // Without a caller's trace one begins here, and the answer names it.
    let span = spans.iter().find(|span| span.name == "GET /health/live").unwrap();
    assert_eq!(own, format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id)));
    assert!(span.parent_span_id.is_empty());
}

#[test]
fn a_whole_address_goes_first_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (address, received) = collector();
    let whole = format!("{address}/elsewhere?tenant=1");
    let mut server = start(folder.path(), "http://127.0.0.1:9", &["--otlp-traces-endpoint", &whole]);
    server.get("/health");
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(received.try_iter().next().unwrap().0, "POST /elsewhere?tenant=1 HTTP/1.1");
}

#[test]
fn the_variables_of_opentelemetry_are_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    // Requests that their caller does not trace, and one that it does.
    for (variables, own, traced) in [
        (&[][..], 20, 1),
        (&[("OTEL_SDK_DISABLED", "true")], 0, 0),
        (&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], 0, 0),
        (&[("OTEL_TRACES_SAMPLER", "always_off")], 0, 0),
        (&[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")], 0, 1),
    ] {
        let (address, received) = collector();
        let arguments = ["--model", &model, "--otlp-endpoint", &address];
        let mut command = command(&arguments);
        let mut server = Server::launch(command.envs(variables.iter().copied()).stderr(Stdio::null()));
        for _ in 0..20 {
            server.get("/health/live");
        }
        let parent = format!("00-{TRACE}-{PARENT}-01");
        server.send("GET", "/info", &[("traceparent", &parent)], b"");
        server.signal("-TERM");
        assert_eq!(server.exit_code(), Some(0));
        let mut names = Vec::new();
        for (_, body) in received.try_iter() {
            for resource in ExportTraceServiceRequest::decode(&body[..]).unwrap().resource_spans {
                let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                names.extend(spans.map(|span| span.name));
            }
        }
        let count = |name: &str| names.iter().filter(|found| *found == name).count();
        assert_eq!((count("GET /health/live"), count("GET /info")), (own, traced), "{variables:?}");
    }
    let mut command = command(&["--model", &model, "--otlp-endpoint", "http://127.0.0.1:9"]);
    let done = command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let reason = fatal(&String::from_utf8(done.stderr).unwrap());
    assert!(reason.contains("OTEL_EXPORTER_OTLP_PROTOCOL") && reason.contains("http/protobuf"), "{reason}");
}

#[test]
fn a_silent_or_absent_collector_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // One that takes connections and never answers, and a port where nobody listens.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let mut server = start(folder.path(), &format!("http://{address}"), &[]);
        let mut stream = BufReader::new(TcpStream::connect(&server.address).unwrap());
        // More than the queue holds.
        for _ in 0..6000 {
            stream.get_mut().write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
            assert_eq!(crate::common::Answer::read(&mut stream).unwrap().status, 200);
        }
        drop(stream);
        let started = Instant::now();
        server.signal("-TERM");
        assert_eq!(server.exit_code(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[test]
fn failures_are_logged_once_a_second_and_a_wrong_address_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let log = folder.path().join("log");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // By the variables that every OpenTelemetry program knows.
    let mut server = Server::launch(
        command(&["--model", &model])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{closed}"))
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
            .stderr(std::fs::File::create(&log).unwrap()),
    );
    server.get("/health");
    let read = || std::fs::read_to_string(&log).unwrap();
    server.wait_until("a line", |_| read().contains("spans not sent"));
    server.signal("-TERM");
    server.exit_code();
    assert!(read().contains(&closed), "{}", read());

    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector/v1/traces"),
    ] {
        let done = command(&["--model", &model]).env(variable, value).stdout(Stdio::null()).output().unwrap();
        let message = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{message}");
        assert!(fatal(&message).contains("scheme and host"), "{message}");
        assert!(!message.contains(value), "it may hold a password: {message}");
    }
}
