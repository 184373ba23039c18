//! Labelled rows: a table of one's own, or a folder with a sub-folder for each class, taken into memory.

use std::fs;
use std::path::{Path, PathBuf};

use super::labels::{LabelArgs, Labels, Seen};
use super::output::check_folder_outside;
use super::places::{Place, Places};
use super::reader::{Columns, Fields, Input, ReadArgs, Reader, short};
use crate::error::{Error, Result, printable};
use crate::train::progress;

/// How tables of labelled rows are read.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TableArgs {
    #[command(flatten)]
    pub read: ReadArgs,
    #[command(flatten)]
    pub labels: LabelArgs,
}

/// How data of one's own is read and split.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct OwnArgs {
    #[command(flatten)]
    pub table: TableArgs,
    /// A column whose equal values (one product, one author) stay on one side of the split.
    #[arg(long, value_name = "COLUMN")]
    pub group_column: Option<String>,
    /// A table to validate on, in place of a share of the rows.
    #[arg(long, value_name = "PATH", conflicts_with = "group_column")]
    pub validation_data: Option<PathBuf>,
}

/// A text with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledRow {
    /// The text.
    pub text: String,
    /// 1 for positive, 0 for negative, `None` for a row without a label.
    pub target: Option<f32>,
    /// The label as it was read, where there is one.
    pub label: Option<String>,
    /// Where it stood.
    pub place: Place,
    /// The number of the row among all of the input, from 1; a header is none.
    pub row: u64,
    /// What a column called `id` holds.
    pub id: Option<String>,
    /// What the column of `--group-column` holds.
    pub group: Option<String>,
}

/// The rows of an input that can be used, in order.
#[derive(Clone, Debug, Default)]
pub struct Labelled {
    /// Rows with a label and, where the input has them, without one.
    pub rows: Vec<LabelledRow>,
    /// What was taken for what, and what was left out, a line each.
    pub notes: Vec<String>,
}

/// Where labelled data lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSource {
    /// The public release: its folder or its archive.
    Release(PathBuf),
    /// A folder with a sub-folder for each class.
    Folders(PathBuf),
    /// A table, or a pattern of tables.
    Table(PathBuf),
}

impl DataSource {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        match self {
            Self::Release(path) | Self::Folders(path) | Self::Table(path) => path,
        }
    }

    /// Refuses a folder `output` that would be one of the classes.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn check_holds_not(&self, output: &Path) -> Result<()> {
        match self {
            Self::Folders(path) => check_folder_outside(path, output),
            _ => Ok(()),
        }
    }

    /// What `path` is, by its name and its first bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a folder that is neither kind.
    pub fn of(path: &Path, args: &ReadArgs) -> Result<Self> {
        if path.is_dir() {
            let release = |folder: &Path| folder.join("train").is_dir();
            return match release(path) || release(&path.join("aclImdb")) {
                true => Ok(Self::Release(path.into())),
                false => class_folders(path).map(|_| Self::Folders(path.into())),
            };
        }
        let name = path.to_string_lossy().to_lowercase();
        let archive = [".tar.gz", ".tgz", ".tar"].iter().any(|ending| name.ends_with(ending));
        let told = args.format.is_some() || super::reader::Format::of_path(path).is_some();
        let packed = || {
            let mut magic = [0; 2];
            let read =
                fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
            read.is_ok() && magic == [0x1f, 0x8b]
        };
        match archive || (!told && packed()) {
            true => Ok(Self::Release(path.into())),
            false => Ok(Self::Table(path.into())),
        }
    }
}

/// Reads a table or a folder of classes; `group` is the column whose equal values belong together.
///
/// # Errors
/// As [`Reader::open`] and [`Labels::of`]; [`Error::Invalid`] where there is no column of labels, or no row has one.
pub fn read(source: &DataSource, args: &TableArgs, group: Option<&str>) -> Result<Labelled> {
    let path = source.path();
    let fault = |reason: String| Error::invalid(path, reason);
    let mut collected = Collected::default();
    let column = match source {
        DataSource::Table(path) => {
            let input = Input::of(Some(path))?;
            if input == Input::Standard && args.read.format.is_none() {
                return Err(Error::setting(
                    "format",
                    "standard input has no name that tells: csv, tsv, jsonl or json",
                ));
            }
            let bar = progress::bytes(input.size_bytes(), "reading");
            let mut reader = Reader::open(&input, &args.read, bar.clone())?;
            collected.notes.push(reader.taken());
            let column = label_column(reader.columns()).map_err(fault)?;
            if let Some(group) =
                group.filter(|group| !reader.columns().names.iter().any(|name| name == group))
            {
                return Err(fault(format!("has no column `{}` (--group-column)", short(group))));
            }
            let id = reader.columns().names.iter().find(|name| name.eq_ignore_ascii_case("id")).cloned();
            let mut number = 0;
            while let Some(row) = reader.next() {
                let row = row?;
                number += 1;
                let named = |name: &str| field(&row.fields, reader.columns(), name);
                let (group, id) = (group.and_then(named), id.as_deref().and_then(named));
                let group = group.filter(|group| !group.trim().is_empty());
                let place = Place { file: reader.file(), line: row.line };
                match row.text {
                    Ok(text) => {
                        let named = Named { place, row: number, id, group };
                        collected.add(text, row.label, named).map_err(fault)?;
                    }
                    Err(reason) => collected.unreadable.note(&place, &reason),
                }
            }
            bar.finish_and_clear();
            column
        }
        _ => {
            for (class, folder) in class_folders(path)? {
                for file in text_files(&folder)? {
                    let bytes = fs::read(&file).map_err(Error::io(&file))?;
                    let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy();
                    let place = Place { file: Some(printable(&name).into()), line: 0 };
                    let Ok(text) = String::from_utf8(bytes) else {
                        collected.unreadable.note(&place, "not UTF-8");
                        continue;
                    };
                    let row = collected.rows.len() as u64 + 1;
                    let named = Named { place, row, id: None, group: None };
                    collected.add(text, Some(class.clone()), named).map_err(fault)?;
                }
            }
            "the names of the folders".to_string()
        }
    };
    collected.settle(&column, &args.labels).map_err(fault)
}

