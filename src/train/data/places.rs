//! Where rows stood that are spoken of.

use std::fmt;
use std::sync::Arc;

/// Places that are named; the others are counted.
const NAMED: usize = 5;

/// Where a row stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, where there are several.
    pub file: Option<Arc<str>>,
    /// Its line from 1, or for arrays and Parquet its number; 0 where the file is the row.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), 0) => f.write_str(file),
            (Some(file), line) => write!(f, "{file}: line {line}"),
            (None, line) => write!(f, "line {line}"),
        }
    }
}

/// How many rows there are of a kind, and where the first of them stood.
#[derive(Clone, Debug, Default)]
pub struct Places {
    count: u64,
    first: Vec<Place>,
}

impl Places {
    /// Takes note of a row.
    pub fn note(&mut self, place: &Place) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(place.clone());
        }
    }

    /// Takes note of the rows of `others`, which come behind.
    pub fn add(&mut self, others: Self) {
        self.count += others.count;
        self.first.extend(others.first);
        self.first.truncate(NAMED);
    }

    /// How many they are.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The first of them, by their files.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let of_file = |places: &[Place]| {
            let lines: Vec<String> = places.iter().map(|place| place.line.to_string()).collect();
            match &places[0].file {
                Some(file) if places[0].line == 0 => file.to_string(),
                file => {
                    let file = file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
                    format!("{file}{} {}", if lines.len() == 1 { "line" } else { "lines" }, lines.join(", "))
                }
            }
        };
        let files: Vec<String> =
            self.first.chunk_by(|one, next| one.file == next.file).map(of_file).collect();
        let more = if self.count as usize > self.first.len() { ", …" } else { "" };
        write!(f, "{}{more}", files.join("; "))
    }
}
