//! What must hold for any input at all: shared by `tests/random_input.rs` and the fuzz targets in `fuzz/`.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use clap::Parser;
use http_body_util::BodyExt;
use imdb_sentiment::predict::Predictor;
use imdb_sentiment::serve::{App, Description, Settings, router};
use imdb_sentiment::text::{Scheme, Tokenizer, Vocabulary};
use serde_json::Value;
use tower::ServiceExt;
use utoipa::OpenApi;

/// The shipped reference model: what it answers is known, and it loads in milliseconds.
pub fn reference_model() -> PathBuf {
    // Of the crate that holds the model, whether a test or a fuzz target asks.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if here.ends_with("fuzz") { here.parent().unwrap() } else { here };
    root.join("models/keras-imdb")
}

/// Paths that take a text, with the template that `openapi.yaml` describes them by.
const ROUTES: [(&str, &str); 5] = [
    ("/predict", "/predict"),
    ("/", "/"),
    ("/models/keras-imdb", "/models/{model}"),
    ("/v2/models/keras-imdb/infer", "/v2/models/{model}/infer"),
    ("/v2/models/keras-imdb/versions/1/infer", "/v2/models/{model}/versions/{version}/infer"),
];

/// Bodies to start from, one that is right for each protocol and each of its options.
pub const BODIES: [&str; 8] = [
    r#"{"text": "A good film, not a great one.", "abstain": 0.6, "truncate": "windows"}"#,
    r#"{"texts": ["A good film.", "Dull \u00e9\ud83d\ude00", "..."], "model": "keras-imdb", "truncate": "head"}"#,
    r#"{"inputs": "A good film.", "parameters": {"top_k": 1, "function_to_apply": "sigmoid"}}"#,
    r#"{"inputs": ["one", "two"], "parameters": {"truncation": true}}"#,
    r#"{"id": "7", "inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a film"]}]}"#,
    r#"{"inputs": [{"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [["a"], ["b"]]}], "outputs": [{"name": "probability", "parameters": {"binary_data": false}}]}"#,
    r#"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 10}}]}"#,
    r#"{"text": ""}"#,
];

/// The service in this process, and the statuses that its description promises.
pub struct Service {
    runtime: tokio::runtime::Runtime,
    router: Router,
    described: BTreeMap<String, BTreeSet<u16>>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

impl Service {
    /// Starts it with the reference model and limits that small inputs reach.
    pub fn start() -> Self {
        let model = reference_model();
        let flags =
            ["server", "--model", model.to_str().unwrap(), "--max-body-bytes", "4000", "--max-texts", "4"];
        let app = App::new(Flags::parse_from(flags).settings).unwrap();
        let description: Value = serde_json::from_str(&Description::openapi().to_json().unwrap()).unwrap();
        let statuses = |template: &str| -> BTreeSet<u16> {
            let responses = description["paths"][template]["post"]["responses"].as_object().unwrap();
            responses.keys().map(|status| status.parse().unwrap()).collect()
        };
        let described =
            ROUTES.iter().map(|(_, template)| (template.to_string(), statuses(template))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, router: router(app), described }
    }

    /// Posts a body to a route and asserts that the answer is one that is described. `data`: one byte that picks the
    /// route, one for the headers, then the body. Returns the status.
    pub fn request_body(&self, data: &[u8]) -> Option<u16> {
        let [route, headers, body @ ..] = data else { return None };
        let (path, template) = ROUTES[*route as usize % ROUTES.len()];
        let mut request = Request::post(path);
        request = match headers % 8 {
            0 => request,
            1 => request.header("content-type", "text/plain"),
            _ => request.header("content-type", "application/json"),
        };
        if headers & 8 != 0 {
            // As binary tensors are sent: so many bytes of JSON, then the data.
            let json = body.iter().rposition(|byte| *byte == b'}').map_or(0, |at| at + 1);
            request = request.header("inference-header-content-length", json.to_string());
        }
        if headers & 16 != 0 {
            request = request.header("content-encoding", "gzip");
        }
        let request = request.body(Body::from(body.to_vec())).unwrap();
        let (status, kind, answer) = self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_string());
            (answer.status().as_u16(), kind, answer.into_body().collect().await.unwrap().to_bytes())
        });
        let shown = || String::from_utf8_lossy(&answer).into_owned();
        assert!(self.described[template].contains(&status), "{path} answers {status}: {}", shown());
        if status != 200 {
            assert_eq!(kind.as_deref(), Some("application/problem+json"), "{}", shown());
            let problem: Value = serde_json::from_slice(&answer).expect("a problem in JSON");
            assert_eq!(problem["status"], status);
            assert!(!problem["detail"].as_str().unwrap().is_empty());
        } else if kind.as_deref() == Some("application/json") {
            probabilities_are_shares(&serde_json::from_slice(&answer).expect("an answer in JSON"));
        }
        Some(status)
    }
}

