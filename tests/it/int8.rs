//! Models of 8 bits: the same bits on every instruction set, how they come to be, and the exact path beside them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::reviews::{archive, text, train, trainer};
use imdb_sentiment::kernel::{Isa, KERNEL_VARIABLE};
use imdb_sentiment::model::{Config, Golden, RecurrentPrecision, load_companion, load_directory};
use imdb_sentiment::predict::{Predictor, RECURRENT_PRECISION_VARIABLE};

/// `trainer predict` over `input`, with `variables` set.
fn predict(model: &Path, input: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("predict").arg("--model").arg(model).arg("--input").arg(input);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn shipped() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/models/imdb"))
}

#[test]
fn the_shipped_model_answers_the_same_bits_on_every_instruction_set() {
    let golden: Golden = load_companion(shipped(), "golden.json").unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("reviews.jsonl");
    // Long and short ones, more than run together.
    let texts: Vec<&str> = golden.reviews.iter().map(|review| review.text.as_str()).collect();
    let long = texts.join(" ");
    let all = texts.iter().copied().chain([long.as_str()]).cycle().take(50);
    let lines: Vec<String> = all.map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    let answers: Vec<String> = Isa::available()
        .iter()
        .map(|isa| {
            let done = predict(shipped(), &input, &[(KERNEL_VARIABLE, isa.name())]);
            assert!(done.status.success(), "{isa:?}: {}", text(&done.stderr));
            text(&done.stdout)
        })
        .collect();
    assert_eq!(answers[0].lines().count(), 50);
    for (isa, answer) in Isa::available().iter().zip(&answers) {
        assert!(*answer == answers[0], "{isa:?} answers otherwise than {:?}", Isa::available()[0]);
    }
    // The exact path is another computation, and close.
    let exact = predict(shipped(), &input, &[(RECURRENT_PRECISION_VARIABLE, "f32")]);
    let exact = text(&exact.stdout);
    assert_ne!(exact, answers[0]);
    let probability = |line: &str| {
        let answer: serde_json::Value = serde_json::from_str(line).unwrap();
        answer["probabilities"]["positive"].as_f64().unwrap()
    };
    for (exact, rounded) in exact.lines().zip(answers[0].lines()) {
        assert!((probability(exact) - probability(rounded)).abs() < 0.02, "{exact} {rounded}");
    }
}

#[test]
fn a_precision_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("reviews.jsonl");
    fs::write(&input, "{\"text\": \"Fine.\"}\n").unwrap();
    let done = predict(shipped(), &input, &[(RECURRENT_PRECISION_VARIABLE, "int4")]);
    let said = text(&done.stderr);
    assert!(!done.status.success() && said.lines().count() == 1, "{said}");
    assert!(said.contains(RECURRENT_PRECISION_VARIABLE) && said.contains("f32 or int8"), "{said}");
}

#[test]
fn a_trained_model_is_rounded_and_says_what_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (data, plain, rounded) =
        (archive(folder.path(), 3), folder.path().join("plain"), folder.path().join("rounded"));
    let done = train(&data, &plain, &["--epochs", "30", "--learning-rate", "0.01"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let path = |path: &Path| path.to_str().unwrap().to_string();
    let quantize = |from: &Path, to: &Path| {
        trainer(&["quantize", "--model", &path(from), "--output", &path(to), "--data", &path(&data)])
    };
    let done = quantize(&plain, &rounded);
    let said = text(&done.stdout);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(said.contains("| all labelled training reviews | 24 |"), "{said}");
    let (before, after) = (load_directory(&plain).unwrap(), load_directory(&rounded).unwrap());
    assert_eq!(
        after.config,
        Config { recurrent_precision: RecurrentPrecision::Int8, ..before.config.clone() }
    );
    assert_eq!(after.tensors, before.tensors);
    assert!(fs::read_to_string(rounded.join("README.md")).unwrap().contains("## In 8 bits"));
    assert!(text(&trainer(&["inspect", &path(&rounded)]).stdout).contains("int8"));
    // The golden answers are those of what is served.
    let golden: Golden = load_companion(&rounded, "golden.json").unwrap().unwrap();
    let predictor = Predictor::load(&rounded).unwrap();
    for review in &golden.reviews {
        assert_eq!(predictor.predict(&review.text).unwrap().probability, review.probability);
    }
    // Once is enough, and nothing is replaced unasked.
    let again = quantize(&rounded, &folder.path().join("again"));
    assert!(!again.status.success() && text(&again.stderr).contains("8 bits already"));
    assert!(!quantize(&plain, &rounded).status.success());
    // A model trained so has the same bits.
    let trained = folder.path().join("trained");
    let settings = ["--epochs", "30", "--learning-rate", "0.01", "--recurrent-precision", "int8"];
    assert!(train(&data, &trained, &settings).status.success());
    assert_eq!(load_directory(&trained).unwrap().tensors, after.tensors);
}

#[test]
fn the_record_of_an_older_trainer_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    assert!(train(&data, &model, &["--epochs", "1"]).status.success());
    let path = model.join("training.json");
    let record = fs::read_to_string(&path).unwrap();
    let older: Vec<&str> = record.lines().filter(|line| !line.contains("recurrent_precision")).collect();
    let older = older.join("\n").replace("\"precision\": \"f32\",", "\"precision\": \"f32\"");
    assert_ne!(older, record);
    fs::write(&path, older).unwrap();
    let model = model.to_str().unwrap();
    for arguments in
        [vec!["inspect", model], vec!["evaluate", "--model", model, "--data", data.to_str().unwrap()]]
    {
        let done = trainer(&arguments);
        assert!(done.status.success(), "{arguments:?}: {}", text(&done.stderr));
    }
}
