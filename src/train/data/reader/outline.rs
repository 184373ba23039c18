//! What columns an input has, as far as it shows before the first row is answered.

use indexmap::IndexSet;

use super::columns::MOST_COLUMNS;
use super::row::{Fields, File};

/// Rows of JSON whose members are looked at ahead, and the bytes at which that ends in any case.
const ROWS: usize = 1000;
const BYTES: usize = 1 << 20;

/// The columns of all files of an input.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    /// Their names, in the order in which they appear; `text` where rows are texts and nothing else.
    pub names: IndexSet<String>,
    /// Whether rows may have members that are not among them: JSON tells row by row.
    pub open: bool,
}

impl Outline {
    /// Adds the columns of `file`, and of JSON the members of its first rows, which are still to be read from it.
    pub(super) fn add(&mut self, file: &mut File) {
        match file.columns.names.is_empty() {
            true => self.names.extend(["text".to_string()]),
            false => self.names.extend(file.columns.names.iter().cloned()),
        }
        if !file.open {
            return;
        }
        self.open = true;
        let (mut ahead, mut bytes, mut over) = (Vec::new(), 0, false);
        while ahead.len() < ROWS && bytes < BYTES && !over {
            let Some(row) = file.rows.next() else {
                over = true;
                break;
            };
            match &row {
                Ok(row) => {
                    bytes += row.bytes();
                    if let Fields::Object(object) = &row.fields {
                        for name in object.keys() {
                            if self.names.len() < MOST_COLUMNS && !self.names.contains(name) {
                                self.names.insert(name.clone());
                            }
                        }
                    }
                }
                Err(_) => over = true,
            }
            ahead.push(row);
        }
        // An input that has ended is not asked again: somebody may be typing it.
        let rest = std::mem::replace(&mut file.rows, Box::new(std::iter::empty()));
        file.rows = match over {
            true => Box::new(ahead.into_iter()),
            false => Box::new(ahead.into_iter().chain(rest)),
        };
    }
}
