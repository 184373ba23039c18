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
    if args.format.is_none()
        && let Some(tabs) = tabs_of_each(&sample)
    {
        return Err(format!(
            "is called plain text, and each of its lines holds {tabs} tabs, as a table does; --format tsv (with --no-header where \
             the first row is none) or --format txt decides"
        ));
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

/// How many tabs each line of `sample`, of which the last may be cut off, holds; `None` where that differs, or is none.
fn tabs_of_each(sample: &str) -> Option<usize> {
    let tabs = |line: &str| line.matches('\t').count();
    let lines: Vec<&str> = sample.lines().filter(|line| !line.trim().is_empty()).collect();
    let count = tabs(lines.first()?);
    let whole = if sample.ends_with('\n') { &lines[..] } else { &lines[..lines.len().max(2) - 1] };
    (count > 0 && whole.len() > 1 && whole.iter().all(|line| tabs(line) == count)).then_some(count)
}

fn looks_like_json(line: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(line).is_ok() || line.trim() == "["
}
