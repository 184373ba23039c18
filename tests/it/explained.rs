//! What the trainer says besides verdicts: explained texts, at a terminal and in files, and the report of a model.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::reviews::text;
use crate::common::{Server, write_full_model, write_model};

const TEXT: &str = "A great 👍🏽 film, good story. But awful acting & a dull plot! Zxq the end of it.";

fn trainer(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.current_dir(folder).args(arguments).env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.envs(environment.iter().copied()).output().unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_full_model(&folder.path().join("m"), 3);
    let rows = [TEXT, "Not a good film.", ""].map(|text| json!({ "text": text }).to_string());
    fs::write(folder.path().join("in.jsonl"), rows.join("\n")).unwrap();
    folder
}

const PREDICT: [&str; 5] = ["predict", "--model", "m", "--input", "in.jsonl"];

#[test]
fn predict_explains_as_the_server_does() {
    let folder = folder();
    let asked = ["--explain", "--sentences", "--trajectory", "--offsets", "utf16"];
    let output = trainer(folder.path(), &[&PREDICT[..], &asked].concat(), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let server = Server::start(&["--model", folder.path().join("m").to_str().unwrap()]);
    for (line, posted) in lines.iter().zip([TEXT, "Not a good film."]) {
        let body = json!({"text": posted, "explain": true, "sentences": true, "trajectory": true, "offsets": "utf16"});
        let answer = server.post("/predict", &body.to_string()).json();
        for part in ["label", "score", "probabilities", "words", "sentences", "mixed", "trajectory"] {
            assert!(!answer[part].is_null(), "{part}");
            assert_eq!(line[part], answer[part], "{part} of {posted}");
        }
    }
    assert_eq!(lines.len(), 3);
    assert!(lines[2]["error"].is_string() && lines[2].get("words").is_none(), "{}", lines[2]);
    // In a table they are the same as text.
    let output = trainer(folder.path(), &[&PREDICT[..], &["--explain", "--output", "out.csv"]].concat(), &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut table = csv::Reader::from_path(folder.path().join("out.csv")).unwrap();
    let column = table.headers().unwrap().iter().position(|name| name == "words").unwrap();
    let row = table.records().next().unwrap().unwrap();
    let words: Value = serde_json::from_str(&row[column]).unwrap();
    assert_eq!(words.as_array().map(Vec::len), lines[0]["words"].as_array().map(Vec::len));
    assert!(words[0]["text"].is_string(), "{words}");
}

#[test]
fn words_are_coloured_for_people_alone() {
    let folder = folder();
    let shown = |more: &[&str], environment: &[(&str, &str)]| {
        let output = trainer(folder.path(), &[&PREDICT[..], more].concat(), environment);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    // `CLICOLOR_FORCE` stands for a terminal, which a test has none of.
    let coloured = shown(&["--explain"], &[("CLICOLOR_FORCE", "1")]);
    assert!(
        coloured.contains("\u{1b}[") && coloured.contains("48;5;") && coloured.contains("line 1"),
        "{coloured}"
    );
    assert!(coloured.contains("  against ") || coloured.contains("  for "), "{coloured}");
    assert!(coloured.contains("line 3"), "the row without a word: {coloured}");
    let plain = shown(&["--explain"], &[]);
    assert!(plain.starts_with('{') && !plain.contains('\u{1b}'), "{plain}");
    assert!(!shown(&[], &[("CLICOLOR_FORCE", "1")]).contains('\u{1b}'), "nothing was to be explained");
    let sentences = shown(&["--sentences", "--trajectory"], &[("CLICOLOR_FORCE", "1")]);
    assert!(sentences.contains("positive after each sentence:"), "{sentences}");
    // A column that is not there says with which flag it comes.
    let output = trainer(folder.path(), &[&PREDICT[..], &["--columns", "words"]].concat(), &[]);
    assert!(text(&output.stderr).contains("--explain"), "{}", text(&output.stderr));
}

#[test]
fn a_report_is_one_page_and_replaces_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_model(&at("m"), 1, 8);
    let mut table = String::from("stars,review\n");
    for n in 0..120 {
        let (stars, word) = [(1, "awful"), (2, "dull"), (4, "good"), (5, "great")][n % 4];
        table += &format!("{stars},\"<b>The</b> {word} film number {n} & its {word} plot\"\n");
    }
    fs::write(at("own.csv"), &table).unwrap();
    let report = |more: &[&str]| {
        let common = ["report", "--model", "m", "--data", "own.csv"];
        trainer(folder.path(), &[&common[..], more].concat(), &[])
    };
    let output = report(&["--output", "report.html", "--mistakes", "5"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let html = fs::read_to_string(at("report.html")).unwrap();
    for part in [
        "120 labelled reviews",
        "ROC",
        "Precision and recall",
        "Calibration",
        "Accuracy by coverage",
        "Accuracy by length",
        "Accuracy by stars",
        "called negative",
        "The most confident mistakes",
        "Words with the largest weights",
        "prefers-color-scheme:dark",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("class=\"mistake\"").count(), 5);
    assert!(html.contains("&lt;") && !html.contains("<b>The</b>"));
    // One file: nothing is fetched, nothing runs.
    for outside in ["http:", "https:", "<script", "src=", "url(", "@import"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(report(&["--output", "report.html"]).status.success(), "a report may be written anew");
    for (file, more) in [("own.csv", vec!["--force"]), ("m/config.json", vec![]), ("own.csv", vec![])] {
        let before = fs::read(at(file)).unwrap();
        let output = report(&[&["--output", file][..], &more].concat());
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert_eq!(fs::read(at(file)).unwrap(), before, "{file}: {}", text(&output.stderr));
    }
    // In a folder of reviews, a page would be one.
    for (class, word) in [("neg", "awful"), ("pos", "great")] {
        fs::create_dir_all(at("classes").join(class)).unwrap();
        for n in 0..60 {
            fs::write(at("classes").join(class).join(format!("{n}.txt")), format!("{word} film number {n}"))
                .unwrap();
        }
    }
    let classes = |output: &str| {
        let flags = ["report", "--model", "m", "--data", "classes", "--force", "--output", output];
        trainer(folder.path(), &flags, &[])
    };
    std::os::unix::fs::symlink(at("classes/neg"), at("elsewhere")).unwrap();
    for inside in ["classes/neg/1.txt", "classes/neg/report.html", "elsewhere/2.txt", "elsewhere/report.html"]
    {
        let output = classes(inside);
        let said = text(&output.stderr).to_string();
        assert!(output.status.code() == Some(1) && said.contains("lies within the data"), "{inside}: {said}");
    }
    assert_eq!(fs::read_to_string(at("classes/neg/1.txt")).unwrap(), "awful film number 1");
    assert!(!at("classes/neg/report.html").exists());
    assert!(classes("classes/report.html").status.success(), "beside the classes nothing is read");
    let flags = ["calibrate", "--model", "m", "--data", "classes", "--output", "classes/sure"];
    let output = trainer(folder.path(), &flags, &[]);
    assert!(text(&output.stderr).contains("lies within the data"), "{}", text(&output.stderr));
    assert!(!at("classes/sure").exists());
}