/// The column of the labels, or why there is none.
fn label_column(columns: &Columns) -> Result<String, String> {
    match &columns.label {
        Ok(Some(column)) => Ok(column.clone()),
        Ok(None) => Err("has no column with a usual name of a label (label, sentiment, stars, rating …); --label-column names one".into()),
        Err(reason) => Err(reason.clone()),
    }
}

/// The text of one field.
fn field(fields: &Fields, columns: &Columns, name: &str) -> Option<String> {
    match fields {
        Fields::Record(record) => {
            let at = columns.names.iter().position(|column| column == name)?;
            record.get(at).map(String::from)
        }
        Fields::Object(object) => {
            object.get(name).map(|value| value.get()).filter(|value| *value != "null").map(plain)
        }
        Fields::None => None,
    }
}

/// A JSON value as a table would hold it: a string without its quotes.
fn plain(value: &str) -> String {
    serde_json::from_str::<String>(value).unwrap_or_else(|_| value.to_string())
}

/// The sub-folders of `path` that hold texts, by name.
fn class_folders(path: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let folder = entry.map_err(Error::io(path))?.path();
        if folder.is_dir() && !text_files(&folder)?.is_empty() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            folders.push((name, folder));
        }
    }
    folders.sort();
    match folders.len() {
        0 | 1 => {
            let reason = "is neither the public release (train/pos, train/neg) nor a folder with a sub-folder of .txt \
                          files for each class";
            Err(Error::invalid(path, reason))
        }
        _ => Ok(folders),
    }
}

fn text_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io(folder))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "txt") && path.is_file());
    files.sort();
    Ok(files)
}

/// Rows of a kind that are left out: how many, where, and why the first.
#[derive(Debug, Default)]
pub struct LeftOut {
    places: Places,
    reason: String,
}

impl LeftOut {
    /// Takes note of a row.
    pub fn note(&mut self, place: &Place, reason: &str) {
        if self.places.count() == 0 {
            self.reason = reason.to_string();
        }
        self.places.note(place);
    }

    /// How many, where and why, in words; `None` where there is none.
    pub fn summary(&self, what: &str) -> Option<String> {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        let count = self.places.count();
        let rows = if count == 1 { "row" } else { "rows" };
        (count > 0).then(|| format!("{count} {rows} {what} ({}){reason}", self.places))
    }
}

/// Where a row stood, by what it is named, and with which others it belongs together.
struct Named {
    place: Place,
    row: u64,
    id: Option<String>,
    group: Option<String>,
}

#[derive(Default)]
struct Collected {
    rows: Vec<(String, Option<String>, Named)>,
    seen: Seen,
    unreadable: LeftOut,
    notes: Vec<String>,
}

impl Collected {
    fn add(&mut self, text: String, label: Option<String>, named: Named) -> Result<(), String> {
        if let Some(label) = &label {
            self.seen.note(label).map_err(|reason| format!("{}: {reason}", named.place))?;
        }
        self.rows.push((text, label, named));
        Ok(())
    }

    /// Gives the labels their meaning.
    fn settle(self, column: &str, args: &LabelArgs) -> Result<Labelled, String> {
        let Self { rows, seen, unreadable, mut notes } = self;
        let labels = Labels::of(&seen, column, args)?;
        let (positive, negative, _) = seen.counts(&labels);
        // More of these may be left out: rows without a word, or of which there are two.
        notes.push(format!("labels: {}; {positive} rows positive, {negative} negative", labels.rule));
        notes.extend(labels.unseen.iter().map(|label| format!("no row is labelled `{}`", short(label))));
        let (mut kept, mut neither, mut unlabelled) =
            (Vec::with_capacity(rows.len()), LeftOut::default(), LeftOut::default());
        for (text, label, Named { place, row, id, group }) in rows {
            let target = label.as_ref().and_then(|label| labels.target(label));
            match (&label, target) {
                (Some(label), None) => neither.note(&place, &format!("`{}`", short(label))),
                _ => {
                    if target.is_none() {
                        unlabelled.note(&place, "");
                    }
                    kept.push(LabelledRow { text, target, label, place, row, id, group });
                }
            }
        }
        notes.extend(neither.summary("left out, neither positive nor negative"));
        notes.extend(unreadable.summary("left out, not readable"));
        notes.extend(unlabelled.summary("without a label"));
        Ok(Labelled { rows: kept, notes })
    }
}
