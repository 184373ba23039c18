//! One reader for every command: reviews in CSV and its dialects, JSON, plain text or Parquet, packed or not, from files,
//! a pattern of files or standard input, row by row in constant memory.
//!
//! What the names and the first bytes do not tell is refused with the flag that decides; a row that cannot be read is
//! given in its place, with the reason.

mod bytes;
mod columns;
mod delimited;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod plain;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use indicatif::ProgressBar;
use serde_json::value::RawValue;

pub use self::columns::{Columns, short};
use crate::error::{Error, Result};
use crate::train::data::output::FileId;

/// How a file holds its reviews.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated, or another delimiter that the header row tells.
    Csv,
    /// Tab-separated.
    Tsv,
    /// One JSON object (or string) a line.
    Jsonl,
    /// JSON lines or one JSON array.
    Json,
    /// One text a line, `__label__X` in front of it where fastText wrote it.
    Txt,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format that a file's name tells, what it is packed with left out; `None` where it tells nothing.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = |path: &Path| Some(path.extension()?.to_str()?.to_ascii_lowercase());
        let mut name = extension(path)?;
        if ["gz", "zst", "zstd"].contains(&name.as_str()) {
            name = extension(Path::new(path.file_stem()?))?;
        }
        Some(match name.as_str() {
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "jsonl" | "ndjson" => Self::Jsonl,
            "json" => Self::Json,
            "txt" | "text" => Self::Txt,
            "parquet" | "pq" => Self::Parquet,
            _ => return None,
        })
    }
}

/// How tables are read, where their names and headers do not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Reading")]
pub struct ReadArgs {
    /// How the reviews are held; needed for standard input, and where a file's name does not tell.
    #[arg(long)]
    pub format: Option<Format>,
    /// The encoding of the text, such as windows-1252 or utf-16le; UTF-8, or what the mark at the start says, otherwise.
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// What separates the fields of a CSV: one character, or `tab`.
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub delimiter: Option<u8>,
    /// The first row of a CSV is no header; columns are called 1, 2, 3 …
    #[arg(long)]
    pub no_header: bool,
    /// The column of the text, by name or by number from 1.
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Option<String>,
    /// The column of the label.
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Stop at the first row that cannot be read.
    #[arg(long)]
    pub strict: bool,
}

fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'"' => Ok(*byte),
        _ => Err("expected one character such as ; or |, or `tab`".into()),
    }
}

/// What a row holds beside its text, as it was read.
#[derive(Clone, Debug, Default)]
pub enum Fields {
    /// Nothing, or nothing that could be read.
    #[default]
    None,
    /// The fields of a CSV row, in the order of its columns.
    Record(csv::StringRecord),
    /// The members of an object.
    Object(IndexMap<String, Box<RawValue>>),
}

/// One row of an input.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its place: the line, or for arrays and Parquet the number of the element, from 1.
    pub line: u64,
    /// The text, or why there is none.
    pub text: Result<String, String>,
    /// The label as it was read; `None` where it is empty or the input has none.
    pub label: Option<String>,
    /// All that the row holds.
    pub fields: Fields,
}

/// A row's place and its text before it is understood, or why it has none.
type Raw = std::io::Result<(u64, Result<String, String>)>;

/// The rows of one file.
type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// An input that has been opened and understood.
struct File {
    /// What was taken for what.
    taken: String,
    columns: Arc<Columns>,
    rows: Rows,
}

/// The rows of one or more files, in order.
pub struct Reader {
    /// The files still to be opened, in reverse.
    rest: Vec<PathBuf>,
    args: ReadArgs,
    bar: ProgressBar,
    name: PathBuf,
    file: File,
}

/// Where rows come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Standard,
    /// Files; a pattern's in the order of their names.
    Files(Vec<PathBuf>),
}

impl Input {
    /// The files that `path` names: itself, or those of a pattern with `*`, `?` or `[`; `-` for standard input.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a pattern that matches no file, or is none.
    pub fn of(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else { return Ok(Self::Standard) };
        let text = path.to_string_lossy();
        if path.exists() || !text.contains(['*', '?', '[']) {
            return Ok(Self::Files(vec![path.to_path_buf()]));
        }
        let matched = glob::glob(&text).map_err(|e| Error::invalid(path, e.to_string()))?;
        let mut files: Vec<PathBuf> = matched.flatten().filter(|path| path.is_file()).collect();
        files.sort();
        match files.is_empty() {
            true => Err(Error::invalid(path, "no file matches")),
            false => Ok(Self::Files(files)),
        }
    }

    /// What tells the files that are read from others.
    pub fn ids(&self) -> Vec<FileId> {
        match self {
            Self::Standard => FileId::of(std::io::stdin()).into_iter().collect(),
            Self::Files(files) => files.iter().filter_map(|path| FileId::at(path)).collect(),
        }
    }

