//! CSV and its dialects, row by row.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use csv::{ByteRecord, StringRecord};

use super::args::ReadArgs;
use super::bytes::{Opened, ROW_LIMIT_BYTES, unpacking};
use super::columns::{Columns, Shape};
use super::dialect::{Dialect, detect};
use super::quotes;
use super::row::{Fields, File, Row, Rows};
use crate::error::{Error, Result};

/// More delimiters than any row has, texts included: the places of fields would take eight bytes each.
const MOST_DELIMITERS: usize = 4 << 20;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 17;

/// Opens a table; `delimiter` is what the name tells.
pub fn open(mut opened: Opened, args: &ReadArgs, delimiter: Option<u8>) -> Result<File, String> {
    let mut sample = opened.sample_text();
    // What some spreadsheets write in front.
    let mut separator = None;
    if let Some(line) =
        sample.lines().next().filter(|line| line.starts_with("sep=") && line.trim_end().len() == 5)
    {
        separator = Some(line.as_bytes()[4]);
        let end = sample.find('\n').map_or(sample.len(), |at| at + 1);
        io::copy(&mut (&mut opened.source).take(end as u64), &mut io::sink()).map_err(|e| e.to_string())?;
        sample.drain(..end);
    }
    let told = args.delimiter.or(delimiter).or(separator);
    let dialect = detect(&sample, opened.whole, told, args);
    let header = dialect.rows(&sample, opened.whole).into_iter().next();
    let header = header.ok_or("holds no row")?;
    let names: Vec<String> = match args.no_header {
        true => (1..=header.len()).map(|number| number.to_string()).collect(),
        false => header.iter().map(|name| name.trim().to_string()).collect(),
    };
    let columns = Arc::new(Columns::choose(names, args, Shape::Table)?);
    let delimiter = match dialect.delimiter {
        b'\t' => "tab".to_string(),
        byte => format!("`{}`", byte as char),
    };
    let quotes = match dialect {
        Dialect { quoting: false, .. } => ", quotes taken as they stand",
        Dialect { backslash: true, .. } => ", backslashes before quotes",
        _ => "",
    };
    let taken = format!("table, delimiter {delimiter}{quotes}, {}", columns.taken());
    let header = (!args.no_header).then_some(header);
    let rows = rows(opened.source, dialect, columns.clone(), header, separator.is_some());
    Ok(File { taken, columns, open: false, rows })
}

fn rows(
    source: Box<dyn BufRead + Send>,
    dialect: Dialect,
    columns: Arc<Columns>,
    header: Option<StringRecord>,
    separator: bool,
) -> Rows {
    let place = |name: &str| columns.names.iter().position(|column| column == name);
    let text_at = place(&columns.text).expect("chosen among the names");
    let label_at = columns.label().and_then(place);
    let expected = columns.names.len();
    let since = Arc::new(Since::default());
    let guarded = Guard { source, delimiter: dialect.delimiter, since: since.clone() };
    let mut reader =
        dialect.builder().has_headers(header.is_some()).buffer_capacity(BUFFER).from_reader(guarded);
    let mut record = ByteRecord::new();
    let before = u64::from(separator);
    Box::new(std::iter::from_fn(move || {
        since.bytes.store(0, Ordering::Relaxed);
        since.delimiters.store(0, Ordering::Relaxed);
        match reader.read_byte_record(&mut record) {
            Ok(false) => return None,
            Ok(true) => {}
            Err(e) => {
                return Some(Err(match e.into_kind() {
                    csv::ErrorKind::Io(e) if e.kind() == io::ErrorKind::Other => Error::Data(e.to_string()),
                    csv::ErrorKind::Io(e) => unpacking(Path::new("the input"), e),
                    other => Error::Data(format!("the table cannot be read: {other:?}")),
                }));
            }
        }
        let line = record.position().map_or(0, csv::Position::line) + before;
        let end = reader.position().clone();
        let lines = record.position().map_or(0, |start| end.line() - start.line());
        // As it stood is looked at only of a row that may have swallowed others.
        let open = || {
            let start = record.position()?.byte();
            let raw = since.raw.lock().ok()?;
            quotes::left_open(raw.between(start, end.byte()), dialect, expected, lines > 1)
        };
        let open = if dialect.quoting && (lines > 1 || record.len() != expected) { open() } else { None };
        if let Ok(mut raw) = since.raw.lock() {
            raw.forget(end.byte());
        }
        let fault = |reason: String, fields| Row { line, text: Err(reason), label: None, fields };
        let to = line + lines.saturating_sub(1);
        let open = open.map(|open| match lines {
            0 | 1 => open.to_string(),
            _ => format!("{open}, lines {line} to {to} are read as one row"),
        });
        let Ok(mut record) = StringRecord::from_byte_record(exact(&record)) else {
            return Some(Ok(fault("not UTF-8".into(), Fields::None)));
        };
        if record.len() > expected && record.iter().skip(expected).all(|field| field.trim().is_empty()) {
            record.truncate(expected);
        }
        if record.len() != expected {
            let reason = format!("{} fields, the header has {expected}", record.len());
            let reason = open.map_or(reason.clone(), |open| format!("{open}: {reason}"));
            return Some(Ok(fault(reason, Fields::None)));
        }
        if let Some(reason) = open {
            return Some(Ok(fault(reason, Fields::None)));
        }
        if header.as_ref().is_some_and(|header| is_again(header, &record)) {
            return Some(Ok(fault(
                "the header stands here again: were files put together?".into(),
                Fields::None,
            )));
        }
        let label = label_at.and_then(|at| record.get(at)).map(str::trim).filter(|label| !label.is_empty());
        let (text, label) = (record[text_at].to_string(), label.map(String::from));
        Some(Ok(Row { line, text: Ok(text), label, fields: Fields::Record(record) }))
    }))
}

