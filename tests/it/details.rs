//! What an answer says besides its verdict: words, sentences, the way to the verdict; and the page that shows it.

use crate::common::{Server, start, write_full_model};
use imdb_sentiment::Predictor;
use imdb_sentiment::predict::Truncate;
use serde_json::{Value, json};

fn ask(server: &Server, body: &Value) -> Value {
    let answer = server.post("/predict", &body.to_string());
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()
}

/// A folder with a model that reads words, both ways, with grams; a server on it; the model itself.
fn words_model(more: &[&str]) -> (tempfile::TempDir, Server, Predictor) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    write_full_model(&path, 3);
    let server = Server::start(&[&["--model", path.to_str().unwrap()], more].concat());
    let predictor = Predictor::load(&path).unwrap();
    (folder, server, predictor)
}

#[test]
fn words_point_into_the_text_as_it_was_posted() {
    let (_folder, server, predictor) = words_model(&[]);
    for text in [
        "A good film, awful plot.",
        "👍🏽 Great\u{2764}\u{fe0f} acting 🎬, not “dull”!",
        "Cafe\u{301} na\u{ef}ve\r\n\r\nGREAT\u{a0}film",
        "It&#39;s a &quot;great&quot; film <br /><br />ﬁne",
        "\u{feff}İstanbul ΣΟΦΟΣ 映画 good",
    ] {
        let expected = predictor.explain(text, Truncate::Tail).unwrap();
        let units: Vec<u16> = text.encode_utf16().collect();
        let points: Vec<char> = text.chars().collect();
        for offsets in ["utf8", "utf16", "codepoints"] {
            let answer = ask(&server, &json!({"text": text, "explain": true, "offsets": offsets}));
            let words = answer["words"].as_array().unwrap();
            assert_eq!(words.len(), expected.len());
            for (word, expected) in words.iter().zip(&expected) {
                let [start, end] = ["start", "end"].map(|name| word[name].as_u64().unwrap() as usize);
                let found = match offsets {
                    "utf8" => text[start..end].to_string(),
                    "utf16" => String::from_utf16(&units[start..end]).unwrap(),
                    _ => points[start..end].iter().collect(),
                };
                assert_eq!(word["text"], found, "{offsets}: {word}");
                assert_eq!(found, text[expected.range.clone()]);
                assert!((word["weight"].as_f64().unwrap() - f64::from(expected.weight)).abs() < 1e-6);
                assert_eq!(word["known"], expected.known);
            }
        }
        // Code points where nothing is said.
        let plain = ask(&server, &json!({"text": text, "explain": true}));
        assert_eq!(plain, ask(&server, &json!({"text": text, "explain": true, "offsets": "codepoints"})));
        assert!(plain.get("sentences").is_none() && plain.get("trajectory").is_none());
    }
}

#[test]
fn words_that_are_not_read_are_not_explained_and_windows_are_averaged() {
    let (_folder, server, predictor) = words_model(&[]);
    let text = format!("{}{}", "good ".repeat(15), "bad ".repeat(15));
    for (mode, truncate) in
        [("tail", Truncate::Tail), ("head", Truncate::Head), ("windows", Truncate::Windows)]
    {
        let answer = ask(&server, &json!({"text": text, "explain": true, "truncate": mode}));
        let words = answer["words"].as_array().unwrap();
        let read: Vec<&str> = words.iter().map(|word| word["text"].as_str().unwrap()).collect();
        match mode {
            "tail" => assert_eq!(read, ["bad"; 12]),
            "head" => assert_eq!(read, ["good"; 11]),
            _ => assert_eq!(read.len(), 30),
        }
        let sum: f64 = words.iter().map(|word| word["weight"].as_f64().unwrap()).sum();
        let expected: f32 = predictor.explain(&text, truncate).unwrap().iter().map(|word| word.weight).sum();
        assert!((sum - f64::from(expected)).abs() < 1e-4);
    }
}

#[test]
fn sentences_are_judged_as_if_they_stood_alone() {
    let (_folder, server, _) = words_model(&[]);
    let parts = ["A good film.", "Awful plot, 👎 bad acting!", "Great story, says Mr. Fine."];
    let text = parts.join("<br />");
    let body = json!({"text": text, "sentences": true, "offsets": "utf8"});
    let answer = ask(&server, &body);
    let sentences = answer["sentences"].as_array().unwrap();
    assert_eq!(sentences.len(), parts.len());
    for (sentence, part) in sentences.iter().zip(parts) {
        let [start, end] = ["start", "end"].map(|name| sentence[name].as_u64().unwrap() as usize);
        assert_eq!(&text[start..end], part);
        let alone = ask(&server, &json!({"text": part}));
        for field in ["label", "score", "probabilities"] {
            assert_eq!(sentence[field], alone[field], "{part}");
        }
    }
    assert!(answer["mixed"].is_boolean());
    assert!(ask(&server, &json!({"text": text}))["mixed"].is_null());
    // The verdict on the whole is the same, and the rule of `abstain` holds for sentences too.
    let plain = ask(&server, &json!({"text": text}));
    assert_eq!(answer["probabilities"], plain["probabilities"]);
    let unsure = ask(&server, &json!({"text": text, "sentences": true, "abstain": 1.0}));
    assert!(unsure["sentences"].as_array().unwrap().iter().all(|sentence| sentence["label"] == "uncertain"));
    assert_eq!(unsure["mixed"], false);
    // Many texts, in order.
    let many = ask(&server, &json!({"texts": [parts[0], text], "sentences": true, "offsets": "utf8"}));
    assert_eq!(many["predictions"][0]["sentences"].as_array().unwrap().len(), 1);
    assert_eq!(many["predictions"][1]["sentences"], answer["sentences"]);
}

