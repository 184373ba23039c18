//! JSON lines, and one JSON array, element by element.

use std::borrow::Cow;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::value::RawValue;

use super::args::ReadArgs;
use super::bytes::{Opened, ROW_LIMIT_BYTES, lines, unpacking};
use super::columns::{Columns, MOST_COLUMNS, Shape, short};
use super::row::{Fields, File, Raw, Row};
use crate::error::Error;

type Object = IndexMap<String, Box<RawValue>>;

/// Opens a file of JSON lines or of one array.
pub fn open(opened: Opened, args: &ReadArgs) -> Result<File, String> {
    let (start, whole) = (opened.start(), opened.whole);
    let array = opened.sample.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let mut rows: Box<dyn Iterator<Item = Raw> + Send> = match array {
        true => Box::new(elements(opened.source)),
        false => Box::new(lines(opened.source).map(without_mark).filter(|line| {
            !line.as_ref().is_ok_and(|(_, text)| text.as_ref().is_ok_and(|text| text.trim().is_empty()))
        })),
    };
    // Columns are those of the first object; rows before it that cannot be read are given in their place.
    let (mut before, mut columns) = (Vec::new(), None);
    for row in rows.by_ref().take(100) {
        let row = row.map_err(|e| e.to_string())?;
        match row.1.as_deref().map(serde_json::from_str::<Object>) {
            Ok(Ok(object)) => columns = Some(columns_of(&object, args)?),
            _ if row.1.as_deref().is_ok_and(|text| serde_json::from_str::<String>(text).is_ok()) => {
                columns = Some(Columns::default());
            }
            _ => {}
        }
        before.push(Ok(row));
        if columns.is_some() {
            break;
        }
    }
    let Some(columns) = columns else {
        if array && before.is_empty() {
            return Err("holds an array without a row".into());
        }
        if start.starts_with("`{") {
            return Err(format!(
                "holds no JSON lines (one object a line); it begins with {start}; `jq -c .` makes lines of objects that \
                 stand over several"
            ));
        }
        let reason = "holds neither JSON lines (one object a line) nor one JSON array of objects";
        return Err(format!("{reason}; it begins with {start}"));
    };
    // One object by itself may hold the columns of a table, each as a list or by row.
    if !array && whole && before.len() == 1 {
        let second = rows.next();
        let alone = second.is_none();
        before.extend(second);
        let first = before[0].as_ref().ok().and_then(|(_, text)| text.as_deref().ok());
        let object = first.and_then(|text| serde_json::from_str::<Object>(text).ok());
        let kind = object.and_then(|object| kind_of(object.get(&columns.text)?.get()));
        if let Some(kind) = kind.filter(|_| alone) {
            return Err(format!(
                "holds columns where rows are wanted: its `{}` is {kind}; one object a line is read (pandas: \
                 to_json(orient=\"records\", lines=True))",
                short(&columns.text)
            ));
        }
    }
    let form = if array { "a JSON array" } else { "JSON lines" };
    let taken = match columns.names.is_empty() {
        true => format!("{form} of texts"),
        false => format!("{form}, {}", columns.taken()),
    };
    let columns = Arc::new(columns);
    let known = columns.clone();
    let rows = before.into_iter().chain(rows).map(move |row| {
        let (line, text) = row.map_err(|e| match e.kind() {
            io::ErrorKind::Other => Error::Data(e.to_string()),
            _ => unpacking(Path::new("the input"), e),
        })?;
        Ok(match text.and_then(|text| row_of(&text, &known)) {
            Ok(row) => Row { line, ..row },
            Err(reason) => Row { line, text: Err(reason), label: None, fields: Fields::None },
        })
    });
    Ok(File { taken, columns, open: true, rows: Box::new(rows) })
}

/// A line without the mark that it has where files were put together.
fn without_mark(line: Raw) -> Raw {
    line.map(|(number, text)| {
        let bare = |text: String| text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text);
        (number, text.map(bare))
    })
}

/// The columns of the first object.
fn columns_of(object: &Object, args: &ReadArgs) -> Result<Columns, String> {
    Columns::choose(object.keys().cloned().collect(), args, Shape::Nested).map_err(|reason| {
        let rows = |value: &RawValue| value.get().starts_with('[') && value.get().contains('{');
        match object.iter().find(|(_, value)| rows(value)) {
            Some((name, _)) if args.text_column.is_none() => {
                let name = short(name);
                format!(
                    "{reason}; where `{name}` holds the rows, `jq -c '.{name}[]'` makes JSON lines of them"
                )
            }
            _ => reason,
        }
    })
}

