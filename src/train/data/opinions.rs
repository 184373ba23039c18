//! Opinions of a teacher (a transformer, a large language model, a crowd): read from a file, found in the data.
//!
//! | file | holds |
//! |---|---|
//! | `.jsonl` | an object a line: `id` (as `trainer texts` writes it, or of a table's column `id`), `row` (of a table, from 1) or `text`; and `logit` or `probability` |
//! | `.csv` | columns of these names, parted by commas, semicolons or tabs |
//! | `.safetensors` | the compact form: ids and 16-bit logits, no text |
//!
//! The compact form has a row for each review in `review` (U32, `4 number + source`: neg 0, pos 1, unsup 2, phrases 3)
//! and `count` (U16, opinions on it), and a row for each opinion in `start`, `length` (U16, bytes; length 0 is the whole)
//! and `logit` (F16). `__metadata__` has `texts_sha256`: SHA-256 over the `digest` of each text in order, as `trainer texts`
//! writes it, and may have `short_scale`: the factor of the logits of stretches and phrases.

use std::collections::HashMap;
use std::io::BufRead;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::train::data::corpus::Class;
use crate::train::data::labelled::LabelledRow;
use crate::train::data::reader::{at_column, list, short};
use crate::train::data::texts::{Source, TextId, Texts, short_digest};

/// What an opinion is of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A text of the data set or of the phrases.
    Known(TextId),
    /// A row of a table of one's own, by its number from 1.
    Row(u64),
    /// A row of a table of one's own, by its column `id`.
    Id(String),
    /// The text itself.
    Text(String),
}

/// The logit that a teacher gives a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Opinion {
    /// Which text.
    pub subject: Subject,
    /// `ln(p / (1 - p))` of the probability that it is positive.
    pub logit: f32,
}

/// The opinions of one file.
#[derive(Clone, Debug, Default)]
pub struct OpinionFile {
    /// In the file's order.
    pub opinions: Vec<Opinion>,
    /// SHA-256 over the texts, where the file tells it.
    texts_sha256: Option<String>,
}

/// No opinion is surer; what a teacher says of 0 or 1 has no logit.
const MAX_LOGIT: f32 = 16.0;

/// The opinion of a row of a file that people write, of which `get` gives the columns.
fn opinion_of(get: impl Fn(&str) -> Result<Option<String>, String>) -> Result<Opinion, String> {
    let number = |name: &str| match get(name)? {
        None => Ok(None),
        // A decimal comma stands where the comma parts no fields.
        Some(value) => match value.trim().replace(',', ".").parse::<f64>() {
            Ok(number) => Ok(Some(number as f32)),
            Err(_) => Err(format!("`{name}` is `{}`, no number", short(&value))),
        },
    };
    let row = match get("row")? {
        None => None,
        Some(value) => match value.trim().parse::<u64>() {
            Ok(row) => Some(row),
            Err(_) => return Err(format!("`row` is `{}`, no number of a row", short(&value))),
        },
    };
    let subject = match (get("id")?, row, get("text")?) {
        (Some(id), ..) => id.parse().map_or_else(|_| Subject::Id(id), Subject::Known),
        (None, Some(row), _) => Subject::Row(row),
        (None, None, Some(text)) if !text.trim().is_empty() => Subject::Text(text),
        _ => return Err("neither `id`, `row` nor `text`".into()),
    };
    let logit = match (number("logit")?, number("probability")?) {
        (Some(logit), _) if logit.is_finite() => logit,
        (None, Some(p)) if (0.0..=1.0).contains(&p) => (p / (1.0 - p)).ln(),
        (Some(_), _) => return Err("`logit` is no finite number".into()),
        (None, Some(p)) => return Err(format!("`probability` {p} does not lie in 0 to 1")),
        (None, None) => return Err("neither `logit` nor `probability`".into()),
    };
    Ok(Opinion { subject, logit: logit.clamp(-MAX_LOGIT, MAX_LOGIT) })
}

/// By which rows and ids of a table of one's own the reviews can be named that are learnt from.
#[derive(Clone, Debug, Default)]
pub struct RowNames {
    /// Rows of the table, those that are left out among them; 0 where the data are no table.
    count: u64,
    rows: HashMap<u64, TextId>,
    ids: HashMap<String, TextId>,
}

