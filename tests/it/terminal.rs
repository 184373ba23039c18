//! What the trainer shows on a terminal.

use std::fs;
use std::process::Command;

use crate::common::write_model;

#[test]
fn a_terminal_shows_bars_and_lines_apart() {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model"), 1, 4);
    let rows = "id,text\n".to_string() + &"1,a good film\n".repeat(3000);
    fs::write(folder.path().join("rows.csv"), rows).unwrap();
    let trainer = env!("CARGO_BIN_EXE_trainer");
    let predict = format!("{trainer} predict --model model --output answers.csv");
    for typed in ["--input rows.csv", "--format csv < rows.csv"] {
        // `script` gives a terminal.
        let mut script = Command::new("script");
        let typed = format!("stty rows 24 cols 60; {predict} {typed}");
        script.args(["-qec", &typed, "/dev/null"]).current_dir(folder.path());
        let done = script.env("TERM", "xterm").env("SHELL", "/bin/sh").output().unwrap();
        let seen = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{seen}");
        // What stands between two returns to the left margin is one line of the terminal.
        let lines: Vec<String> = seen.split(['\r', '\n']).map(without_escapes).collect();
        let bars: Vec<&String> = lines.iter().filter(|line| line.contains("scoring")).collect();
        assert!(!bars.is_empty(), "{seen}");
        assert!(bars.iter().all(|bar| bar.chars().count() <= 60), "{bars:?}");
        assert!(
            lines.iter().any(|line| line.contains("text from `text`") && !line.contains("scoring")),
            "{lines:?}"
        );
    }
}

/// `line` without the commands that a terminal obeys.
fn without_escapes(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line.chars();
    while let Some(ch) = rest.next() {
        match ch {
            '\x1b' => drop(rest.find(char::is_ascii_alphabetic)),
            _ => plain.push(ch),
        }
    }
    plain
}
