//! Clients that break off, dawdle or send what nobody sends: each gets its status, and the next one is served.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::{Answer, Server, start};
use serde_json::json;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Where a text stands in the body of each route.
const BODIES: [(&str, &str, &str); 3] = [
    ("/predict", r#"{"text": "#, "}"),
    ("/", r#"{"inputs": "#, "}"),
    (
        "/v2/models/m/infer",
        r#"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["#,
        "]}]}",
    ),
];

/// Asserts that the server answers a good request as it did at first.
fn serves(server: &Server) {
    let answer = server.post("/predict", r#"{"text": "good film"}"#);
    assert_eq!((answer.status, &answer.json()["tokens"]), (200, &json!(3)), "{}", answer.text());
}

/// Sends `value`, as it stands, in the place of a text to every route.
fn send_everywhere(server: &Server, value: &[u8]) -> Vec<Answer> {
    let answers = BODIES.iter().map(|(path, front, back)| {
        server.send("POST", path, &JSON, &[front.as_bytes(), value, back.as_bytes()].concat())
    });
    let answers = answers.collect();
    serves(server);
    answers
}

#[test]
fn requests_that_break_off_anywhere_harm_nobody() {
    let (_folder, server) = start(&[]);
    let body = r#"{"text": "good film"}"#;
    let request = format!(
        "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for end in (0..request.len()).step_by(5) {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        stream.write_all(&request.as_bytes()[..end]).unwrap();
    }
    serves(&server);
    // A body that ends early while the client still listens.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(&request.as_bytes()[..request.len() - 5]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    if let Some(answer) = Answer::read(&mut BufReader::new(stream)) {
        answer.problem(400);
    }
    serves(&server);
}

#[test]
fn a_byte_at_a_time_is_too_slow() {
    let (_folder, server) = start(&["--body-timeout", "400ms", "--header-timeout", "400ms"]);
    let whole = b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
    // The body drips; the header drips; the header of a second request drips.
    for (at_once, dripping, expected) in [
        (&whole[..], &[b' '; 1000][..], Some(408)),
        (b"", whole, None),
        (b"GET /health HTTP/1.1\r\nhost: t\r\n\r\n", whole, Some(200)),
    ] {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut writer = stream.try_clone().unwrap();
        writer.write_all(at_once).unwrap();
        let start = Instant::now();
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                for byte in dripping {
                    if start.elapsed() > Duration::from_secs(20) || writer.write_all(&[*byte]).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
            let mut reader = BufReader::new(&stream);
            let answer = Answer::read(&mut reader);
            assert_eq!(answer.as_ref().map(|answer| answer.status), expected);
            if expected == Some(408) {
                answer.unwrap().problem(408);
            }
            let _ = reader.read_to_end(&mut Vec::new());
            start.elapsed()
        });
        assert!(ended < Duration::from_secs(20), "not closed: {ended:?}");
        serves(&server);
    }
}

#[test]
fn ten_thousand_headers_are_too_many() {
    let (_folder, server) = start(&[]);
    for (count, long) in [(10_000, 1), (1, 1_000_000)] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let mut request = String::from("GET /health HTTP/1.1\r\nhost: t\r\n");
        for at in 0..count {
            request += &format!("x-{at}: {}\r\n", "y".repeat(long));
        }
        // The server may close before it has all of it.
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(b"\r\n"));
        // HTTP itself refuses it (RFC 6585), before there is a request that a problem could answer.
        if let Some(answer) = Answer::read(&mut BufReader::new(stream)) {
            assert_eq!(answer.status, 431, "{}", answer.text());
        }
        serves(&server);
    }
}

#[test]
fn json_a_hundred_thousand_deep_is_refused() {
    let (_folder, server) = start(&[]);
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(100_000), close.repeat(100_000));
        for answer in send_everywhere(&server, deep.as_bytes()) {
            assert!([400, 422].contains(&answer.status), "{}", answer.text());
            answer.problem(answer.status);
        }
        for (path, front, back) in BODIES {
            // A field that is passed over is walked through, not built, so its depth costs nothing.
            let inside = &back[..back.len() - 1];
            let passed_over = server.post(path, &format!("{front}\"film\"{inside}, \"other\": {deep}}}"));
            match path {
                "/predict" => drop(passed_over.problem(422)),
                _ => assert_eq!(passed_over.status, 200, "{path}: {}", passed_over.text()),
            }
            let cut_off = server.post(path, &format!("{front}{}", open.repeat(100_000)));
            assert!([400, 422].contains(&cut_off.status), "{path}: {}", cut_off.text());
            cut_off.problem(cut_off.status);
        }
        serves(&server);
    }
}

