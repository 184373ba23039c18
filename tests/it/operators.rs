//! What operators see: where the server listens, how it stops, what it logs and counts.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::common::{Answer, Server, command, start, write_full_model, write_model, write_request};
use serde_json::{Value, json};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
const BODY: &[u8] = br#"{"text": "good film"}"#;

fn ask(stream: &mut (impl Read + Write)) -> Option<Answer> {
    write_request(stream, "POST", "/predict", &JSON, BODY);
    Answer::read(&mut BufReader::new(stream))
}

/// Asks without a rest, over connections that are kept, until nobody listens any more; how many requests were sent over an
/// open connection and not answered.
fn keep_asking(address: &str, answered: &AtomicUsize) -> usize {
    let (mut kept, mut lost) = (None, 0);
    loop {
        let mut stream = match kept.take().map_or_else(|| TcpStream::connect(address), Ok) {
            Ok(stream) => stream,
            // Nobody listens any more, or the process is gone.
            Err(_) => return lost,
        };
        match ask(&mut stream) {
            Some(answer) => {
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered.fetch_add(1, Relaxed);
                let closes = answer.headers.get("connection").is_some_and(|value| value == "close");
                kept = (!closes).then_some(stream);
            }
            None => lost += 1,
        }
    }
}

#[test]
fn a_stop_loses_no_request_of_connections_that_are_kept() {
    for round in 0..6 {
        let delay = if round % 2 == 0 { "0s" } else { "200ms" };
        let (_folder, mut server) = start(&["--shutdown-delay", delay]);
        let answered = AtomicUsize::new(0);
        let lost: usize = std::thread::scope(|scope| {
            let clients: Vec<_> =
                (0..8).map(|_| scope.spawn(|| keep_asking(&server.address, &answered))).collect();
            while answered.load(Relaxed) < 50 {
                std::thread::sleep(Duration::from_millis(5));
            }
            server.signal("-TERM");
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        });
        assert_eq!(lost, 0, "round {round}, of {answered:?} answered");
        assert_eq!(server.exit_code(), Some(0));
    }
}

