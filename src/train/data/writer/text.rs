//! Rows as lines of a table or of JSON.

use serde_json::Value;

use super::layout::{ANSWER, Answered, Cell, Layout};
use crate::train::data::reader::Columns;

/// The header row.
pub fn table_header(layout: &Layout, delimiter: u8) -> Vec<u8> {
    table(delimiter, |writer| writer.write_record(layout.names()))
}

/// Rows of a table.
pub fn table_rows(layout: &Layout, rows: &[Answered], columns: &Columns, delimiter: u8) -> Vec<u8> {
    table(delimiter, |writer| {
        for answered in rows {
            for cell in layout.kept(&answered.row, columns).chain(layout.answer(answered)) {
                match cell {
                    Cell::Empty => writer.write_field("")?,
                    Cell::Text(text) => writer.write_field(text.as_ref())?,
                    Cell::Json(value) => writer.write_field(plain(&value))?,
                    Cell::Float(value) => writer.write_field(value.to_string())?,
                    Cell::Count(value) => writer.write_field(value.to_string())?,
                    Cell::Flag(value) => writer.write_field(value.to_string())?,
                }
            }
            writer.write_record(None::<&[u8]>)?;
        }
        Ok(())
    })
}

fn table(delimiter: u8, fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> Vec<u8> {
    let mut writer =
        csv::WriterBuilder::new().delimiter(delimiter).buffer_capacity(1 << 12).from_writer(Vec::new());
    fill(&mut writer).expect("memory takes every byte, and rows are of one length");
    writer.into_inner().expect("memory takes every byte")
}

/// A JSON value as a table holds it: strings without quotes, null as nothing.
pub fn plain(value: &str) -> String {
    match serde_json::from_str(value) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => value.to_string(),
    }
}

/// Rows as one object a line. Members that the row has not are left out.
pub fn json_lines(layout: &Layout, rows: &[Answered], columns: &Columns) -> Vec<u8> {
    let mut out = Vec::with_capacity(rows.len() * 512);
    let probabilities: Vec<usize> =
        layout.answer.iter().copied().filter(|at| ANSWER[*at].starts_with("probabilities.")).collect();
    for answered in rows {
        out.push(b'{');
        let start = out.len();
        for ((_, name), cell) in layout.kept.iter().zip(layout.kept(&answered.row, columns)) {
            member(&mut out, start, name, cell);
        }
        for (at, cell) in layout.answer.iter().zip(layout.answer(answered)) {
            match ANSWER[*at].split_once('.') {
                None => member(&mut out, start, ANSWER[*at], cell),
                // One object, opened by its first member and closed by its last.
                Some((object, name)) if cell != Cell::Empty => {
                    if probabilities.first() == Some(at) {
                        key(&mut out, start, object);
                        out.push(b'{');
                    }
                    let inner = if probabilities.first() == Some(at) { out.len() } else { start };
                    member(&mut out, inner, name, cell);
                    if probabilities.last() == Some(at) {
                        out.push(b'}');
                    }
                }
                Some(_) => {}
            }
        }
        // What rows hold beside the columns that were known is written as well.
        for (name, value) in layout.late(&answered.row) {
            let name = layout.late_name(&answered.row, name);
            member(&mut out, start, &name, Cell::Json(value.get().into()));
        }
        out.extend_from_slice(b"}\n");
    }
    out
}

fn key(out: &mut Vec<u8>, start: usize, name: &str) {
    if out.len() > start {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name).expect("memory takes every byte");
    out.push(b':');
}

fn member(out: &mut Vec<u8>, start: usize, name: &str, cell: Cell) {
    if cell == Cell::Empty {
        return;
    }
    key(out, start, name);
    match cell {
        Cell::Empty => {}
        Cell::Text(text) => serde_json::to_writer(out, text.as_ref()).expect("memory takes every byte"),
        // Within a line there is no break.
        Cell::Json(value) => {
            out.extend(value.bytes().map(|byte| if byte == b'\n' || byte == b'\r' { b' ' } else { byte }))
        }
        Cell::Float(value) => serde_json::to_writer(out, &value).expect("memory takes every byte"),
        Cell::Count(value) => serde_json::to_writer(out, &value).expect("memory takes every byte"),
        Cell::Flag(value) => serde_json::to_writer(out, &value).expect("memory takes every byte"),
    }
}
