//! Rows as columns of Parquet.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde_json::Value;

use super::super::layout::{ANSWER, Answered, Cell, Layout};
use super::super::text::plain;
use crate::error::{Error, Result};
use crate::train::data::output::Output;
use crate::train::data::reader::Columns;

/// Rows of a group: readers take one at a time.
const GROUP_ROWS: usize = 1 << 16;
/// Bytes of text in a group, so that long texts do not pile up.
const GROUP_BYTES: usize = 64 << 20;

/// Cells of one column.
#[derive(Debug)]
pub enum Column {
    Text(Vec<Option<String>>),
    Float(Vec<Option<f32>>),
    Double(Vec<Option<f64>>),
    Count(Vec<Option<i64>>),
    Flag(Vec<Option<bool>>),
}

/// `rows` as columns: those of the answer by their types, those of the input by what all their values are.
pub fn columns(layout: &Layout, rows: &[Answered], columns: &Columns) -> Vec<Column> {
    let kept: Vec<Vec<Cell>> =
        rows.iter().map(|answered| layout.kept(&answered.row, columns).collect()).collect();
    let mut all: Vec<Column> =
        (0..layout.kept.len()).map(|at| input_column(kept.iter().map(|row| &row[at]))).collect();
    let answers: Vec<Vec<Cell>> = rows.iter().map(|answered| layout.answer(answered).collect()).collect();
    for (at, name) in layout.answer.iter().map(|at| ANSWER[*at]).enumerate() {
        let cells = answers.iter().map(|row| &row[at]);
        all.push(match name {
            "label" | "error" | "words" | "sentences" | "trajectory" => {
                Column::Text(cells.map(text).collect())
            }
            "tokens" | "unknown_tokens" => Column::Count(
                cells
                    .map(|cell| if let Cell::Count(value) = cell { Some(*value as i64) } else { None })
                    .collect(),
            ),
            "truncated" | "mixed" => Column::Flag(
                cells.map(|cell| if let Cell::Flag(value) = cell { Some(*value) } else { None }).collect(),
            ),
            _ => Column::Float(
                cells.map(|cell| if let Cell::Float(value) = cell { Some(*value) } else { None }).collect(),
            ),
        });
    }
    all
}

fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.to_string()),
        Cell::Empty => None,
        Cell::Json(value) if value == "null" => None,
        Cell::Json(value) => Some(plain(value)),
        Cell::Float(value) => Some(value.to_string()),
        Cell::Count(value) => Some(value.to_string()),
        Cell::Flag(value) => Some(value.to_string()),
    }
}

fn input_column<'c>(cells: impl Iterator<Item = &'c Cell<'c>> + Clone) -> Column {
    let values = || {
        cells.clone().map(|cell| match cell {
            Cell::Json(value) => serde_json::from_str::<Value>(value).ok().filter(|value| !value.is_null()),
            Cell::Empty => None,
            other => text(other).map(Value::String),
        })
    };
    let every = |test: fn(&Value) -> bool| {
        values().flatten().next().is_some() && values().flatten().all(|value| test(&value))
    };
    if every(|value| value.as_i64().is_some()) {
        Column::Count(values().map(|value| value?.as_i64()).collect())
    } else if every(Value::is_number) {
        Column::Double(values().map(|value| value?.as_f64()).collect())
    } else if every(Value::is_boolean) {
        Column::Flag(values().map(|value| value?.as_bool()).collect())
    } else {
        Column::Text(cells.map(text).collect())
    }
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Double(values) => values.len(),
            Self::Count(values) => values.len(),
            Self::Flag(values) => values.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(values) => values.iter().flatten().map(String::len).sum(),
            other => 8 * other.len(),
        }
    }

    /// Whether it is one of text for want of values.
    fn is_void(&self) -> bool {
        matches!(self, Self::Text(values) if values.iter().all(Option::is_none))
    }

    fn nulls(kind: Physical, count: usize) -> Self {
        match kind {
            Physical::FLOAT => Self::Float(vec![None; count]),
            Physical::DOUBLE => Self::Double(vec![None; count]),
            Physical::INT64 => Self::Count(vec![None; count]),
            Physical::BOOLEAN => Self::Flag(vec![None; count]),
            _ => Self::Text(vec![None; count]),
        }
    }

    /// Puts `more` behind these; a column whose values changed their kind becomes one of text.
    fn append(&mut self, more: Self) {
        match (self, more) {
            (Self::Text(values), Self::Text(more)) => values.extend(more),
            (Self::Float(values), Self::Float(more)) => values.extend(more),
            (Self::Double(values), Self::Double(more)) => values.extend(more),
            (Self::Double(values), Self::Count(more)) => {
                values.extend(more.into_iter().map(|value| value.map(|v| v as f64)))
            }
            (Self::Count(values), Self::Count(more)) => values.extend(more),
            (Self::Flag(values), Self::Flag(more)) => values.extend(more),
            // What holds no value yet is of the kind of the values that come.
            (this, more) if more.is_void() => {
                let nulls = Self::nulls(this.kind(), more.len());
                this.append(nulls);
            }
            (this, more) if this.is_void() => {
                *this = Self::nulls(more.kind(), this.len());
                this.append(more);
            }
            (this, more) => {
                let mut texts = std::mem::replace(this, Self::Text(Vec::new())).into_text();
                texts.extend(more.into_text());
                *this = Self::Text(texts);
            }
        }
    }

    fn into_text(self) -> Vec<Option<String>> {
        match self {
            Self::Text(values) => values,
            Self::Float(values) => values.into_iter().map(|value| Some(value?.to_string())).collect(),
            Self::Double(values) => values.into_iter().map(|value| Some(value?.to_string())).collect(),
            Self::Count(values) => values.into_iter().map(|value| Some(value?.to_string())).collect(),
            Self::Flag(values) => values.into_iter().map(|value| Some(value?.to_string())).collect(),
        }
    }

    fn kind(&self) -> Physical {
        match self {
            Self::Text(_) => Physical::BYTE_ARRAY,
            Self::Float(_) => Physical::FLOAT,
            Self::Double(_) => Physical::DOUBLE,
            Self::Count(_) => Physical::INT64,
            Self::Flag(_) => Physical::BOOLEAN,
        }
    }

    /// These values in a column of `kind`, which the first group settled.
    fn into_kind(self, kind: Physical, name: &str) -> Result<Self> {
        let own = self.kind();
        Ok(match (self, kind) {
            (this, kind) if own == kind => this,
            (this, Physical::BYTE_ARRAY) => Self::Text(this.into_text()),
            (Self::Count(values), Physical::DOUBLE) => {
                Self::Double(values.into_iter().map(|value| value.map(|v| v as f64)).collect())
            }
            (this, kind) if this.is_void() => Self::nulls(kind, this.len()),
            _ => {
                let reason = "holds values of another kind than its first rows; write .jsonl or .csv";
                return Err(Error::Data(format!("column `{}` {reason}", crate::error::printable(name))));
            }
        })
    }
}

