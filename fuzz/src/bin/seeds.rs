//! Writes good inputs into `corpus/` for the fuzzer to start from: without them it would have to guess JSON.

use std::fs;

use imdb_sentiment_fuzz::properties::{ENDINGS, FILES, GOOD_FILES, Packing};
use imdb_sentiment_fuzz::{WITH_HEADER, split};
// What the flags of `fuzz/run` have every program call.
use libfuzzer_sys as _;

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

const TEXTS: [&str; 7] = [
    "A gripping, beautifully-shot film!!! It's 'good'<br /><BR/> (8/10)",
    "ΟΔΟΣ ΣΟΦΟΣ Σ, İstanbul & Straße ÉTÉ",
    "didn’t “Été” a\u{a0}b\r\u{85}c\0x' 映画 🎬",
    "<b>no</br x... ?!",
    "#GoodFilm #ok $hit f***ing 4/5 stars, 9.5/10 ★★★☆☆ :-) <3 👍🏽👍 two and a half out of 4",
    "didnâ€™t won&#39;t &lt;br&gt; so\u{ad}so Cafe\u{301} ﬁlm Ｆｕｌｌ soooo b0ring awsome did n't",
    "see http://a.org/b?c=d, www.b.co.uk, me@c.org, @user, $19.99, €5, 1994, 24/7, 1,000.5 **bold** _it_ rock'n'roll",
];

/// Reviews as people hold them, by the endings of their files' names.
const REVIEWS: [(&str, &str); 9] = [
    ("csv", "text,label\nA gripping film.,1\n\"Dull, and \"\"long\"\".\nTwice.\",0\n"),
    ("csv", "\u{feff}id;review;sentiment\r\n1;Good;positive\r\n2;Bad \u{1f3ac};negative\r\n"),
    ("csv", "Not a header,5\nDull,1\n"),
    ("tsv", "id\ttext\tstars\n7\tNot bad at all\t4\n8\tAwful\t1\n"),
    ("jsonl", "{\"text\": \"Loved it.\", \"label\": 1}\n{\"text\": \"\\u00e9\", \"n\": [1, {\"a\": null}]}\n\"plain\"\n"),
    ("json", "[{\"text\": \"Loved it.\"}, {\"review\": \"Dull.\", \"label\": \"neg\"}, \"plain\"]"),
    ("json", "{\"text\": \"One a line.\"}\n{\"text\": \"Another.\"}\n"),
    ("txt", "__label__1 A gripping film.\n__label__0 Dull.\nNo label at all\n"),
    ("data", "\u{1f}\u{8b}"),
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
    for (at, (ending, text)) in REVIEWS.iter().enumerate() {
        let ending = ENDINGS.iter().position(|known| known == ending).expect("a known ending");
        for packing in 0..Packing::ALL.len() {
            let bytes = [&[(packing * ENDINGS.len() + ending) as u8, 0], text.as_bytes()].concat();
            write("review_file", format!("seed-{at}-{packing}"), &bytes)?;
        }
        // As UTF-16, which its mark tells.
        let wide: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        write("review_file", format!("seed-{at}-utf-16"), &[&[ending as u8, 0], &wide[..]].concat())?;
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
