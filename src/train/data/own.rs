//! Where a training's reviews come from: the public release, or tables and folders of one's own.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::text::{Scheme, Tokenizer, Vocabulary};
use crate::train::data::corpus::{Class, Corpus, Review};
use crate::train::data::labelled::{self, DataSource, LabelledRow, LeftOut, OwnArgs};
use crate::train::data::opinions::RowNames;
use crate::train::data::reader::short;
use crate::train::data::split::{DataSplit, film_position};
use crate::train::settings::Settings;

/// The reviews of a training and their sides.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The reviews; rows of a table by their number.
    pub corpus: Corpus,
    /// Which of them are held out.
    pub split: DataSplit,
    /// What was taken for what, and what was left out, a line each.
    pub notes: Vec<String>,
    /// By which rows and ids of a table its reviews can be named.
    pub names: RowNames,
}

/// Reads `source` and splits it as `settings` and `own` say; the release's unlabelled reviews are read with `unlabelled`.
///
/// # Errors
/// Those of [`Corpus::read`], [`labelled::read`] and [`DataSplit::of`]; [`Error::Data`] where a side of the split has no row
/// of one class.
pub fn gather(source: &DataSource, unlabelled: bool, own: &OwnArgs, settings: &Settings) -> Result<Gathered> {
    if let DataSource::Release(path) = source {
        if own.group_column.is_some() || own.validation_data.is_some() {
            let reason = "goes with a table of your own; the public release is split by film or at random";
            return Err(Error::setting("group-column, validation-data", reason));
        }
        let corpus = Corpus::read(path, unlabelled)?;
        let split = DataSplit::of(&corpus.train, settings)?;
        return Ok(Gathered { corpus, split, notes: Vec::new(), names: RowNames::default() });
    }
    let read = |source: &DataSource| labelled::read(source, &own.table, own.group_column.as_deref());
    let mut rows = read(source)?;
    let mut notes = std::mem::take(&mut rows.notes);
    let count = rows.rows.last().map_or(0, |row| row.row);
    let mut rows = worded(rows.rows, settings.tokenizer, &mut notes);
    let held_out = match &own.validation_data {
        None => Vec::new(),
        Some(path) => {
            let mut held_out = read(&DataSource::of(path, &own.table.read)?)?;
            notes.append(&mut held_out.notes);
            let mut held_out = worded(held_out.rows, settings.tokenizer, &mut notes);
            held_out.retain(|row| row.target.is_some());
            let known: HashMap<String, ()> = held_out.iter().map(|row| (key(&row.text), ())).collect();
            let before = rows.len();
            rows.retain(|row| !known.contains_key(&key(&row.text)));
            if rows.len() < before {
                notes.push(format!(
                    "{} rows left out that the validation data hold as well",
                    before - rows.len()
                ));
            }
            held_out
        }
    };
    let rows = distinct(rows, &mut notes);
    if let Some(column) = &own.group_column {
        let alone = rows.iter().filter(|row| row.group.is_none()).count();
        if alone > 0 {
            notes.push(format!(
                "{alone} rows of no group (their `{}` is empty) are learnt from",
                short(column)
            ));
        }
    }
    let mut corpus = Corpus::default();
    let names = RowNames::of(&rows, count);
    let learnt = add(&mut corpus, rows, 0);
    // Of another table: its rows have numbers of their own.
    let validation = add(&mut corpus, held_out, count);
    let split = match &own.validation_data {
        None if own.group_column.is_some() => by_groups(&mut corpus, settings.validation_share),
        None => DataSplit::of(&corpus.train, settings),
        Some(_) => Ok(DataSplit { train: learnt, validation, final_test: Vec::new() }),
    };
    let split = split.and_then(|split| both_sides(&corpus, split)).map_err(|e| with_notes(e, &notes))?;
    // Rows without a label are enough where somebody has an opinion of them.
    if split.train.is_empty() && (!unlabelled || corpus.unlabelled.is_empty()) {
        return Err(with_notes(Error::Data("of all rows none is left to learn from".into()), &notes));
    }
    Ok(Gathered { corpus, split, notes, names })
}

/// `error`, with what became of the rows: few may be left of many.
fn with_notes(error: Error, notes: &[String]) -> Error {
    let told: Vec<&str> = notes
        .iter()
        .map(String::as_str)
        .filter(|note| note.contains(" row ") || note.contains(" rows "))
        .collect();
    match error {
        Error::Data(reason) if !told.is_empty() => Error::Data(format!("{reason}; {}", told.join("; "))),
        error => error,
    }
}

/// A split that has both classes on either side that it has.
fn both_sides(corpus: &Corpus, split: DataSplit) -> Result<DataSplit> {
    for (side, what) in [(&split.train, "to learn from"), (&split.validation, "held out")] {
        for class in [Class::Negative, Class::Positive] {
            if !side.is_empty() && !side.iter().any(|&at| corpus.train[at].class == class) {
                let class = if class == Class::Positive { "positive" } else { "negative" };
                return Err(Error::Data(format!("of the {} rows {what} none is {class}", side.len())));
            }
        }
    }
    Ok(split)
}

