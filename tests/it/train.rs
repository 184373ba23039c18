//! The trainer on a tiny made-up archive: learning, equal bytes, interrupting and resuming, the other commands.

use std::fs;
use std::path::Path;

use crate::common::reviews::{NEGATIVE, POSITIVE, archive, text, train, trainer};
use imdb_sentiment::predict::Predictor;

fn weights(model: &Path) -> Vec<u8> {
    fs::read(model.join("model.safetensors")).unwrap()
}

#[test]
fn eight_sentences_are_learnt_by_heart() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 1), folder.path().join("model"));
    let done =
        train(&data, &model, &["--epochs", "80", "--learning-rate", "0.01", "--validation-share", "0"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let predictor = Predictor::load(&model).unwrap();
    for (texts, positive) in [(POSITIVE, true), (NEGATIVE, false)] {
        for text in texts {
            let probability = predictor.predict(text).unwrap().probability;
            assert_eq!(probability > 0.5, positive, "{text}: {probability}");
        }
    }
    for file in ["README.md", "curve.svg", "training.json", "golden.json", "config.json", "vocab.txt"] {
        assert!(model.join(file).is_file(), "{file}");
    }
    assert!(!folder.path().join("model.checkpoint").exists());
}

#[test]
fn one_seed_gives_one_model_and_another_seed_another() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 3);
    let model = |name: &str, seed: &str, more: &[&str]| {
        let output = folder.path().join(name);
        let done = train(&data, &output, &[&["--epochs", "2", "--seed", seed], more].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        weights(&output)
    };
    assert_eq!(model("a", "1", &[]), model("b", "1", &[]));
    assert_ne!(model("c", "2", &[]), model("d", "1", &[]));
    // The noise of training is drawn from the seed as well.
    let noisy = [
        "--padding",
        "none",
        "--bidirectional",
        "true",
        "--pooling",
        "max_mean",
        "--dropout-words",
        "0.1",
        "--dropout-embedding",
        "0.2",
        "--dropout-features",
        "0.5",
        "--crop",
        "6",
        "--short-crops",
        "0.5",
        "--sentences",
        "0.5",
        "--bucketed",
        "true",
        "--optimizer",
        "adam",
        "--clip-norm",
        "1",
        "--tokenizer",
        "words",
    ];
    assert_eq!(model("e", "1", &noisy), model("f", "1", &noisy));
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 3);
    let settings = ["--epochs", "3", "--dropout-features", "0.5", "--learning-rate-end", "0.1"];
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    assert!(train(&data, &whole, &settings).status.success());
    // In the middle of the first epoch, and of the second.
    let stopped = train(&data, &parts, &[&settings[..], &["--stop-after", "2"]].concat());
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
    assert!(Predictor::load(&parts).is_ok(), "what there is has been saved");
    let stopped = train(&data, &parts, &[&settings[..], &["--stop-after", "7", "--resume"]].concat());
    assert_eq!(stopped.status.code(), Some(130));
    let done = train(&data, &parts, &[&settings[..], &["--resume"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(weights(&whole), weights(&parts));
    // A checkpoint of other settings is refused.
    let stopped = train(&data, &parts, &[&settings[..], &["--stop-after", "2", "--force"]].concat());
    assert_eq!(stopped.status.code(), Some(130));
    let other = train(&data, &parts, &["--epochs", "9", "--resume"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).starts_with("error: "), "{}", text(&other.stderr));
}

#[test]
fn a_teacher_is_given_texts_and_its_opinions_are_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 12);
    let path = |name: &str| folder.path().join(name);
    let list = |output: &Path, more: &[&str]| -> Vec<serde_json::Value> {
        let fixed = ["texts", "--data", data.to_str().unwrap(), "--output", output.to_str().unwrap()];
        let done = trainer(&[&fixed[..], more].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        let lines = fs::read_to_string(output).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    fs::write(path("phrases.txt"), "good sound\n\nbad\n").unwrap();
    let phrases = path("phrases.txt");
    let texts = list(&path("texts.jsonl"), &["--phrases", phrases.to_str().unwrap()]);
    let text_of = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_string();
    let count = |rows: &[serde_json::Value], what: &dyn Fn(&str) -> bool| {
        rows.iter().filter(|row| what(row["id"].as_str().unwrap())).count()
    };
    assert!(
        count(&texts, &|id| id.starts_with("unsup/")) > 0 && count(&texts, &|id| id.starts_with("neg/")) > 0
    );
    assert_eq!(count(&texts, &|id| id.starts_with("phrases/")), 2);
    assert_eq!(texts.iter().filter(|row| text_of(row, "split") == "validation").count(), 0);
    // Texts of before are replaced, nothing else is.
    assert_eq!(list(&path("texts.jsonl"), &["--phrases", phrases.to_str().unwrap()]).len(), texts.len());
    fs::write(path("mine.csv"), "id,text\n1,my only copy\n").unwrap();
    std::os::unix::fs::symlink(path("mine.csv"), path("link.jsonl")).unwrap();
    for name in ["mine.csv", "link.jsonl"] {
        let output = path(name);
        let refused =
            trainer(&["texts", "--data", data.to_str().unwrap(), "--output", output.to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("--force replaces it"), "{}", text(&refused.stderr));
    }
    assert_eq!(fs::read_to_string(path("mine.csv")).unwrap(), "id,text\n1,my only copy\n");
    // A film that is held out leaves only where it is asked for.
    let held_out = list(&path("held-out.jsonl"), &["--on", "validation", "--stretches", "0"]);
    assert!(!held_out.is_empty() && held_out.iter().all(|row| text_of(row, "split") == "validation"));
    let films = |rows: &[serde_json::Value]| -> std::collections::BTreeSet<u64> {
        rows.iter().filter_map(|row| row["film"].as_u64()).collect()
    };
    assert!(films(&texts).is_disjoint(&films(&held_out)));

    // A teacher that knows one word, and one opinion too many: of a film that is held out.
    let judged = texts.iter().chain(&held_out[..1]).map(|row| {
        let logit = if text_of(row, "text").contains("good") { 3.0 } else { -3.0 };
        format!("{{\"id\":{},\"logit\":{logit}}}\n", row["id"])
    });
    fs::write(path("opinions.jsonl"), judged.collect::<String>()).unwrap();
    let (opinions, phrases) = (path("opinions.jsonl"), path("phrases.txt"));
    let small = [
        "--preset",
        "imdb",
        "--tokenizer",
        "words",
        "--hidden-size",
        "8",
        "--embedding-dim",
        "8",
        "--epochs",
        "2",
        "--short-crops",
        "2",
    ];
    let taught = ["--opinions", opinions.to_str().unwrap(), "--phrases", phrases.to_str().unwrap()];
    let flags = [&small[..], &taught].concat();
    let done = train(&data, &path("student"), &flags);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(path("student/training.json")).unwrap()).unwrap();
    assert_eq!(record["data"]["opinions"][0], "opinions.jsonl");
    assert!(record["data"]["judged"].as_u64() > record["data"]["unlabelled"].as_u64(), "{record}");
    assert!(record["data"]["judged_stretches"].as_u64().unwrap() >= 2, "{record}");
    assert!(fs::read_to_string(path("student/README.md")).unwrap().contains("by the opinion"));
    // Stopped it goes on to the same bytes.
    let stopped = train(&data, &path("parts"), &[&flags[..], &["--stop-after", "1"]].concat());
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
    let done = train(&data, &path("parts"), &[&flags[..], &["--resume"]].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let weights = |name: &str| fs::read(path(name).join("model.safetensors")).unwrap();
    assert_eq!(weights("student"), weights("parts"));
    // Without the phrases their opinions name nothing.
    let done = train(&data, &path("other"), &[&small[..], &taught[..2]].concat());
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--phrases"), "{}", text(&done.stderr));
}

#[test]
fn vectors_teacher_and_student_follow_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 12);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let (vectors, language) = (path("vectors"), path("language"));
    let (teacher, student) = (path("teacher"), path("student"));
    let arguments =
        ["vectors", "--data", data.to_str().unwrap(), "--output", &vectors, "--dim", "8", "--epochs", "2"];
    let done = trainer(&arguments);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let read = |output: &str, more: &[&str]| {
        let data = data.to_str().unwrap();
        let small = ["--candidates", "6", "--stretch", "5", "--batch-size", "8", "--threads", "2"];
        let fixed = ["language", "--data", data, "--output", output, "--vectors", &vectors];
        trainer(&[&fixed[..], &small, more].concat())
    };
    let done = read(&language, &["--epochs", "3"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    // Stopped in the second epoch it goes on to the same bytes.
    let stopped_at = path("stopped");
    let stopped = read(&stopped_at, &["--epochs", "3", "--stop-after", "25"]);
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
    let done = read(&stopped_at, &["--epochs", "3", "--resume"]);
    assert!(done.status.success() && !text(&done.stdout).contains("epoch 1/3"), "{}", text(&done.stdout));
    let bytes = |directory: &str| fs::read(Path::new(directory).join("vectors.safetensors")).unwrap();
    assert_eq!(bytes(&language), bytes(&stopped_at));
    assert_ne!(bytes(&language).len(), bytes(&vectors).len(), "the LSTM stands beside the vectors");

    let small = [
        "--preset",
        "imdb",
        "--hidden-size",
        "8",
        "--embedding-dim",
        "8",
        "--epochs",
        "2",
        "--vectors",
        &language,
    ];
    let done = train(&data, Path::new(&teacher), &small);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let more = ["--teacher", &teacher, "--short-crops", "1", "--sentences", "2"];
    let done = train(&data, Path::new(&student), &[&small[..], &more].concat());
    assert!(done.status.success(), "{}", text(&done.stderr));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(Path::new(&student).join("training.json")).unwrap()).unwrap();
    assert!(record["data"]["unlabelled"].as_u64().unwrap() > 0);
    assert_eq!(record["data"]["teachers"][0], "teacher");
    // The n-grams are weighed against the network on the held-out reviews.
    assert!(record["stack"]["count"].as_u64().unwrap() > 0, "{record}");
    let loss = |part: &str| record["results"][part]["loss"].as_f64().unwrap();
    assert!(loss("validation") <= loss("validation, LSTM alone") + 1e-6, "{record}");
    assert!(Path::new(&student).join("ngrams.safetensors").is_file());
    let loss_of = |models: &[&str]| {
        let models: Vec<&str> = models.iter().flat_map(|model| ["--model", *model]).collect();
        let rest = ["--data", data.to_str().unwrap(), "--on", "final", "--json"];
        let done = trainer(&[&["evaluate"], &models[..], &rest].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        let figures: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        figures["loss"].as_f64().unwrap()
    };
    // Of two models the mean logit is measured: its loss is no higher than the mean of theirs, the loss being convex.
    let (one, other, both) = (loss_of(&[&teacher]), loss_of(&[&student]), loss_of(&[&teacher, &student]));
    assert!(both <= (one + other) / 2.0 + 1e-6 && both != one, "{one} {other} {both}");
    // Vectors of another length than the network's are refused.
    let done = train(
        &data,
        Path::new(&student),
        &["--preset", "imdb", "--embedding-dim", "9", "--vectors", &vectors],
    );
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn evaluate_predict_and_inspect_read_what_train_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 5), folder.path().join("model"));
    assert!(train(&data, &model, &["--epochs", "2"]).status.success());
    let model = model.to_str().unwrap();

    let done = trainer(&["evaluate", "--model", model, "--data", data.to_str().unwrap(), "--json"]);
    let figures: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(figures["reviews"], 8);
    for figure in ["loss", "accuracy", "precision", "recall", "f1", "auc", "ece"] {
        assert!(figures[figure].is_number(), "{figure}: {figures}");
    }
    let done = trainer(&["evaluate", "--model", model, "--data", data.to_str().unwrap(), "--on", "test"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("no test half"), "{}", text(&done.stderr));

    let input = folder.path().join("reviews.jsonl");
    fs::write(
        &input,
        "{\"text\": \"Great film.\", \"label\": 1}\n{\"text\": \"Awful mess.\", \"label\": 0}\n",
    )
    .unwrap();
    let done = trainer(&["predict", "--model", model, "--input", input.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let predictor = Predictor::load(Path::new(model)).unwrap();
    let lines: Vec<serde_json::Value> =
        text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for (line, review) in lines.iter().zip(["Great film.", "Awful mess."]) {
        let expected = predictor.predict(review).unwrap().probability as f64;
        let found = line["probabilities"]["positive"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-5, "{line} {expected}");
    }
    let done = trainer(&["evaluate", "--model", model, "--data", input.to_str().unwrap()]);
    assert!(done.status.success() && text(&done.stdout).contains("reviews     2"), "{}", text(&done.stdout));

    let done = trainer(&["pairs", model, "--failures"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("| negation | 79 |"), "{}", text(&done.stdout));
    let card = fs::read_to_string(Path::new(model).join("README.md")).unwrap();
    assert!(card.contains("| negation | 79 |") && card.contains("(calibration.svg)"), "{card}");
    assert!(Path::new(model).join("calibration.svg").is_file());

    let done = trainer(&["inspect", model]);
    assert!(text(&done.stdout).contains("lstm.weight_hh_l0"), "{}", text(&done.stdout));
}

#[test]
fn mistakes_are_one_line_and_exit_code_one_or_two() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 1);
    let whole = fs::read(&data).unwrap();
    let cut = folder.path().join("cut.tar.gz");
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let settings = folder.path().join("wrong.toml");
    fs::write(&settings, "epochs = 2\nepoch = 3\n").unwrap();
    let output = folder.path().join("model");
    let faults = [
        (train(&cut, &output, &[]), 1),
        (train(Path::new("nowhere.tar.gz"), &output, &[]), 1),
        (train(&data, &output, &["--settings", settings.to_str().unwrap()]), 1),
        (train(&data, &output, &["--preset", "other"]), 1),
        (train(&data, &output, &["--learning-rate", "0"]), 1),
        (train(&data, &output, &["--learning-rate", "fast"]), 2),
        (trainer(&["inspect", folder.path().to_str().unwrap()]), 1),
    ];
    for (at, (done, code)) in faults.into_iter().enumerate() {
        let message = text(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "fault {at}: {message}");
        assert!(message.starts_with("error: ") && !message.contains("panicked"), "fault {at}: {message}");
        assert!(code == 2 || message.trim_end().lines().count() == 1, "fault {at}: {message}");
    }
    let other = folder.path().join("other.tar.gz");
    for (bytes, named) in
        [(&b"no"[..], "no gzip archive"), (b"no archive at all", "no gzip"), (&whole[..1], "cut off")]
    {
        fs::write(&other, bytes).unwrap();
        let message = text(&train(&other, &output, &[]).stderr);
        assert!(message.contains(named) && message.trim_end().lines().count() == 1, "{message}");
    }
    assert!(!output.exists(), "a failed run leaves no model");
}
