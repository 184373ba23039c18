//! From a file to its text: packing and encoding undone, and what is no table named.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

use encoding_rs::Encoding;
use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;

use super::row::Raw;
use crate::error::{Error, Result};

/// Bytes that are looked at before a row is read, and how many more where no line has ended in them: a header is read whole.
const SAMPLE_BYTES: usize = 64 << 10;
const LINE_BYTES: usize = 4 << 20;

/// A row longer than this is an open quote or no table.
pub const ROW_LIMIT_BYTES: usize = 64 << 20;

/// An input as text.
pub struct Opened {
    /// The text, from its start.
    pub source: Box<dyn BufRead + Send>,
    /// The first bytes of it.
    pub sample: Vec<u8>,
    /// Whether that is all of it.
    pub whole: bool,
    /// Whether it was packed.
    pub packed: bool,
    /// What was undone.
    pub notes: Vec<String>,
}

/// What files of other kinds begin with, and what to do about them.
const OTHERS: [(&[u8], &str); 18] = [
    (b"\xff\xfe\0\0", "is UTF-32: save it as UTF-8"),
    (b"\0\0\xfe\xff", "is UTF-32: save it as UTF-8"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file: `git lfs pull` fetches it"),
    (b"BZh", "is packed with bzip2: unpack it first (.gz and .zst are read)"),
    (b"\xfd7zXZ", "is packed with xz: unpack it first (.gz and .zst are read)"),
    (b"\xd0\xcf\x11\xe0", "is an old spreadsheet: save it as CSV"),
    (b"%PDF", "is a PDF"),
    (b"SQLite format 3", "is a database: export the table as CSV"),
    (b"ARROW1", "is an Arrow file: save it as Parquet or CSV"),
    (b"Obj\x01", "is an Avro file: save it as Parquet or CSV"),
    (b"7z\xbc\xaf\x27\x1c", "is packed with 7-Zip: unpack it first (.gz and .zst are read)"),
    (b"Rar!\x1a\x07", "is packed with RAR: unpack it first (.gz and .zst are read)"),
    (b"\x80\x04\x95", "is a pickle of Python's: save it as Parquet or CSV"),
    (b"\x80\x05\x95", "is a pickle of Python's: save it as Parquet or CSV"),
    (b"{\\rtf", "is a document of a word processor: save it as plain text"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
    (b"GIF89a", "is a picture"),
];

/// What is said of a file that begins with `start` and is of no kind that holds reviews here.
fn other_kind(start: &[u8]) -> Option<&'static str> {
    if start.starts_with(b"PK\x03\x04") {
        let holds = |name: &[u8]| start.windows(name.len()).any(|part| part == name);
        return Some(match () {
            () if holds(b"[Content_Types].xml") => {
                "is an Excel workbook, or another file of Office: save the sheet as CSV"
            }
            () if holds(b"application/vnd.oasis.opendocument") => {
                "is an OpenDocument file: save the sheet as CSV"
            }
            () => "is a zip archive: unpack it first (.gz and .zst are read)",
        });
    }
    let text = start.trim_ascii_start();
    if [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|tag| text.get(..tag.len()).is_some_and(|first| first.eq_ignore_ascii_case(tag)))
    {
        return Some("is a web page, not a table: was it downloaded from where the table is shown?");
    }
    OTHERS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

/// Opens `name`, or standard input, and undoes what it is packed with and encoded in.
pub fn open(name: &Path, standard: bool, encoding: Option<&str>, bar: &ProgressBar) -> Result<Opened> {
    let encoding = encoding.map(|label| {
        let reason = || {
            Error::setting("encoding", format!("`{}` is unknown", label.chars().take(40).collect::<String>()))
        };
        Encoding::for_label(label.as_bytes()).ok_or_else(reason)
    });
    let encoding = encoding.transpose()?;
    let mut source: Box<dyn Read + Send> = match standard {
        true => Box::new(io::stdin()),
        false => {
            if name.is_dir() {
                return Err(Error::invalid(
                    name,
                    "is a folder; a pattern such as 'folder/*.csv' names the files in one",
                ));
            }
            Box::new(bar.wrap_read(File::open(name).map_err(Error::io(name))?))
        }
    };
    let mut notes = Vec::new();
    let start = peek(&mut source, 8, standard).map_err(Error::io(name))?;
    let packed = start.starts_with(&[0x1f, 0x8b]) || start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    if start.starts_with(&[0x1f, 0x8b]) {
        source = Box::new(MultiGzDecoder::new(BufReader::new(source)));
        notes.push("gzip".into());
    } else if packed {
        source = Box::new(zstd::Decoder::new(source).map_err(Error::io(name))?);
        notes.push("zstd".into());
    }
    let raw = peek(&mut source, SAMPLE_BYTES, standard).map_err(|e| unpacking(name, e))?;
    if let Some(what) = other_kind(&raw) {
        return Err(Error::invalid(name, what));
    }
    if raw.get(257..262) == Some(b"ustar") {
        return Err(Error::invalid(
            name,
            "is a tar archive without train/pos and train/neg: unpack it first",
        ));
    }
    if raw.is_empty() {
        return Err(Error::invalid(name, "is empty"));
    }
    if raw.starts_with(b"PAR1") {
        return Ok(Opened {
            source: Box::new(BufReader::new(source)),
            sample: raw,
            whole: false,
            packed,
            notes,
        });
    }
    match Encoding::for_bom(&raw) {
        Some((mark, _)) if mark != encoding_rs::UTF_8 => notes.push(format!("{} by its mark", mark.name())),
        _ => notes.extend(encoding.map(|encoding| encoding.name().to_string())),
    }
    let decoder = DecodeReaderBytesBuilder::new()
        .encoding(encoding)
        .utf8_passthru(true)
        .strip_bom(true)
        .bom_override(true)
        .build(source);
    let mut source: Box<dyn Read + Send> = Box::new(decoder);
    let mut sample = peek(&mut source, SAMPLE_BYTES, standard).map_err(|e| unpacking(name, e))?;
    if sample.len() == SAMPLE_BYTES && !sample.contains(&b'\n') {
        sample = peek(&mut source, LINE_BYTES, true).map_err(|e| unpacking(name, e))?;
    }
    let whole = !standard && sample.len() < SAMPLE_BYTES;
    Ok(Opened { source: Box::new(BufReader::with_capacity(1 << 17, source)), sample, whole, packed, notes })
}

/// The first bytes of `source`, at most `count`, which are still to be read from it. With `line` a line is enough: somebody
/// may be typing them.
fn peek(source: &mut Box<dyn Read + Send>, count: usize, line: bool) -> io::Result<Vec<u8>> {
    let mut start = vec![0; count];
    let mut have = 0;
    let mut searched = 0;
    while have < count && !(line && start[searched..have].contains(&b'\n')) {
        searched = have;
        match source.read(&mut start[have..]) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    start.truncate(have);
    let rest = std::mem::replace(source, Box::new(io::empty()));
    *source = Box::new(Cursor::new(start.clone()).chain(rest));
    Ok(start)
}

/// A fault of reading, in words where it is the packing's.
pub fn unpacking(name: &Path, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::UnexpectedEof => Error::invalid(name, "the packed file is cut off"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Error::invalid(name, format!("the packed file is damaged: {e}"))
        }
        _ => Error::io(name)(e),
    }
}

impl Opened {
    /// The first bytes, printable and short.
    pub fn start(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.sample).chars().take(40).collect();
        format!("`{}`", text.escape_debug())
    }

    /// The sample as text; what is not UTF-8 in it is replaced.
    pub fn sample_text(&self) -> String {
        String::from_utf8_lossy(&self.sample).into_owned()
    }

    /// Refuses a text of another encoding than UTF-8. Single rows that are not UTF-8 among others that are pass: they are
    /// answered in their place.
    pub fn check_encoding(&self, told: bool) -> Result<(), String> {
        if self.sample.contains(&0) {
            return Err("holds zero bytes: is it UTF-16 without its mark? --encoding utf-16le says so".into());
        }
        let (mut bad, mut good) = (false, false);
        for part in self.sample.utf8_chunks() {
            good |= !part.valid().is_ascii();
            // A character that the sample's end cuts is none of its faults.
            bad |= !part.invalid().is_empty()
                && (self.whole || part.invalid().len() > 3 || !self.sample.ends_with(part.invalid()));
        }
        match bad && !good && !told {
            true => Err("is not UTF-8; --encoding says what it is, often windows-1252".into()),
            false => Ok(()),
        }
    }
}

/// The lines of a text without their ends, with their numbers from 1; a line that is not UTF-8, or longer than any
/// review, is an error in its place.
pub fn lines(mut source: Box<dyn BufRead + Send>) -> impl Iterator<Item = Raw> + Send {
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match source.by_ref().take(ROW_LIMIT_BYTES as u64 + 1).read_until(b'\n', &mut line) {
            Err(e) => Some(Err(e)),
            Ok(0) => None,
            Ok(_) => {
                if line.len() > ROW_LIMIT_BYTES {
                    return Some(Err(io::Error::other(format!(
                        "line {number} is longer than {ROW_LIMIT_BYTES} bytes"
                    ))));
                }
                let end = line.strip_suffix(b"\n").unwrap_or(&line).len();
                let end = line[..end].strip_suffix(b"\r").unwrap_or(&line[..end]).len();
                line.truncate(end);
                Some(Ok((number, String::from_utf8(line).map_err(|_| "not UTF-8".to_string()))))
            }
        }
    })
}