#[test]
fn a_trajectory_is_the_verdict_on_ever_more_of_the_text() {
    let (_folder, server, _) = words_model(&[]);
    let text = "A good film. Bad plot. Great acting and a fine story.";
    let answer = ask(&server, &json!({"text": text, "trajectory": true}));
    let points = answer["trajectory"].as_array().unwrap();
    let ends: Vec<u64> = points.iter().map(|point| point["end"].as_u64().unwrap()).collect();
    assert_eq!(ends, [12, 22, text.len() as u64]);
    for point in points {
        let so_far = &text[..point["end"].as_u64().unwrap() as usize];
        assert_eq!(point["positive"], ask(&server, &json!({"text": so_far}))["probabilities"]["positive"]);
    }
    // Of many sentences some ends are taken, the last one among them.
    let long = "Good film. ".repeat(100);
    let points = ask(&server, &json!({"text": long, "trajectory": true}))["trajectory"].clone();
    assert_eq!(points.as_array().unwrap().len(), 24);
    assert_eq!(points[23]["end"], long.trim_end().len());
}

#[test]
fn extra_work_is_limited_counted_and_checked() {
    let (_folder, server, _) = words_model(&["--max-pending-reviews", "60", "--max-texts", "60"]);
    let texts = |count: usize| vec!["A good film. Bad plot."; count];
    ask(&server, &json!({"texts": texts(5), "explain": true}));
    let refused = server.post("/predict", &json!({"texts": texts(6), "explain": true}).to_string());
    refused.problem(413);
    assert!(refused.text().contains("72 reviews"), "{}", refused.text());
    ask(&server, &json!({"texts": texts(30), "sentences": true}));
    server.post("/predict", &json!({"texts": texts(31), "sentences": true}).to_string()).problem(413);
    let windows = json!({"text": "good ".repeat(60), "truncate": "windows", "explain": true});
    server.post("/predict", &windows.to_string()).problem(413);
    // The room is given back.
    ask(&server, &json!({"texts": texts(5), "explain": true}));
    for (detail, count) in [("explanation", 10.0), ("sentence", 60.0), ("point", 0.0)] {
        let series = format!("imdb_sentiment_details_total{{detail=\"{detail}\"}}");
        assert_eq!(server.metric(&series), count, "{detail}");
    }
    assert_eq!(server.metric("imdb_sentiment_pending_reviews"), 0.0);
    for wrong in [json!({"explain": "yes"}), json!({"offsets": "bytes"}), json!({"sentences": 1})] {
        let mut body = json!({"text": "A good film"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        server.post("/predict", &body.to_string()).problem(422);
    }
    ask(&server, &json!({"text": "A good film", "explain": null, "offsets": null, "sentences": false}));
    server.post("/predict", &json!({"text": " ... ", "explain": true}).to_string()).problem(422);
}

#[test]
fn completions_and_a_manual_page_are_printed() {
    for binary in [env!("CARGO_BIN_EXE_server"), env!("CARGO_BIN_EXE_trainer")] {
        let print = |arguments: &[&str]| {
            let output = std::process::Command::new(binary).args(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(print(&["completions", "bash"]).contains("--model"));
        assert!(print(&["completions", "fish"]).contains("complete -c"));
        assert!(print(&["man"]).contains(".TH"), "roff");
    }
}

#[test]
fn the_page_is_there_for_people_and_can_be_turned_off() {
    let (_folder, server) = start(&["--api-key", "key"]);
    let page = server.get("/");
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let policy = &page.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(page.text().contains("<textarea id=\"text\""));
    // What it shows needs the key; what others post to its path does too.
    server.post("/predict", r#"{"text": "A good film"}"#).problem(401);
    server.post("/", r#"{"inputs": "A good film"}"#).problem(401);
    server.get("/openapi.json").problem(401);
    let docs = server.get("/docs");
    assert_eq!((docs.status, docs.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let policy = &docs.headers["content-security-policy"];
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(page.text().contains("href=\"docs\""));
    let script = server.get("/docs/swagger-ui-bundle.js");
    assert_eq!((script.status, script.headers["content-encoding"].as_str()), (200, "gzip"));
    assert!(script.headers["content-type"].starts_with("text/javascript"), "{:?}", script.headers);
    let (_folder, server) = start(&["--no-page"]);
    // What is left there is for health checkers.
    assert_eq!(server.get("/").json(), serde_json::json!({"status": "ok"}));
    server.get("/docs").problem(404);
    server.get("/docs/swagger-ui.css").problem(404);
    assert_eq!(server.post("/", r#"{"inputs": "A good film"}"#).status, 200);
    let description = server.get("/openapi.json").json();
    assert_eq!(description["paths"]["/"]["get"]["operationId"], "root");
    assert!(description["paths"]["/predict"]["post"].is_object());
}
