//! What must hold whatever comes in; tried by `tests/it/properties.rs` for seconds and by `fuzz/` for as long as wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use imdb_sentiment::model::{NGRAMS_FILE, load_directory};
use imdb_sentiment::predict::{Predictor, Truncate};
use imdb_sentiment::serve::{App, ModelSource, PROBLEM_JSON, Settings, description, router};
use imdb_sentiment::text::{Scheme, Tokenizer, UNKNOWN_ID, Vocabulary};
use imdb_sentiment::train::{Format, ReadArgs, read_file};
use serde_json::Value;
use tower::ServiceExt;

use super::model::write_full_model;

/// The routes that take texts: path and its template in the description.
pub const ROUTES: [(&str, &str); 4] = [
    ("/predict", "/predict"),
    ("/v2/models/m/infer", "/v2/models/{model}/infer"),
    ("/", "/"),
    ("/models/m", "/models/{model}"),
];

/// The files of a model directory.
pub const FILES: [&str; 7] = [
    "config.json",
    "vocab.txt",
    "model.safetensors",
    NGRAMS_FILE,
    "golden.json",
    "baseline.json",
    "training.json",
];

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
});

static SERVICE: LazyLock<Router> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    write_full_model(&folder.path().join("m"), 1);
    service(&folder.path().join("m")).unwrap()
});

/// For each template the statuses that the description gives `POST` on it.
static DESCRIBED: LazyLock<BTreeMap<String, BTreeSet<u16>>> = LazyLock::new(|| {
    let description: Value = serde_json::from_str(&description().to_json().unwrap()).unwrap();
    let paths = description["paths"].as_object().unwrap().iter();
    let statuses = |post: &Value| {
        let responses = post["responses"].as_object().into_iter().flatten();
        responses.map(|(status, _)| status.parse().unwrap()).collect()
    };
    paths.map(|(template, methods)| (template.clone(), statuses(&methods["post"]))).collect()
});

fn service(directory: &Path) -> Result<Router, imdb_sentiment::Error> {
    let models = vec![ModelSource::named("m", directory)];
    Ok(router(App::new(Settings { models, compute_threads: 1, ..Settings::defaults() })?))
}

fn ask(service: &Router, request: Request<Body>) -> (u16, String, Option<usize>, Vec<u8>) {
    RUNTIME.block_on(async {
        let response = service.clone().oneshot(request).await.unwrap();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().unwrap().to_string());
        let kind = header("content-type").unwrap_or_default();
        let json_length = header("inference-header-content-length").map(|length| length.parse().unwrap());
        let status = response.status().as_u16();
        (status, kind, json_length, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    })
}

/// A body gets an answer of JSON without a hole, or a problem of a status that the description gives the route.
pub fn request_body(route: usize, json_length: Option<usize>, body: &[u8]) {
    let (path, template) = ROUTES[route % ROUTES.len()];
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(length) = json_length {
        request = request.header("inference-header-content-length", length);
    }
    let (status, kind, length, answer) = ask(&SERVICE, request.body(body.to_vec().into()).unwrap());
    assert!(DESCRIBED[template].contains(&status), "{path}: {status}");
    let json = &answer[..length.unwrap_or(answer.len())];
    let json: Value = serde_json::from_slice(json).unwrap_or_else(|e| panic!("{path} {status}: {e}"));
    if status == 200 {
        // A number that is not finite would be written as null.
        assert!(!has_null(&json), "{path}: {json}");
    } else {
        // Clients of the Open Inference Protocol read nothing that is called otherwise.
        let expected = if path.starts_with("/v2") { "application/json" } else { PROBLEM_JSON };
        assert_eq!((kind.as_str(), &json["status"]), (expected, &Value::from(status)), "{path}");
        assert!(!json["detail"].as_str().unwrap().is_empty(), "{path}: {json}");
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(values) => values.iter().any(has_null),
        Value::Object(map) => map.values().any(has_null),
        _ => false,
    }
}

/// Tokens lie inside the text, in order, at character borders; reading the whole gives the ids of its tokens.
pub fn tokenizer(text: &str) {
    static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
        Vocabulary::from_words(["a", "film", "it's", "!!!", "<br>", "été", "σοφος"]).unwrap()
    });
    for scheme in [Scheme::Keras, Scheme::Words, Scheme::Typed] {
        let tokenizer = Tokenizer::new(scheme);
        let (mut last, mut ids) = (0, Vec::new());
        tokenizer.for_each(text, |token| {
            assert!(last <= token.start && token.start < token.end, "{scheme:?}: {token:?} after {last}");
            assert!(text.get(token.start..token.end).is_some(), "{scheme:?}: {token:?}");
            assert!(!token.word.is_empty(), "{scheme:?}: {token:?}");
            ids.push(VOCABULARY.id(token.word).unwrap_or(UNKNOWN_ID));
            last = token.end;
        });
        let mut whole = Vec::new();
        let counts = tokenizer.encode(text, &VOCABULARY, &mut whole);
        let (mut last, mut with_bytes) = (0..0, Vec::new());
        tokenizer.encode_with(text, &VOCABULARY, |id, bytes| {
            assert!(bytes == last || last.end <= bytes.start, "{scheme:?}: {bytes:?} after {last:?}");
            assert!(text.get(bytes.clone()).is_some_and(|part| !part.is_empty()), "{scheme:?}: {bytes:?}");
            (last, _) = (bytes, with_bytes.push(id));
        });
        assert_eq!(whole, with_bytes, "{scheme:?}");
        assert!(counts.words <= ids.len() && counts.known <= counts.words, "{scheme:?}: {counts:?}");
        // A word that the vocabulary lacks may be read as another, or as several.
        if scheme == Scheme::Typed {
            continue;
        }
        assert_eq!(whole, ids, "{scheme:?}");
        assert_eq!(counts.unknown, ids.iter().filter(|id| **id == UNKNOWN_ID).count());
    }
}

