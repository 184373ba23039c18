//! CSV and its dialects: the delimiter, the quotes and the header are told by the first rows.

use std::io::{self, BufRead, Read};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use csv::{ByteRecord, ReaderBuilder, StringRecord};

use super::args::ReadArgs;
use super::bytes::{Opened, ROW_LIMIT_BYTES, unpacking};
use super::columns::{Columns, Shape, is_text};
use super::quotes;
use super::row::{Fields, File, Row, Rows};
use crate::error::{Error, Result};

/// More delimiters than any row has, texts included: the places of fields would take eight bytes each.
const MOST_DELIMITERS: usize = 4 << 20;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 17;

/// How a table separates and quotes its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Whether `"` quotes at all.
    pub(super) quoting: bool,
    /// Whether a backslash stands in front of a quote within quotes, in place of a second quote.
    pub(super) backslash: bool,
}

impl Dialect {
    fn builder(self) -> ReaderBuilder {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).quoting(self.quoting).flexible(true).has_headers(false);
        builder.escape(self.backslash.then_some(b'\\'));
        builder
    }

    /// The rows of `text`, which may end within one, quotes that never end included.
    fn rows(self, text: &str, whole: bool) -> Vec<StringRecord> {
        let reader = self.builder().from_reader(text.as_bytes());
        let mut rows: Vec<StringRecord> = reader.into_records().flatten().take(200).collect();
        if !whole && rows.len() > 1 && rows.len() < 200 {
            rows.pop();
        }
        rows
    }
}

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

/// The dialect of a table that begins with `sample`.
fn detect(sample: &str, whole: bool, told: Option<u8>, args: &ReadArgs) -> Dialect {
    // A doubled quote within a field beats a backslash that stands in front of one by chance.
    let backslash = sample.contains("\\\"") && !doubled_quote(sample);
    let dialect = |delimiter| Dialect { delimiter, quoting: true, backslash };
    let quoted = match told {
        Some(delimiter) => dialect(delimiter),
        None => {
            let rate = |delimiter: u8| {
                let rows = dialect(delimiter).rows(sample, whole);
                let Some(header) = rows.first() else { return (false, 0, 0) };
                let wanted = |name: &str| match &args.text_column {
                    Some(wanted) => name.trim().eq_ignore_ascii_case(wanted.trim()),
                    None => is_text(name),
                };
                let even = rows.iter().filter(|row| row.len() == header.len()).count();
                (header.iter().any(wanted), 1000 * even / rows.len(), header.len())
            };
            // Of equals the first: a comma where nothing tells.
            let candidates = [b'|', b'\t', b';', b','];
            dialect(candidates.into_iter().max_by_key(|&delimiter| rate(delimiter)).unwrap_or(b','))
        }
    };
    // Tables of tabs often quote nothing, and a text that begins with a quote would swallow the lines behind it.
    if quoted.delimiter == b'\t' && sample.contains('"') {
        let plain = Dialect { quoting: false, backslash: false, ..quoted };
        let rows = plain.rows(sample, whole);
        let fields = rows.first().map_or(0, StringRecord::len);
        let open = |field: &str| field.starts_with('"') != (field.ends_with('"') && field.len() > 1);
        if fields > 1
            && rows.iter().all(|row| row.len() == fields)
            && rows.iter().any(|row| row.iter().any(open))
        {
            return plain;
        }
    }
    quoted
}

/// Whether a doubled quote stands within a field: not as an empty one between delimiters.
fn doubled_quote(sample: &str) -> bool {
    let bytes = sample.as_bytes();
    let edge = |at: Option<&u8>| at.is_none_or(|byte| [b',', b';', b'\t', b'|', b'\n', b'\r'].contains(byte));
    let pairs = sample.match_indices("\"\"");
    pairs.into_iter().any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !edge(before) || !edge(bytes.get(at + 2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(sample: &str) -> Dialect {
        detect(sample, true, None, &ReadArgs::default())
    }

    #[test]
    fn the_header_and_the_rows_tell_the_delimiter() {
        for (sample, delimiter) in [
            ("text,label\n\"a; b; c\",1\n", b','),
            ("text;label\n\"Great film; loved it, really\";positive\n", b';'),
            ("id\tsentiment\treview\n\"1\"\t1\t\"A, b\"\n", b'\t'),
            ("label|text\n1|a, b; c\n", b'|'),
            ("text\nplain, with commas\nand without\n", b';'),
            ("text\nplain\n", b','),
        ] {
            let found = dialect(sample).delimiter;
            assert!(found == delimiter || sample.starts_with("text\n"), "{sample}: {}", found as char);
            let rows = dialect(sample).rows(sample, true);
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{sample}");
        }
    }

    #[test]
    fn quotes_are_doubled_escaped_or_plain() {
        assert!(!dialect("text,label\n\"say \"\"hi\"\" \\\"\",1\n").backslash);
        assert!(dialect("review\tsentiment\n\"say \\\"hi\\\" there\"\t1\n").backslash);
        assert!(!dialect("text\tlabel\n\"Bond, said he\t1\nfine\t0\n").quoting);
        assert!(dialect("text\tlabel\n\"two\nlines\"\t1\nfine\t0\n").quoting);
    }
}
