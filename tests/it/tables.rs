//! Tables as people have them, through the real trainer: what is read as what, what is refused, what is written back.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::common::reviews::text;
use crate::common::write_model;

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_model(&folder.path().join("model"), 1, 4);
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.at(name), bytes).unwrap();
        self
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn predict(&self, more: &[&str]) -> Output {
        self.run(&[&["predict", "--model", "model"], more].concat())
    }

    /// The answers of `predict`, which must succeed.
    fn answers(&self, more: &[&str]) -> Vec<Value> {
        let done = self.predict(more);
        assert!(done.status.success(), "{more:?}: {}", text(&done.stderr));
        text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The one line in which `predict` or `evaluate` refuses.
    fn refusal(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}: {}", text(&done.stdout));
        let message = text(&done.stderr).trim_end().to_string();
        message.lines().last().unwrap_or_default().to_string()
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn utf16(text: &str, mark: bool) -> Vec<u8> {
    let units = text.encode_utf16().flat_map(u16::to_le_bytes);
    if mark { [0xff, 0xfe].into_iter().chain(units).collect() } else { units.collect() }
}

/// The probability of `text` by the server's names.
fn positive(answer: &Value) -> f64 {
    answer["probabilities"]["positive"].as_f64().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn one_table_in_many_dialects_gets_the_same_answers() {
    let folder = Folder::new();
    let (good, bad) = ("A \"good\" film,\nloved it; really", "Dull\tand awful");
    let json = |text: &str, id: u32| {
        serde_json::json!({"id": id, "review": text, "sentiment": "positive"}).to_string()
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let table = |delimiter: &str, end: &str| {
        let row = |id: &str, text: &str, label: &str| [id, text, label].join(delimiter) + end;
        row("id", "review", "sentiment")
            + &row("1", &quoted(good), "positive")
            + &row("2", &quoted(bad), "positive")
    };
    let backslashed = table("\t", "\n").replace("\"\"good\"\"", "\\\"good\\\"");
    let lines = format!("{}\n\n{}\n", json(good, 1), json(bad, 2));
    let array = format!("[\n  {},\n  {}\n]\n", json(good, 1), json(bad, 2));
    folder
        .write("IMDB Dataset.csv", table(",", "\n"))
        .write("windows.csv", table(",", "\r\n"))
        .write("marked.csv", format!("\u{feff}{}", table(",", "\n")))
        .write("semicolon.csv", table(";", "\n"))
        .write("excel.csv", format!("sep=;\n{}", table(";", "\n")))
        .write("pipe.csv", table("|", "\n"))
        .write("tabs.tsv", table("\t", "\n"))
        .write("popcorn.tsv", backslashed)
        .write("utf16.csv", utf16(&table(",", "\n"), true))
        .write("lines.jsonl", &lines)
        .write("lines.json", &lines)
        .write("array.json", array)
        .write("packed.csv.gz", gzip(&table(",", "\n")))
        .write("packed.json.zst", zstd::encode_all(lines.as_bytes(), 0).unwrap());
    let expected: Vec<f64> = folder.answers(&["--input", "lines.jsonl"]).iter().map(positive).collect();
    assert_eq!(expected.len(), 2);
    for name in [
        "IMDB Dataset.csv",
        "windows.csv",
        "marked.csv",
        "semicolon.csv",
        "excel.csv",
        "pipe.csv",
        "tabs.tsv",
        "popcorn.tsv",
        "utf16.csv",
        "lines.json",
        "array.json",
        "packed.csv.gz",
        "packed.json.zst",
    ] {
        let answers = folder.answers(&["--input", name]);
        assert_eq!(answers.iter().map(positive).collect::<Vec<_>>(), expected, "{name}");
        // The row comes back with its answer beside it.
        assert_eq!(answers[0]["sentiment"], "positive", "{name}");
        assert_eq!(
            answers[1]["review"].as_str().map(|text| text.replace("\r\n", "\n")).as_deref(),
            Some(bad),
            "{name}"
        );
    }
    // Standard input, where its form is told.
    let mut command = Command::new("bash");
    let script = "\"$0\" predict --model model --format csv < 'IMDB Dataset.csv'";
    let done = command
        .args(["-c", script, env!("CARGO_BIN_EXE_trainer")])
        .current_dir(folder.folder.path())
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout).lines().count(), 2, "{}", text(&done.stderr));
    assert!(folder.refusal(&["predict", "--model", "model"]).contains("standard input"));
    // Files of a pattern follow each other by name.
    folder.write("part-2.csv", "text\nDull\n").write("part-1.jsonl", "\"A good film\"\n");
    let answers = folder.answers(&["--input", "part-*"]);
    assert_eq!(
        (answers[0]["text"].as_str(), answers[1]["text"].as_str()),
        (Some("A good film"), Some("Dull"))
    );
}

#[test]
fn labels_are_nothing_to_predict_and_keep_their_values() {
    let folder = Folder::new();
    folder.write("unused.csv", "text,label,score\nA good film,-1,7\nDull,neutral,8\n");
    let answers = folder.answers(&["--input", "unused.csv"]);
    assert_eq!(
        (answers[1]["input.label"].as_str(), answers[1]["input.score"].as_str()),
        (Some("neutral"), Some("8"))
    );
    assert!(
        answers.iter().all(|answer| ["positive", "negative"].contains(&answer["label"].as_str().unwrap()))
    );
    let names = ["label", "score", "probabilities", "tokens", "unknown_tokens", "truncated"];
    assert!(names.iter().all(|name| !answers[0][name].is_null()), "{}", answers[0]);
    let kept = folder.answers(&[
        "--input",
        "unused.csv",
        "--keep-columns",
        "text",
        "--columns",
        "probabilities.positive",
    ]);
    assert_eq!(kept[0].as_object().unwrap().len(), 2, "{}", kept[0]);
    let fault =
        folder.refusal(&["predict", "--model", "model", "--input", "unused.csv", "--keep-columns", "id"]);
    assert!(fault.contains("no column `id`"), "{fault}");
}

#[test]
fn rows_that_cannot_be_read_are_answered_in_their_place() {
    let folder = Folder::new();
    let rows = "{\"text\":\"A good film\",\"id\":1}\n{\"text\":null,\"id\":2}\n{\"text\":\"\\ud83d broken\",\"id\":3}\n\
                {\"id\":4}\nnot json\n{\"text\":5}\n{\"text\":\"\"}\n{\"text\":\"...\"}\n[1]\n{\"text\":\"Dull\",\"id\":9}\n";
    folder.write("bad.jsonl", rows);
    let answers = folder.answers(&["--input", "bad.jsonl"]);
    let failed: Vec<bool> = answers.iter().map(|answer| answer["error"].is_string()).collect();
    assert_eq!(failed, [false, true, true, true, true, true, true, true, true, false]);
    assert!(
        answers[1]["error"].as_str().unwrap().starts_with("line 2: its `text` is null"),
        "{}",
        answers[1]
    );
    assert_eq!(answers[1]["id"], 2);
    let done = folder.predict(&["--input", "bad.jsonl"]);
    assert!(
        text(&done.stderr).contains("8 without an answer (lines 2, 3, 4, 5, 6, …)"),
        "{}",
        text(&done.stderr)
    );
    let fault = folder.refusal(&["predict", "--model", "model", "--input", "bad.jsonl", "--strict"]);
    assert!(fault.contains("line 2"), "{fault}");

    folder.write("ragged.csv", "text,label\nA good film,1\na,b,c\nDull\nFine film,0,,\n\"two\nlines\",1\n");
    let answers = folder.answers(&["--input", "ragged.csv"]);
    let failed: Vec<bool> = answers.iter().map(|answer| answer["error"].is_string()).collect();
    assert_eq!(failed, [false, true, true, false, false]);
    // One byte that is no UTF-8 among rows that are.
    folder.write("byte.csv", b"text\nCaf\xc3\xa9 film\nb\xe9ton\nDull\n");
    let answers = folder.answers(&["--input", "byte.csv"]);
    assert!(answers[1]["error"].as_str().unwrap().contains("UTF-8") && answers[2]["error"].is_null());
}

#[test]
fn what_is_not_understood_is_refused_with_what_was_found_and_the_flag_that_decides() {
    let folder = Folder::new();
    let zeros = utf16("text\nA good film\n", false);
    for (name, bytes, named) in [
        ("a.csv", &b"id,comment_1\n1,x\n"[..], &["`id`, `comment_1`", "--text-column"][..]),
        ("b.csv", b"text,review\na,b\n", &["`text`, `review`", "--text-column"]),
        ("c.csv", b"text,label\nA clich\xe9d film,1\n", &["not UTF-8", "--encoding"]),
        ("d.csv", &zeros, &["--encoding utf-16le"]),
        ("e.dat", b"some bytes", &["begins with `some bytes`", "--format"]),
        ("f.txt", b"{\"text\": \"a\"}\n", &["--format jsonl"]),
        ("g.json", b"{\"data\": [\n1]}\n", &["JSON"]),
        ("h.jsonl", b"{\"body_html\": \"x\"}\n", &["`body_html`", "--text-column"]),
        ("i.csv", b"PK\x03\x04zip", &["zip archive: unpack it"]),
        ("i.xlsx", b"PK\x03\x04\x14\0\x06\0[Content_Types].xml", &["an Excel workbook", "as CSV"]),
        (
            "i.ods",
            b"PK\x03\x04mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
            &["OpenDocument", "as CSV"],
        ),
        ("i.html", b"\n<!DOCTYPE html><p>404", &["a web page"]),
        ("i.tsv", b"\x89PNG\r\n\x1a\n\0\0", &["a picture"]),
        ("i.pkl", b"\x80\x04\x95\0\0", &["a pickle", "Parquet or CSV"]),
        ("j.parquet", b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS"]),
        ("k.parquet", b"text\nx\n", &["no Parquet file"]),
        ("l.csv", b"PAR1xxxx", &["Parquet file, whatever its name"]),
        ("m.csv", b"", &["empty"]),
        ("o.csv", b"text,text,label\na,b,1\n", &["`text`, `text.2`", "--text-column"]),
        // One object by itself that is no row.
        (
            "p.json",
            b"{\"text\": {\"0\": \"a\", \"1\": \"b\"}}",
            &["columns where rows", "is an object", "orient"],
        ),
        ("q.json", b"{\"text\": [\"a\", \"b\"], \"label\": [1, 0]}\n", &["columns where rows", "is a list"]),
        ("r.json", b"{\"data\": [{\"text\": \"a\"}]}", &["`data`", "`jq -c '.data[]'`"]),
        ("n.csv.gz", &gzip("text\nA good film\n")[..20], &["cut off"]),
    ] {
        folder.write(name, bytes);
        let fault = folder.refusal(&["predict", "--model", "model", "--input", name]);
        assert!(named.iter().all(|part| fault.contains(part)), "{name}: {fault}");
    }
    let fault = folder.refusal(&["predict", "--model", "model", "--input", "none-*.csv"]);
    assert!(fault.contains("no file matches"), "{fault}");
    // And with the flag it is read.
    let texts = |more: &[&str]| folder.answers(more).len();
    assert_eq!(texts(&["--input", "a.csv", "--text-column", "comment_1"]), 1);
    assert_eq!(texts(&["--input", "b.csv", "--text-column", "review"]), 1);
    assert_eq!(texts(&["--input", "c.csv", "--encoding", "windows-1252"]), 1);
    assert_eq!(texts(&["--input", "d.csv", "--encoding", "utf-16le"]), 1);
    assert_eq!(texts(&["--input", "e.dat", "--format", "txt"]), 1);
    assert_eq!(texts(&["--input", "o.csv", "--text-column", "text.2"]), 1);
    folder.write("yelp.csv", "\"1\",\"Awful, dull\"\n\"2\",\"A good film\"\n");
    assert_eq!(texts(&["--input", "yelp.csv", "--no-header", "--text-column", "2"]), 2);
}

#[test]
fn a_member_of_a_member_is_a_column() {
    let folder = Folder::new();
    let row =
        |text: &str, side: u8| format!("{{\"id\": 1, \"review\": {{\"text\": {text}, \"side\": {side}}}}}\n");
    folder.write("n.jsonl", row("\"a good film\"", 1) + &row("null", 0) + &row("\"dull\"", 0));
    let fault = folder.refusal(&["predict", "--model", "model", "--input", "n.jsonl"]);
    assert!(fault.contains("`review` is an object") && fault.contains("--text-column review."), "{fault}");
    let named = ["--text-column", "review.text"];
    let answers = folder.answers(&[&["--input", "n.jsonl"], &named[..]].concat());
    assert_eq!(answers[0]["review"]["text"], "a good film");
    assert!(positive(&answers[0]) > 0.0 && positive(&answers[2]) > 0.0);
    assert_eq!(answers[1]["error"], "line 2: its `review.text` is null");
    // As Parquet, which holds what the lines held.
    let done =
        folder.predict(&["--input", "n.jsonl", "--text-column", "review.text", "--output", "n.parquet"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let done = folder.run(
        &[
            &["evaluate", "--model", "model", "--data", "n.jsonl", "--label-column", "review.side"],
            &named[..],
        ]
        .concat(),
    );
    assert!(done.status.success() && text(&done.stdout).contains("reviews     2"), "{}", text(&done.stderr));
}

#[test]
fn columns_of_one_name_keep_their_values() {
    let folder = Folder::new();
    folder.write("twice.csv", "id,text,id,id.2,id\n1,a good film,2,3,4\n");
    let answers = folder.answers(&["--input", "twice.csv"]);
    let value = |name: &str| answers[0][name].as_str().unwrap_or_default().to_string();
    assert_eq!(["id", "id.3", "id.2", "id.4"].map(value), ["1", "2", "3", "4"]);
    let done = folder.predict(&["--input", "twice.csv", "--output", "out.csv", "--columns", "label"]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let written = fs::read_to_string(folder.at("out.csv")).unwrap();
    assert!(written.starts_with("id,text,id.3,id.2,id.4,label\n1,a good film,2,3,4,"), "{written}");
}

#[test]
fn columns_of_later_rows_and_files_come_back() {
    let folder = Folder::new();
    let rows = [r#"{"text":"good film","id":0}"#, r#"{"text":"bad film","id":9,"note":"keep me"}"#];
    folder
        .write("late.jsonl", rows.join("\n"))
        .write("late.json", format!("[{}]", rows.join(",")))
        .write("a.csv", "text,id\ngood film,1\n")
        .write("b.csv", "id,text,note\n2,bad film,keep me\n")
        .write("c.csv", "review,id\ndull film,3\n");
    let written = |input: &str, output: &str, more: &[&str]| {
        let done = folder.predict(&[&["--input", input, "--output", output], more].concat());
        assert!(done.status.success(), "{input} {output}: {}", text(&done.stderr));
        let read = ["--input", output, "--columns", "label", "--text-column", "text"];
        let done = folder.predict(&read);
        text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    for output in ["out.csv", "out.tsv", "out.jsonl", "out.parquet"] {
        for input in ["late.jsonl", "late.json"] {
            for more in [&[][..], &["--keep-columns", "text,id,note"]] {
                let answers = written(input, output, more);
                assert_eq!(answers[1]["note"], "keep me", "{input} {output}");
                assert_eq!(answers[1]["id"].to_string().trim_matches('"'), "9", "{input} {output}");
            }
        }
        let answers = written("[abc].csv", output, &[]);
        assert_eq!(answers[1]["note"], "keep me", "{output}");
        assert_eq!(answers[2]["review"], "dull film", "{output}");
        let ids = answers.iter().map(|answer| answer["id"].to_string());
        assert_eq!(ids.collect::<Vec<_>>(), ["\"1\"", "\"2\"", "\"3\""], "{output}");
    }
    let fault = folder.refusal(&[
        "predict",
        "--model",
        "model",
        "--input",
        "[abc].csv",
        "--keep-columns",
        "text,other",
    ]);
    assert!(fault.contains("no column `other`"), "{fault}");
}

#[test]
fn a_member_that_comes_too_late_for_a_column_is_told() {
    let folder = Folder::new();
    let mut rows = "{\"text\":\"good film\",\"id\":0}\n".repeat(1_200);
    rows += "{\"text\":\"bad film\",\"id\":9,\"note\":\"keep me\",\"nothing\":null}\n";
    folder.write("late.jsonl", rows);
    let arguments = ["predict", "--model", "model", "--input", "late.jsonl", "--output"];
    for output in ["out.csv", "out.parquet"] {
        let fault = folder.refusal(&[&arguments[..], &[output]].concat());
        assert!(
            fault.contains("1 row has members that the output has no column for (note)")
                && fault.ends_with("--keep-columns text,id,note"),
            "{fault}"
        );
        // Every row is answered all the same.
        assert_eq!(folder.answers(&["--input", output, "--columns", "label"]).len(), 1_201);
        fs::remove_file(folder.at(output)).unwrap();
        let fault = folder.refusal(&[&arguments[..], &[output, "--strict"]].concat());
        assert!(fault.contains("no column for (note)") && !folder.at(output).exists(), "{fault}");
        let done = folder.run(&[&arguments[..], &[output, "--keep-columns", "text,id,note"]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(folder.answers(&["--input", output, "--columns", "label"])[1_200]["note"], "keep me");
    }
    assert_eq!(folder.answers(&["--input", "late.jsonl"])[1_200]["note"], "keep me");
}

#[test]
fn no_two_columns_are_written_by_one_name() {
    let folder = Folder::new();
    folder.write("in.csv", "text,label,input.label\ngood film,1,2\n");
    folder
        .write("late.jsonl", "{\"text\":\"good film\"}\n{\"text\":\"bad\",\"label\":1,\"input.label\":2}\n");
    let done = folder.predict(&["--input", "in.csv"]);
    let line = text(&done.stdout);
    assert_eq!(line.matches("\"input.label\":").count(), 1, "{line}");
    let answer: Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!((&answer["input.label.2"], &answer["input.label"]), (&"1".into(), &"2".into()));
    let late = &folder.answers(&["--input", "late.jsonl"])[1];
    assert_eq!((&late["input.label.2"], &late["input.label"]), (&1.into(), &2.into()));
    // What was written is read and written again, and again.
    for (input, output) in [("in.csv", "1.csv"), ("1.csv", "2.csv"), ("2.csv", "3.csv")] {
        let done = folder.predict(&["--input", input, "--output", output]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let written = fs::read_to_string(folder.at(output)).unwrap();
        let mut names: Vec<&str> = written.lines().next().unwrap().split(',').collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{written}");
    }
}

#[test]
fn rows_without_an_answer_are_told_with_their_file() {
    let folder = Folder::new();
    folder.write("a.csv", "text,id\ngood film,1\n...,2\n").write("b.csv", "text,id\nbad,1,2\n...,2\n");
    let done = folder.predict(&["--input", "[ab].csv"]);
    let summary = text(&done.stderr);
    assert!(
        summary.contains("3 without an answer (a.csv: line 3; b.csv: lines 2, 3): a.csv: line 3: "),
        "{summary}"
    );
    let answers = text(&done.stdout);
    let last: Value = serde_json::from_str(answers.lines().last().unwrap()).unwrap();
    assert!(last["error"].as_str().unwrap().starts_with("b.csv: line 3: "), "{last}");
}

#[test]
fn rows_of_delimiters_alone_do_not_take_the_memory() {
    let folder = Folder::new();
    let commas = vec![b','; 60 << 20];
    folder.write("row.csv", [&b"text,label\na good film,1\n"[..], &commas, b"\n"].concat());
    folder.write("header.csv", [&commas[..1 << 20], b"\ntext\n"].concat());
    let members: String = (0..200_000).map(|at| format!(",\"k{at}\":1")).collect();
    folder.write("wide.jsonl", format!("{{\"text\":\"a good film\"{members}}}\n"));
    let table = "fields: is it a table?";
    for (name, named) in [("row.csv", "fields"), ("header.csv", table), ("wide.jsonl", table)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.args(["predict", "--model", "model", "--output", "out.csv", "--input", name]);
        let (peak, done) = peak_of(command.current_dir(&folder.folder).stderr(Stdio::null()));
        assert!(peak < 400 << 20 && !done, "{name}: {peak} bytes");
        let fault = folder.refusal(&["predict", "--model", "model", "--input", name]);
        assert!(fault.contains(named), "{name}: {fault}");
    }
}

#[test]
fn an_open_quote_does_not_take_the_memory() {
    let folder = Folder::new();
    let mut file = File::create(folder.at("open.csv")).unwrap();
    file.write_all(b"text\nA good film\n\"never closed\n").unwrap();
    let line = "x".repeat(1 << 20) + "\n";
    (0..70).for_each(|_| file.write_all(line.as_bytes()).unwrap());
    let fault =
        folder.refusal(&["predict", "--model", "model", "--input", "open.csv", "--output", "out.jsonl"]);
    assert!(fault.contains("quote left open"), "{fault}");
    assert!(!folder.at("out.jsonl").exists());
}

#[test]
fn what_files_put_together_hold_is_not_taken_for_a_review() {
    let folder = Folder::new();
    folder
        .write("two.csv", "text,label\na good film,1\n\u{feff}text,label\na dull film,0\ntext,Label\n")
        .write("two.jsonl", "\u{feff}{\"text\":\"a good film\"}\n\u{feff}{\"text\":\"a dull film\"}\n")
        .write("two.json", "[{\"text\":\"a good film\"}]\n[{\"text\":\"a dull film\"}]\n")
        .write("none.json", "[ ]")
        .write("tabs.txt", "a good film\t1\na dull film\t0\n")
        .write("pretty.json", "{\n \"text\": \"a good film\"\n}\n{\n \"text\": \"a dull film\"\n}\n");
    let answers = folder.answers(&["--input", "two.csv"]);
    assert_eq!(answers[1]["error"], "line 3: the header stands here again: were files put together?");
    assert!(answers.len() == 4 && [0, 2, 3].iter().all(|at| answers[*at]["error"].is_null()), "{answers:?}");
    let answers = folder.answers(&["--input", "two.jsonl"]);
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
    for (name, named) in [
        ("two.json", "more stands behind the array, which has 1 elements"),
        ("none.json", "an array without a row"),
        ("pretty.json", "`jq -c .` makes lines"),
        ("tabs.txt", "each of its lines holds 1 tabs, as a table does; --format tsv"),
    ] {
        let fault = folder.refusal(&["predict", "--model", "model", "--input", name, "--output", "out.csv"]);
        assert!(fault.contains(named), "{name}: {fault}");
        assert!(!folder.at("out.csv").exists(), "{name}");
    }
    assert_eq!(folder.answers(&["--input", "tabs.txt", "--format", "txt"]).len(), 2);
    let table = ["--input", "tabs.txt", "--format", "tsv", "--no-header", "--text-column", "1"];
    assert_eq!(folder.answers(&table)[1]["1"], "a dull film");
}

#[test]
fn a_header_of_any_width_is_read_whole() {
    let folder = Folder::new();
    // Longer than what is looked at of other files.
    let names: String = (0..9000).map(|at| format!("column number {at},")).collect();
    let cells = "1,".repeat(9000);
    folder.write("wide.csv", format!("{names}text\n{cells}a good film\n{cells}a dull film\n"));
    folder.write(
        "utf32.csv",
        "\u{feff}text\na film\n".chars().flat_map(|ch| u32::from(ch).to_le_bytes()).collect::<Vec<u8>>(),
    );
    let answers = folder.answers(&["--input", "wide.csv", "--keep-columns", "text,column number 8999"]);
    assert_eq!(
        (&answers[1]["text"], &answers[1]["column number 8999"]),
        (&"a dull film".into(), &"1".into())
    );
    for (name, named) in [("utf32.csv", "UTF-32"), (".", "is a folder; a pattern")] {
        let fault = folder.refusal(&["predict", "--model", "model", "--input", name]);
        assert!(fault.contains(named), "{name}: {fault}");
    }
}

#[test]
fn a_long_row_makes_no_other_row_long() {
    let folder = Folder::new();
    // Twice: many bytes, and many fields.
    for long in [format!("1,\"{}\"\n", "a good film ".repeat(1 << 20)), ",".repeat(1 << 20) + "\n"] {
        let rows: String = (0..5000).map(|row| format!("{row},a dull film\n")).collect();
        folder.write("rows.csv", format!("id,text\n{long}{rows}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command
            .args(["predict", "--model", "model", "--input", "rows.csv", "--output", "out.csv", "--force"]);
        let (peak, done) = peak_of(command.current_dir(&folder.folder).stderr(Stdio::null()));
        // Each row as long as the longest would take 80 GB.
        assert!(done && (1 << 20..512 << 20).contains(&peak), "{peak} bytes");
    }
}

#[test]
fn a_quote_that_swallows_rows_is_named_with_their_lines() {
    let folder = Folder::new();
    folder
        .write("end.csv", "id,text\n1,a good film\n2,\"a dull film\n3,an awful film\n4,good\n")
        .write("next.csv", "id,text\n1,\"a good film\n2,\"a dull film\"\n3,good\n")
        .write("fields.csv", "text,label\na good film,1\n\"a dull film,0\n")
        .write("sound.csv", "id,text\n1,\"a good film,\n\"great\" in short\"\n2,\"a \"\"dull\"\"\nfilm\"\n");
    for (name, error, fine) in [
        ("end.csv", "line 3: a quote is opened and not closed, lines 3 to 5 are read as one row", 1),
        ("next.csv", "line 2: a quote is opened and not closed, lines 2 to 3 are read as one row", 1),
        ("fields.csv", "line 3: a quote is opened and not closed: 1 fields, the header has 2", 1),
    ] {
        let answers = folder.answers(&["--input", name]);
        let (sound, faults): (Vec<&Value>, Vec<&Value>) =
            answers.iter().partition(|answer| answer["error"].is_null());
        assert_eq!((sound.len(), faults.len()), (fine, 1), "{name}: {answers:?}");
        assert_eq!(faults[0]["error"], error, "{name}");
    }
    let answers = folder.answers(&["--input", "sound.csv"]);
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer["error"].is_null()), "{answers:?}");
}

#[test]
fn answers_are_written_as_the_name_says_and_read_again() {
    let folder = Folder::new();
    let rows: String = (0..500)
        .map(|n| format!("{{\"id\":{n},\"stars\":{}.5,\"text\":\"A good film, {n}\"}}\n", n % 5))
        .collect();
    folder.write("in.jsonl", &rows);
    let names = ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz", "out.jsonl.zst"];
    let mut all: Vec<Vec<Value>> = Vec::new();
    for name in names {
        let done = folder.predict(&["--input", "in.jsonl", "--output", name]);
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        // Written by one command, read by the next: the answer's columns are columns of the input now.
        all.push(folder.answers(&["--input", name, "--columns", "label"]));
    }
    for (answers, name) in all.iter().zip(names) {
        assert_eq!(answers.len(), 500, "{name}");
        for (n, answer) in answers.iter().enumerate() {
            assert_eq!(answer["text"], format!("A good film, {n}"), "{name}");
            assert_eq!(
                answer["id"].as_i64().or_else(|| answer["id"].as_str()?.parse().ok()),
                Some(n as i64),
                "{name}"
            );
            assert_eq!(answer["input.label"], answer["label"], "{name}");
        }
    }
    let fault =
        folder.refusal(&["predict", "--model", "model", "--input", "in.jsonl", "--output", "out.xlsx"]);
    assert!(fault.contains(".parquet"), "{fault}");
}

#[test]
fn evaluate_reads_labels_of_many_kinds_and_names_what_it_leaves_out() {
    let folder = Folder::new();
    folder
        .write("stars.csv", "stars,review\n5,A good film\n4,Good\n3,Fine film\n2,Dull film\n1,Awful film\n")
        .write("torchtext.csv", "label,text\n2,A good film\n1,Awful film\n")
        .write(
            "empty.csv",
            "text,label\nA good film,positive\n,positive\n,\n...,negative\nDull film,negative\n",
        )
        .write("one.csv", "text,label\nA good film,1\n")
        .write("words.csv", "text,label\nA good film,joy\nDull film,anger\n")
        .write("fasttext.txt", "__label__2 A good film\n__label__1 Awful film\n")
        .write("none.csv", "text\nA good film\n");
    for class in ["pos", "neg", "neu"] {
        fs::create_dir_all(folder.at("folders").join(class)).unwrap();
        fs::write(folder.at("folders").join(class).join("1.txt"), "A good film").unwrap();
    }
    let evaluate = |name: &str, more: &[&str]| {
        let done = folder.run(&[&["evaluate", "--model", "model", "--json", "--data", name], more].concat());
        assert!(done.status.success(), "{name}: {}", text(&done.stderr));
        let figures: Value = serde_json::from_slice(&done.stdout).unwrap();
        let count = |name: &str| figures[name].as_u64().unwrap();
        let positives = count("true_positives") + count("false_negatives");
        (count("reviews"), positives, text(&done.stderr))
    };
    let (reviews, positives, notes) = evaluate("stars.csv", &[]);
    assert_eq!((reviews, positives), (4, 2));
    assert!(notes.contains("1 row left out, neither positive nor negative (line 4): `3`"), "{notes}");
    assert_eq!(evaluate("torchtext.csv", &[]).0, 2);
    assert_eq!(evaluate("torchtext.csv", &[]).1, 1);
    assert_eq!(evaluate("fasttext.txt", &[]).1, 1);
    let (reviews, _, notes) = evaluate("empty.csv", &[]);
    assert_eq!(reviews, 2);
    assert!(notes.contains("left out, without a word (lines 3, 5)"), "{notes}");
    let (reviews, positives, notes) = evaluate("folders", &[]);
    assert_eq!((reviews, positives), (2, 1));
    assert!(notes.contains("`neu`"), "{notes}");
    for (name, named) in [("one.csv", "`1`"), ("words.csv", "`anger`, `joy`"), ("none.csv", "--label-column")]
    {
        let fault = folder.refusal(&["evaluate", "--model", "model", "--data", name]);
        assert!(fault.contains(named), "{name}: {fault}");
    }
    // Which of several files, and which text of a folder.
    folder
        .write("a.csv", "text,label\nA good film,1\n...,1\n")
        .write("b.csv", "text,label\nDull film,0\nx,0,y\n,0\n");
    let (_, _, notes) = evaluate("[ab].csv", &[]);
    assert!(
        notes.contains("1 row left out, not readable (b.csv: line 3): 3 fields, the header has 2"),
        "{notes}"
    );
    assert!(notes.contains("2 rows left out, without a word (a.csv: line 3; b.csv: line 4)"), "{notes}");
    fs::write(folder.at("folders/pos/2.txt"), b"caf\xe9").unwrap();
    fs::write(folder.at("folders/neg/3.txt"), "...").unwrap();
    let (reviews, _, notes) = evaluate("folders", &[]);
    assert!(reviews == 2 && notes.contains("1 row left out, not readable (pos/2.txt): not UTF-8"), "{notes}");
    assert!(notes.contains("1 row left out, without a word (neg/3.txt)"), "{notes}");
    for data in ["stars.csv", "folders"] {
        let fault = folder.refusal(&["evaluate", "--model", "model", "--on", "test", "--data", data]);
        assert!(fault.contains("`on`") && fault.contains("all rows are measured"), "{fault}");
    }
    assert_eq!(evaluate("one.csv", &["--positive", "1", "--negative", "0"]).1, 1);
    assert_eq!(evaluate("words.csv", &["--positive", "joy", "--negative", "anger"]).1, 1);
}

/// Peak memory of a child in bytes, as the system counts it, and whether it ended well.
fn peak_of(command: &mut Command) -> (u64, bool) {
    let mut child = command.spawn().unwrap();
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        // Until it bears its own name, its memory may still be that of this process.
        let kib = text
            .lines()
            .filter(|_| text.starts_with("Name:\ttrainer\n"))
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) << 10);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    (peak, child.wait().unwrap().success())
}

#[test]
fn many_rows_take_no_more_memory_than_few() {
    let folder = Folder::new();
    let table = |rows: usize, path: &Path| {
        let mut file = std::io::BufWriter::new(File::create(path).unwrap());
        file.write_all(b"id,text\n").unwrap();
        let text = "a good film with an awful plot and dull acting, ".repeat(20);
        (0..rows).for_each(|row| writeln!(file, "{row},\"{text}\"").unwrap());
    };
    let peak = |rows: usize| {
        table(rows, &folder.at("rows.csv"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        let arguments = ["predict", "--model", "model", "--input", "rows.csv", "--output", "rows.parquet"];
        let command = command.current_dir(folder.folder.path()).args(arguments);
        let (peak, done) = peak_of(command.stderr(Stdio::null()));
        assert!(done);
        peak
    };
    // Twenty times the rows are 360 MB of text. What a busy machine leaves waiting between the threads is some 120 MB at most.
    let (few, many) = (peak(20_000), peak(400_000));
    assert!(many < few + (200 << 20), "{few} {many}");
}
