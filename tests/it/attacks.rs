//! Attempts to stop the server, to shut others out of it, or to make it say what it should not: each is made, on loopback
//! and bounded, and the next client is served. `tests/hostile` makes the large ones and measures memory and waiting.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Answer, Server, command, start, write_model};
use serde_json::json;

/// Asserts that the next client's review is answered.
fn serves(server: &Server) {
    let answer = server.post("/predict", r#"{"text": "good film"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

const LOST: &str = "imdb_sentiment_log_lines_lost_total";

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let arguments = ["--model", &model, "--log-requests"];
    // A full disk.
    let server = Server::launch(command(&arguments).stderr(File::create("/dev/full").unwrap()));
    (0..20).for_each(|_| serves(&server));
    server.wait_until("counting", |server| server.metric(LOST) > 0.0);
    // A reader that has gone.
    let mut server = Server::launch(command(&arguments).stderr(Stdio::piped()));
    drop(server.child.stderr.take());
    (0..20).for_each(|_| serves(&server));
    server.wait_until("counting", |server| server.metric(LOST) > 0.0);
    // A reader that sleeps: its pipe holds some hundreds of lines, the queue a thousand.
    let mut server = Server::launch(command(&arguments).stderr(Stdio::piped()));
    let asleep = server.child.stderr.take();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    for _ in 0..40 {
        stream.write_all("GET /health HTTP/1.1\r\nhost: t\r\n\r\n".repeat(100).as_bytes()).unwrap();
        (0..100).for_each(|_| assert_eq!(Answer::read(&mut reader).unwrap().status, 200));
    }
    serves(&server);
    server.wait_until("counting", |server| server.metric(LOST) > 0.0);
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(0), "the end waits a second at most for its reader");
    drop(asleep);
    // Standard output that cannot be written.
    let mut full = command(&arguments);
    let mut child = full.stdout(File::create("/dev/full").unwrap()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn no_error_repeats_what_was_sent() {
    let (_folder, server) = start(&["--max-texts", "3"]);
    let review = "a secret review \\u0007 of mine, expected `nothing`, expected ".repeat(2000);
    let tensor = |name: &str, datatype: &str, shape: &str, outputs: &str| {
        format!(
            r#"{{"inputs": [{{"name": "{name}", "shape": {shape}, "datatype": "{datatype}", "data": ["film"]}}]{outputs}}}"#
        )
    };
    let long_shape = format!("[{}]", "7, ".repeat(50_000) + "7");
    let v2 = "/v2/models/m/infer";
    for (path, body) in [
        ("/predict", format!(r#"{{"texts": "{review}"}}"#)),
        ("/predict", format!(r#"{{"{review}": 1}}"#)),
        ("/predict", format!(r#"{{"text": "film", "truncate": "{review}"}}"#)),
        ("/predict", format!(r#"{{"text": "film", "abstain": "{review}"}}"#)),
        ("/predict", format!(r#"{{"text": "film", "model": "{review}"}}"#)),
        ("/predict", format!(r#""{review}""#)),
        ("/predict", format!(r#"["{review}"]"#)),
        ("/predict", format!(r#"{{"text": ["{review}"]}}"#)),
        ("/", format!(r#"{{"inputs": {{"text": "{review}"}}}}"#)),
        ("/", format!(r#"{{"inputs": "film", "parameters": "{review}"}}"#)),
        ("/", format!(r#"{{"inputs": "film", "parameters": {{"top_k": "{review}"}}}}"#)),
        ("/", format!(r#"{{"inputs": "film", "parameters": {{"function_to_apply": "{review}"}}}}"#)),
        ("/", format!(r#"{{"inputs": "film", "truncate": "{review}"}}"#)),
        ("/models/a-secret-review", r#"{"inputs": "film"}"#.into()),
        (v2, tensor(&review, "BYTES", "[1]", "")),
        (v2, tensor("text", &review, "[1]", "")),
        (v2, tensor("text", "BYTES", &format!("[\"{review}\"]"), "")),
        (v2, tensor("text", "BYTES", &long_shape, "")),
        (v2, tensor("text", "BYTES", "[1]", &format!(r#", "outputs": [{{"name": "{review}"}}]"#))),
        (v2, tensor("text", "BYTES", "[1]", &format!(r#", "parameters": {{"truncate": "{review}"}}"#))),
    ] {
        let answer = server.post(path, &body);
        let detail = answer.problem(answer.status);
        assert!((400..500).contains(&answer.status), "{path} {body:.60}: {}", answer.status);
        assert!(!answer.text().contains("secret"), "{path} {body:.60}: {detail}");
        assert!(answer.body.len() < 1500, "{path} {body:.60}: {} bytes", answer.body.len());
        assert!(!detail.contains(char::is_control), "{detail:?}");
    }
    let strange = ["a secret review, whole", &"x".repeat(10_000), "\u{e9}\u{1}"];
    for kind in &strange[..2] {
        let answer = server.send("POST", "/predict", &[("content-type", kind)], b"{}");
        answer.problem(415);
        assert!(!answer.text().contains("secret") && answer.body.len() < 1000, "{}", answer.text());
    }
    // What helps is still said.
    assert!(server.post("/predict", r#"{"txt": "film"}"#).problem(422).contains("`txt`"));
    assert!(
        server
            .send("POST", "/predict", &[("content-type", "text/plain")], b"{}")
            .text()
            .contains("text/plain")
    );
    serves(&server);
}

#[test]
fn silent_connections_give_way() {
    let (_folder, server) = start(&["--max-connections", "8"]);
    let silent: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let begun = Instant::now();
    assert_eq!(server.get("/health/live").status, 200);
    serves(&server);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let gave_way = "imdb_sentiment_connections_closed_total{reason=\"gave_way\"}";
    server.wait_until("counting", |server| server.metric(gave_way) >= 30.0);
    // Those that owe the body that they announced are as good as silent.
    let mut owing = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
        stream.write_all(head.as_bytes()).unwrap();
        owing.push(stream);
    }
    serves(&server);
    drop((silent, owing));
    serves(&server);
}

#[test]
fn one_address_has_its_share_of_connections() {
    let (_folder, server) = start(&["--max-connections-per-peer", "2"]);
    let mut first = TcpStream::connect(&server.address).unwrap();
    let _second = TcpStream::connect(&server.address).unwrap();
    serves(&server);
    first.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_or(0), 0, "the first of its address was closed");
}

/// The frames of an HTTP/2 client that has said hello.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0whoareyo";

#[test]
fn pings_keep_no_place() {
    let (_folder, server) = start(&["--header-timeout", "400ms"]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(HELLO).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let begun = Instant::now();
    let mut closed = false;
    while begun.elapsed() < Duration::from_secs(20) && !closed {
        closed = stream.write_all(PING).is_err() || matches!(stream.read(&mut [0; 1024]), Ok(0));
    }
    assert!(closed, "still open after {:?}", begun.elapsed());
    serves(&server);
}

#[test]
fn what_is_held_is_one_budget_and_a_small_request_has_its_own() {
    let limits = ["--max-buffered-bytes", "300000", "--max-body-bytes", "120000", "--body-timeout", "30s"];
    let (_folder, server) = start(&limits);
    // Bodies that never end.
    let hold = || {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 110000\r\n\r\n";
        stream.write_all(format!("{head}{}", " ".repeat(100_000)).as_bytes()).unwrap();
        stream
    };
    let held: Vec<TcpStream> = (0..3).map(|_| hold()).collect();
    server.wait_until("holding", |server| server.metric("imdb_sentiment_held_bytes") > 190_000.0);
    let large = json!({ "text": "film ".repeat(20_000) }).to_string();
    let answer = server.post("/predict", &large);
    answer.problem(503);
    assert!(answer.headers.contains_key("retry-after"));
    serves(&server);
    drop(held);
    server.wait_until("giving back", |server| server.post("/predict", &large).status == 200);
    server.wait_until("giving back", |server| server.metric("imdb_sentiment_held_bytes") < 20_000.0);
}

#[test]
fn one_connection_of_many_clients_outlives_a_full_house() {
    // Room for the heads of some requests, and a proxy that sends sixty by one connection.
    let limits = ["--max-buffered-bytes", "65536", "--max-body-bytes", "8192", "--body-timeout", "60s"];
    let (_folder, server) = start(&limits);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let body = r#"{"text": "good film"}"#;
        let request = || {
            axum::http::Request::post(format!("http://{}/predict", server.address))
                .header("content-type", "application/json")
                .body(())
                .unwrap()
        };
        let mut open = Vec::new();
        for _ in 0..60 {
            client = client.ready().await.unwrap();
            open.push(client.send_request(request(), false).unwrap());
        }
        // All heads are under way before the first body.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answers: Vec<_> = open
            .into_iter()
            .map(|(answer, mut sending)| {
                // Of one that was turned away no more is taken.
                let _ = sending.send_data(body.into(), true);
                answer
            })
            .collect();
        let (mut answered, mut turned_away, mut refused) = (0, 0, 0);
        for answer in answers {
            match answer.await {
                Ok(answer) if answer.status() == 200 => answered += 1,
                Ok(answer) if answer.status() == 503 => turned_away += 1,
                Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => refused += 1,
                other => panic!("{other:?}"),
            }
        }
        let counts = format!("{answered} answered, {turned_away} turned away, {refused} refused");
        assert!(answered >= 1 && turned_away > 0 && answered + turned_away + refused == 60, "{counts}");
        // And goes on.
        client = client.ready().await.unwrap();
        let (answer, mut sending) = client.send_request(request(), false).unwrap();
        sending.send_data(body.into(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    serves(&server);
}

#[test]
fn health_and_figures_have_places_of_their_own() {
    let (folder, _server) = start(&[]);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let port = || {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().to_string()
    };
    let (health, metrics) = (port(), port());
    let server =
        Server::start(&["--model", &model, "--health-address", &health, "--metrics-address", &metrics]);
    let get = |address: &str, path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: t\r\n\r\n").as_bytes()).unwrap();
        Answer::read(&mut BufReader::new(stream)).unwrap().status
    };
    assert_eq!(
        (get(&health, "/health/ready"), get(&health, "/metrics"), get(&health, "/info")),
        (200, 404, 404)
    );
    assert_eq!((get(&metrics, "/metrics"), get(&metrics, "/health/live")), (200, 200));
    serves(&server);
}

#[test]
fn a_reload_that_cannot_be_is_refused_and_tells_no_path() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    write_model(&directory, 1, 8);
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "first\n").unwrap();
    let log = folder.path().join("log");
    let arguments = ["--model", directory.to_str().unwrap(), "--api-keys-file", keys.to_str().unwrap()];
    let server = Server::launch(command(&arguments).stderr(File::create(&log).unwrap()));
    let key = [("authorization", "Bearer first")];
    let logged = |what: &str| {
        let end = Instant::now() + Duration::from_secs(10);
        while !std::fs::read_to_string(&log).unwrap().contains(what) {
            assert!(Instant::now() < end, "not logged: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    server.signal("-HUP");
    logged("model unchanged");
    // Pipes in the place of files would be waited for, for ever.
    let pipe = |path: &std::path::Path| {
        std::fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    pipe(&keys);
    pipe(&directory.join("vocab.txt"));
    server.signal("-HUP");
    logged("API keys refused");
    logged("changed model refused");
    let info = server.send("GET", "/info", &key, b"");
    assert_eq!(info.status, 200);
    assert_eq!(info.json()["models"][0]["last_reload"]["outcome"], "refused");
    assert!(!info.text().contains(folder.path().to_str().unwrap()), "{}", info.text());
    // The next one is not held up.
    std::fs::remove_file(&keys).unwrap();
    std::fs::write(&keys, "second\n").unwrap();
    server.signal("-HUP");
    server.wait_until("the new key", |server| {
        server.send("GET", "/info", &[("authorization", "Bearer second")], b"").status == 200
    });
}

#[test]
fn a_stop_while_loading_stops_at_once() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/keras-imdb");
    let models: Vec<String> = (0..12).map(|at| format!("m{at}={}", directory.display())).collect();
    let arguments: Vec<&str> = models.iter().flat_map(|model| ["--model", model]).collect();
    let child = command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server { child, address: String::new() };
    std::thread::sleep(Duration::from_millis(60));
    let begun = Instant::now();
    server.signal("-TERM");
    server.exit_code();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