#[test]
fn what_is_no_text_is_refused() {
    let (_folder, server) = start(&[]);
    for value in [
        &b"\"film \xff\xfe\""[..],
        b"\"film \xc3\"",
        b"\"film \xed\xa0\x80\"",
        b"\"film \xf4\x90\x80\x80\"",
        b"\"film \\ud800\"",
        b"\"\\udc00 film\"",
        b"\"film \\ud800\\u0041\"",
        b"\"film \\ud83c",
        b"\"film \0\"",
        b"\"film\n\"",
    ] {
        for answer in send_everywhere(&server, value) {
            answer.problem(400);
        }
    }
    for value in [&b"\"film\\u0000film\""[..], b"\"\\ud83c\\udfac film\"", b"\"\\ufffe film \\uffff\""] {
        for answer in send_everywhere(&server, value) {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
}

#[test]
fn a_word_of_ten_megabytes_is_over_the_limit_or_one_unknown_word() {
    let word = format!("\"{}\"", "x".repeat(10_000_000));
    let (_folder, server) = start(&[]);
    for answer in send_everywhere(&server, word.as_bytes()) {
        answer.problem(413);
    }
    let (_folder, server) = start(&["--max-body-bytes", "16777216"]);
    for answer in send_everywhere(&server, word.as_bytes()) {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let many = format!("\"{}\"", "xé ".repeat(3_000_000));
    for answer in send_everywhere(&server, many.as_bytes()) {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn characters_of_every_block_are_read() {
    let (_folder, server) = start(&[]);
    // Unicode's blocks begin at multiples of 16; 256 characters a text meet every one of them.
    let starts: Vec<u32> = (0..=u32::from(char::MAX)).step_by(256).collect();
    for starts in starts.chunks(512) {
        let texts: Vec<String> = starts
            .iter()
            .map(|start| {
                "film ".to_string() + &(*start..start + 256).filter_map(char::from_u32).collect::<String>()
            })
            .collect();
        let answer = server.post("/predict", &json!({ "texts": texts }).to_string());
        assert_eq!(answer.status, 200, "from {:x}: {}", starts[0], answer.text());
        let answer = answer.json();
        let predictions = answer["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), texts.len());
        for prediction in predictions {
            assert!(prediction["score"].as_f64().unwrap() >= 0.5, "{prediction}");
            assert!(prediction["tokens"].as_u64().unwrap() >= 2, "{prediction}");
        }
    }
    serves(&server);
}

#[test]
fn a_client_that_takes_no_answer_loses_its_connection() {
    let (_folder, server) = start(&["--write-timeout", "300ms", "--max-connections", "3"]);
    // HTTP/1: more answers than the sockets' buffers hold, none of them read.
    let mut stuck = TcpStream::connect(&server.address).unwrap();
    stuck.set_nonblocking(true).unwrap();
    let asked = "GET /openapi.yaml HTTP/1.1\r\nhost: t\r\n\r\n".repeat(4000);
    let mut sent = 0;
    while let Ok(more @ 1..) = stuck.write(&asked.as_bytes()[sent..]) {
        sent += more;
    }
    assert!(sent > 40 * 100);
    // HTTP/2: a window that stays shut.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = Instant::now();
    let (status, ended) = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (client, connection) =
            builder.initial_window_size(0).handshake::<_, &[u8]>(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let request =
            axum::http::Request::get(format!("http://{}/metrics", server.address)).body(()).unwrap();
        let mut client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        let answer = answer.await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), connection).await;
        (answer.status(), ended.is_ok())
    });
    assert_eq!(status, 200, "the head needs no window");
    assert!(ended, "still open after {:?}", begun.elapsed());
    // The first one is closed, too: what asks is the only connection left.
    while server.metric("imdb_sentiment_connections") > 1.0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "still open after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(50));
    }
    serves(&server);
}

#[test]
fn a_large_body_gets_its_refusal_and_no_reset() {
    let (_folder, server) = start(&["--api-key", "k"]);
    let body = format!(r#"{{"text": "{}"}}"#, "good ".repeat(300_000));
    for path in ["/predict", "/v2/models/none/infer"] {
        server.post(path, &body).problem(401);
        let key = [("content-type", "application/json"), ("authorization", "Bearer k")];
        let answer = server.send("POST", path, &key, body.as_bytes());
        assert_eq!(answer.status, if path == "/predict" { 200 } else { 404 });
    }
}
