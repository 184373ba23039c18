//! Reviews in a file: JSON lines, CSV or one text a line, read one by one.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};

/// How a file holds its reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line with a string `text` (and `label`), or one JSON string a line.
    Jsonl,
    /// Comma-separated with a header row that has a column `text` (and `label`).
    Csv,
    /// One text a line.
    Txt,
}

impl Format {
    /// The format that a file's name tells, or `None`.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Txt),
            _ => None,
        }
    }
}

/// One review of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The text.
    pub text: String,
    /// 1 for positive, 0 for negative; `None` where the file has no label.
    pub target: Option<f32>,
}

/// The reviews of one input, in order.
pub struct Table {
    source: Box<dyn Iterator<Item = Result<Row>>>,
}

impl Table {
    /// Opens `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened; [`Error::Invalid`] for a CSV without a column `text`.
    pub fn open(path: &Path, format: Format) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        Self::new(BufReader::new(file), format, path)
    }

    /// Reads from `input`, which errors call `name`.
    ///
    /// # Errors
    /// As [`Table::open`].
    pub fn new(input: impl BufRead + 'static, format: Format, name: &Path) -> Result<Self> {
        let name = name.to_path_buf();
        Ok(Self {
            source: match format {
                Format::Csv => csv_rows(input, name)?,
                Format::Txt => Box::new(lines(input, name).map(|line| {
                    let (text, _, _) = line?;
                    Ok(Row { text, target: None })
                })),
                Format::Jsonl => Box::new(lines(input, name).filter_map(|line| {
                    match line {
                        Ok((text, _, _)) if text.trim().is_empty() => None,
                        Ok((text, number, name)) => Some(
                            json_row(&text)
                                .map_err(|reason| Error::invalid(name, format!("line {number}: {reason}"))),
                        ),
                        Err(e) => Some(Err(e)),
                    }
                })),
            },
        })
    }
}

impl Iterator for Table {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.source.next()
    }
}

/// The lines of `input` without their ends, with their numbers (from 1) and the input's name.
fn lines(mut input: impl BufRead, name: PathBuf) -> impl Iterator<Item = Result<(String, usize, PathBuf)>> {
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut bytes = Vec::new();
        number += 1;
        match input.read_until(b'\n', &mut bytes) {
            Ok(0) => None,
            Ok(_) => {
                if bytes.last() == Some(&b'\n') {
                    bytes.pop();
                }
                if bytes.last() == Some(&b'\r') {
                    bytes.pop();
                }
                Some(match String::from_utf8(bytes) {
                    // What some editors put in front of a file is no part of its first word.
                    Ok(text) if number == 1 => {
                        Ok((text.trim_start_matches('\u{feff}').into(), number, name.clone()))
                    }
                    Ok(text) => Ok((text, number, name.clone())),
                    Err(_) => Err(Error::invalid(&name, format!("line {number}: not UTF-8"))),
                })
            }
            Err(e) => Some(Err(Error::io(&name)(e))),
        }
    })
}

fn json_row(line: &str) -> Result<Row, String> {
    match serde_json::from_str(line).map_err(|e| format!("not JSON: {e}"))? {
        Value::String(text) => Ok(Row { text, target: None }),
        Value::Object(mut object) => {
            let Some(Value::String(text)) = object.remove("text") else {
                return Err("no string `text`".into());
            };
            let target = match object.get("label") {
                None | Some(Value::Null) => None,
                Some(Value::String(label)) => Some(target(label)?),
                Some(label) => Some(target(&label.to_string())?),
            };
            Ok(Row { text, target })
        }
        _ => Err("neither an object with `text` nor a string".into()),
    }
}

fn csv_rows(input: impl io::Read + 'static, name: PathBuf) -> Result<Box<dyn Iterator<Item = Result<Row>>>> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).from_reader(input);
    let headers = reader.headers().map_err(|e| Error::invalid(&name, e.to_string()))?;
    let column = |wanted: &str| {
        headers
            .iter()
            .position(|header| header.trim_start_matches('\u{feff}').trim().eq_ignore_ascii_case(wanted))
    };
    let Some(text_column) = column("text") else {
        return Err(Error::invalid(&name, "the header row has no column `text`"));
    };
    let label_column = column("label");
    Ok(Box::new(reader.into_records().map(move |record| {
        let record = record.map_err(|e| Error::invalid(&name, e.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        let label = label_column.and_then(|at| record.get(at)).filter(|label| !label.trim().is_empty());
        let target = label
            .map(target)
            .transpose()
            .map_err(|reason| Error::invalid(&name, format!("line {line}: {reason}")))?;
        Ok(Row { text: record.get(text_column).unwrap_or_default().to_string(), target })
    })))
}

/// What a label says: 1 for positive, 0 for negative.
fn target(label: &str) -> Result<f32, String> {
    match label.trim().to_ascii_lowercase().as_str() {
        "positive" | "pos" | "1" | "1.0" | "true" => Ok(1.0),
        "negative" | "neg" | "0" | "0.0" | "false" => Ok(0.0),
        other => Err(format!("label `{other}`: expected positive or negative (or 1 or 0)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &'static str, format: Format) -> Result<Vec<Row>> {
        Table::new(text.as_bytes(), format, Path::new("here"))?.collect()
    }

    fn row(text: &str, target: Option<f32>) -> Row {
        Row { text: text.into(), target }
    }

    #[test]
    fn the_three_formats() {
        let jsonl = "{\"text\":\"good\",\"label\":\"positive\"}\n\n\"plain\"\n{\"text\":\"bad\",\"label\":0}";
        let expected = vec![row("good", Some(1.0)), row("plain", None), row("bad", Some(0.0))];
        assert_eq!(rows(jsonl, Format::Jsonl).unwrap(), expected);
        let csv = "\u{feff}label,text\npos,\"one, two\nthree\"\n,none\n";
        assert_eq!(rows(csv, Format::Csv).unwrap(), [row("one, two\nthree", Some(1.0)), row("none", None)]);
        assert_eq!(
            rows("\u{feff}a b\r\n\nc", Format::Txt).unwrap(),
            [row("a b", None), row("", None), row("c", None)]
        );
    }

    #[test]
    fn faults_name_their_line() {
        let fault = |text, format| rows(text, format).unwrap_err().to_string();
        assert!(fault("\"a\"\n{\"txt\":1}", Format::Jsonl).contains("line 2: no string `text`"));
        assert!(fault("{\"text\":\"a\",\"label\":\"meh\"}", Format::Jsonl).contains("`meh`"));
        assert!(fault("review\nx\n", Format::Csv).contains("no column `text`"));
        assert!(fault("text,label\na,b,c\n", Format::Csv).starts_with("here:"));
    }

    #[test]
    fn names_tell_formats() {
        assert_eq!(Format::of_path(Path::new("a/b.JSONL")), Some(Format::Jsonl));
        assert_eq!(Format::of_path(Path::new("aclImdb.tar.gz")), None);
    }
}
