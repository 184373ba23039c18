//! Writes good inputs into `corpus/` for the fuzzer to start from: without them it would have to guess JSON.

use std::fs;

use imdb_sentiment_fuzz::properties::{FILES, GOOD_FILES};
use imdb_sentiment_fuzz::{WITH_HEADER, split};

const BODIES: [&str; 8] = [
    "\0{\"text\": \"A gripping film.\", \"model\": \"m\", \"truncate\": \"windows\", \"abstain\": 0.75}",
    "\0{\"texts\": [\"Loved it.\", \"Dull \\u00e9\\ud83c\\udfac.\"], \"truncate\": \"error\"}",
    "\u{1}{\"id\": \"1\", \"inputs\": [{\"name\": \"text\", \"shape\": [2, 1], \"datatype\": \"BYTES\", \"data\": \
     [[\"a film\"], [\"b\"]]}], \"parameters\": {\"truncate\": \"head\", \"abstain\": 0.6}}",
    "\u{1}{\"inputs\": [{\"name\": \"text\", \"shape\": [1], \"datatype\": \"BYTES\", \"data\": [\"a film\"]}], \
     \"outputs\": [{\"name\": \"label\", \"parameters\": {\"binary_data\": true}}]}",
    "\u{2}{\"inputs\": \"good film\", \"parameters\": {\"top_k\": 1, \"function_to_apply\": \"sigmoid\"}}",
    "\u{2}{\"inputs\": [\"good\", \"bad\"], \"truncate\": false}",
    "\u{3}{\"inputs\": [\"good\"]}",
    "\u{3}{}",
];

const TEXTS: [&str; 4] = [
    "A gripping, beautifully-shot film!!! It's 'good'<br /><BR/> (8/10)",
    "ΟΔΟΣ ΣΟΦΟΣ Σ, İstanbul & Straße ÉTÉ",
    "didn’t “Été” a\u{a0}b\r\u{85}c\0x' 映画 🎬",
    "<b>no</br x... ?!",
];

fn main() -> std::io::Result<()> {
    let write = |target: &str, name: String, bytes: &[u8]| {
        let folder = format!("corpus/{target}");
        fs::create_dir_all(&folder)?;
        fs::write(format!("{folder}/{name}"), bytes)
    };
    for (at, body) in BODIES.iter().enumerate() {
        write("request_body", format!("seed-{at}"), body.as_bytes())?;
    }
    // The same texts as binary data behind the JSON.
    let json = r#"{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 8}}]}"#;
    let bytes = [&[0x81, json.len() as u8, 0], json.as_bytes(), b"\x04\0\0\0film"].concat();
    write("request_body", "seed-binary".into(), &bytes)?;
    for (at, text) in TEXTS.iter().enumerate() {
        write("tokenizer", format!("seed-{at}"), text.as_bytes())?;
    }
    for (choice, file) in FILES.iter().enumerate() {
        write("model_directory", file.to_string(), &[&[choice as u8], &GOOD_FILES[file][..]].concat())?;
    }
    for (at, file) in WITH_HEADER.iter().enumerate() {
        let choice = (FILES.len() + at) as u8;
        write(
            "model_directory",
            format!("{file}-header"),
            &[&[choice], split(&GOOD_FILES[file]).0].concat(),
        )?;
    }
    Ok(())
}
