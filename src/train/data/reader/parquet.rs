//! Parquet, row by row.

use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use serde_json::value::RawValue;

use super::args::ReadArgs;
use super::columns::{Columns, Shape};
use super::row::{Fields, File, Row};
use crate::error::Error;

/// Opens a Parquet file.
pub fn open(path: &Path, args: &ReadArgs) -> Result<File, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(|e| format!("is no sound Parquet file: {e}"))?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_string()).collect();
    let columns = Arc::new(Columns::choose(names, args, Shape::Nested)?);
    let taken =
        format!("Parquet, {} rows, {}", reader.metadata().file_metadata().num_rows(), columns.taken());
    let (known, mut line, name) = (columns.clone(), 0, path.to_path_buf());
    let rows = reader.into_iter().map(move |record| {
        line += 1;
        let record =
            record.map_err(|e| Error::invalid(&name, format!("row {line}: {}", fault(&e.to_string()))))?;
        Ok(row_of(&record, &known, line))
    });
    Ok(File { taken, columns, open: false, rows: Box::new(rows) })
}

/// What the reader says, without the bytes that it met.
fn fault(said: &str) -> String {
    if let Some((_, packing)) = said.split_once("Disabled feature at compile time: ") {
        return format!("is packed with {packing}, which is not read here; snappy, gzip and zstd are");
    }
    let end = said.find(" Bytes: ").unwrap_or(said.len()).min(200);
    format!("the file is damaged: {}", &said[..said.floor_char_boundary(end)])
}

fn row_of(record: &Record, columns: &Columns, line: u64) -> Row {
    let shown = crate::error::printable(&columns.text);
    let text = match find(record, columns, &columns.text) {
        None => Err(format!("has no `{shown}`")),
        Some(Field::Str(text)) => Ok(text.clone()),
        Some(Field::Bytes(bytes)) => String::from_utf8(bytes.data().to_vec()).map_err(|_| "not UTF-8".into()),
        Some(Field::Null) => Err(format!("its `{shown}` is null")),
        Some(Field::Group(_)) => Err(format!(
            "its `{shown}` is an object, no string; --text-column {shown}.… names a member of it"
        )),
        Some(_) => Err(format!("its `{shown}` is no string")),
    };
    let label = columns.label().and_then(|name| find(record, columns, name)).and_then(|field| match field {
        Field::Null => None,
        Field::Str(label) => Some(label.clone()),
        other => Some(other.to_string()),
    });
    let label = label.filter(|label| !label.trim().is_empty());
    let mut object = indexmap::IndexMap::new();
    // By place: two columns may have one name in the file.
    for (name, (_, field)) in columns.names.iter().zip(record.get_column_iter()) {
        if let Ok(value) = RawValue::from_string(json(field).to_string()) {
            object.insert(name.clone(), value);
        }
    }
    Row { line, text, label, fields: Fields::Object(object) }
}

/// The field of a column, or of a member of what it holds: `review.text`.
fn find<'r>(record: &'r Record, columns: &Columns, column: &str) -> Option<&'r Field> {
    let mut fields = record.get_column_iter();
    if let Some(at) = columns.names.iter().position(|name| name == column) {
        return fields.nth(at).map(|(_, field)| field);
    }
    let mut names = column.split('.');
    let outer = names.next()?;
    let first = fields.find(|(name, _)| *name == outer)?.1;
    names.try_fold(first, |field, name| match field {
        Field::Group(inner) => Some(inner.get_column_iter().find(|(inside, _)| *inside == name)?.1),
        _ => None,
    })
}

/// A field as JSON; what JSON has no form for is written as Parquet's own text.
fn json(field: &Field) -> serde_json::Value {
    match field {
        Field::Null => serde_json::Value::Null,
        Field::Bool(value) => (*value).into(),
        Field::Byte(value) => (*value).into(),
        Field::Short(value) => (*value).into(),
        Field::Int(value) => (*value).into(),
        Field::Long(value) => (*value).into(),
        Field::UByte(value) => (*value).into(),
        Field::UShort(value) => (*value).into(),
        Field::UInt(value) => (*value).into(),
        Field::ULong(value) => (*value).into(),
        Field::Float(value) => (*value).into(),
        Field::Double(value) => (*value).into(),
        Field::Float16(value) => f32::from(*value).into(),
        Field::Str(value) => value.clone().into(),
        Field::Bytes(value) => String::from_utf8_lossy(value.data()).into(),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::Group(row) => row.get_column_iter().map(|(name, field)| (name.clone(), json(field))).collect(),
        other => other.to_string().into(),
    }
}
