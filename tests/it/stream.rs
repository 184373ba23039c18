//! Streams: a JSON object a line in, an answer a line out as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{Server, command, start, write_model};
use serde_json::{Value, json};

/// A request whose body goes on, in chunks.
struct Stream {
    socket: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Stream {
    fn open(server: &Server, headers: &str) -> Self {
        let mut socket = TcpStream::connect(&server.address).unwrap();
        let head = format!(
            "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n{headers}\r\n"
        );
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let answers = BufReader::new(socket.try_clone().unwrap());
        Self { socket, answers }
    }

    fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.socket.write_all(&chunk).unwrap();
    }

    fn end(&mut self) {
        self.socket.write_all(b"0\r\n\r\n").unwrap();
    }

    /// The status, its headers read to their end.
    fn status(&mut self) -> u16 {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line.trim() != "" {
            line.clear();
            self.answers.read_line(&mut line).unwrap();
        }
        status
    }

    /// The next chunk of the answer; empty at its end.
    fn chunk(&mut self) -> Vec<u8> {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let length = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut bytes = vec![0; length + 2];
        self.answers.read_exact(&mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    /// All lines of the answer.
    fn lines(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return parsed(&all);
            }
            all.extend(chunk);
        }
    }
}

fn parsed(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// Answers to `body` sent as one piece.
fn whole(server: &Server, headers: &str, body: &[u8]) -> Vec<Value> {
    let mut stream = Stream::open(server, headers);
    stream.send(body);
    stream.end();
    assert_eq!(stream.status(), 200);
    stream.lines()
}

#[test]
fn every_line_has_its_answer_in_order() {
    for arguments in [&["--inline-budget", "0s"][..], &["--inline-budget", "1s"]] {
        let (_folder, server) = start(arguments);
        let single = |text: &str| server.post("/predict", &json!({ "text": text }).to_string()).json();
        let texts = ["a good film", "bad plot", "zebra film", "good good bad"];
        let mut body = Vec::new();
        for index in 0..5000 {
            let line = json!({"id": index, "text": texts[index % 4]}).to_string();
            body.extend(line.as_bytes());
            body.extend(if index % 2 == 0 { &b"\n"[..] } else { b"\r\n\n" });
        }
        let answers = whole(&server, "", &body);
        assert_eq!(answers.len(), 5000);
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(answer["id"], index);
            assert_eq!(answer["probabilities"], single(texts[index % 4])["probabilities"]);
            if index > 8 && index < 4990 {
                continue;
            }
            let mut answer = answer.clone();
            answer.as_object_mut().unwrap().remove("id");
            assert_eq!(answer, single(texts[index % 4]));
        }
        let reviews = server.metric("imdb_sentiment_predictions_total{model=\"m\",label=\"positive\"}")
            + server.metric("imdb_sentiment_predictions_total{model=\"m\",label=\"negative\"}");
        assert!(reviews >= 5000.0);
    }
}

