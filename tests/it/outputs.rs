//! What a command may write over: every attempt to lose a user's files, in a throwaway folder.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use imdb_sentiment::model::{Golden, load_companion, load_directory};
use imdb_sentiment::predict::Predictor;

use crate::common::reviews::{archive, text, train, train_command, trainer};
use crate::common::write_model;

/// Everything under `folder`: paths and bytes, links as where they lead.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_symlink() {
            all.insert(path.clone(), fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes().to_vec());
        } else if kind.is_dir() {
            all.insert(path.clone(), Vec::new());
            all.extend(everything(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

fn refused(done: &Output, named: &str) {
    let message = text(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{message}");
    assert!(message.contains(named) && message.trim_end().lines().count() == 1, "{named}: {message}");
}

#[test]
fn an_output_that_is_somebodys_work_is_refused_before_data_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // A slip for models/mine.
    write_model(&at("models/imdb"), 1, 4);
    fs::create_dir_all(at("project/.git")).unwrap();
    fs::write(at("project/.git/HEAD"), "ref").unwrap();
    fs::write(at("file"), "mine").unwrap();
    write_model(&at("noted"), 1, 4);
    fs::write(at("noted/notes.txt"), "mine").unwrap();
    write_model(&at("documented"), 1, 4);
    fs::write(at("documented/README.md"), "# My project\n").unwrap();
    fs::create_dir(at("readme")).unwrap();
    fs::write(at("readme/README.md"), "# Mine\n").unwrap();
    fs::create_dir(at("settings")).unwrap();
    fs::write(at("settings/config.json"), "{}").unwrap();
    write_model(&at("linked"), 1, 4);
    symlink(at("file"), at("linked/golden.json.link")).unwrap();
    symlink(at("file"), at("link-to-file")).unwrap();
    symlink(at("gone"), at("link-to-nothing")).unwrap();
    symlink(at("project"), at("link-to-project")).unwrap();
    fs::write(at("kept.checkpoint"), "mine").unwrap();
    let before = everything(folder.path());
    for (output, named) in [
        ("models", "holds `imdb`"),
        ("project", "holds `.git`"),
        ("link-to-project", "holds `.git`"),
        ("file", "no model directory"),
        ("link-to-file", "no model directory"),
        ("link-to-nothing", "link to nothing"),
        ("noted", "holds `notes.txt`"),
        ("documented", "not the trainer's model card"),
        ("readme", "no config.json"),
        ("settings", "no model.safetensors"),
        ("linked", "golden.json.link"),
        ("kept", "no checkpoint"),
    ] {
        // The data set is not there: only what is looked at first can be named.
        for force in [&[][..], &["--force"], &["--restart", "--force"]] {
            refused(&train(Path::new("nowhere.tar.gz"), &at(output), force), named);
        }
        let (data, output) = ("nowhere.tar.gz", at(output));
        let output = output.to_str().unwrap();
        refused(&trainer(&["vectors", "--data", data, "--output", output, "--force"]), "nothing");
        let language = ["language", "--data", data, "--vectors", "no", "--output", output, "--force"];
        refused(&trainer(&language), "nothing");
    }
    refused(&train(Path::new("nowhere.tar.gz"), Path::new("/proc/mine"), &[]), "/proc");
    assert_eq!(everything(folder.path()), before);
}

#[test]
fn the_input_archive_is_not_an_output() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 2);
    let before = everything(folder.path());
    refused(&train(&data, &data, &["--force"]), "no model directory");
    assert_eq!(everything(folder.path()), before);
}

#[test]
fn a_finished_model_is_replaced_with_force_alone_and_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    assert!(train(&data, &model, &["--epochs", "1"]).status.success());
    fs::write(model.join("LICENSE"), "mine").unwrap();
    let before = everything(folder.path());
    refused(&train(&data, &model, &["--epochs", "1", "--seed", "2"]), "--force replaces it");
    // Stopped on its way, it leaves the finished one where it is.
    let stopped = train(&data, &model, &["--epochs", "2", "--seed", "2", "--force", "--stop-after", "2"]);
    assert_eq!(stopped.status.code(), Some(130), "{}", text(&stopped.stderr));
    fs::remove_file(folder.path().join("model.checkpoint")).unwrap();
    assert_eq!(everything(folder.path()), before);

    let link = folder.path().join("link");
    symlink("model", &link).unwrap();
    let done = train(&data, &link, &["--epochs", "1", "--seed", "2", "--force", "--validation-share", "0"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("model"));
    assert_ne!(fs::read(model.join("model.safetensors")).unwrap(), before[&model.join("model.safetensors")]);
    assert_eq!(fs::read(model.join("LICENSE")).unwrap(), b"mine");
    // What was measured of the old weights is not left beside the new ones.
    assert!(!model.join("baseline.json").exists() && !model.join("calibration.svg").exists());
}

#[test]
fn of_two_trainers_on_one_output_the_second_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    let lock = File::create(folder.path().join(".model.lock")).unwrap();
    lock.lock().unwrap();
    refused(&train(&data, &model, &["--epochs", "1"]), "another process is writing it");
    assert!(!model.exists());
    drop(lock);
    // A lock that a killed process left is no lock.
    let done = train(&data, &model, &["--epochs", "1"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(!folder.path().join(".model.lock").exists());
}

#[test]
fn a_checkpoint_is_resumed_or_given_up_and_refused_where_a_bit_is_flipped() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    let settings = ["--epochs", "2", "--stop-after", "2"];
    assert_eq!(train(&data, &model, &settings).status.code(), Some(130));
    let checkpoint = folder.path().join("model.checkpoint");
    let good = fs::read(&checkpoint).unwrap();
    refused(&train(&data, &model, &settings), "--resume, or begin anew with --restart");
    refused(&train(&data, &model, &["--epochs", "2", "--force"]), "--restart");
    let resume = ["--epochs", "2", "--resume"];
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut flipped = good.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&checkpoint, flipped).unwrap();
        let done = train(&data, &model, &resume);
        assert_eq!(done.status.code(), Some(1), "byte {at}: {}", text(&done.stdout));
    }
    fs::write(&checkpoint, good).unwrap();
    assert!(train(&data, &model, &["--epochs", "2", "--restart"]).status.success());
    assert!(!checkpoint.exists());
    refused(&train(&data, &folder.path().join("other"), &resume), "no checkpoint to resume from");
}

