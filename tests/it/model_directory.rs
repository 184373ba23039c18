//! Each fault of a model directory is a variant of its own, whose line says what to do.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use imdb_sentiment::model::{NGRAMS_FILE, OpenDirectory, TRAINING_FILE, load_opened};
use imdb_sentiment::{Error, ModelFault, Predictor};
use safetensors::SafeTensors;

use crate::common::properties::GOOD_FILES;
use crate::common::write_full_model;

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

/// Two models of one shape without digests, so that nothing but what is read tells one's files from the other's.
fn two_models(folder: &Path) -> [PathBuf; 2] {
    [("a", 1, "film"), ("b", 2, "movie")].map(|(name, seed, word)| {
        let directory = folder.join(name);
        write_full_model(&directory, seed);
        let change = |file: &str, from: &str, to: &str| {
            let path = directory.join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file} holds {from}");
            fs::write(path, text.replacen(from, to, 1)).unwrap();
        };
        change("vocab.txt", "\nfilm\n", &format!("\n{word}\n"));
        change("config.json", "1.5", &format!("1.{seed}"));
        change("training.json", "made up", &format!("made up {seed}"));
        let weights = fs::read(directory.join(WEIGHTS)).unwrap();
        let tensors = SafeTensors::deserialize(&weights).unwrap();
        fs::write(directory.join(WEIGHTS), safetensors::serialize(tensors.iter(), None).unwrap()).unwrap();
        directory
    })
}

/// What is read of a directory, each part by itself.
fn parts(opened: &OpenDirectory) -> Result<(f32, String, f32, String, String), Error> {
    let files = load_opened(opened)?;
    let word = files.vocabulary.word(7).unwrap().to_string();
    let weight = files.tensors["classifier.bias"].data[0];
    let training: serde_json::Value = opened.companion(TRAINING_FILE)?.expect("a training record");
    Ok((files.config.temperature, word, weight, training["command"].to_string(), opened.sha256()?))
}

#[test]
fn a_directory_that_is_replaced_while_it_is_read_gives_what_was_opened() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = two_models(folder.path());
    let [old, new] = [&a, &b].map(|path| parts(&OpenDirectory::open(path).unwrap()).unwrap());
    assert_ne!(old.4, new.4);
    let place = folder.path().join("model");
    fs::rename(&a, &place).unwrap();
    let opened = OpenDirectory::open(&place).unwrap();
    // The old one is gone, files and all, before the first is read.
    fs::rename(&place, folder.path().join("aside")).unwrap();
    fs::rename(&b, &place).unwrap();
    fs::remove_dir_all(folder.path().join("aside")).unwrap();
    assert_eq!(parts(&opened).unwrap(), old);
    assert_eq!(parts(&OpenDirectory::open(&place).unwrap()).unwrap(), new);
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = two_models(folder.path());
    let new = parts(&OpenDirectory::open(&b).unwrap()).unwrap();
    let readings = Cell::new(0);
    let read = OpenDirectory::read_whole(&a, |opened| {
        readings.set(readings.get() + 1);
        let first = load_opened(opened)?.config.temperature;
        if readings.get() == 1 {
            // Times of change are told in steps of some milliseconds.
            std::thread::sleep(Duration::from_millis(30));
            // In place, as `cp` writes: half of the files are read already.
            for file in fs::read_dir(&b).unwrap() {
                let file = file.unwrap();
                fs::write(a.join(file.file_name()), fs::read(file.path()).unwrap()).unwrap();
            }
        }
        Ok((first, parts(opened)?))
    });
    assert_eq!((read.unwrap(), readings.get()), ((new.0, new), 2));
    let error = OpenDirectory::read_whole(&a, |_| {
        // Longer each time.
        fs::write(a.join("golden.json"), "{}".repeat(1 + readings.replace(readings.get() + 1))).unwrap();
        Ok(())
    });
    assert!(error.unwrap_err().to_string().contains("are being written"));
}

/// Swaps what lies at a place from one model to the other for some time, as fast as `swap` does it, while it is loaded
/// again and again: each time it is one of them, whole.
fn storm(models: [PathBuf; 2], place: &Path, swap: impl Fn(&Path) + Send + Sync) {
    let known = models.each_ref().map(|path| parts(&OpenDirectory::open(path).unwrap()).unwrap());
    let over = AtomicBool::new(false);
    swap(&models[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for model in models.iter().rev().cycle() {
                swap(model);
                std::thread::sleep(Duration::from_micros(300));
                if over.load(Relaxed) {
                    break;
                }
            }
        });
        let mut seen = [0, 0];
        let end = Instant::now() + Duration::from_millis(700);
        while Instant::now() < end || seen.contains(&0) {
            assert!(Instant::now() < end + Duration::from_secs(30), "{seen:?}");
            let read = OpenDirectory::read_whole(place, parts).unwrap();
            let at = known.iter().position(|known| *known == read);
            seen[at.unwrap_or_else(|| panic!("a mixture: {read:?} of {known:?}"))] += 1;
        }
        over.store(true, Relaxed);
    });
}

#[test]
fn no_load_mixes_two_directories_that_are_exchanged_meanwhile() {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let folder = tempfile::tempdir().unwrap();
    let models = two_models(folder.path());
    let (place, beside) = (folder.path().join("model"), folder.path().join("beside"));
    for (from, to) in [(&models[0], &place), (&models[1], &beside)] {
        fs::create_dir(to).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    storm(models, &place, |_| renameat_with(CWD, &beside, CWD, &place, RenameFlags::EXCHANGE).unwrap());
}

/// As Kubernetes swaps a ConfigMap: the files are links through one link, which is renamed over.
#[test]
fn no_load_mixes_the_files_of_a_directory_of_links() {
    let folder = tempfile::tempdir().unwrap();
    let models = two_models(folder.path());
    let place = folder.path().join("model");
    fs::create_dir(&place).unwrap();
    for file in fs::read_dir(&models[0]).unwrap() {
        let name = file.unwrap().file_name();
        symlink(Path::new("..data").join(&name), place.join(&name)).unwrap();
    }
    storm(models, &place, |model| {
        let beside = place.join("..beside");
        symlink(model, &beside).unwrap();
        fs::rename(&beside, place.join("..data")).unwrap();
    });
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let [a, _] = two_models(folder.path());
    for file in ["config.json", "golden.json", WEIGHTS] {
        let path = a.join(file);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let error = OpenDirectory::read_whole(&a, parts).unwrap_err();
        assert!(matches!(error, Error::Model { fault: ModelFault::NotAFile, .. }), "{file}: {error:?}");
        fs::remove_file(&path).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