impl RowNames {
    /// The names of `rows`, what is left of `count` of them.
    pub fn of(rows: &[LabelledRow], count: u64) -> Self {
        let mut names = Self { count, ..Self::default() };
        for row in rows {
            let class = match row.target {
                Some(target) if target >= 0.5 => Class::Positive,
                Some(_) => Class::Negative,
                None => Class::Unlabelled,
            };
            let text = TextId { source: Source::Review(class), number: row.row as u32, range: None };
            if let Some(id) = &row.id {
                names.ids.insert(id.clone(), text.clone());
            }
            names.rows.insert(row.row, text);
        }
        names
    }

    /// The review that `subject` names, `None` for a row that is not learnt from (or an id that is none of those); why
    /// there cannot be one.
    fn find(&self, subject: Subject) -> Result<Option<Subject>, String> {
        let found = match subject {
            Subject::Row(row) if self.count == 0 => {
                return Err(format!("row {row}: the data are no table of rows"));
            }
            Subject::Row(row) if row == 0 || row > self.count => {
                return Err(format!("row {row}: the data have {} rows", self.count));
            }
            Subject::Row(row) => self.rows.get(&row),
            Subject::Id(id) if self.count == 0 => return Err(id.parse::<TextId>().err().unwrap_or_default()),
            Subject::Id(id) if self.ids.is_empty() => {
                return Err(format!("`{}`: the data have no column `id`", short(&id)));
            }
            Subject::Id(id) => self.ids.get(&id),
            known => return Ok(Some(known)),
        };
        Ok(found.cloned().map(Subject::Known))
    }
}

impl OpinionFile {
    /// Names the reviews of rows of a table as other reviews are named, and gives up opinions on rows that are not learnt
    /// from; returns how many those are.
    ///
    /// # Errors
    /// [`Error::Invalid`], in the name of `path`, for a row or an id where there can be none.
    pub fn settle(&mut self, path: &Path, names: &RowNames) -> Result<usize> {
        let mut settled = Vec::with_capacity(self.opinions.len());
        let before = self.opinions.len();
        for Opinion { subject, logit } in self.opinions.drain(..) {
            let found = names.find(subject).map_err(|reason| Error::invalid(path, reason))?;
            settled.extend(found.map(|subject| Opinion { subject, logit }));
        }
        self.opinions = settled;
        Ok(before - self.opinions.len())
    }

    /// Reads `path` in the form that its name tells.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read; [`Error::Invalid`] naming line and fault.
    pub fn read(path: &Path) -> Result<Self> {
        let extension =
            path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        let file = match extension.as_deref() {
            Some("jsonl" | "ndjson") => Self { opinions: json_lines(path)?, texts_sha256: None },
            Some("csv") => Self { opinions: csv_rows(path)?, texts_sha256: None },
            Some("safetensors") => {
                let bytes = std::fs::read(path).map_err(Error::io(path))?;
                compact(&bytes).map_err(|reason| Error::invalid(path, reason))?
            }
            _ => return Err(Error::invalid(path, "opinions are read from .jsonl, .csv or .safetensors")),
        };
        if file.opinions.is_empty() {
            return Err(Error::invalid(path, "no opinion in it"));
        }
        Ok(file)
    }

    /// The texts that the opinions are of, with their logits.
    ///
    /// # Errors
    /// [`Error::Invalid`], in the name of `path`, where a text is not there or not the one that was judged.
    pub fn texts<'t>(&'t self, path: &Path, texts: &Texts<'t>) -> Result<Vec<(&'t Subject, &'t str, f32)>> {
        let mut digest = Sha256::new();
        let mut found = Vec::with_capacity(self.opinions.len());
        for Opinion { subject, logit } in &self.opinions {
            let text = match subject {
                Subject::Known(id) => texts.get(id).map_err(|reason| Error::invalid(path, reason))?,
                Subject::Text(text) => text,
                Subject::Row(_) | Subject::Id(_) => continue,
            };
            if self.texts_sha256.is_some() {
                digest.update(short_digest(text));
            }
            found.push((subject, text, *logit));
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if self.texts_sha256.as_ref().is_some_and(|expected| *expected != digest) {
            return Err(Error::invalid(path, "the opinions are of other texts than these data hold"));
        }
        Ok(found)
    }
}