#[test]
fn from_the_signal_on_clients_are_told_to_go_and_a_silent_one_holds_nothing_up() {
    let (_folder, mut server) = start(&["--shutdown-delay", "4s", "--shutdown-grace", "60s"]);
    let mut open = TcpStream::connect(&server.address).unwrap();
    let mut silent = TcpStream::connect(&server.address).unwrap();
    assert!(!ask(&mut open).unwrap().headers.contains_key("connection"));
    assert_eq!(ask(&mut silent).unwrap().status, 200);
    server.signal("-TERM");
    server.wait_until("draining", |server| server.get("/health/ready").status == 503);
    let answer = ask(&mut open).unwrap();
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
    assert_eq!(open.read(&mut [0; 1]).unwrap(), 0, "closed behind it");
    // New ones are served meanwhile, and told the same.
    assert_eq!(server.get("/info").headers["connection"], "close");
    // The silent one is closed long before the grace is over.
    assert_eq!(server.exit_code(), Some(0));
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn http_2_is_told_by_goaway_and_what_crosses_it_is_answered() {
    let (_folder, mut server) = start(&["--shutdown-delay", "1s"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let lost = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let (mut lost, mut asked, mut told) = (0, 0, false);
        // Until the connection takes no more requests.
        while let Ok(mut ready) = client.ready().await {
            let request = axum::http::Request::post(format!("http://{}/predict", server.address));
            let request = request.header("content-type", "application/json").body(()).unwrap();
            let Ok((answer, mut body)) = ready.send_request(request, false) else { break };
            let _ = body.send_data(BODY.into(), true);
            asked += 1;
            // One that came after the last that the server took is refused by the GOAWAY: its client knows that nothing was
            // done, and asks elsewhere.
            lost += usize::from(answer.await.is_err_and(|error| !error.is_go_away()));
            client = ready;
            if asked == 50 && !told {
                server.signal("-TERM");
                told = true;
            }
            assert!(asked < 1_000_000, "it is never told to go");
        }
        assert!(told && connection.await.unwrap().is_ok());
        lost
    });
    assert_eq!(lost, 0);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn an_idle_connection_has_a_time_of_its_own() {
    let (_folder, server) = start(&["--header-timeout", "300ms", "--idle-timeout", "60s"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    for _ in 0..3 {
        assert_eq!(ask(&mut stream).unwrap().status, 200);
        std::thread::sleep(Duration::from_millis(900));
    }
    assert_eq!(ask(&mut stream).unwrap().status, 200);
    // A new one has to ask for something, and to finish what it begins.
    for begun in [&b""[..], b"POST /predict HT"] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(begun).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
    server.wait_until("counting it", |server| {
        server.metric(r#"imdb_sentiment_connections_closed_total{reason="slow_header"}"#) >= 1.0
    });
    let (_folder, server) = start(&["--idle-timeout", "300ms"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    assert_eq!(ask(&mut stream).unwrap().status, 200);
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed after its time");
}

#[test]
fn all_addresses_are_those_of_both_versions() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        println!("not tried: there is no IPv6 here");
        return;
    }
    let (_folder, server) = start(&["--host", "[::]", "--log-requests"]);
    let port = server.address.strip_prefix("[::]:").expect("its address");
    for host in ["127.0.0.1", "[::1]"] {
        assert_eq!(ask(&mut TcpStream::connect(format!("{host}:{port}")).unwrap()).unwrap().status, 200);
    }
    let check = Command::new(env!("CARGO_BIN_EXE_server")).args(["healthcheck", "--port", port]).status();
    assert!(check.unwrap().success());
    let (_folder, server) = start(&["--host", "::1"]);
    assert!(server.address.starts_with("[::1]:"), "{}", server.address);
}

#[cfg(unix)]
fn uds(model: &Path, socket: &Path) -> Command {
    let mut command = command(&["--model", model.to_str().unwrap(), "--uds", socket.to_str().unwrap()]);
    command.stderr(Stdio::piped());
    command
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_served_and_its_file_looked_after() {
    use std::os::unix::net::UnixStream;
    let folder = tempfile::tempdir().unwrap();
    let (model, socket) = (folder.path().join("m"), folder.path().join("s.sock"));
    write_model(&model, 1, 8);
    let mut server = Server::launch(&mut uds(&model, &socket));
    assert_eq!(server.address, socket.to_str().unwrap());
    let mut stream = UnixStream::connect(&socket).unwrap();
    for _ in 0..2 {
        assert_eq!(ask(&mut stream).unwrap().status, 200);
    }
    let check = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.arg("healthcheck").args(arguments).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(check(&["--uds", socket.to_str().unwrap()]), Some(0));
    // A second one on the same path does not take it away.
    let refused = uds(&model, &socket).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{message}");
    assert!(message.contains("another server listens there"), "{message}");
    assert_eq!(ask(&mut stream).unwrap().status, 200);
    // Killed, it leaves its file, which the next one replaces.
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert!(socket.exists());
    assert_eq!(check(&["--uds", socket.to_str().unwrap()]), Some(1));
    let mut server = Server::launch(&mut uds(&model, &socket));
    assert_eq!(ask(&mut UnixStream::connect(&socket).unwrap()).unwrap().status, 200);
    // Told to stop, it answers all who came and takes its file with it.
    let (asked, lost) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(mut stream) = UnixStream::connect(&socket) {
                    lost.fetch_add(usize::from(ask(&mut stream).is_none()), Relaxed);
                    asked.store(true, Relaxed);
                }
            });
        }
        while !asked.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        server.signal("-TERM");
    });
    assert_eq!((lost.into_inner(), server.exit_code()), (0, Some(0)));
    assert!(!socket.exists());
    // What is no socket is not touched.
    std::fs::write(&socket, "mine").unwrap();
    let refused = uds(&model, &socket).output().unwrap();
    assert!(String::from_utf8(refused.stderr).unwrap().contains("no socket"));
    assert_eq!(std::fs::read(&socket).unwrap(), b"mine");
}

/// The lines of a log, each of which must be one JSON object.
fn lines(log: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}")))
        .collect()
}

/// What `server`, which was told to stop, has logged.
fn logged(mut server: Server) -> Vec<Value> {
    assert_eq!(server.exit_code(), Some(0));
    let mut log = String::new();
    server.child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
    lines(&log)
}

