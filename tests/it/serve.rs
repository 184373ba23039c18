//! The service: the real binary over real sockets.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::properties::GOOD_FILES;
use crate::common::{Answer, Server, command, fatal, start, write_model, write_request, write_rounded_model};
use imdb_sentiment::model::{Golden, NGRAMS_FILE, NgramTable};
use imdb_sentiment::predict::Predictor;
use serde_json::json;

#[test]
fn predict_answers_as_described() {
    let (folder, server) = start(&[]);
    let expected = Predictor::load(folder.path().join("m")).unwrap().predict("A GOOD film, zebra!").unwrap();
    let answer = server.post("/predict", r#"{"text": "A GOOD film, zebra!"}"#);
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    let body = answer.json();
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    for key in ["label", "score", "probabilities", "tokens", "unknown_tokens", "truncated", "model"] {
        assert!(keys.contains(&key), "{key}: {body}");
    }
    let positive = body["probabilities"]["positive"].as_f64().unwrap();
    assert!((positive - expected.probability as f64).abs() < 1e-6);
    assert!((positive + body["probabilities"]["negative"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    let label = if positive >= 0.5 { "positive" } else { "negative" };
    assert_eq!(body["label"], label);
    assert_eq!(body["score"], body["probabilities"][label]);
    assert_eq!((&body["tokens"], &body["unknown_tokens"]), (&json!(5), &json!(1)));
    assert_eq!((&body["truncated"], &body["model"]), (&json!(false), &json!("m")));

    let many = server.post("/predict", r#"{"texts": ["bad plot", "A GOOD film, zebra!"]}"#).json();
    assert_eq!(many["model"], "m");
    assert_eq!(many["predictions"][1]["probabilities"], body["probabilities"]);
    assert_eq!(many["predictions"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_too_long_is_said_and_the_caller_chooses() {
    let (_folder, server) = start(&[]);
    let long = "good ".repeat(20) + &"bad ".repeat(20);
    let ask =
        |truncate: &str| server.post("/predict", &json!({"text": long, "truncate": truncate}).to_string());
    let tail = ask("tail").json();
    assert_eq!(tail, server.post("/predict", &json!({"text": long}).to_string()).json());
    assert_eq!(tail["truncated"], true);
    assert_eq!(tail["tokens"], 12);
    let head = ask("head").json();
    assert_ne!(head["probabilities"], tail["probabilities"]);
    let windows = ask("windows").json();
    assert_eq!(windows["truncated"], false);
    assert!(windows["windows"].as_array().unwrap().len() > 2, "{windows}");
    ask("error").problem(422);
    ask("middle").problem(422);
}

#[test]
fn uncertain_is_an_answer() {
    let (_folder, server) = start(&[]);
    let score = server.post("/predict", r#"{"text": "a film"}"#).json()["score"].as_f64().unwrap();
    let above = json!({"text": "a film", "abstain": (score + 1.0) / 2.0}).to_string();
    assert_eq!(server.post("/predict", &above).json()["label"], "uncertain");
    let below = json!({"text": "a film", "abstain": 0.5}).to_string();
    assert_ne!(server.post("/predict", &below).json()["label"], "uncertain");
    server.post("/predict", r#"{"text": "a film", "abstain": 2}"#).problem(422);
    server.post("/predict", r#"{"text": "a film", "abstain": 1.00000001}"#).problem(422);
}

#[test]
fn every_error_has_its_status_and_the_one_format() {
    let (_folder, server) = start(&["--max-body-bytes", "20000", "--max-texts", "3"]);
    let deep = format!("{}{}", "[".repeat(9000), "]".repeat(9000));
    for body in ["", "{", "nonsense", "{\"text\": \"a\\ud800b\"}", "[\"film\"]", &deep] {
        let answer = server.post("/predict", body);
        assert!([400, 422].contains(&answer.status), "{body:.40}: {}", answer.text());
        answer.problem(answer.status);
    }
    server.post("/predict", "{").problem(400);
    let json = [("content-type", "application/json")];
    server.send("POST", "/predict", &json, b"{\"text\": \"\xff\xfe\"}").problem(400);
    for body in [
        r#"{}"#,
        r#"{"text": "a", "texts": ["b"]}"#,
        r#"{"text": 3}"#,
        r#"{"text": "film", "unknown_field": 1}"#,
        r#"{"text": " ... !"}"#,
        r#"{"texts": []}"#,
    ] {
        server.post("/predict", body).problem(422);
    }
    let answer = server.post("/predict", r#"{"texts": ["film", "??"]}"#);
    answer.problem(422);
    assert_eq!(answer.json()["index"], 1);
    server.send("POST", "/predict", &[], b"{}").problem(415);
    server.send("POST", "/predict", &[("content-type", "text/plain")], b"{}").problem(415);
    server.post("/predict", r#"{"texts": ["a", "a", "a", "a"]}"#).problem(413);
    let big = json!({ "text": "film ".repeat(10_000) }).to_string();
    server.post("/predict", &big).problem(413);
    server.get("/nowhere").problem(404);
    server.post("/predict", r#"{"text": "film", "model": "other"}"#).problem(404);
    let answer = server.get("/predict");
    answer.problem(405);
    assert_eq!(answer.headers["allow"], "POST");
    // Odd but legal.
    for text in ["film\\u0000film", "\\u202efilm", "🎬 film", &"x".repeat(15_000)] {
        let answer = server.post("/predict", &format!("{{\"text\": \"{text}\"}}"));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(server.get("/health").status, 200);
}

#[test]
fn a_slow_body_times_out_and_harms_nobody() {
    let (_folder, server) = start(&["--body-timeout", "200ms", "--header-timeout", "300ms"]);
    let mut slow = TcpStream::connect(&server.address).unwrap();
    let head =
        "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).unwrap();
    assert_eq!(server.post("/predict", r#"{"text": "film"}"#).status, 200);
    Answer::read(&mut BufReader::new(slow)).unwrap().problem(408);
    // A header that never ends: the connection is closed.
    let mut slow = TcpStream::connect(&server.address).unwrap();
    slow.write_all(b"GET /health HTT").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    assert!(slow.read_to_end(&mut rest).is_ok(), "not closed");
}

#[test]
fn connections_are_kept_and_pipelined_requests_answered_in_order() {
    let (_folder, server) = start(&[]);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let headers = [("content-type", "application/json")];
    for text in ["good film", "bad plot", "?"] {
        write_request(
            &mut stream,
            "POST",
            "/predict",
            &headers,
            json!({ "text": text }).to_string().as_bytes(),
        );
    }
    let mut reader = BufReader::new(stream);
    let statuses: Vec<u16> = (0..3).map(|_| Answer::read(&mut reader).unwrap().status).collect();
    assert_eq!(statuses, [200, 200, 422]);
}

#[test]
fn overload_is_refused_at_once_and_passes() {
    // One compute thread, a queue of four, everything through it.
    let (_folder, server) = start(&[
        "--compute-threads",
        "1",
        "--inline-budget",
        "0s",
        "--max-pending-reviews",
        "4",
        "--max-texts",
        "4",
    ]);
    let body = json!({ "texts": vec!["good film ".repeat(5_000); 4] }).to_string();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || {
            let answer = server.post("/predict", &body);
            if answer.status == 503 {
                answer.problem(503);
                assert!(answer.headers["retry-after"].parse::<u32>().unwrap() > 0);
            }
            answer.status
        };
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    // The last answers are out a moment before their places in the queue are free.
    server.wait_until("recovery", |server| server.post("/predict", r#"{"text": "film"}"#).status == 200);
}

#[test]
fn of_refused_requests_one_a_second_is_logged_unless_all_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    write_model(&directory, 1, 8);
    let golden = r#"{"tolerance": 0.0001, "reviews": [{"text": "a film", "probability": 0.123}]}"#;
    std::fs::write(directory.join("golden.json"), golden).unwrap();
    let lines = |more: &[&str]| {
        let log = folder.path().join("log");
        let arguments = [&["--model", directory.to_str().unwrap()], more].concat();
        let server = Server::launch(command(&arguments).stderr(std::fs::File::create(&log).unwrap()));
        // A model that failed its self-test answers nothing.
        let started = Instant::now();
        (0..20).for_each(|_| drop(server.post("/predict", r#"{"text": "film"}"#).problem(503)));
        let seconds = started.elapsed().as_secs() as usize;
        // Lines are written behind the answers: they have to be there before the server is killed.
        let lines = |_: &Server| std::fs::read_to_string(&log).unwrap().matches("\"status\":503").count();
        let wanted = if arguments.contains(&"--log-requests") { 20 } else { 1 };
        server.wait_until("the last line", |server| lines(server) >= wanted);
        drop(server);
        let log = std::fs::read_to_string(log).unwrap();
        let refused: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["status"] == 503)
            .collect();
        (refused, seconds)
    };
    let (few, seconds) = lines(&[]);
    assert!(!few.is_empty() && few.len() <= seconds + 1, "{} lines in {seconds} s", few.len());
    assert_eq!(few[0]["suppressed"], 0);
    let (all, _) = lines(&["--log-requests"]);
    assert_eq!(all.len(), 20);
    assert!(all[0].get("suppressed").is_none());
}

#[test]
fn keys_guard_everything_but_health() {
    let (_folder, server) = start(&["--api-key", "first,second"]);
    server.get("/info").problem(401);
    server.post("/predict", r#"{"text": "film"}"#).problem(401);
    server.get("/metrics").problem(401);
    assert_eq!(server.get("/health/ready").status, 200);
    for (key, status) in [("Bearer second", 200), ("Bearer third", 401), ("second", 401)] {
        assert_eq!(server.send("GET", "/info", &[("authorization", key)], b"").status, status, "{key}");
    }
}

#[test]
fn ids_and_traces_go_in_and_out() {
    let (_folder, server) = start(&["--cors-origin", "https://example.org"]);
    let answer = server.send("GET", "/health", &[("x-request-id", "abc-1")], b"");
    assert_eq!(answer.headers["x-request-id"], "abc-1");
    assert!(!server.get("/health").headers["x-request-id"].is_empty());
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    let origin = |name: &str| server.send("GET", "/health", &[("origin", name)], b"").headers;
    assert_eq!(origin("https://example.org")["access-control-allow-origin"], "https://example.org");
    assert!(!origin("https://evil.example").contains_key("access-control-allow-origin"));
}

#[test]
fn metrics_count_what_happened() {
    let (_folder, server) = start(&[]);
    let requests = "imdb_sentiment_http_requests_total{route=\"/predict\",status=\"200\"}";
    assert_eq!(server.metric(requests), 0.0);
    server.post("/predict", r#"{"texts": ["good film", "zebra film"]}"#);
    server.get("/made-up-path");
    server.wait_until("counting", |server| server.metric(requests) == 1.0);
    assert_eq!(server.metric("imdb_sentiment_unknown_words_total{model=\"m\"}"), 1.0);
    assert!(!server.get("/metrics").text().contains("made-up-path"));
}

#[test]
fn a_model_is_swapped_without_a_gap_and_a_bad_one_is_not_taken() {
    let (folder, server) = start(&[]);
    let directory = folder.path().join("m");
    let ask = |text: &str| {
        let body = server.post("/predict", &json!({ "text": text }).to_string()).json();
        body["probabilities"]["positive"].as_f64().unwrap()
    };
    let known =
        |directory: &Path| Predictor::load(directory).unwrap().predict("good film").unwrap().probability;
    let mut allowed = vec![known(&directory) as f64];
    for seed in 2..6 {
        write_model(&directory, seed, 8);
        allowed.push(known(&directory) as f64);
        server.signal("-HUP");
        // Under way, every answer is one model's or the other's, never a mixture.
        server.wait_until("the swap", |_| {
            let value = ask("good film");
            assert!(allowed.iter().any(|known| (known - value).abs() < 1e-6), "{value} {allowed:?}");
            (value - allowed[allowed.len() - 1]).abs() < 1e-6
        });
    }
    let before = ask("good film");
    let weights = directory.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    server.signal("-HUP");
    let refused = "imdb_sentiment_model_reloads_total{model=\"m\",outcome=\"refused\"}";
    server.wait_until("the refusal", |server| server.metric(refused) == 1.0);
    assert_eq!(ask("good film"), before);
    assert_eq!(server.get("/health/ready").status, 200);
}

#[test]
fn a_watched_directory_is_taken_up_by_itself() {
    let (folder, server) = start(&["--watch", "--watch-interval", "50ms"]);
    let directory = folder.path().join("m");
    write_model(&directory, 9, 8);
    let expected = Predictor::load(&directory).unwrap().predict("good film").unwrap().probability as f64;
    server.wait_until("the swap", |server| {
        let body = server.post("/predict", r#"{"text": "good film"}"#).json();
        (body["probabilities"]["positive"].as_f64().unwrap() - expected).abs() < 1e-6
    });
}

#[test]
fn a_changed_table_of_grams_makes_another_version() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    // Weights made elsewhere name no digest, so the table alone can change.
    std::fs::create_dir(&directory).unwrap();
    GOOD_FILES.iter().for_each(|(name, bytes)| std::fs::write(directory.join(name), bytes).unwrap());
    std::fs::remove_file(directory.join("golden.json")).unwrap();
    let server = Server::start(&["--model", directory.to_str().unwrap()]);
    let ask = || server.post("/predict", r#"{"text": "good film"}"#).json()["probabilities"].clone();
    let before = ask();
    let table = NgramTable::new(&[], 3.0).unwrap();
    std::fs::write(directory.join(NGRAMS_FILE), table.to_bytes()).unwrap();
    server.signal("-HUP");
    server.wait_until("the swap", |_| ask() != before);
}

#[test]
fn several_models_and_a_shadow() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_model(&path("a"), 1, 8);
    write_model(&path("b"), 2, 5);
    let (a, b) = (format!("one={}", path("a").display()), format!("two={}", path("b").display()));
    let server = Server::start(&["--model", &a, "--model", &b, "--shadow", "two", "--shadow-share", "1"]);
    let ask = |body: &str| server.post("/predict", body).json();
    assert_eq!(ask(r#"{"text": "film"}"#)["model"], "one");
    let expected = Predictor::load(path("b")).unwrap().predict("film").unwrap().probability as f64;
    let two = ask(r#"{"text": "film", "model": "two"}"#);
    assert!((two["probabilities"]["positive"].as_f64().unwrap() - expected).abs() < 1e-6);
    server.wait_until("a comparison", |server| {
        server
            .get("/metrics")
            .text()
            .lines()
            .any(|line| line.contains("shadow") && !line.starts_with('#') && !line.ends_with(" 0"))
    });
    assert_eq!(server.get("/info").json()["models"].as_array().unwrap().len(), 2);
}

#[test]
fn a_failed_self_test_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    write_model(&directory, 1, 8);
    let golden = r#"{"tolerance": 0.0001, "reviews": [{"text": "a film", "probability": 0.123}]}"#;
    std::fs::write(directory.join("golden.json"), golden).unwrap();
    let server = Server::start(&["--model", directory.to_str().unwrap()]);
    assert_eq!(server.get("/health/ready").status, 503);
    assert_eq!(server.get("/health/live").status, 200);
}

#[test]
fn a_golden_file_of_another_arithmetic_is_allowed_for() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    write_rounded_model(&directory, 1, 8);
    let path = directory.join("golden.json");
    for (arithmetic, off, status) in [(None, 0.01, 200), (None, 0.2, 503), (Some(2), 0.01, 503)] {
        let predictor = imdb_sentiment::Predictor::load(&directory).unwrap();
        let mut golden: Golden = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        golden.arithmetic = arithmetic;
        for review in &mut golden.reviews {
            review.probability = predictor.predict(&review.text).unwrap().probability + off;
        }
        std::fs::write(&path, serde_json::to_vec(&golden).unwrap()).unwrap();
        let server = Server::start(&["--model", directory.to_str().unwrap()]);
        assert_eq!(server.get("/health/ready").status, status, "{arithmetic:?} {off}");
    }
}

#[test]
fn a_polite_kill_finishes_what_was_accepted() {
    let (_folder, mut server) = start(&["--shutdown-grace", "5s"]);
    let mut open = TcpStream::connect(&server.address).unwrap();
    let head =
        "POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n";
    open.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    open.write_all(br#"{"text": "film"}"#).unwrap();
    assert_eq!(Answer::read(&mut BufReader::new(open)).unwrap().status, 200);
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_folder, mut server) = start(&["--shutdown-grace", "60s"]);
    let mut open = TcpStream::connect(&server.address).unwrap();
    open.write_all(
        b"POST /predict HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n",
    )
    .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.signal("-TERM");
    std::thread::sleep(Duration::from_millis(100));
    server.signal("-TERM");
    assert_eq!(server.exit_code(), Some(143));
}

#[test]
fn wrong_settings_and_damaged_models_stop_the_start_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = |seed: u32| {
        let directory = folder.path().join(format!("m{seed}"));
        write_model(&directory, seed, 8);
        directory
    };
    let refused = |arguments: &[&str], names: &str| {
        let done = command(arguments).stdout(Stdio::null()).output().unwrap();
        let message = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {message}");
        assert!(fatal(&message).contains(names), "{message}");
        assert!(!message.contains("panicked"));
    };
    let model = |directory: &Path| directory.to_str().unwrap().to_string();
    refused(&["--model", &model(&folder.path().join("nowhere"))], "nowhere");
    let directory = fresh(1);
    let weights = directory.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..100]).unwrap();
    refused(&["--model", &model(&directory)], "model.safetensors");
    let directory = fresh(2);
    std::fs::write(directory.join("vocab.txt"), "<pad>\n<start>\n<unknown>\nfilm\n").unwrap();
    refused(&["--model", &model(&directory)], "vocab.txt");
    let directory = fresh(3);
    let weights = directory.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, bytes).unwrap();
    refused(&["--model", &model(&directory)], "NaN");
    refused(&["--model", &model(&fresh(4)), "--max-texts", "9999999"], "--max-texts");
}

#[test]
fn model_files_that_are_cut_or_flipped_never_crash() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("m");
    write_model(&directory, 1, 40);
    let weights = directory.join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    for end in (0..bytes.len()).step_by(4096) {
        std::fs::write(&weights, &bytes[..end]).unwrap();
        assert!(Predictor::load(&directory).is_err(), "cut at {end}");
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in 0..header {
        for flip in [0x01, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            std::fs::write(&weights, &damaged).unwrap();
            if let Ok(predictor) = Predictor::load(&directory) {
                assert!(predictor.predict("a good film").unwrap().probability.is_finite());
            }
        }
    }
}

#[test]
fn the_health_check_asks_the_server() {
    let (_folder, server) = start(&[]);
    let port = server.address.rsplit(':').next().unwrap();
    let check = |port: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_server"));
        command.args(["healthcheck", "--port", port]).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(check(port), Some(0));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    assert_eq!(check(&closed), Some(1));
}

#[test]
fn the_protocols_of_the_ecosystem_say_the_same() {
    let (_folder, server) = start(&[]);
    let expected = server.post("/predict", r#"{"text": "good film"}"#).json()["probabilities"]["positive"]
        .as_f64()
        .unwrap();
    let inputs =
        json!({"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good film"]}]});
    let answer = server.post("/v2/models/m/infer", &inputs.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.get("/v2/models/m/ready").status, 200);
    assert_eq!(server.get("/v2/health/live").status, 200);
    let answer = server.post("/", r#"{"inputs": "good film"}"#).json();
    let labels = answer[0].as_array().unwrap_or_else(|| answer.as_array().unwrap());
    let positive = labels.iter().find(|label| label["label"] == "positive").unwrap();
    assert!((positive["score"].as_f64().unwrap() - expected).abs() < 1e-6);
    // An output is written once.
    let twice =
        inputs.to_string().replacen('{', r#"{"outputs": [{"name": "label"}, {"name": "label"}], "#, 1);
    server.post("/v2/models/m/infer", &twice).problem(422);
    // A whole number is one with a point, too.
    let inputs = inputs.to_string().replace("[1]", "[1.0]");
    assert_eq!(server.post("/v2/models/m/infer", &inputs).status, 200);
    let top =
        |k: &str| server.post("/", &format!(r#"{{"inputs": "good film", "parameters": {{"top_k": {k}}}}}"#));
    assert_eq!(top("1.0").json()[0].as_array().unwrap().len(), 1);
    top("1.5").problem(422);
}

#[test]
fn the_shipped_models_start_quickly_and_pass_their_self_test() {
    for name in ["keras-imdb", "imdb"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name);
        if name == "imdb" && !directory.exists() {
            continue;
        }
        let started = Instant::now();
        let server = Server::start(&["--model", directory.to_str().unwrap()]);
        println!("{name}: ready after {:?}", started.elapsed());
        assert_eq!(server.get("/health/ready").status, 200);
        let score = |text: &str| {
            let body = server.post("/predict", &json!({ "text": text }).to_string()).json();
            body["probabilities"]["positive"].as_f64().unwrap()
        };
        assert!(score("A wonderful, moving film. I loved it.") > 0.5);
        assert!(score("Awful. A complete waste of time, boring and badly acted.") < 0.5);
    }
}