fn json_lines(path: &Path) -> Result<Vec<Opinion>> {
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let mut opinions = Vec::new();
    for (number, line) in (1..).zip(std::io::BufReader::new(file).lines()) {
        let line = line.map_err(Error::io(path))?;
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let opinion = object(line).and_then(|object| {
            opinion_of(|name| match object.get(name) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
                Some(Value::Number(number)) => Ok(Some(number.to_string())),
                Some(_) => Err(format!("`{name}` is neither a text nor a number")),
            })
        });
        opinions.push(opinion.map_err(|reason| Error::invalid(path, format!("line {number}: {reason}")))?);
    }
    Ok(opinions)
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("is no JSON object".into()),
        Err(e) => Err(format!("is no JSON: {}", at_column(&e))),
    }
}

/// A table of opinions: its delimiter is the comma, semicolon or tab that stands in its header.
fn csv_rows(path: &Path) -> Result<Vec<Opinion>> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let fault = |reason: String| Error::invalid(path, reason);
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = [b',', b';', b'\t'].into_iter().find(|delimiter| header.contains(delimiter));
    let mut builder = csv::ReaderBuilder::new();
    let reader = builder.delimiter(delimiter.unwrap_or(b',')).flexible(true).has_headers(false);
    let (mut names, mut opinions) = (None, Vec::new());
    for record in reader.from_reader(bytes).into_byte_records() {
        // Bytes in memory always are records.
        let record = record.map_err(|e| fault(e.to_string()))?;
        let line = record.position().map_or(1, csv::Position::line);
        let record = csv::StringRecord::from_byte_record(record)
            .map_err(|_| fault(format!("line {line}: not UTF-8")))?;
        let Some(names) = &names else {
            names = Some(columns(&record).map_err(fault)?);
            continue;
        };
        let opinion = match record.len() == names.len() {
            true => opinion_of(|name| {
                let at = names.iter().position(|column| column == name);
                let value = at.and_then(|at| record.get(at)).filter(|value| !value.is_empty());
                Ok(value.map(String::from))
            }),
            false => Err(format!("{} fields, the header has {}", record.len(), names.len())),
        };
        opinions.push(opinion.map_err(|reason| fault(format!("line {line}: {reason}")))?);
    }
    Ok(opinions)
}

/// The names of a table's columns, among which there are those of opinions.
fn columns(header: &csv::StringRecord) -> Result<Vec<String>, String> {
    let names: Vec<String> = header.iter().map(|name| name.trim().to_lowercase()).collect();
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    match has(&["id", "row", "text"]) && has(&["logit", "probability"]) {
        true => Ok(names),
        false => Err(format!(
            "a table of opinions has a column `id`, `row` or `text`, and `logit` or `probability`; its columns are {}",
            list(&names)
        )),
    }
}

fn compact(bytes: &[u8]) -> Result<OpinionFile, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let entry = |name: &str| metadata.metadata().as_ref().and_then(|entries| entries.get(name).cloned());
    let texts_sha256 = entry("texts_sha256");
    let short_scale: f32 = match entry("short_scale").map(|scale| scale.parse()) {
        None => 1.0,
        Some(Ok(scale)) if scale > 0.0 && scale <= 16.0 => scale,
        Some(_) => return Err("its `short_scale` is no factor".into()),
    };
    let column = |name: &str, dtype: Dtype| -> Result<&[u8], String> {
        let tensor = file.tensor(name).map_err(|_| format!("it has no tensor `{name}`"))?;
        match tensor.dtype() == dtype && tensor.shape().len() == 1 {
            true => Ok(tensor.data()),
            false => Err(format!(
                "tensor `{name}` is {:?} {:?}, not {dtype:?} in one row",
                tensor.dtype(),
                tensor.shape()
            )),
        }
    };
    let (review, count) = (column("review", Dtype::U32)?, shorts(column("count", Dtype::U16)?));
    let review: Vec<u32> = review
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let (start, length) = (shorts(column("start", Dtype::U16)?), shorts(column("length", Dtype::U16)?));
    let logit = shorts(column("logit", Dtype::F16)?);
    let total: usize = count.iter().map(|&count| usize::from(count)).sum();
    if review.len() != count.len() || [start.len(), length.len(), logit.len()] != [total; 3] {
        return Err("its tensors have numbers of rows that do not belong together".into());
    }
    let (mut opinions, mut at) = (Vec::with_capacity(total), 0);
    for (review, count) in review.into_iter().zip(count) {
        for _ in 0..count {
            let logit = half::f16::from_bits(logit[at]).to_f32();
            if !logit.is_finite() {
                return Err(format!("the logit of opinion {at} is no finite number"));
            }
            let (start, length) = (u32::from(start[at]), u32::from(length[at]));
            let range = (length > 0).then_some((start, start + length));
            let id = TextId { source: Source::ALL[review as usize % 4], number: review / 4, range };
            let short = id.range.is_some() || id.source == Source::Phrases;
            let logit = if short { short_scale * logit } else { logit };
            opinions.push(Opinion { subject: Subject::Known(id), logit: logit.clamp(-MAX_LOGIT, MAX_LOGIT) });
            at += 1;
        }
    }
    Ok(OpinionFile { opinions, texts_sha256 })
}