/// The value of a column, or of a member of what it holds: `review.text`.
fn find<'o>(object: &'o Object, column: &str) -> Option<Cow<'o, RawValue>> {
    if let Some(value) = object.get(column) {
        return Some(Cow::Borrowed(value));
    }
    let (outer, rest) = column.split_once('.')?;
    let inner: Object = serde_json::from_str(object.get(outer)?.get()).ok()?;
    find(&inner, rest).map(|value| Cow::Owned(value.into_owned()))
}

/// What a value is that holds others.
fn kind_of(value: &str) -> Option<&'static str> {
    match value.as_bytes().first() {
        Some(b'[') => Some("a list"),
        Some(b'{') => Some("an object"),
        _ => None,
    }
}

fn row_of(text: &str, columns: &Columns) -> Result<Row, String> {
    if text.trim_start().starts_with('"') {
        let text = string(text);
        return Ok(Row { line: 0, text, label: None, fields: Fields::None });
    }
    let mut object: Object = serde_json::from_str(text).map_err(|e| match e.is_data() {
        true => "is no JSON object".to_string(),
        false => format!("is no JSON: {}", at_column(&e)),
    })?;
    if object.len() > MOST_COLUMNS {
        return Err(format!("holds more than {MOST_COLUMNS} members"));
    }
    let name = crate::error::printable(&columns.text);
    let text = match find(&object, &columns.text).as_ref().map(|value| value.get()) {
        None => Err(format!("has no `{name}`")),
        Some("null") => Err(format!("its `{name}` is null")),
        Some(value) if value.starts_with('"') => string(value),
        Some(value) => Err(match kind_of(value) {
            Some("an object") => {
                format!("its `{name}` is an object, no string; --text-column {name}.… names a member of it")
            }
            Some(kind) => format!("its `{name}` is {kind}, no string"),
            None => format!("its `{name}` is no string"),
        }),
    };
    // What no reader of JSON would take is not written on.
    if text.is_err() && object.shift_remove(&columns.text).is_none() {
        object.shift_remove(columns.text.split('.').next().unwrap_or_default());
    }
    let label = columns.label().and_then(|name| find(&object, name)).and_then(|value| match value.get() {
        "null" => None,
        value if value.starts_with('"') => serde_json::from_str(value).ok(),
        value => Some(value.to_string()),
    });
    let label = label.filter(|label| !label.trim().is_empty());
    Ok(Row { line: 0, text, label, fields: Fields::Object(object) })
}

fn string(value: &str) -> Result<String, String> {
    serde_json::from_str(value).map_err(|e| format!("its text is no JSON string: {}", at_column(&e)))
}

/// The fault without the line, which is the row's.
pub fn at_column(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let short = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    format!("{short} at column {}", e.column())
}

/// The elements of an array as texts, numbered from 1.
fn elements(source: Box<dyn BufRead + Send>) -> impl Iterator<Item = Raw> + Send {
    let mut bytes = io::Read::bytes(source);
    let (mut number, mut begun, mut over, mut told) = (0, false, false, false);
    std::iter::from_fn(move || {
        let (mut element, mut depth, mut quoted, mut escaped) = (Vec::new(), 0usize, false, false);
        while !over {
            let byte = match bytes.next() {
                Some(Ok(byte)) => byte,
                Some(Err(e)) => return Some(Err(e)),
                None => {
                    over = true;
                    return Some(Err(io::Error::other(format!(
                        "the array is cut off in element {}",
                        number + 1
                    ))));
                }
            };
            if !begun {
                begun = byte == b'[';
                continue;
            }
            if quoted {
                quoted = escaped || byte != b'"';
                escaped = byte == b'\\' && !escaped;
            } else {
                match byte {
                    b'"' => quoted = true,
                    b'{' | b'[' => depth += 1,
                    b']' if depth == 0 => over = true,
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if over || (byte == b',' && depth == 0) {
                    break;
                }
            }
            element.push(byte);
            if element.len() > ROW_LIMIT_BYTES {
                over = true;
                return Some(Err(io::Error::other(format!(
                    "element {} is longer than any review",
                    number + 1
                ))));
            }
        }
        if over && element.iter().all(u8::is_ascii_whitespace) {
            let behind = |byte: &io::Result<u8>| !byte.as_ref().is_ok_and(u8::is_ascii_whitespace);
            return match bytes.by_ref().find(behind).filter(|_| !std::mem::replace(&mut told, true))? {
                Ok(_) => Some(Err(io::Error::other(format!(
                    "more stands behind the array, which has {number} elements: one array is read, or one object a line"
                )))),
                Err(e) => Some(Err(e)),
            };
        }
        number += 1;
        Some(Ok((number, String::from_utf8(element).map_err(|_| "not UTF-8".into()))))
    })
}