#[test]
fn what_killed_writers_left_is_cleared_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (data, model) = (archive(folder.path(), 3), folder.path().join("model"));
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let (dead, alive) = (child.id(), std::os::unix::process::parent_id());
    let left = |process: u32, name: &str| {
        let path = folder.path().join(format!(".model.{process}.partial"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(name), "x").unwrap();
        path
    };
    let half = left(dead, "config.json");
    let working = left(alive, "config.json");
    let mine = folder.path().join(format!(".model.{dead}.old"));
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("thesis.txt"), "mine").unwrap();
    let partial = folder.path().join(format!(".model.checkpoint.{dead}.partial"));
    fs::write(&partial, "half").unwrap();
    let done = train(&data, &model, &["--epochs", "1"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(!half.exists() && !partial.exists());
    assert!(working.exists() && mine.join("thesis.txt").exists());
}

#[test]
fn predict_does_not_write_over_what_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_model(&at("model"), 1, 4);
    let rows = "{\"text\": \"a good film\"}\n".repeat(50);
    fs::write(at("in.jsonl"), &rows).unwrap();
    symlink("in.jsonl", at("link.jsonl")).unwrap();
    fs::hard_link(at("in.jsonl"), at("hard.jsonl")).unwrap();
    let shell = |script: &str| {
        let mut bash = Command::new("bash");
        let script = format!("\"$0\" predict --model model {script}");
        bash.args(["-c", &script, env!("CARGO_BIN_EXE_trainer")]).current_dir(folder.path());
        bash.output().unwrap()
    };
    for script in [
        "--input in.jsonl --output in.jsonl",
        "--input in.jsonl --output ./model/../in.jsonl",
        "--input in.jsonl --output link.jsonl",
        "--input link.jsonl --output in.jsonl",
        "--input in.jsonl --output hard.jsonl",
        "--format jsonl --output in.jsonl < in.jsonl",
        "--input in.jsonl >> in.jsonl",
    ] {
        refused(&shell(script), "the file that is read");
        assert_eq!(fs::read_to_string(at("in.jsonl")).unwrap(), rows, "{script}");
    }
    refused(&shell("--input in.jsonl --output model"), "directory");
    // Nor over a file of the model that it reads with, or of any other.
    let before = everything(&at("model"));
    symlink("model/config.json", at("config.jsonl")).unwrap();
    for script in ["model/config.json", "model/golden.json", "./model/../config.jsonl --format jsonl"] {
        refused(&shell(&format!("--input in.jsonl --output {script}")), "is a part of the model");
    }
    assert_eq!(everything(&at("model")), before);
    for script in [
        "--input in.jsonl",
        "--input in.jsonl --output -",
        "--input in.jsonl --output /dev/stdout",
        "--input in.jsonl --output out.jsonl && cat out.jsonl",
        "--input in.jsonl --output >(cat) | cat",
        "--format jsonl < in.jsonl",
    ] {
        let done = shell(script);
        assert_eq!(text(&done.stdout).lines().count(), 50, "{script}: {}", text(&done.stderr));
    }
    // A file of answers keeps its place until the last row, and a link its aim.
    symlink("out.jsonl", at("answers.jsonl")).unwrap();
    let old = "{\"probabilities\": \"old\"}";
    fs::write(at("out.jsonl"), old).unwrap();
    fs::write(at("bad.csv"), "a,b\n1,2\n").unwrap();
    assert_eq!(shell("--input bad.csv --output answers.jsonl").status.code(), Some(1));
    assert_eq!(fs::read_to_string(at("out.jsonl")).unwrap(), old);
    assert!(shell("--input in.jsonl --output answers.jsonl").status.success());
    assert_eq!(fs::read_to_string(at("out.jsonl")).unwrap().lines().count(), 50);
    assert_eq!(fs::read_link(at("answers.jsonl")).unwrap(), Path::new("out.jsonl"));
    assert!(
        fs::read_dir(folder.path())
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().ends_with(".partial") })
    );
}