/// The files of a good model, the digests left out so that a change is met by more than the comparison with them.
pub static GOOD_FILES: LazyLock<BTreeMap<&str, Vec<u8>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    write_full_model(folder.path(), 1);
    let mut files: BTreeMap<_, _> =
        FILES.iter().map(|name| (*name, fs::read(folder.path().join(name)).unwrap())).collect();
    let weights = &files["model.safetensors"];
    let tensors = safetensors::SafeTensors::deserialize(weights).unwrap();
    let plain = safetensors::serialize(tensors.iter(), None).unwrap();
    files.insert("model.safetensors", plain);
    files
});

thread_local! {
    /// A directory of [`GOOD_FILES`].
    static DIRECTORY: tempfile::TempDir = {
        let folder = tempfile::tempdir().unwrap();
        GOOD_FILES.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
        folder
    };
}

/// A model directory in which one file holds `bytes` is refused in one line, or the service on it gives finite
/// numbers, or says that it is not ready.
pub fn model_directory(file: &str, bytes: &[u8]) {
    DIRECTORY.with(|folder| {
        let directory = folder.path();
        fs::write(directory.join(file), bytes).unwrap();
        check_model(directory);
        fs::write(directory.join(file), &GOOD_FILES[file]).unwrap();
    });
}

fn check_model(directory: &Path) {
    let service = match service(directory) {
        Ok(service) => service,
        Err(error) => {
            let line = error.to_string();
            assert!(!line.contains(['\n', '\r']), "{line}");
            return;
        }
    };
    let get = |path: &str| ask(&service, Request::get(path).body(Body::empty()).unwrap());
    serde_json::from_slice::<Value>(&get("/info").3).unwrap();
    assert_eq!(get("/metrics").0, 200);
    if get("/health/ready").0 != 200 {
        return;
    }
    let predictor = Predictor::new(load_directory(directory).unwrap());
    for text in ["a good film", "The plot, awful; the acting -- not very good film! "] {
        let long = text.repeat(4);
        for truncate in [Truncate::Tail, Truncate::Head, Truncate::Windows] {
            let encoding = predictor.encode(&long, truncate).unwrap();
            let prediction = predictor.run(std::slice::from_ref(&encoding)).remove(0);
            let windows = prediction.windows.iter().all(|value| (0.0..=1.0).contains(value));
            assert!(windows && (0.0..=1.0).contains(&prediction.probability), "{prediction:?}");
            assert!(prediction.logit.is_finite(), "{prediction:?}");
        }
    }
}

/// The endings of the names of review files, packing left out; the last tells nothing.
pub const ENDINGS: [&str; 7] = ["csv", "tsv", "jsonl", "json", "txt", "parquet", "data"];

/// What a file of reviews is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Nothing.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    fn pack(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packed.write_all(bytes).unwrap();
                packed.finish().unwrap()
            }
            Self::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }
}

/// What is told beside a file, by the bits of `choice`.
pub fn read_args(choice: u8) -> ReadArgs {
    let told = |bit: u8| choice & 1 << bit != 0;
    ReadArgs {
        format: told(0).then_some(Format::Csv).or(told(1).then_some(Format::Jsonl)),
        encoding: told(2).then(|| "windows-1252".into()),
        delimiter: told(3).then_some(b';'),
        no_header: told(4),
        text_column: told(5).then(|| "1".into()),
        label_column: told(6).then(|| "label".into()),
        strict: told(7),
    }
}

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap();
}

/// Rows come in order, faults in one short printable line; packing changes nothing.
pub fn review_file(ending: &str, packing: Packing, args: &ReadArgs, bytes: &[u8]) {
    let read = |packing: Packing| {
        FOLDER.with(|folder| {
            let path = folder.path().join(format!("reviews.{ending}"));
            fs::write(&path, packing.pack(bytes)).unwrap();
            read_rows(&path, args)
        })
    };
    let rows = read(packing);
    // Parquet is read from plain files alone.
    if packing != Packing::None && !bytes.starts_with(b"PAR1") {
        let plain = read(Packing::None);
        // What has a second packing inside is unpacked once.
        let packed_twice = bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        assert!(packed_twice || rows == plain, "{ending} {packing:?} {args:?}: {rows:?} {plain:?}");
    }
}

/// Line, text and label of each row, a text that cannot be read as nothing; `None` where the file is refused.
type Rows = Option<Vec<(u64, Option<String>, Option<String>)>>;

fn read_rows(path: &Path, args: &ReadArgs) -> Rows {
    let printable = |line: &str| {
        assert!(
            !line.is_empty() && line.len() < 1000 && !line.contains(|c: char| c.is_control()),
            "{line:?}"
        );
    };
    let mut reader = match read_file(path, args) {
        Ok(reader) => reader,
        Err(error) => {
            printable(&error.to_string());
            return None;
        }
    };
    printable(&reader.taken());
    let (mut rows, mut last) = (Vec::new(), 0);
    for row in &mut reader {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                printable(&error.to_string());
                break;
            }
        };
        // Several values may stand on one line.
        assert!(row.line >= last, "line {} after {last}", row.line);
        last = row.line;
        let text = row.text.map_err(|reason| printable(&reason)).ok();
        rows.push((row.line, text, row.label));
    }
    Some(rows)
}