fn probabilities_are_shares(value: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if matches!(name.as_str(), "probability" | "score") {
                    let share = field.as_f64().unwrap_or_else(|| panic!("{name} is {field}"));
                    assert!((0.0..=1.0).contains(&share), "{name} is {share}");
                }
                probabilities_are_shares(field);
            }
        }
        Value::Array(values) => values.iter().for_each(probabilities_are_shares),
        _ => {}
    }
}

/// Cuts a text by both schemes: offsets are character borders in order, nothing but separators is left out by the
/// scheme that keeps marks, and ids are those of the words told.
pub fn tokenizer(text: &str, vocabulary: &Vocabulary) {
    for scheme in [Scheme::Keras, Scheme::Words] {
        let tokenizer = Tokenizer::new(scheme);
        let (mut last, mut expected) = (0, Vec::new());
        tokenizer.for_each(text, |token| {
            assert!(token.start >= last && token.start < token.end && token.end <= text.len());
            assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end));
            assert!(!token.word.is_empty());
            if scheme == Scheme::Words {
                let between = &text[last..token.start];
                assert!(
                    between.chars().all(|c| c.is_whitespace() || c.is_control()),
                    "{between:?} is left out"
                );
            }
            last = token.end;
            expected.push(vocabulary.id(token.word).unwrap_or(imdb_sentiment::text::UNKNOWN_ID));
        });
        let mut ids = Vec::new();
        let counts = tokenizer.encode(text, vocabulary, &mut ids);
        assert_eq!(ids, expected);
        assert!(counts.words <= ids.len() && counts.unknown <= ids.len());
    }
}

/// A model directory whose files can be damaged and made whole again.
pub struct Directory {
    home: tempfile::TempDir,
    files: Vec<(String, Vec<u8>)>,
}

impl Directory {
    /// A copy of the files of the model in `model`.
    pub fn copy_of(model: &Path) -> Self {
        let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(model)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
            })
            .filter(|(name, _)| !name.ends_with(".md") && !name.ends_with(".svg"))
            .collect();
        files.sort();
        let home = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            std::fs::write(home.path().join(name), bytes).unwrap();
        }
        Self { home, files }
    }

    /// Damages a file as `data` says and asserts that the directory is refused, naming a file of it, or loads and
    /// answers with finite numbers. `data`: a byte that picks the file, one for the kind of damage, then its bytes.
    /// Returns whether it was refused.
    pub fn damage(&self, data: &[u8]) -> bool {
        let [file, kind, rest @ ..] = data else { return false };
        let (name, whole) = &self.files[*file as usize % self.files.len()];
        let mut bytes = whole.clone();
        match kind % 4 {
            // The file is something else altogether.
            0 => bytes = rest.to_vec(),
            // Cut off.
            1 => bytes.truncate(number(rest) % (whole.len() + 1)),
            // The first bytes, where headers are, replaced.
            2 => bytes.iter_mut().zip(rest).for_each(|(byte, new)| *byte = *new),
            // Bytes here and there changed.
            _ => rest.chunks_exact(4).for_each(|edit| {
                let at = number(&edit[..3]) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= edit[3];
                }
            }),
        }
        let path = self.home.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        let outcome = Predictor::load(self.home.path());
        let refused = outcome.is_err();
        match outcome {
            Ok(predictor) => {
                // A text may be refused, since the vocabulary may be another; a number may not be nonsense.
                for text in ["A good film, not a great one.", "x"] {
                    if let Ok(prediction) = predictor.predict(text) {
                        assert!((0.0..=1.0).contains(&prediction.probability), "{prediction:?}");
                    }
                }
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    self.files.iter().any(|(name, _)| text.contains(name.as_str())),
                    "no file in: {text}"
                );
                assert!(text.len() < 2000, "{} bytes of error", text.len());
            }
        }
        std::fs::write(&path, whole).unwrap();
        refused
    }
}

/// The first bytes as a number, little end first.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().take(4).rev().fold(0, |number, byte| number << 8 | *byte as usize)
}