#[test]
fn predict_replaces_answers_and_nothing_else_without_force() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model"), 1, 8);
    fs::write(folder.path().join("in.csv"), "text,id\na good film,1\na bad film,2\n").unwrap();
    let predict = |output: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(folder.path()).args(["predict", "--model", "model", "--input", "in.csv"]);
        command.args(["--output", output]).args(more).output().unwrap()
    };
    for name in ["out.csv", "out.tsv", "out.jsonl", "out.parquet"] {
        let path = folder.path().join(name);
        for (precious, force) in [("text,label\nsomebody's work,1\n", true), ("", false)] {
            fs::write(&path, precious).unwrap();
            if force {
                refused(&predict(name, &[]), "--force replaces it");
                assert_eq!(fs::read_to_string(&path).unwrap(), precious, "{name}");
            }
            let first = predict(name, if force { &["--force"] } else { &[] });
            assert!(first.status.success(), "{name}: {}", text(&first.stderr));
            // Answers of before are replaced.
            let again = predict(name, &[]);
            assert!(again.status.success(), "{name}: {}", text(&again.stderr));
        }
    }
    // Answers to which somebody has added a column are his.
    for (name, noted) in [
        ("out.csv", "text,id,\"notes\",probabilities.positive\na,1,mine,0.5\n"),
        ("out.tsv", "text\tnotes\tprobabilities.positive\na\tmine\t0.5\n"),
        ("out.jsonl", "{\"text\":\"a\",\"notes\":\"mine\",\"probabilities\":{\"positive\":0.5}}\n"),
    ] {
        fs::write(folder.path().join(name), noted).unwrap();
        refused(&predict(name, &[]), "answers have no `notes`; --force replaces it");
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), noted);
        assert!(predict(name, &["--force"]).status.success());
    }
}