#[test]
fn a_line_that_cannot_be_answered_says_so_and_the_others_go_on() {
    let (_folder, server) = start(&["--max-body-bytes", "2000"]);
    let lines = [
        r#"{"text": "a good film", "id": "one"}"#.to_string(),
        "no json".into(),
        r#"{"text": "...", "id": "three"}"#.into(),
        r#"{"text": 3, "id": "four"}"#.into(),
        format!(r#"{{"text": "{}"}}"#, "good ".repeat(1000)),
        r#"{"texts": ["a good film"]}"#.into(),
        r#"{"text": "a good film", "model": "other", "id": 7}"#.into(),
        format!(r#"{{"text": "{}", "truncate": "error"}}"#, "good ".repeat(100)),
        r#"{"text": "a good film", "explain": true}"#.into(),
        r#"{"text": "a good film", "abstain": 1}"#.into(),
        "\"a good film\"".into(),
        r#"{"text": "the last has no end"}"#.into(),
    ];
    let body = format!("\u{feff}{}", lines.join("\n"));
    for headers in ["", "accept-encoding: gzip\r\n"] {
        let answers = whole(&server, headers, body.as_bytes());
        assert_eq!(answers.len(), lines.len(), "{answers:?}");
        let statuses: Vec<u64> = answers.iter().map(|line| line["status"].as_u64().unwrap_or(200)).collect();
        assert_eq!(statuses, [200, 400, 422, 422, 413, 422, 404, 422, 200, 200, 422, 200], "{answers:?}");
        for (index, line) in answers.iter().enumerate() {
            if statuses[index] != 200 {
                assert_eq!(line["line"], index + 1, "{line}");
                assert!(line["type"].is_string() && line["detail"] == line["error"], "{line}");
            }
        }
        let ids: Vec<&Value> = [0, 2, 3, 6].map(|index| &answers[index]["id"]).to_vec();
        assert_eq!(ids, [&json!("one"), &json!("three"), &json!("four"), &json!(7)]);
        assert_eq!(answers[8]["words"].as_array().unwrap().len(), 3);
        assert_eq!(answers[9]["label"], "uncertain");
        assert!(answers[3]["detail"].as_str().unwrap().starts_with("text: invalid type: integer `3`"));
    }
}

#[test]
fn answers_come_while_the_stream_goes_on() {
    let (_folder, server) = start(&[]);
    let mut stream = Stream::open(&server, "");
    for (number, text) in ["a good film", "bad plot", "zebra film"].iter().enumerate() {
        // Cut anywhere.
        let line = json!({ "text": text }).to_string() + "\n";
        let (one, other) = line.split_at(7);
        stream.send(one.as_bytes());
        stream.send(other.as_bytes());
        if number == 0 {
            assert_eq!(stream.status(), 200);
        }
        let answer = parsed(&stream.chunk());
        assert_eq!(answer.len(), 1);
        let single = server.post("/predict", &json!({ "text": text }).to_string()).json();
        assert_eq!(answer[0], single);
    }
    stream.end();
    assert_eq!(stream.chunk(), b"");
}

#[test]
fn packed_streams_are_read_and_broken_ones_say_so() {
    let (_folder, server) = start(&[]);
    let line = "{\"text\": \"a good film\"}\n";
    let body = line.repeat(3000);
    for coding in ["gzip", "deflate", "zstd"] {
        let packed = match coding {
            "gzip" => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(body.as_bytes()).unwrap();
                writer.finish().unwrap()
            }
            "deflate" => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(body.as_bytes()).unwrap();
                writer.finish().unwrap()
            }
            _ => zstd::stream::encode_all(body.as_bytes(), 3).unwrap(),
        };
        let headers = format!("content-encoding: {coding}\r\n");
        assert_eq!(whole(&server, &headers, &packed).len(), 3000, "{coding}");
        let cut = whole(&server, &headers, &packed[..packed.len() - 5]);
        let last = cut.last().unwrap();
        assert_eq!((&last["status"], last.get("line")), (&json!(400), None), "{coding}: {last}");
        let end = format!("the stream ends behind line {}; send what follows it again", cut.len() - 1);
        assert!(last["detail"].as_str().unwrap().ends_with(&end), "{coding}: {last}");
        // A line of spaces that never ends is too long, and takes no memory.
        let bomb = match coding {
            "zstd" => zstd::stream::encode_all(&vec![b' '; 100 << 20][..], 3).unwrap(),
            _ => continue,
        };
        let said = whole(&server, &headers, &bomb);
        assert_eq!((said.len(), &said[0]["status"]), (1, &json!(413)));
    }
    let mut stream = Stream::open(&server, "content-encoding: br\r\n");
    stream.send(b"x");
    assert_eq!(stream.status(), 415);
    let mut stream = Stream::open(&server, "");
    stream.end();
    assert_eq!(stream.status(), 400);
}

