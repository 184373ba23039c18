//! One reader for every command: reviews in CSV and its dialects, JSON, plain text or Parquet, packed or not, from files,
//! a pattern of files or standard input, row by row in constant memory.
//!
//! What the names and the first bytes do not tell is refused with the flag that decides; a row that cannot be read is
//! given in its place, with the reason.

mod args;
mod bytes;
mod columns;
mod delimited;
mod dialect;
mod json;
mod outline;
#[cfg(feature = "parquet")]
mod parquet;
mod plain;
mod quotes;
mod row;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indicatif::ProgressBar;

pub use self::args::{Format, ReadArgs};
use self::columns::MOST_COLUMNS;
pub use self::columns::{Columns, list, short};
pub use self::json::at_column;
pub use self::outline::Outline;
use self::row::File;
pub use self::row::{Fields, Row};
use crate::error::{Error, Result};
use crate::train::data::output::FileId;

/// The rows of one or more files, in order.
pub struct Reader {
    /// The files still to be opened, in reverse.
    rest: Vec<PathBuf>,
    /// Whether there is more than one file.
    several: bool,
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
        let several = !rest.is_empty();
        let file = open(&name, *input == Input::Standard, args, &bar)?;
        Ok(Self { rest, several, args: args.clone(), bar, name, file })
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
    pub fn columns(&self) -> &Arc<Columns> {
        &self.file.columns
    }

    /// The file that is being read, where there are several.
    pub fn file(&self) -> Option<Arc<str>> {
        self.several.then(|| crate::error::printable(&self.name.to_string_lossy()).into())
    }

    /// The columns of all files, told by their heads and, of JSON, by the members of the first rows. Called before the
    /// first row is taken; files behind the first are opened for it and let go.
    ///
    /// # Errors
    /// As [`Reader::open`]; [`Error::Data`] for more columns than any table has.
    pub fn outline(&mut self) -> Result<Outline> {
        let mut outline = Outline::default();
        outline.add(&mut self.file);
        for path in self.rest.iter().rev() {
            outline.add(&mut open(path, false, &self.args, &ProgressBar::hidden())?);
        }
        match outline.names.len() > MOST_COLUMNS {
            true => Err(Error::Data(format!("the files have more than {MOST_COLUMNS} columns together"))),
            false => Ok(outline),
        }
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