/// Whether `record` is the header of a file that was put behind another one. A single word may be a text.
fn is_again(header: &StringRecord, record: &StringRecord) -> bool {
    let bare = |field: &str| field.trim_start_matches('\u{feff}').trim().len();
    let marked = record.get(0).is_some_and(|field| field.starts_with('\u{feff}'));
    (header.len() > 1 || marked)
        && header
            .iter()
            .zip(record)
            .all(|(name, field)| bare(name) == bare(field) && field.trim().ends_with(name.trim()))
}

/// A copy of `record` that takes what it holds. A clone takes as much as the longest row before it.
fn exact(record: &ByteRecord) -> ByteRecord {
    let mut copy = ByteRecord::with_capacity(record.as_slice().len(), record.len());
    record.iter().for_each(|field| copy.push_field(field));
    copy
}

/// What was read since the last row began.
#[derive(Default)]
struct Since {
    bytes: AtomicUsize,
    delimiters: AtomicUsize,
    raw: Mutex<Raw>,
}

/// The input as it stood, from the row that is being read on.
#[derive(Default)]
struct Raw {
    bytes: Vec<u8>,
    /// How many bytes of the input come before them.
    before: u64,
}

impl Raw {
    /// The bytes of the input from `start` to `end`.
    fn between(&self, start: u64, end: u64) -> &[u8] {
        let at = |place: u64| place.saturating_sub(self.before) as usize;
        self.bytes.get(at(start)..at(end)).unwrap_or_default()
    }

    /// Lets go of what comes before `end`, many rows at a time.
    fn forget(&mut self, end: u64) {
        let over = end.saturating_sub(self.before) as usize;
        if over > BUFFER {
            self.bytes.drain(..over.min(self.bytes.len()));
            self.bytes.shrink_to(4 * BUFFER);
            self.before = end;
        }
    }
}

/// A source that fails where a row goes on for ever.
struct Guard {
    source: Box<dyn BufRead + Send>,
    delimiter: u8,
    since: Arc<Since>,
}

impl Read for Guard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        if let Ok(mut raw) = self.since.raw.lock() {
            raw.bytes.extend_from_slice(&buffer[..count]);
        }
        if self.since.bytes.fetch_add(count, Ordering::Relaxed) > ROW_LIMIT_BYTES {
            return Err(io::Error::other(format!(
                "a row is longer than {ROW_LIMIT_BYTES} bytes: is a quote left open?"
            )));
        }
        // Short rows are many to a buffer, so that this says something of long ones alone.
        let delimiters = buffer[..count].iter().filter(|byte| **byte == self.delimiter).count();
        if self.since.delimiters.fetch_add(delimiters, Ordering::Relaxed) > MOST_DELIMITERS {
            return Err(io::Error::other(format!("a row has more than {MOST_DELIMITERS} fields")));
        }
        Ok(count)
    }
}
