//! Streams: a JSON object a line in, an answer a line out as they come.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{Server, start};
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