/// Row groups on their way into a file.
pub struct Groups<'o> {
    /// The output until the first group settles the columns' types.
    output: Option<Output<'o>>,
    writer: Option<(SerializedFileWriter<Output<'o>>, Vec<Physical>)>,
    pending: Vec<Column>,
}

impl<'o> Groups<'o> {
    /// Groups for `output`.
    pub fn new(output: Output<'o>) -> Self {
        Self { output: Some(output), writer: None, pending: Vec::new() }
    }

    /// Takes rows of columns called `names`.
    pub fn add(&mut self, names: &[&str], columns: Vec<Column>) -> Result<()> {
        if self.pending.is_empty() {
            self.pending = columns;
        } else {
            self.pending.iter_mut().zip(columns).for_each(|(column, more)| column.append(more));
        }
        let rows = self.pending.first().map_or(0, Column::len);
        let bytes: usize = self.pending.iter().map(Column::bytes).sum();
        if rows >= GROUP_ROWS || bytes >= GROUP_BYTES { self.flush(names) } else { Ok(()) }
    }

    /// Ends the file.
    pub fn finish(mut self, names: &[&str]) -> Result<()> {
        if !self.pending.is_empty() || self.writer.is_none() {
            self.flush(names)?;
        }
        let (writer, _) = self.writer.expect("opened by the flush");
        writer.into_inner().map_err(fault)?.finish()
    }

    fn flush(&mut self, names: &[&str]) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            pending = names.iter().map(|_| Column::Text(Vec::new())).collect();
        }
        if let Some(output) = self.output.take() {
            let kinds: Vec<Physical> = pending.iter().map(Column::kind).collect();
            let field = |(name, kind): (&&str, &Physical)| {
                let mut field =
                    Type::primitive_type_builder(name, *kind).with_repetition(Repetition::OPTIONAL);
                if *kind == Physical::BYTE_ARRAY {
                    field = field.with_logical_type(Some(LogicalType::String));
                }
                field.build().map(Arc::new)
            };
            let fields = names.iter().zip(&kinds).map(field).collect::<Result<Vec<_>, _>>().map_err(fault)?;
            let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(fault)?;
            let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
            let writer =
                SerializedFileWriter::new(output, Arc::new(schema), Arc::new(properties)).map_err(fault)?;
            self.writer = Some((writer, kinds));
        }
        let (writer, kinds) = self.writer.as_mut().expect("just opened");
        let mut group = writer.next_row_group().map_err(fault)?;
        for ((column, kind), name) in pending.into_iter().zip(kinds.iter()).zip(names) {
            let mut target = group.next_column().map_err(fault)?.expect("as many columns as the schema");
            let column = column.into_kind(*kind, name)?;
            macro_rules! put {
                ($type:ty, $values:expr, $value:expr) => {{
                    let levels: Vec<i16> = $values.iter().map(|value| i16::from(value.is_some())).collect();
                    let values: Vec<_> = $values.into_iter().flatten().map($value).collect();
                    target.typed::<$type>().write_batch(&values, Some(&levels), None).map_err(fault)?;
                }};
            }
            match column {
                Column::Text(values) => {
                    put!(ByteArrayType, values, |text: String| ByteArray::from(text.into_bytes()))
                }
                Column::Float(values) => put!(FloatType, values, |value| value),
                Column::Double(values) => put!(DoubleType, values, |value| value),
                Column::Count(values) => put!(Int64Type, values, |value| value),
                Column::Flag(values) => put!(BoolType, values, |value| value),
            }
            target.close().map_err(fault)?;
        }
        group.close().map_err(fault)?;
        Ok(())
    }
}

fn fault(e: parquet::errors::ParquetError) -> Error {
    Error::Data(format!("the Parquet output: {e}"))
}