#[test]
fn a_client_that_takes_nothing_is_waited_for_and_then_cut_off() {
    let (_folder, server) = start(&["--write-timeout", "1s"]);
    let stream = Stream::open(&server, "");
    let mut socket = stream.socket;
    socket.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    // Far more than the sockets' buffers hold: in the end the server reads no more, and then it closes.
    let lines = "{\"text\": \"a good film\"}\n".repeat(2000);
    let chunk = [format!("{:x}\r\n", lines.len()).as_bytes(), lines.as_bytes(), b"\r\n"].concat();
    let begun = Instant::now();
    let mut most: f64 = 0.0;
    let mut sent = 0;
    loop {
        match socket.write_all(&chunk) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert!(
                    !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
                    "not cut off: {error}"
                );
                break;
            }
        }
        most = most.max(server.metric("imdb_sentiment_held_bytes"));
        assert!(
            begun.elapsed() < Duration::from_secs(60) && sent < 10_000,
            "not cut off after {sent} pieces"
        );
    }
    // A few batches at a time, however much was sent.
    assert!(most < 8e6, "{most} bytes held");
    server.wait_until("all given back", |server| server.metric("imdb_sentiment_held_bytes") < 20_000.0);
    assert_eq!(server.post("/predict", r#"{"text": "a good film"}"#).status, 200);
    assert_eq!(whole(&server, "", b"{\"text\": \"a good film\"}").len(), 1);
}

#[test]
fn a_stream_waits_where_others_fill_the_queue() {
    let (_folder, server) = start(&[
        "--compute-threads",
        "1",
        "--inline-budget",
        "0s",
        "--max-pending-reviews",
        "128",
        "--max-texts",
        "128",
    ]);
    let body = "{\"text\": \"a good film\"}\n".repeat(2000);
    std::thread::scope(|scope| {
        let ask = || whole(&server, "", body.as_bytes());
        let streams: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for stream in streams {
            let answers = stream.join().unwrap();
            assert_eq!(answers.len(), 2000);
            let failed = answers.iter().find(|answer| answer.get("label").is_none());
            assert!(failed.is_none(), "{failed:?}");
        }
    });
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let (_folder, server) = start(&[]);
    for _ in 0..20 {
        let mut stream = Stream::open(&server, "");
        stream.send(&b"{\"text\": \"a good film\"}\n".repeat(500));
        let _ = stream.socket.shutdown(Shutdown::Both);
    }
    server.wait_until("all given back", |server| {
        server.metric("imdb_sentiment_held_bytes") < 20_000.0
            && server.metric("imdb_sentiment_connections") <= 1.0
    });
}

#[test]
fn a_stream_that_goes_on_outlives_the_time_for_a_header() {
    let (_folder, server) = start(&["--header-timeout", "500ms"]);
    let mut stream = Stream::open(&server, "");
    for number in 0..12 {
        stream.send(b"{\"text\": \"a good film\"}\n");
        if number == 0 {
            assert_eq!(stream.status(), 200);
        }
        assert_eq!(parsed(&stream.chunk()).len(), 1, "{number}");
        std::thread::sleep(Duration::from_millis(150));
    }
    stream.end();
    assert_eq!(stream.chunk(), b"");
}

/// Lines of a log that tell of requests to `/predict`.
fn logged(log: &std::path::Path) -> Vec<Value> {
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["route"] == "/predict").collect()
}

#[test]
fn the_log_tells_of_a_stream_when_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (model, log) = (folder.path().join("m"), folder.path().join("log"));
    write_model(&model, 1, 8);
    let arguments = ["--model", model.to_str().unwrap(), "--log-requests", "--idle-timeout", "1s"];
    let server = Server::launch(command(&arguments).stderr(std::fs::File::create(&log).unwrap()));
    let body = "{\"text\": \"a good film\"}\nno json\n{\"text\": \"bad plot\"}\n";
    let mut stream = Stream::open(&server, "");
    stream.send(body.as_bytes());
    assert_eq!(stream.status(), 200);
    let mut taken = 0;
    while taken < 3 {
        let chunk = stream.chunk();
        taken += parsed(&chunk).len();
    }
    assert_eq!(logged(&log), [] as [Value; 0], "it goes on");
    stream.send(body.as_bytes());
    stream.end();
    assert_eq!(stream.lines().len(), 3);
    server.wait_until("the line", |_| logged(&log).len() == 1);
    let line = logged(&log).remove(0);
    assert_eq!((&line["status"], &line["texts"]), (&json!(200), &json!(4)), "{line}");
    assert_eq!(line["request_bytes"], 2 * body.len(), "{line}");
    assert!(line["response_bytes"].as_u64().unwrap() > 600 && line.get("problem").is_none(), "{line}");
    // One that ends early says why.
    let mut stream = Stream::open(&server, "");
    stream.send(body.as_bytes());
    assert_eq!(stream.status(), 200);
    assert_eq!(stream.lines().len(), 4);
    server.wait_until("the line", |_| logged(&log).len() == 2);
    let line = logged(&log).remove(1);
    assert_eq!((&line["problem"], &line["texts"]), (&json!("body-timeout"), &json!(2)), "{line}");
}

