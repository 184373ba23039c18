//! The form of an output, by its name.

use std::path::Path;

use crate::error::{Error, Result};
use crate::train::data::reader::{Format, NO_PARQUET};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table with this delimiter.
    Table(u8),
    /// One object a line.
    JsonLines,
    /// Parquet.
    Parquet,
    /// For people, `colour` where the terminal has some.
    Terminal { colour: bool },
}

/// What an output is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Form {
    /// The form that the name of an output tells; JSON lines for standard output, pipes and names without an ending.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an ending that tells another form than can be written.
    pub fn of(path: Option<&Path>) -> Result<(Self, Packing)> {
        let Some(path) = path else { return Ok((Self::JsonLines, Packing::None)) };
        let ending =
            path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let packing = match ending.as_str() {
            "gz" => Packing::Gzip,
            "zst" | "zstd" => Packing::Zstd,
            _ => Packing::None,
        };
        let form = match Format::of_path(path) {
            Some(Format::Csv) => Self::Table(b','),
            Some(Format::Tsv) => Self::Table(b'\t'),
            Some(Format::Jsonl | Format::Json) => Self::JsonLines,
            Some(Format::Parquet) if cfg!(not(feature = "parquet")) => {
                return Err(Error::invalid(path, NO_PARQUET));
            }
            Some(Format::Parquet) if packing == Packing::None => Self::Parquet,
            None if ending.is_empty() => Self::JsonLines,
            _ => {
                let reason =
                    "its name does not tell a form that can be written: .csv, .tsv, .jsonl or .parquet";
                return Err(Error::invalid(path, reason));
            }
        };
        Ok((form, packing))
    }
}