#[test]
fn a_training_outlives_the_reader_of_its_output() {
    let folder = tempfile::tempdir().unwrap();
    let data = archive(folder.path(), 3);
    for (name, redirect) in [("piped", "| head -c 1 > /dev/null"), ("closed", ">&-"), ("full", "> /dev/full")]
    {
        let model = folder.path().join(name);
        let command = train_command(&data, &model, &["--epochs", "3"]);
        let script = format!("set -o pipefail; \"$@\" {redirect}");
        let mut bash = Command::new("bash");
        bash.args(["-c", &script, "-"]).arg(command.get_program()).args(command.get_args());
        let done = bash.output().unwrap();
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        assert!(!text(&done.stderr).contains("panicked"), "{}", text(&done.stderr));
        Predictor::load(&model).unwrap();
    }
}

#[test]
fn files_beyond_what_belongs_there_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    for file in ["config.json", "vocab.txt", "model.safetensors"] {
        write_model(&model, 1, 4);
        // Sparse: a terabyte that takes no room.
        File::options().write(true).open(model.join(file)).unwrap().set_len(1 << 40).unwrap();
        let fault = load_directory(&model).unwrap_err().to_string();
        assert!(fault.contains(file) && fault.contains("at most"), "{fault}");
        fs::remove_dir_all(&model).unwrap();
    }
    write_model(&model, 1, 4);
    let golden = fs::read_to_string(model.join("golden.json")).unwrap();
    for tolerance in ["1e38", "0.5", "-1"] {
        let mut value: serde_json::Value = serde_json::from_str(&golden).unwrap();
        value["tolerance"] = serde_json::from_str(tolerance).unwrap();
        fs::write(model.join("golden.json"), value.to_string()).unwrap();
        let fault = load_companion::<Golden>(&model, "golden.json").unwrap_err().to_string();
        assert!(fault.contains("tolerance"), "{fault}");
    }
}

/// A header of the kind that comes before an entry with a long name.
fn long_name(kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path("././@LongLink").unwrap();
    header.set_size(size);
    header.set_cksum();
    header
}

#[test]
fn archives_that_swell_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.tar.gz");
    let attempt = |fill: &dyn Fn(&mut tar::Builder<GzEncoder<File>>)| {
        let gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        fill(&mut tar);
        tar.into_inner().unwrap().finish().unwrap();
        train(&path, &folder.path().join("model"), &[])
    };
    let size = 256 << 20;
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
        let done = attempt(&|tar| {
            tar.append(&long_name(kind, size), std::io::repeat(b'a').take(size)).unwrap();
        });
        refused(&done, "whose name takes 268435456 bytes");
    }
    let done = attempt(&|tar| {
        let mut header = tar::Header::new_gnu();
        header.set_size(60 << 20);
        header.set_mode(0o644);
        let breaks = std::io::repeat(b'\n').take(60 << 20);
        tar.append_data(&mut header, "aclImdb/train/urls_pos.txt", breaks).unwrap();
    });
    refused(&done, "more than 2000000 lines");
    // A name of some hundred bytes is a name.
    let done = attempt(&|tar| {
        let mut header = tar::Header::new_gnu();
        header.set_size(9);
        header.set_mode(0o644);
        let long = format!(
            "{}/aclImdb/train/pos/0_9.txt",
            "x".repeat(90).as_str().to_owned() + "/" + &"y".repeat(90)
        );
        tar.append_data(&mut header, long, &b"Lovely it"[..]).unwrap();
    });
    refused(&done, "no review in a folder train/neg");
}