#[test]
fn a_log_of_requests_has_what_one_looks_for() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let arguments = ["--model", &model, "--log-requests", "--trusted-proxy", "127.0.0.0/8"];
    let server = Server::launch(command(&arguments).stderr(Stdio::piped()));
    let forwarded = [JSON[0], ("x-forwarded-for", "9.9.9.9, 203.0.113.7"), ("x-request-id", "mine")];
    let body = br#"{"texts": ["good film", "secret plot"]}"#;
    let answer = server.send("POST", "/predict", &forwarded, body);
    server.send("POST", "/predict", &JSON, br#"{"text": "!"}"#).problem(422);
    server.get("/models/nowhere?text=secret").problem(405);
    server.get("/no/such/path").problem(404);
    let mut head = TcpStream::connect(&server.address).unwrap();
    head.write_all(b"HEAD /info HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n").unwrap();
    head.read_to_end(&mut Vec::new()).unwrap();
    let address = server.address.clone();
    server.signal("-TERM");
    let log = logged(server);
    assert!(!format!("{log:?}").contains("secret"), "{log:?}");
    let listening = log.iter().find(|line| line["message"] == format!("listening on http://{address}"));
    assert!(listening.is_some(), "{log:?}");
    let requests: Vec<&Value> = log.iter().filter(|line| line["message"] == "request").collect();
    assert_eq!(requests.len(), 5, "{log:?}");
    let first = requests[0];
    for (key, value) in [
        ("method", json!("POST")),
        ("route", json!("/predict")),
        ("path", json!("/predict")),
        ("client", json!("203.0.113.7")),
        ("status", json!(200)),
        ("request_bytes", json!(body.len())),
        ("response_bytes", json!(answer.body.len())),
        ("texts", json!(2)),
        ("request_id", json!("mine")),
        ("level", json!("INFO")),
    ] {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    assert!(first["elapsed_us"].is_u64() && first["timestamp"].is_string() && first.get("problem").is_none());
    assert_eq!((&requests[1]["problem"], &requests[1]["client"]), (&json!("no-words"), &json!("127.0.0.1")));
    assert_eq!((&requests[3]["path"], &requests[3]["route"]), (&json!("/no/such/path"), &json!("other")));
    assert_eq!((&requests[4]["method"], &requests[4]["response_bytes"]), (&json!("HEAD"), &json!(0)));
}

#[test]
fn a_stop_with_its_probes_is_no_reason_to_warn() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let server =
        Server::launch(command(&["--model", &model, "--shutdown-delay", "3s"]).stderr(Stdio::piped()));
    server.signal("-TERM");
    server.wait_until("draining", |server| server.get("/health/ready").status == 503);
    for _ in 0..5 {
        assert_eq!(server.get("/health").status, 503);
    }
    for line in logged(server) {
        assert_eq!(line["level"], "INFO", "{line}");
        // Values are values: no debug form of a structure.
        for value in line.as_object().unwrap().values().filter_map(Value::as_str) {
            assert!(!value.contains(" { ") && !value.contains("Some("), "{line}");
        }
    }
}

#[test]
fn where_both_outputs_are_one_every_line_is_json_and_a_fault_as_well() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let log = folder.path().join("log");
    let run = |arguments: &[&str]| {
        let file = std::fs::File::create(&log).unwrap();
        command(arguments).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap()
    };
    let mut child = run(&["--model", &model]);
    let end = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&log).unwrap().contains("listening on http://") {
        assert!(Instant::now() < end, "{}", std::fs::read_to_string(&log).unwrap());
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lines(&std::fs::read_to_string(&log).unwrap()).len() >= 2);
    // Faults of every stage: of the command line, of a setting, of the log's own filter, of a file.
    for arguments in [
        &["--port", "many"][..],
        &["--model", &model, "--max-texts", "99999"],
        &["--model", &model, "--log", "[", "--log-format", "json"],
        &["--model", "/nowhere", "--log", "off"],
    ] {
        assert!(!run(arguments).wait().unwrap().success());
        let last = lines(&std::fs::read_to_string(&log).unwrap()).pop().expect("a line");
        assert_eq!(last["level"], "ERROR", "{arguments:?}: {last}");
        assert!(last["message"].as_str().is_some_and(|message| !message.is_empty()), "{last}");
    }
}

#[test]
fn figures_come_as_they_can_happen() {
    let folder = tempfile::tempdir().unwrap();
    write_full_model(&folder.path().join("m"), 1);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let server = Server::start(&["--model", &model, "--drift-window", "10"]);
    let page = || server.get("/metrics").text();
    let has = |page: &str, what: &str| page.lines().any(|line| line.starts_with(what));
    let before = page();
    let zero = before.lines().filter(|line| line.contains("_http_requests_total{") && line.ends_with(" 0"));
    assert!(zero.count() < 120, "{before}");
    assert!(!before.contains(r#"status="401""#) && !before.contains("up_to=\"\""), "{before}");
    assert!(
        has(&before, r#"imdb_sentiment_http_requests_total{route="/predict",status="503"} 0"#),
        "{before}"
    );
    assert!(
        has(&before, "imdb_sentiment_baseline_probability_share{model=\"m\",up_to=\"+Inf\"} 1"),
        "{before}"
    );
    let drift =
        ["imdb_sentiment_drift_stability_index{", "imdb_sentiment_unknown_share{model=\"m\",in=\"latest\"}"];
    for _ in 0..9 {
        assert_eq!(server.post("/predict", r#"{"text": "good film"}"#).status, 200);
    }
    assert!(server.get("/info").json()["models"][0].get("drift").is_none());
    std::thread::sleep(Duration::from_millis(1100));
    assert!(!drift.iter().any(|name| has(&page(), name)), "nine reviews are no window");
    assert_eq!(server.post("/predict", r#"{"text": "good film"}"#).status, 200);
    server.wait_until("drift", |_| drift.iter().all(|name| has(&page(), name)));
}
