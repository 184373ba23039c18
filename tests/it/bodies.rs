//! Bodies as people send them: packed, marked, in another encoding, with a wrong field; and answers packed as they ask.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::{Answer, Server, start};
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use serde_json::json;

const JSON: (&str, &str) = ("content-type", "application/json");

/// `text` as the body of each route that reads one.
fn bodies(text: &str) -> [(&'static str, String); 4] {
    let tensor = json!({"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]});
    [
        ("/predict", json!({ "text": text }).to_string()),
        ("/", json!({ "inputs": text }).to_string()),
        ("/models/m", json!({ "inputs": text }).to_string()),
        ("/v2/models/m/infer", json!({ "inputs": [tensor] }).to_string()),
    ]
}

fn pack(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut writer = GzEncoder::new(Vec::new(), Compression::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "deflate" => {
            let mut writer = ZlibEncoder::new(Vec::new(), Compression::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        "bare deflate" => {
            let mut writer = DeflateEncoder::new(Vec::new(), Compression::default());
            writer.write_all(bytes).unwrap();
            writer.finish().unwrap()
        }
        _ => zstd::stream::encode_all(bytes, 3).unwrap(),
    }
}

fn unpack(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => GzDecoder::new(bytes).read_to_end(&mut out).map(drop).unwrap(),
        "deflate" => ZlibDecoder::new(bytes).read_to_end(&mut out).map(drop).unwrap(),
        _ => out = zstd::stream::decode_all(bytes).unwrap(),
    }
    out
}

#[test]
fn a_packed_body_is_read_and_a_bomb_is_not() {
    let (_folder, server) = start(&["--max-body-bytes", "200000"]);
    let send = |path: &str, coding: &str, body: &[u8]| {
        server.send("POST", path, &[JSON, ("content-encoding", coding)], body)
    };
    for (path, body) in bodies(&"a good film ".repeat(2000)) {
        let plain = server.post(path, &body);
        assert_eq!(plain.status, 200, "{path}: {}", plain.text());
        for coding in ["gzip", "deflate", "bare deflate", "zstd"] {
            let name = coding.trim_start_matches("bare ");
            let packed = pack(coding, body.as_bytes());
            let answer = send(path, name, &packed);
            assert_eq!(
                (answer.status, &answer.body),
                (200, &plain.body),
                "{path} {coding}: {}",
                answer.text()
            );
            // Cut off, not packed so, and packed in front of something else.
            send(path, name, &packed[..packed.len() / 2]).problem(400);
            send(path, name, body.as_bytes()).problem(400);
            let bomb = pack(coding, &vec![b' '; 30_000_000]);
            assert!(bomb.len() < 200_000);
            let detail = send(path, name, &bomb).problem(413);
            assert!(detail.contains("200000 bytes when unpacked"), "{detail}");
        }
        for coding in ["br", "gzip, gzip", "x-own"] {
            let answer = send(path, coding, body.as_bytes());
            answer.problem(415);
            assert_eq!(answer.headers["accept-encoding"], "gzip, deflate, zstd");
        }
        for coding in ["", "identity"] {
            assert_eq!(send(path, coding, body.as_bytes()).status, 200, "{path} `{coding}`");
        }
        // A sender that forgets to say so is told.
        let detail = server.send("POST", path, &[JSON], &pack("gzip", body.as_bytes())).problem(400);
        assert!(detail.contains("content-encoding: gzip"), "{detail}");
    }
    // What was held for all of them is given back; the request that asks is held itself.
    server.wait_until("nothing held", |server| server.metric("imdb_sentiment_held_bytes") < 20_000.0);
}

#[test]
fn marks_and_other_encodings_are_named() {
    let (_folder, server) = start(&[]);
    for (path, body) in bodies("a good film") {
        let marked = server.send("POST", path, &[JSON], format!("\u{feff}{body}").as_bytes());
        assert_eq!(marked.body, server.post(path, &body).body, "{path}");
        let refused = |bytes: &[u8], word: &str| {
            let detail = server.send("POST", path, &[JSON], bytes).problem(400);
            assert!(detail.contains(word), "{path}: {detail}");
        };
        let units: Vec<u16> = body.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        refused(&little, "UTF-16");
        refused(&big, "UTF-16");
        refused(&[&[0xff, 0xfe][..], &little].concat(), "UTF-16");
        refused(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary");
        let latin = body.replace("good", "g\u{1}").replace('\u{1}', "ood");
        refused(
            &latin.into_bytes().iter().map(|&b| if b == b'g' { 0xe9 } else { b }).collect::<Vec<_>>(),
            "UTF-8",
        );
        refused(b"", "empty");
        refused(b"text=film", "not JSON");
        let no_type = server.send("POST", path, &[("content-type", "")], body.as_bytes());
        // The Open Inference Protocol takes bodies whatever their type.
        if path.starts_with("/v2") {
            assert_eq!(no_type.status, 200);
        } else {
            assert!(no_type.problem(415).contains("missing"));
        }
    }
}

#[test]
fn a_wrong_field_is_named_with_its_place() {
    let (_folder, server) = start(&[]);
    let v2 = "/v2/models/m/infer";
    let tensor = |data: &str| {
        format!(r#"{{"inputs": [{{"name": "text", "shape": [1], "datatype": "BYTES", "data": {data}}}]}}"#)
    };
    for (path, body, begin) in [
        (
            "/predict",
            r#"{"texts": ["a film", "a film", "a film", 3]}"#.to_string(),
            "texts[3]: invalid type: integer `3`",
        ),
        ("/predict", r#"{"texts": ["a film", null]}"#.into(), "texts[1]: invalid type: null"),
        ("/predict", r#"{"texts": ["a film", ["a film"]]}"#.into(), "texts[1]: invalid type: sequence"),
        ("/predict", r#"{"texts": {"0": "a film"}}"#.into(), "texts: invalid type: map"),
        ("/predict", r#"{"text": 3}"#.into(), "text: invalid type: integer `3`, expected a string"),
        (
            "/predict",
            r#"{"text": "a film", "truncate": true}"#.into(),
            "truncate: invalid type: boolean `true`, expected one of `tail`",
        ),
        ("/predict", r#"{"text": "a film", "truncate": 3}"#.into(), "truncate: invalid type"),
        ("/predict", r#"{"text": "a film", "truncate": ["head"]}"#.into(), "truncate: invalid type"),
        (
            "/predict",
            r#"{"text": "a film", "truncate": "middle"}"#.into(),
            "truncate: unknown variant `middle`, expected one of `tail`",
        ),
        (
            "/predict",
            r#"{"text": "a film", "abstain": "0.7"}"#.into(),
            "abstain: invalid type: string, expected a number",
        ),
        (
            "/predict",
            r#"{"text": "a film", "explain": 1}"#.into(),
            "explain: invalid type: integer `1`, expected a boolean",
        ),
        ("/predict", r#"{"text": "a film", "offsets": {}}"#.into(), "offsets: invalid type"),
        ("/predict", r#"{"text": "a film", "txet": 1}"#.into(), "unknown field `txet`"),
        ("/", r#"{"inputs": ["a film", 3]}"#.into(), "inputs[1]: invalid type: integer `3`"),
        ("/", r#"{"inputs": 3}"#.into(), "inputs: invalid type: integer `3`, expected a string or a list"),
        (
            "/",
            r#"{"inputs": "a film", "parameters": {"top_k": "two"}}"#.into(),
            "parameters.top_k: invalid type: string",
        ),
        (v2, tensor(r#"["a film", 3]"#), "inputs[0].data[1]: invalid type: integer `3`"),
        (v2, tensor(r#"[["a film", false]]"#), "inputs[0].data[0][1]: invalid type: boolean `false`"),
        (v2, r#"{"inputs": [{"name": 3}]}"#.into(), "inputs[0].name: invalid type"),
    ] {
        let answer = server.post(path, &body);
        let detail = answer.problem(422);
        assert!(detail.starts_with(begin), "{path} {body}: {detail}");
        assert_eq!(answer.json()["error"], answer.json()["detail"]);
    }
    assert_eq!(server.post("/predict", r#"{"texts": ["a film", 3]}"#).json()["index"], 1);
    // What a client wrote is not repeated at length, wherever it stands.
    let long = "secret ".repeat(10_000);
    for body in [
        json!({"texts": [{"text": long}]}),
        json!({"text": "a film", long.as_str(): 1}),
        json!({"text": "a film", "truncate": long}),
        json!({"text": "a film", "abstain": long}),
    ] {
        let detail = server.post("/predict", &body.to_string()).problem(422);
        assert!(detail.len() < 300 && !detail.contains("secret secret"), "{detail}");
    }
    let lines = "{\"text\": \"a film\"}\n{\"text\": \"a film\"}\n";
    assert!(server.post("/predict", lines).problem(400).contains("application/x-ndjson"));
}

/// The same request, asked for in every way that answers are packed.
fn packed_alike(server: &Server, ask: impl Fn(&[(&str, &str)]) -> Answer) {
    let plain = ask(&[]);
    assert_eq!(plain.status, 200, "{}", plain.text());
    assert!(!plain.headers.contains_key("content-encoding"));
    for coding in ["gzip", "deflate", "zstd"] {
        let answer = ask(&[("accept-encoding", coding)]);
        assert_eq!(answer.headers["content-encoding"], coding);
        assert_eq!(answer.headers["vary"], "accept-encoding");
        assert!(answer.body.len() < plain.body.len() / 2, "{} {}", answer.body.len(), plain.body.len());
        assert!(unpack(coding, &answer.body) == plain.body, "{coding}");
    }
    for accepted in ["identity", "", "br", "gzip;q=0", "*;q=0, identity"] {
        let answer = ask(&[("accept-encoding", accepted)]);
        assert!(!answer.headers.contains_key("content-encoding"), "{accepted}");
        assert!(answer.body == plain.body, "{accepted}");
    }
    ask(&[("accept-encoding", "br, identity;q=0")]).problem(406);
    assert_eq!(server.get("/health").status, 200);
}

/// The status of an answer that has no body, whatever length it tells.
fn head(server: &Server, path: &str, header: &str) -> u16 {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let request = format!("HEAD {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{header}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn answers_are_packed_as_their_clients_ask() {
    let (_folder, server) = start(&[]);
    let texts = json!({"texts": vec!["a good film"; 300]}).to_string();
    packed_alike(&server, |headers| {
        server.send("POST", "/predict", &[headers, &[JSON]].concat(), texts.as_bytes())
    });
    for path in ["/openapi.yaml", "/openapi.json", "/"] {
        packed_alike(&server, |headers| server.send("GET", path, headers, b""));
    }
    // What fits into a packet is not worth it.
    let gzip = ("accept-encoding", "gzip");
    let small = server.send("POST", "/predict", &[JSON, gzip], br#"{"text": "a good film"}"#);
    assert!(!small.headers.contains_key("content-encoding"), "{small:?}");
    assert_eq!(head(&server, "/openapi.yaml", "accept-encoding: gzip"), 200);
}

#[test]
fn a_slash_at_the_end_of_a_path_is_none() {
    let (_folder, server) = start(&["--api-key", "k"]);
    let key = ("authorization", "Bearer k");
    for (path, body) in bodies("a good film").iter().skip(1) {
        let ask = |path: &str| server.send("POST", path, &[JSON, key], body.as_bytes());
        assert_eq!(ask(&format!("{path}/")).body, ask(path).body, "{path}");
    }
    let (path, body) = &bodies("a good film")[0];
    let slashed = server.send("POST", &format!("{path}/?a=b"), &[JSON, key], body.as_bytes());
    assert_eq!(slashed.status, 200, "{}", slashed.text());
    // Without a key as without the slash, and counted under the one name.
    assert_eq!(server.get("/health/live/").status, 200);
    server.get("/info/").problem(401);
    let page = server.send("GET", "/metrics/", &[key], b"").text();
    assert!(
        page.contains("imdb_sentiment_http_requests_total{route=\"/predict\",status=\"200\"} 1\n"),
        "{page}"
    );
}

#[test]
fn the_root_answers_health_checkers_with_and_without_the_page() {
    for arguments in [&["--api-key", "k"][..], &["--api-key", "k", "--no-page"]] {
        let (_folder, server) = start(arguments);
        assert_eq!(server.get("/").status, 200, "{arguments:?}");
        assert_eq!(head(&server, "/", "accept: */*"), 200, "{arguments:?}");
    }
}

#[test]
fn a_client_that_asks_before_it_sends_is_told_before_it_sends() {
    let (_folder, server) = start(&["--api-key", "k", "--max-body-bytes", "100000"]);
    let begin = |path: &str, headers: &str, length: usize| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    };
    let key = "authorization: Bearer k\r\n";
    let json = format!("{key}content-type: application/json\r\n");
    for (path, body) in bodies("a good film") {
        // Refused, whatever the reason, the answer comes in place of the leave to send; then the connection ends.
        for (headers, length, status) in [
            (json.clone(), 100_000_000, 413),
            (format!("{key}content-type: text/csv\r\n"), body.len(), 415),
            (format!("{json}content-encoding: br\r\n"), body.len(), 415),
            ("content-type: application/json\r\n".into(), 100_000_000, 401),
        ] {
            if status == 415 && path.starts_with("/v2") && !headers.contains("br") {
                // The protocol's clients may call a body with tensors what they like.
                continue;
            }
            let mut answers = begin(path, &headers, length);
            let answer = Answer::read(&mut answers).expect("an answer");
            assert_eq!(answer.status, status, "{path} {headers}: {answer:?}");
            assert_eq!(answers.read_to_end(&mut Vec::new()).unwrap(), 0, "{path} {headers}");
        }
        let mut answers = begin(path, &json, body.len());
        assert_eq!(Answer::read(&mut answers).map(|answer| answer.status), Some(100), "{path}");
        answers.get_mut().write_all(body.as_bytes()).unwrap();
        assert_eq!(Answer::read(&mut answers).map(|answer| answer.status), Some(200), "{path}");
    }
}