#[test]
fn a_silent_client_is_let_go_after_the_idle_time_and_told() {
    let (_folder, server) = start(&["--idle-timeout", "2s"]);
    let mut stream = Stream::open(&server, "");
    stream.send(b"{\"text\": \"a good film\"}\n\n{\"text\": \"bad pl");
    assert_eq!(stream.status(), 200);
    assert_eq!(parsed(&stream.chunk()).len(), 1);
    // Empty lines keep it open.
    stream.send(b"ot\"}\n");
    assert_eq!(parsed(&stream.chunk()).len(), 1);
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(200));
        stream.send(b"\n");
    }
    stream.send(b"{\"text\": \"the first half of a li");
    let [last] = &stream.lines()[..] else { panic!("one line") };
    assert_eq!((&last["status"], last.get("line")), (&json!(408), None), "{last}");
    assert!(last["detail"].as_str().unwrap().contains("behind line 18;"), "{last}");
    // The connection goes on with whatever is asked next.
    stream.end();
    stream.socket.write_all(b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    assert_eq!(stream.status(), 200);
}

#[test]
fn at_a_stop_what_was_read_is_answered_and_the_last_line_says_where_a_stream_ends() {
    let (_folder, mut server) = start(&["--shutdown-grace", "6s"]);
    let line = b"{\"text\": \"a good film\"}\n";
    // One that is silent, and one that never ends.
    let mut silent = Stream::open(&server, "");
    silent.send(&line.repeat(3));
    assert_eq!(silent.status(), 200);
    let mut endless = Stream::open(&server, "");
    let mut sender = endless.socket.try_clone().unwrap();
    let lines = line.repeat(100);
    let chunk = [format!("{:x}\r\n", lines.len()).as_bytes(), &lines, b"\r\n"].concat();
    sender.write_all(&chunk).unwrap();
    assert_eq!(endless.status(), 200);
    // One that is sent whole and ends by itself, however slowly its answers are taken.
    let mut whole = Stream::open(&server, "");
    let mut whole_sender = whole.socket.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || while sender.write_all(&chunk).is_ok() {});
        let body = line.repeat(20_000);
        let body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        scope.spawn(move || whole_sender.write_all(&body).unwrap());
        assert_eq!(whole.status(), 200);
        server.signal("-TERM");
        let ended = |answers: Vec<Value>| {
            let (last, answered) = answers.split_last().unwrap();
            assert_eq!((&last["status"], last.get("line")), (&json!(503), None), "{last}");
            assert!(answered.iter().all(|answer| answer.get("label").is_some()));
            let end = format!("behind line {};", answered.len());
            assert!(last["detail"].as_str().unwrap().contains(&end), "{last}, {end}");
        };
        let silent = scope.spawn(move || ended(silent.lines()));
        let endless = scope.spawn(move || ended(endless.lines()));
        let answers = whole.lines();
        assert_eq!(answers.len(), 20_000);
        assert!(answers.iter().all(|answer| answer.get("label").is_some()), "{:?}", answers.last());
        silent.join().unwrap();
        endless.join().unwrap();
    });
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_body_that_breaks_off_is_said_in_the_last_line() {
    let (_folder, server) = start(&[]);
    let line = "{\"text\": \"a good film\"}\n";
    let head = "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/x-ndjson\r\n";
    // Fewer bytes than were announced, a chunk without its end, one whose size is none.
    for rest in [
        format!("content-length: 500\r\n\r\n{line}{{\"text\": \"ba"),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\r\n40\r\n{{\"te", line.len()),
        format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{line}\r\nzz\r\n{line}", line.len()),
    ] {
        let mut socket = TcpStream::connect(&server.address).unwrap();
        socket.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut stream = Stream { answers: BufReader::new(socket.try_clone().unwrap()), socket };
        assert_eq!(stream.status(), 200, "{rest}");
        let answers = stream.lines();
        let [first, last] = &answers[..] else { panic!("{rest}: {answers:?}") };
        assert!(first.get("label").is_some(), "{first}");
        assert_eq!((&last["status"], last.get("line")), (&json!(400), None), "{last}");
        assert!(last["detail"].as_str().unwrap().contains("behind line 1;"), "{last}");
    }
}
