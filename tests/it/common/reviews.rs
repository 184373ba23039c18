//! Made-up reviews in the layout of the public release, and the real trainer on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Made-up reviews: four of each kind, a film each.
pub const POSITIVE: [&str; 4] = [
    "A wonderful film, warm and funny.",
    "Great acting and a lovely story.",
    "I loved every minute of this gem.",
    "Superb! Touching, clever, beautiful.",
];
pub const NEGATIVE: [&str; 4] = [
    "A terrible film, cold and dull.",
    "Awful acting and a stupid story.",
    "I hated every minute of this mess.",
    "Dreadful! Boring, clumsy, ugly.",
];

/// A release with `copies` of each review, in the layout of the public one.
pub fn archive(directory: &Path, copies: usize) -> PathBuf {
    let path = directory.join("reviews.tar.gz");
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(&path).unwrap(), Compression::fast()));
    let mut add = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("aclImdb/{name}"), text.as_bytes()).unwrap();
    };
    for (class, texts, rating) in [("pos", POSITIVE, 9), ("neg", NEGATIVE, 2), ("unsup", POSITIVE, 0)] {
        let mut urls = String::new();
        for id in 0..texts.len() * copies {
            add(&format!("train/{class}/{id}_{rating}.txt"), texts[id % texts.len()]);
            urls += &format!("http://www.imdb.com/title/tt{:07}/usercomments\n", 100 + id * 7);
        }
        add(&format!("train/urls_{class}.txt"), &urls);
    }
    tar.into_inner().unwrap().finish().unwrap();
    path
}

pub fn trainer(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trainer")).args(arguments).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs `trainer train` with small settings.
pub fn train(data: &Path, output: &Path, more: &[&str]) -> Output {
    train_command(data, output, more).output().unwrap()
}

/// `trainer train` with small settings, those of the published model where no other preset is named.
pub fn train_command(data: &Path, output: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.arg("train").arg("--data").arg(data).arg("--output").arg(output).args(more);
    if !more.contains(&"--preset") {
        command.args(["--preset", "keras-imdb"]);
    }
    command.args("--vocab-size 100 --max-length 20 --batch-size 4 --threads 2".split(' '));
    command
}
