//! A row of a review file, and a file that gives them.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::columns::Columns;
use crate::error::Result;

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

impl Row {
    /// Bytes that it holds, roughly.
    pub fn bytes(&self) -> usize {
        let fields = match &self.fields {
            Fields::None => 0,
            Fields::Record(record) => record.as_slice().len(),
            Fields::Object(object) => object.iter().map(|(name, value)| name.len() + value.get().len()).sum(),
        };
        self.text.as_ref().map_or(0, String::len) + fields
    }
}

/// A row's place and its text before it is understood, or why it has none.
pub(super) type Raw = std::io::Result<(u64, Result<String, String>)>;

/// The rows of one file.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Row>> + Send>;

/// An input that has been opened and understood.
pub(super) struct File {
    /// What was taken for what.
    pub taken: String,
    pub columns: Arc<Columns>,
    /// Whether rows may hold members that are no columns.
    pub open: bool,
    pub rows: Rows,
}