    /// Bytes of the files together; 0 for standard input.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Standard => 0,
            Self::Files(files) => files.iter().filter_map(|path| Some(path.metadata().ok()?.len())).sum(),
        }
    }
}

/// The rows of the file at `path`, whatever its format, as `args` say where its name and its start do not.
///
/// # Errors
/// As [`Reader::open`].
pub fn read_file(path: &Path, args: &ReadArgs) -> Result<Reader> {
    Reader::open(&Input::Files(vec![path.to_path_buf()]), args, ProgressBar::hidden())
}

impl Reader {
    /// Opens `input`, the first of several files at once; `bar` is told the bytes that are read of files.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Invalid`] naming what was found where it is not understood, and the flag that decides.
    pub fn open(input: &Input, args: &ReadArgs, bar: ProgressBar) -> Result<Self> {
        let (name, mut rest) = match input {
            Input::Standard => (PathBuf::from("standard input"), Vec::new()),
            Input::Files(files) => {
                (files.first().cloned().unwrap_or_default(), files.get(1..).unwrap_or_default().to_vec())
            }
        };
        rest.reverse();
        let file = open(&name, *input == Input::Standard, args, &bar)?;
        Ok(Self { rest, args: args.clone(), bar, name, file })
    }

    /// What was taken for what, in one line.
    pub fn taken(&self) -> String {
        let more = match self.rest.len() {
            0 => String::new(),
            more => format!(", and {more} more files"),
        };
        format!("{}: {}{more}", self.name.display(), self.file.taken)
    }

    /// The columns of the file that is being read.
    pub fn columns(&self) -> Arc<Columns> {
        self.file.columns.clone()
    }
}

impl Iterator for Reader {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.file.rows.next() {
                Some(Ok(Row { text: Err(reason), line, .. })) if self.args.strict => {
                    return Some(Err(Error::invalid(&self.name, format!("line {line}: {reason}"))));
                }
                Some(row) => return Some(row),
                None => {}
            }
            self.name = self.rest.pop()?;
            match open(&self.name, false, &self.args, &self.bar) {
                Ok(file) => self.file = file,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// Opens one file, or standard input.
fn open(name: &Path, standard: bool, args: &ReadArgs, bar: &ProgressBar) -> Result<File> {
    let fault = |reason: String| Error::invalid(name, reason);
    let told = args.format.or_else(|| Format::of_path(name).filter(|_| !standard));
    let mut opened = bytes::open(name, standard, args.encoding.as_deref(), bar)?;
    let is_parquet = opened.sample.starts_with(b"PAR1");
    let format = match told {
        None if is_parquet && !standard => Format::Parquet,
        Some(format) if (format == Format::Parquet) == is_parquet => format,
        Some(Format::Parquet) => {
            return Err(fault(format!("is no Parquet file; it begins with {}", opened.start())));
        }
        Some(_) => {
            return Err(fault("is a Parquet file, whatever its name; --format parquet reads it".into()));
        }
        None => {
            let reason = format!(
                "its name does not tell how it holds reviews; it begins with {}; --format csv, tsv, jsonl, json, txt or \
                 parquet says so",
                opened.start()
            );
            return Err(fault(reason));
        }
    };
    if format == Format::Parquet {
        return parquet_file(name, standard || opened.packed, args).map_err(fault);
    }
    opened.check_encoding(args.encoding.is_some()).map_err(fault)?;
    let notes = std::mem::take(&mut opened.notes);
    let mut file = match format {
        Format::Csv => delimited::open(opened, args, None),
        Format::Tsv => delimited::open(opened, args, Some(b'\t')),
        Format::Jsonl | Format::Json => json::open(opened, args),
        Format::Txt => plain::open(opened, args),
        Format::Parquet => unreachable!("read above"),
    }
    .map_err(fault)?;
    notes.iter().for_each(|note| file.taken += &format!(", {note}"));
    Ok(file)
}

/// Said of Parquet by a trainer without it.
pub const NO_PARQUET: &str = "is Parquet, which this trainer was built without; `cargo build --release --features parquet` \
                              makes one that reads and writes it";

#[cfg(feature = "parquet")]
fn parquet_file(name: &Path, no_file: bool, args: &ReadArgs) -> Result<File, String> {
    match no_file {
        true => Err("is Parquet, which is read from a plain file: unpack it, or save it first".into()),
        false => parquet::open(name, args),
    }
}

#[cfg(not(feature = "parquet"))]
fn parquet_file(_: &Path, _: bool, _: &ReadArgs) -> Result<File, String> {
    Err(NO_PARQUET.into())
}
