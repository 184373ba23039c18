//! Each fault of a model directory is a variant of its own, whose line says what to do.

use std::collections::BTreeMap;
use std::fs;

use imdb_sentiment::model::NGRAMS_FILE;
use imdb_sentiment::{Error, ModelFault, Predictor};
use safetensors::SafeTensors;

use crate::common::properties::GOOD_FILES;

const WEIGHTS: &str = "model.safetensors";

/// What loading says of the good directory with `file` replaced by `bytes`.
fn fault(file: &str, bytes: &[u8]) -> ModelFault {
    let folder = tempfile::tempdir().unwrap();
    GOOD_FILES.iter().for_each(|(name, good)| fs::write(folder.path().join(name), good).unwrap());
    fs::write(folder.path().join(file), bytes).unwrap();
    match Predictor::load(folder.path()).expect_err("refused") {
        Error::Model { path, fault } => {
            assert_eq!(path, folder.path().join(file));
            let line = fault.to_string();
            assert!(line.len() < 400 && !line.contains(|c: char| c.is_control()), "{line:?}");
            fault
        }
        other => panic!("{other:?}"),
    }
}

/// The good weights with other names and metadata.
fn weights(rename: impl Fn(&str) -> Option<String>, metadata: &[(&str, &str)]) -> Vec<u8> {
    let file = SafeTensors::deserialize(&GOOD_FILES[WEIGHTS]).unwrap();
    let tensors: BTreeMap<String, _> =
        file.iter().filter_map(|(name, view)| Some((rename(name)?, view))).collect();
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    safetensors::serialize(tensors, Some(metadata)).unwrap()
}

#[test]
fn files_of_other_kinds_are_called_by_their_names() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 15728640\n";
    for file in ["config.json", "vocab.txt", WEIGHTS, NGRAMS_FILE] {
        let pointer = fault(file, pointer);
        assert_eq!(pointer, ModelFault::GitLfsPointer, "{file}");
        assert!(pointer.to_string().contains("git lfs pull"));
    }
    for (bytes, expected) in [
        (&b"PK\x03\x04\0\0\x08\x08\0\0archive/data.pkl"[..], "torch.save"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0\0\x08\x08\0", "Keras"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
    ] {
        let fault = fault(WEIGHTS, bytes);
        assert!(matches!(fault, ModelFault::OtherFormat { .. }), "{fault:?}");
        let line = fault.to_string();
        assert!(line.contains(expected) && line.contains("save_file"), "{line}");
    }
    assert!(matches!(
        fault(WEIGHTS, b"\xff\xff\xff\xff\xff\xff\xff\xffx"),
        ModelFault::NotSafetensors { .. }
    ));
    assert!(matches!(fault(WEIGHTS, b""), ModelFault::NotSafetensors { .. }));
    assert!(matches!(fault("config.json", &vec![b' '; 2 << 20]), ModelFault::TooLarge { .. }));
    assert!(matches!(fault("config.json", br#"{"format": 1}"#), ModelFault::Config { .. }));
    assert!(matches!(fault("vocab.txt", b"\xff\xfe"), ModelFault::Vocabulary { .. }));
    let vocabulary = [&GOOD_FILES["vocab.txt"][..], b"another\n"].concat();
    assert!(matches!(fault("vocab.txt", &vocabulary), ModelFault::VocabularySize { .. }));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    let error = Predictor::load(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Model { fault: ModelFault::NotAFile, .. }), "{error:?}");
}

#[test]
fn tensors_that_are_not_the_model_s_are_named() {
    let prefixed = fault(WEIGHTS, &weights(|name| Some(format!("module.{name}")), &[]));
    let ModelFault::PrefixedTensor { tensor, found } = &prefixed else { panic!("{prefixed:?}") };
    assert_eq!(found, &format!("module.{tensor}"));
    assert!(prefixed.to_string().contains("DataParallel"));

    let without = |name: &str| (name != "classifier.bias").then(|| name.to_string());
    let missing = ModelFault::MissingTensor { tensor: "classifier.bias".into() };
    assert_eq!(fault(WEIGHTS, &weights(without, &[])), missing);

    // A name that would change a terminal's colours and fill it.
    let long = format!("\u{1b}[31m{}", "x".repeat(100_000));
    let file = SafeTensors::deserialize(&GOOD_FILES[WEIGHTS]).unwrap();
    let mut tensors: BTreeMap<String, _> = file.iter().map(|(name, view)| (name.to_string(), view)).collect();
    tensors.insert(long.clone(), file.tensor("classifier.bias").unwrap());
    let bytes = safetensors::serialize(tensors, None).unwrap();
    assert_eq!(fault(WEIGHTS, &bytes), ModelFault::UnknownTensor { tensor: long.clone() });

    let digest = fault(WEIGHTS, &weights(|name| Some(name.to_string()), &[("vocab_sha256", "\u{1b}[2Jabc")]));
    assert!(matches!(digest, ModelFault::Digest { file: "vocab.txt", .. }), "{digest:?}");
}
