//! What breaks around a model directory: damaged files, a writer killed in the middle, a disk that takes no more.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::properties::{FILES, GOOD_FILES, model_directory};
use crate::common::reviews::{archive, text, train, train_command};
use crate::common::write_model;
use imdb_sentiment::model::{Precision, load_directory, save_directory};
use imdb_sentiment::predict::Predictor;

#[test]
fn files_cut_anywhere_or_with_a_flipped_byte_are_refused_or_right() {
    for file in FILES {
        let good = &GOOD_FILES[file];
        for end in (0..good.len()).step_by(64) {
            model_directory(file, &good[..end]);
        }
        let flipped = match file.strip_suffix(".safetensors") {
            Some(_) => 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize,
            None => good.len(),
        };
        for at in 0..flipped {
            let mut damaged = good.clone();
            damaged[at] ^= 1 << (at % 8);
            model_directory(file, &damaged);
        }
    }
}

/// Overwrites the first value of `tensor` in a safetensors file.
fn set_first(bytes: &mut [u8], tensor: &str, value: f32) {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let at = 8 + header + json[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn values_whose_sums_could_leave_their_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |file: &str, bytes: &[u8]| {
        GOOD_FILES.iter().for_each(|(name, good)| fs::write(folder.path().join(name), good).unwrap());
        fs::write(folder.path().join(file), bytes).unwrap();
        Predictor::load(folder.path()).map_or_else(|error| error.to_string(), |_| "loaded".into())
    };
    for (tensor, value) in
        [("embedding.weight", 1e38), ("classifier.bias", -2e6), ("lstm.weight_hh_l0", f32::NAN)]
    {
        let mut bytes = GOOD_FILES["model.safetensors"].clone();
        set_first(&mut bytes, tensor, value);
        let message = fault("model.safetensors", &bytes);
        assert!(message.contains(tensor) && message.contains("beyond 1e6"), "{message}");
        set_first(&mut bytes, tensor, 9e5);
        assert_eq!(fault("model.safetensors", &bytes), "loaded");
    }
    let mut bytes = GOOD_FILES["ngrams.safetensors"].clone();
    set_first(&mut bytes, "bias", 3e38);
    assert!(fault("ngrams.safetensors", &bytes).contains("bias is"));
    let config = String::from_utf8(GOOD_FILES["config.json"].clone()).unwrap();
    let message = fault("config.json", config.replace("1.5", "1e-40").as_bytes());
    assert!(message.contains("temperature is"), "{message}");
}

#[test]
fn weights_that_would_not_load_again_are_not_saved() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), 1, 4);
    let files = load_directory(folder.path()).unwrap();
    let before = fs::read(folder.path().join("model.safetensors")).unwrap();
    for (value, precision) in [
        (f32::NAN, Precision::F32),
        (f32::INFINITY, Precision::F16),
        (1e7, Precision::F32),
        (7e4, Precision::F16),
    ] {
        let mut tensors = files.tensors.clone();
        tensors.get_mut("classifier.weight").unwrap().data[1] = value;
        let (config, words) = (&files.config, &files.vocabulary);
        let saved = save_directory(folder.path(), config, words, &tensors, &files.metadata, precision, &[]);
        let message = saved.unwrap_err().to_string();
        assert!(message.contains("classifier.weight") && message.contains("value 1 is"), "{message}");
    }
    assert_eq!(fs::read(folder.path().join("model.safetensors")).unwrap(), before);
}

#[test]
fn a_word_of_megabytes_in_the_vocabulary_is_not_multiplied() {
    let text = String::from_utf8(GOOD_FILES["vocab.txt"].clone()).unwrap();
    // Loading once put four hundred words together, to measure what a text costs.
    let word = "x".repeat(16 << 20);
    model_directory("vocab.txt", text.replacen("\nthe\n", &format!("\n{word}\n"), 1).as_bytes());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    assert!(peak.is_none_or(|kib| kib.parse::<u64>().unwrap() < 2 << 20), "{peak:?} KiB");
}

/// Names and bytes of a directory's files.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect()
}

/// What is being written beside models in `folder`.
fn partial(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".partial")).collect()
}

#[test]
fn a_trainer_killed_while_it_writes_leaves_the_old_model_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    // A killed run leaves its checkpoint; the next begins anew.
    let anew = |seed: &'static str| ["--epochs", "1", "--force", "--restart", "--seed", seed];
    let done = train(&data, &model, &anew("1"));
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut old = contents(&model);
    let mut caught = 0;
    for delay in [0, 100, 300, 1_000, 3_000, 10_000, 30_000].map(Duration::from_micros) {
        let mut command = train_command(&data, &model, &anew("2"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let beside = format!(".model.{}.partial", child.id());
        let end = Instant::now() + Duration::from_secs(60);
        while !folder.path().join(&beside).exists() && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "nothing was written");
        }
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        caught += usize::from(folder.path().join(&beside).exists());
        Predictor::load(&model).unwrap();
        let now = contents(&model);
        if now != old {
            // Whole and new: its record is that of the second run, and its weights belong to it.
            let record: serde_json::Value = serde_json::from_slice(&now["training.json"]).unwrap();
            assert_eq!(record["settings"]["seed"], 2);
            assert!(now.keys().eq(old.keys()));
            let done = train(&data, &model, &anew("1"));
            assert!(done.status.success(), "{}", text(&done.stderr));
            let again = contents(&model);
            // The record holds the seconds that a run took; the weights are the same to the byte.
            assert!(again.keys().eq(old.keys()) && again["model.safetensors"] == old["model.safetensors"]);
            old = again;
        }
    }
    assert!(caught > 0, "no kill came in the middle");
}

/// Runs `command` where no file may grow beyond `kib`, and a write beyond fails as on a full disk.
fn on_a_small_disk(kib: usize, command: &Command) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
    let mut bash = Command::new("bash");
    bash.args(["-c", &script, "-"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        bash.env(name, value.unwrap());
    }
    bash.output().unwrap()
}

#[test]
fn a_trainer_on_a_full_disk_says_so_and_leaves_the_old_model() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    assert!(train(&data, &model, &["--epochs", "1", "--seed", "1"]).status.success());
    let old = contents(&model);
    for kib in [0, 1, 4] {
        let anew = ["--epochs", "1", "--seed", "2", "--force", "--restart"];
        let done = on_a_small_disk(kib, &train_command(&data, &model, &anew));
        let message = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{message}");
        let last = message.trim_end().lines().last().unwrap_or_default();
        assert!(last.starts_with("error: ") && last.contains("File too large"), "{message}");
        assert!(contents(&model) == old, "{kib} KiB: the old model was touched");
        assert_eq!(partial(folder.path()), Vec::<String>::new());
    }
}

/// The trainer's checkpoint, which is larger, meets a full disk before its model does; so the save is tried by itself,
/// in a process of its own.
#[test]
fn a_save_on_a_full_disk_leaves_the_old_model() {
    const DIRECTORY: &str = "TEST_SAVES_INTO";
    if let Ok(directory) = std::env::var(DIRECTORY) {
        return write_model(Path::new(&directory), 2, 40);
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    write_model(&model, 1, 8);
    let old = contents(&model);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again
        .args(["--exact", "faults::a_save_on_a_full_disk_leaves_the_old_model", "--nocapture"])
        .env(DIRECTORY, &model);
    let done = on_a_small_disk(8, &again);
    assert!(!done.status.success());
    let message = text(&done.stderr);
    assert!(message.contains("model.safetensors") && message.contains("File too large"), "{message}");
    assert!(contents(&model) == old, "the old model was touched");
    assert_eq!(partial(folder.path()), Vec::<String>::new());
}
