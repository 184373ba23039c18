//! Plain text: one text a line.

use super::args::ReadArgs;
use super::bytes::{Opened, lines, unpacking};
use super::columns::Columns;
use super::row::{Fields, File, Row};
use crate::error::Error;
use std::path::Path;
use std::sync::Arc;

/// What fastText writes in front of a label.
const FASTTEXT: &str = "__label__";

/// Opens a file of one text a line.
pub fn open(opened: Opened, args: &ReadArgs) -> Result<File, String> {
    let sample = opened.sample_text();
    let first = sample.lines().next().unwrap_or_default();
    if args.format.is_none() && first.trim_start().starts_with(['{', '[']) && looks_like_json(first) {
        return Err("is called plain text and holds JSON; --format jsonl or --format txt decides".into());
    }
    let fasttext = first.starts_with(FASTTEXT);
    let columns = match fasttext {
        true => Columns { label: Ok(Some(FASTTEXT.into())), ..Columns::default() },
        false => Columns::default(),
    };
    let rows = lines(opened.source).map(move |line| {
        let (line, text) = line.map_err(|e| match e.kind() {
            std::io::ErrorKind::Other => Error::Data(e.to_string()),
            _ => unpacking(Path::new("the input"), e),
        })?;
        let label = text.as_ref().ok().filter(|_| fasttext).and_then(|text| {
            Some(text.strip_prefix(FASTTEXT)?.split(char::is_whitespace).next()?.to_string())
        });
        let text = match &label {
            Some(label) => text.map(|text| text[FASTTEXT.len() + label.len()..].trim_start().to_string()),
            None => text,
        };
        Ok(Row { line, text, label, fields: Fields::None })
    });
    let taken = if fasttext { "one text a line, labels as fastText writes them" } else { "one text a line" };
    Ok(File { taken: taken.into(), columns: Arc::new(columns), open: false, rows: Box::new(rows) })
}

fn looks_like_json(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok() || line.trim() == "["
}