/// Holds out whole groups, in the order of their fixed places, until they have `share` of the rows; unlabelled rows of
/// theirs go.
fn by_groups(corpus: &mut Corpus, share: f64) -> Result<DataSplit> {
    let mut groups: Vec<u32> = corpus.train.iter().filter_map(|row| row.film).collect();
    groups.sort_by(|a, b| film_position(*a).total_cmp(&film_position(*b)).then(a.cmp(b)));
    groups.dedup();
    let count = |group: u32| corpus.train.iter().filter(|row| row.film == Some(group)).count();
    let wanted = (share * corpus.train.len() as f64).round() as usize;
    let (mut held, mut rows) = (HashSet::new(), 0);
    for &group in &groups {
        if rows >= wanted || held.len() + 1 == groups.len() {
            break;
        }
        held.insert(group);
        rows += count(group);
    }
    if held.is_empty() && wanted > 0 {
        return Err(Error::Data(format!("{} groups are too few to hold one out", groups.len())));
    }
    let is_held = |row: &Review| row.film.is_some_and(|group| held.contains(&group));
    corpus.unlabelled.retain(|row| !is_held(row));
    let (validation, train) = (0..corpus.train.len()).partition(|&at| is_held(&corpus.train[at]));
    Ok(DataSplit { train, validation, final_test: Vec::new() })
}

/// The rows with a word.
fn worded(mut rows: Vec<LabelledRow>, scheme: Scheme, notes: &mut Vec<String>) -> Vec<LabelledRow> {
    let tokenizer = Tokenizer::new(scheme);
    let none = Vocabulary::from_words(std::iter::empty::<&str>()).expect("no word is a vocabulary");
    let (mut ids, mut wordless) = (Vec::new(), LeftOut::default());
    rows.retain(|row| {
        ids.clear();
        let words = tokenizer.encode(&row.text, &none, &mut ids).words > 0;
        if !words {
            wordless.note(&row.place, "");
        }
        words
    });
    notes.extend(wordless.summary("left out, without a word"));
    rows
}

/// What makes two texts the same: letters and digits, whatever the case and the spaces between.
fn key(text: &str) -> String {
    text.split_whitespace().flat_map(|word| word.chars().flat_map(char::to_lowercase).chain([' '])).collect()
}

/// Each text once: so none stands on both sides of a split. Texts with both labels are left out.
fn distinct(rows: Vec<LabelledRow>, notes: &mut Vec<String>) -> Vec<LabelledRow> {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Option<LabelledRow>> = Vec::with_capacity(rows.len());
    let (mut repeated, mut conflicts) = (LeftOut::default(), LeftOut::default());
    for row in rows {
        let place = row.place.clone();
        match first.get(&key(&row.text)) {
            None => {
                first.insert(key(&row.text), kept.len());
                kept.push(Some(row));
            }
            Some(&at) => {
                let known = kept[at].as_ref().and_then(|known| known.target);
                match (known, row.target) {
                    // A label is more than none.
                    (None, Some(_)) if kept[at].is_some() => kept[at] = Some(row),
                    (Some(one), Some(other)) if one != other => {
                        kept[at] = None;
                        conflicts.note(&place, "");
                        continue;
                    }
                    _ => {}
                }
                repeated.note(&place, "");
            }
        }
    }
    notes.extend(repeated.summary("left out, texts that stand there already"));
    notes.extend(conflicts.summary("left out with their first copy, texts with both labels"));
    kept.into_iter().flatten().collect()
}

fn class_of(row: &LabelledRow) -> Class {
    match row.target {
        Some(target) if target >= 0.5 => Class::Positive,
        Some(_) => Class::Negative,
        None => Class::Unlabelled,
    }
}

/// Puts rows into the corpus, their numbers after `before` others; the places of those with a label.
fn add(corpus: &mut Corpus, rows: Vec<LabelledRow>, before: u64) -> Vec<usize> {
    let mut places = Vec::new();
    for row in rows {
        let class = class_of(&row);
        // A group is split as a film is: by its fixed place.
        let film = row.group.as_ref().map(|group| {
            let digest = Sha256::digest(group.as_bytes());
            u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
        });
        let list = if class == Class::Unlabelled { &mut corpus.unlabelled } else { &mut corpus.train };
        if class != Class::Unlabelled {
            places.push(list.len());
        }
        list.push(Review { class, id: (before + row.row) as u32, rating: 0, film, text: row.text });
    }
    places
}

/// The name of `path` for records and cards: its last part, so that they name no folder of this machine.
pub fn file_name(path: &Path) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    whole.file_name().map_or_else(|| "data".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::data::places::Place;

    fn row(text: &str, target: Option<f32>, line: u64) -> LabelledRow {
        let place = Place { file: None, line };
        LabelledRow { text: text.into(), target, label: None, place, row: line, id: None, group: None }
    }

    #[test]
    fn each_text_stands_once_and_none_with_both_labels() {
        let mut notes = Vec::new();
        let rows = vec![
            row("A good  film", Some(1.0), 1),
            row("a GOOD film", Some(1.0), 2),
            row("dull", Some(0.0), 3),
            row("Dull", Some(1.0), 4),
            row("odd", None, 5),
            row("odd", Some(0.0), 6),
        ];
        let kept = distinct(rows, &mut notes);
        let lines: Vec<u64> = kept.iter().map(|row| row.row).collect();
        assert_eq!(lines, [1, 6]);
        assert!(notes[0].contains("2 rows") && notes[1].contains("1 row "), "{notes:?}");
    }
}
