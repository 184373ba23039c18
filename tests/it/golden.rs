//! The tokenizer, the engine and the network against what Keras and PyTorch answered (see tests/golden/README.md).

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::fatal;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use imdb_sentiment::Error;
use imdb_sentiment::kernel::{Isa, KERNEL_VARIABLE};
use imdb_sentiment::model::{Network, load_directory};
use imdb_sentiment::predict::{Predictor, Truncate};
use imdb_sentiment::text::{Scheme, Tokenizer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    model: String,
    tolerance: f64,
    reviews: Vec<Review>,
}

#[derive(Deserialize)]
struct Review {
    name: String,
    text: String,
    tokens: usize,
    unknown_tokens: usize,
    truncated: bool,
    input_ids: Vec<u32>,
    logit: f64,
    probability: f64,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn cases() -> Vec<(String, Case)> {
    let mut cases: Vec<(String, Case)> = std::fs::read_dir(golden())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json") && !path.ends_with("tokenizer.json"))
        .map(|path| {
            let case = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            (path.file_stem().unwrap().to_string_lossy().into_owned(), case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(cases.len() >= 6, "golden cases are missing");
    cases
}

#[test]
fn the_predictor_answers_as_keras_and_pytorch_do() {
    // With recurrent weights in 16 bits the golden weights, wider than a trained model's, are rounded a little.
    let rounds = ["avx512vnni", "amx"].contains(&Isa::current().name());
    let (of_probability, of_logit) = if rounds { (5e-4, 2e-3) } else { (0.0, 2e-5) };
    for (name, case) in cases() {
        let predictor = Predictor::load(golden().join(&case.model)).unwrap();
        for review in &case.reviews {
            let what = format!("{name}: {}", review.name);
            if review.tokens == 0 {
                assert!(matches!(predictor.predict(&review.text), Err(Error::NoWords)), "{what}");
                continue;
            }
            let prediction = predictor.predict(&review.text).unwrap();
            // Golden tokens are words, before truncation; ours count the start token, after it.
            assert_eq!(prediction.tokens + prediction.dropped_tokens, review.tokens + 1, "{what}");
            assert_eq!(prediction.unknown_tokens, review.unknown_tokens, "{what}");
            assert_eq!(prediction.dropped_tokens > 0, review.truncated, "{what}");
            let gap = (prediction.probability as f64 - review.probability).abs();
            assert!(
                gap <= case.tolerance.max(of_probability),
                "{what}: {} against {}",
                prediction.probability,
                review.probability
            );
            let gap = (prediction.logit as f64 - review.logit).abs();
            assert!(gap <= of_logit, "{what}: {} against {}", prediction.logit, review.logit);
        }
    }
}

#[test]
fn every_instruction_set_answers_so() {
    for isa in Isa::available() {
        let test = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "golden::the_predictor_answers_as_keras_and_pytorch_do"])
            .env(KERNEL_VARIABLE, isa.name())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&test.stdout);
        assert!(test.status.success() && said.contains("1 passed"), "{}: {said}", isa.name());
    }
}

#[test]
fn an_instruction_set_that_there_is_not_stops_both_binaries() {
    let names: Vec<&str> = Isa::available().iter().map(|isa| isa.name()).collect();
    for binary in [env!("CARGO_BIN_EXE_server"), env!("CARGO_BIN_EXE_trainer")] {
        let arguments: &[&str] = if binary.ends_with("trainer") { &["inspect", "models/imdb"] } else { &[] };
        let run = Command::new(binary).args(arguments).env(KERNEL_VARIABLE, "avx521").output().unwrap();
        let said = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        // The server's is its log, in its form.
        let said =
            if binary.ends_with("trainer") { said.into_owned() } else { format!("error: {}", fatal(&said)) };
        assert!(said.starts_with("error: "), "{said}");
        assert!(said.contains(KERNEL_VARIABLE) && names.iter().all(|name| said.contains(name)), "{said}");
    }
}

#[test]
fn the_ids_are_those_that_keras_pads() {
    for (name, case) in cases() {
        let predictor = Predictor::load(golden().join(&case.model)).unwrap();
        for review in case.reviews.iter().filter(|review| review.tokens > 0) {
            let encoding = predictor.encode(&review.text, Truncate::Tail).unwrap();
            let padded = review.input_ids.len() - encoding.windows()[0].len();
            assert!(review.input_ids[..padded].iter().all(|&id| id == 0), "{name}: {}", review.name);
            assert_eq!(encoding.windows()[0], review.input_ids[padded..], "{name}: {}", review.name);
        }
    }
}

#[test]
fn the_network_in_candle_is_the_same_function() {
    for (name, case) in cases() {
        let files = load_directory(&golden().join(&case.model)).unwrap();
        let tensors = files
            .tensors
            .iter()
            .map(|(name, array)| {
                let tensor = Tensor::from_vec(array.data.clone(), array.shape.clone(), &Device::Cpu).unwrap();
                (name.clone(), tensor)
            })
            .collect();
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        let network = Network::new(&files.config, 2, weights).unwrap();
        let predictor = Predictor::new(files);
        let reviews: Vec<&Review> = case.reviews.iter().filter(|review| review.tokens > 0).collect();
        let encodings: Vec<Vec<u32>> = reviews
            .iter()
            .map(|review| predictor.encode(&review.text, Truncate::Tail).unwrap().windows()[0].clone())
            .collect();
        let ids: Vec<&[u32]> = encodings.iter().map(Vec::as_slice).collect();
        let logits: Vec<f32> = network.forward(&ids).unwrap().to_vec1().unwrap();
        for (review, logit) in reviews.iter().zip(logits) {
            assert!((logit as f64 - review.logit).abs() <= 2e-5, "{name}: {}", review.name);
        }
    }
}

#[test]
fn the_tokenizer_cuts_as_keras_does() {
    #[derive(Deserialize)]
    struct File {
        cases: Vec<Cut>,
    }
    #[derive(Deserialize)]
    struct Cut {
        text: String,
        words: Vec<String>,
    }
    let file: File =
        serde_json::from_slice(&std::fs::read(golden().join("tokenizer.json")).unwrap()).unwrap();
    assert!(file.cases.len() > 20);
    for Cut { text, words } in file.cases {
        let mut ours = Vec::new();
        Tokenizer::new(Scheme::Keras).for_each(&text, |token| ours.push(token.word.to_string()));
        assert_eq!(ours, words, "{text:?}");
    }
}

/// The README's first example is what the shipped model says.
#[test]
fn the_readme_shows_what_is_answered() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (text, rest) =
        readme.split_once("-d '{\"text\": \"").and_then(|(_, rest)| rest.split_once("\"}'")).unwrap();
    let answer: String = rest.lines().skip(1).take_while(|line| *line != "```").collect();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let prediction = Predictor::load(root.join("models/imdb")).unwrap().predict(text).unwrap();
    let shown = |name: &str| answer["probabilities"][name].as_f64().unwrap() as f32;
    assert_eq!(shown("positive"), prediction.probability);
    assert!((shown("negative") - (1.0 - prediction.probability)).abs() < 1e-6);
    assert_eq!(answer["tokens"], prediction.tokens);
}
