//! Parquet, row by row.

use std::path::Path;
use std::sync::Arc;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use serde_json::value::RawValue;

use super::args::ReadArgs;
use super::columns::Columns;
use super::row::{Fields, File, Row};
use crate::error::Error;

/// Opens a Parquet file.
pub fn open(path: &Path, args: &ReadArgs) -> Result<File, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let reader = SerializedFileReader::new(file).map_err(|e| format!("is no sound Parquet file: {e}"))?;
    let schema = reader.metadata().file_metadata().schema().clone();
    let names: Vec<String> = schema.get_fields().iter().map(|field| field.name().to_string()).collect();
    let columns = Arc::new(Columns::choose(names, args)?);
    let taken =
        format!("Parquet, {} rows, {}", reader.metadata().file_metadata().num_rows(), columns.taken());
    let (known, mut line) = (columns.clone(), 0);
    let rows = reader.into_iter().map(move |record| {
        line += 1;
        let record = record.map_err(|e| Error::Data(format!("row {line}: {e}")))?;
        Ok(row_of(&record, &known, line))
    });
    Ok(File { taken, columns, rows: Box::new(rows) })
}

fn row_of(record: &Record, columns: &Columns, line: u64) -> Row {
    let shown = crate::error::printable(&columns.text);
    let (mut text, mut label) = (Err(format!("has no `{shown}`")), None);
    let mut object = indexmap::IndexMap::new();
    for (name, field) in record.get_column_iter() {
        if *name == columns.text {
            text = match field {
                Field::Str(text) => Ok(text.clone()),
                Field::Bytes(bytes) => {
                    String::from_utf8(bytes.data().to_vec()).map_err(|_| "not UTF-8".into())
                }
                Field::Null => Err(format!("its `{shown}` is null")),
                _ => Err(format!("its `{shown}` is no string")),
            };
        }
        if Some(name.as_str()) == columns.label() {
            label = match field {
                Field::Null => None,
                Field::Str(label) => Some(label.clone()),
                other => Some(other.to_string()),
            };
        }
        if let Ok(value) = RawValue::from_string(json(field).to_string()) {
            object.insert(name.clone(), value);
        }
    }
    let label = label.filter(|label| !label.trim().is_empty());
    Row { line, text, label, fields: Fields::Object(object) }
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
        Field::Str(value) => value.clone().into(),
        Field::Bytes(value) => String::from_utf8_lossy(value.data()).into(),
        Field::ListInternal(list) => list.elements().iter().map(json).collect(),
        Field::Group(row) => row.get_column_iter().map(|(name, field)| (name.clone(), json(field))).collect(),
        other => other.to_string().into(),
    }
}
