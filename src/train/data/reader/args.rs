//! How review files are read: what is told of them.

use std::path::Path;

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