fn shorts(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Every text once, in the order of its first opinion, with the mean of its logits.
pub fn mean_of_each<'t>(judged: Vec<(&'t Subject, &'t str, f32)>) -> Vec<(&'t Subject, &'t str, f32)> {
    let mut places: HashMap<&Subject, usize> = HashMap::with_capacity(judged.len());
    let mut means: Vec<(&Subject, &str, f32, f32)> = Vec::with_capacity(judged.len());
    for (subject, text, logit) in judged {
        let at = *places.entry(subject).or_insert(means.len());
        match means.get_mut(at) {
            Some((_, _, sum, count)) => (*sum, *count) = (*sum + logit, *count + 1.0),
            None => means.push((subject, text, logit, 1.0)),
        }
    }
    means.into_iter().map(|(subject, text, sum, count)| (subject, text, sum / count)).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::train::data::corpus::{Class, Review};
    use crate::train::data::places::Place;

    fn reviews() -> Vec<Review> {
        let review = |class, id, text: &str| Review { class, id, rating: 0, film: None, text: text.into() };
        vec![review(Class::Negative, 3, "Bad. Dull."), review(Class::Unlabelled, 9, "Fine. Really good.")]
    }

    fn read(name: &str, content: &[u8]) -> Result<OpinionFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        OpinionFile::read(&path)
    }

    fn texts_of(file: &OpinionFile) -> Result<Vec<(String, f32)>> {
        let (mut file, reviews) = (file.clone(), reviews());
        file.settle(Path::new("here"), &RowNames::default())?;
        let found = file.texts(Path::new("here"), &Texts::new(reviews.iter(), &[]))?;
        Ok(found.into_iter().map(|(_, text, logit)| (text.to_string(), logit)).collect())
    }

    #[test]
    fn the_forms_that_people_write() {
        let lines = "{\"id\":\"unsup/9\",\"logit\":1.5}\n\n{\"id\":\"neg/3:5-10\",\"probability\":0.5}\n{\"text\":\"Oh.\",\"probability\":1}";
        let table = "probability,id\n0.5,neg/3:5-10\n";
        let of_lines = texts_of(&read("a.jsonl", lines.as_bytes()).unwrap()).unwrap();
        let expected = [("Fine. Really good.", 1.5), ("Dull.", 0.0), ("Oh.", 16.0)];
        assert_eq!(of_lines, expected.map(|(text, logit)| (text.to_string(), logit)));
        assert_eq!(texts_of(&read("a.csv", table.as_bytes()).unwrap()).unwrap(), of_lines[1..2]);
    }

    #[test]
    fn faults_are_named() {
        let fault = |name: &str, content: &str| read(name, content.as_bytes()).unwrap_err().to_string();
        assert!(
            fault("a.jsonl", "{\"id\":\"unsup/9\"}").contains("line 1: neither `logit` nor `probability`")
        );
        assert!(fault("a.jsonl", "{\"logit\":1}").contains("neither `id`, `row` nor `text`"));
        assert!(fault("a.jsonl", "{\"id\":\"unsup/9\",\"probability\":1.5}").contains("1.5"));
        let unknown = texts_of(&read("a.jsonl", b"{\"id\":\"x\",\"logit\":1}").unwrap());
        assert!(unknown.unwrap_err().to_string().contains("names no text"));
        assert!(fault("a.csv", "id,logit\nunsup/9,x\n").contains("line 2: `logit` is `x`, no number"));
        assert!(fault("a.jsonl", "\n").contains("no opinion"));
        assert!(fault("a.txt", "x").contains(".jsonl"));
        assert!(fault("a.safetensors", "x").contains("no safetensors file"));
        let absent = read("a.jsonl", b"{\"id\":\"unsup/8\",\"logit\":1}").unwrap();
        assert!(texts_of(&absent).unwrap_err().to_string().contains("no such review"));
    }

    #[test]
    fn rows_of_a_table_are_named_by_number_or_id() {
        let row = |row, id: &str, target| LabelledRow {
            text: format!("text {row}"),
            target,
            label: None,
            place: Place { file: None, line: 2 * row },
            row,
            id: Some(id.into()),
            group: None,
        };
        // The second of four rows was left out.
        let rows = [row(1, "a", Some(1.0)), row(3, "7", None), row(4, "c", Some(0.0))];
        let names = RowNames::of(&rows, 4);
        let lines = "{\"row\":1,\"logit\":1}\n{\"id\":7,\"logit\":2}\n{\"id\":\"c\",\"logit\":3}\n{\"row\":2,\"logit\":4}";
        let mut file = read("a.jsonl", lines.as_bytes()).unwrap();
        assert_eq!(file.settle(Path::new("here"), &names).unwrap(), 1);
        let found: Vec<String> = file
            .opinions
            .iter()
            .map(|opinion| match &opinion.subject {
                Subject::Known(id) => id.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(found, ["pos/1", "unsup/3", "neg/4"]);
        let mut beyond = read("a.csv", b"row,probability\n5,0.5\n").unwrap();
        let fault = beyond.settle(Path::new("here"), &names).unwrap_err().to_string();
        assert!(fault.contains("row 5: the data have 4 rows"), "{fault}");
        let mut no_table = read("a.csv", b"row,probability\n1,0.5\n").unwrap();
        assert!(no_table.settle(Path::new("here"), &RowNames::default()).is_err());
    }

    fn compact_file(texts: &str) -> Vec<u8> {
        let bytes =
            |numbers: &[u16]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let review: Vec<u8> = [12u32, 38].iter().flat_map(|number| number.to_le_bytes()).collect();
        let logit = [-1.5f32, 2.0, 0.25].map(|logit| half::f16::from_f32(logit).to_bits());
        let columns = [
            ("review", Dtype::U32, 2, review),
            ("count", Dtype::U16, 2, bytes(&[1, 2])),
            ("start", Dtype::U16, 3, bytes(&[5, 0, 6])),
            ("length", Dtype::U16, 3, bytes(&[5, 0, 12])),
            ("logit", Dtype::F16, 3, bytes(&logit)),
        ];
        let digests: String = texts.lines().map(short_digest).collect();
        let digest: String = Sha256::digest(digests).iter().map(|byte| format!("{byte:02x}")).collect();
        let views = columns
            .iter()
            .map(|(name, dtype, rows, data)| (*name, TensorView::new(*dtype, vec![*rows], data).unwrap()));
        safetensors::serialize(
            views,
            Some([("texts_sha256".to_string(), digest), ("short_scale".to_string(), "2".to_string())].into()),
        )
        .unwrap()
    }

    #[test]
    fn the_compact_form_names_texts_and_notices_others() {
        let file = read("a.safetensors", &compact_file("Dull.\nFine. Really good.\nReally good.\n")).unwrap();
        let expected = [("Dull.", -3.0), ("Fine. Really good.", 2.0), ("Really good.", 0.5)];
        assert_eq!(texts_of(&file).unwrap(), expected.map(|(text, logit)| (text.to_string(), logit)));
        let other = read("a.safetensors", &compact_file("Dull!\n")).unwrap();
        assert!(texts_of(&other).unwrap_err().to_string().contains("other texts"));
    }

    #[test]
    fn opinions_on_one_text_are_averaged() {
        let subject = |text: &str| Subject::Text(text.into());
        let (one, two) = (subject("one"), subject("two"));
        let means = mean_of_each(vec![(&one, "one", 1.0), (&two, "two", 5.0), (&one, "one", 2.0)]);
        assert_eq!(means, [(&one, "one", 1.5), (&two, "two", 5.0)]);
    }
}
