//! What is written of a row and its answer, cell by cell.

use std::borrow::Cow;

use indexmap::IndexSet;
use serde_json::value::RawValue;

use super::explained::{self, ExplainArgs};
use crate::error::{Error, Result, printable};
use crate::predict::{Details, DetailsWanted, Offsets, Prediction};
use crate::train::data::reader::{Columns, Fields, Outline, Row};

/// What an answer holds, by the names that the server gives it; `probabilities` is one object in JSON.
pub const ANSWER: [&str; 12] = [
    "label",
    "score",
    "probabilities.negative",
    "probabilities.positive",
    "tokens",
    "unknown_tokens",
    "truncated",
    "words",
    "sentences",
    "mixed",
    "trajectory",
    "error",
];

/// Which columns are written.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Writing")]
pub struct WriteArgs {
    /// Columns of the input that are written back, comma-separated; all of them otherwise, `none` for none.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub keep_columns: Option<Vec<String>>,
    /// Columns of the answer that are written, comma-separated: label, score, probabilities, tokens, unknown_tokens,
    /// truncated, error; all of them otherwise.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',')]
    pub columns: Option<Vec<String>>,
    #[command(flatten)]
    pub explain: ExplainArgs,
}

/// A row with its answer.
pub struct Answered {
    /// The row.
    pub row: Row,
    /// The prediction, or why there is none.
    pub answer: Result<Prediction, String>,
    /// What was asked for besides the verdict.
    pub details: Option<Details>,
}

/// A value of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'c> {
    /// Nothing.
    Empty,
    /// A text.
    Text(Cow<'c, str>),
    /// A value as JSON has it.
    Json(Cow<'c, str>),
    /// A single number.
    Float(f32),
    /// A count.
    Count(usize),
    /// Yes or no.
    Flag(bool),
}

/// What is written of each row, settled before the first.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The columns of the input that are kept, with the names under which they are written.
    pub(super) kept: Vec<(String, String)>,
    /// The columns that were known before the first row was written.
    known: IndexSet<String>,
    /// Whether everything that a row holds is kept, also what was not known.
    keeps_all: bool,
    /// The columns of the answer, as places in [`ANSWER`].
    pub(super) answer: Vec<usize>,
    /// In what offsets count.
    pub(super) offsets: Offsets,
}

/// Whether `column` of [`ANSWER`] is there with what is asked for besides the verdict.
fn is_there(column: &str, DetailsWanted { words, sentences, trajectory }: DetailsWanted) -> bool {
    match column {
        "words" => words,
        "sentences" | "mixed" => sentences,
        "trajectory" => trajectory,
        _ => true,
    }
}

/// Whether a column of [`ANSWER`] is called `name`, by itself or as a part of what is.
fn is_called(at: usize, name: &str) -> bool {
    ANSWER[at] == name || ANSWER[at].split('.').next() == Some(name)
}

/// Whether answers have a column `name`.
pub fn is_of_answer(name: &str) -> bool {
    (0..ANSWER.len()).any(|at| is_called(at, name))
}

/// The name under which the input's column `name` is written: another one where the answer has it, or `taken` says that
/// another column does.
fn free_name(answer: &[usize], name: &str, taken: impl Fn(&str) -> bool) -> String {
    let name =
        if answer.iter().any(|at| is_called(*at, name)) { format!("input.{name}") } else { name.to_string() };
    let numbered = (2..).map(|number| format!("{name}.{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|free| !taken(free)).expect("there is no last number")
}

impl Layout {
    pub(super) fn new(args: &WriteArgs, outline: &Outline) -> Result<Self> {
        let there = |at: &usize| is_there(ANSWER[*at], args.explain.wanted());
        let mut answer: Vec<usize> = (0..ANSWER.len()).filter(there).collect();
        if let Some(wanted) = &args.columns {
            answer.clear();
            for name in wanted {
                let named = |at: &usize| is_called(*at, name);
                let found: Vec<usize> = (0..ANSWER.len()).filter(named).filter(there).collect();
                let new: Vec<usize> = found.iter().copied().filter(|at| !answer.contains(at)).collect();
                answer.extend(new);
                if found.is_empty() {
                    let has: Vec<&str> = (0..ANSWER.len()).filter(there).map(|at| ANSWER[at]).collect();
                    let reason = match ANSWER.contains(&name.as_str()) {
                        true => format!("`{name}` comes with --explain, --sentences or --trajectory"),
                        false => format!("an answer has no `{}`; it has {}", printable(name), has.join(", ")),
                    };
                    return Err(Error::setting("columns", reason));
                }
            }
        }
        let kept: IndexSet<String> = match &args.keep_columns {
            None => outline.names.clone(),
            Some(wanted) if wanted.len() == 1 && wanted[0] == "none" => IndexSet::new(),
            Some(wanted) => {
                let missing = wanted.iter().find(|wanted| !outline.names.contains(*wanted));
                if let Some(missing) = missing.filter(|_| !outline.open) {
                    return Err(Error::setting(
                        "keep-columns",
                        format!("the input has no column `{}`", printable(missing)),
                    ));
                }
                wanted.iter().cloned().collect()
            }
        };
        let written = |name: &String| {
            let other = |free: &str| free != name && kept.contains(free);
            (name.clone(), free_name(&answer, name, other))
        };
        Ok(Self {
            kept: kept.iter().map(written).collect(),
            known: outline.names.clone(),
            keeps_all: args.keep_columns.is_none(),
            answer,
            offsets: args.explain.offsets,
        })
    }

    /// The names of all columns, in order.
    pub(super) fn names(&self) -> Vec<&str> {
        let kept = self.kept.iter().map(|(_, name)| name.as_str());
        kept.chain(self.answer.iter().map(|at| ANSWER[*at])).collect()
    }

    /// The members of a row that are kept and were not known before the first row was written.
    pub(super) fn late<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = (&'r str, &'r RawValue)> {
        let object = match &row.fields {
            Fields::Object(object) if self.keeps_all => Some(object),
            _ => None,
        };
        let members = object.into_iter().flatten().map(|(name, value)| (name.as_str(), &**value));
        members.filter(|(name, _)| !self.known.contains(*name))
    }

    /// The name under which such a member is written.
    pub(super) fn late_name(&self, row: &Row, name: &str) -> String {
        free_name(&self.answer, name, |free| {
            let member = || match &row.fields {
                Fields::Object(object) => free != name && object.contains_key(free),
                _ => false,
            };
            self.kept.iter().any(|(_, written)| written == free) || member()
        })
    }

    /// The cells of the input's columns in a row that was read with `columns`.
    pub(super) fn kept<'r>(&'r self, row: &'r Row, columns: &'r Columns) -> impl Iterator<Item = Cell<'r>> {
        let places: Vec<Option<usize>> = match &row.fields {
            Fields::Record(_) => {
                let place = |name: &String| columns.names.iter().position(|column| column == name);
                self.kept.iter().map(|(name, _)| place(name)).collect()
            }
            _ => vec![None; self.kept.len()],
        };
        // Where a row is a text and nothing else.
        let text = if columns.names.is_empty() { "text" } else { columns.text.as_str() };
        self.kept.iter().zip(places).map(move |((name, _), place)| match &row.fields {
            Fields::Record(record) => {
                place.and_then(|at| record.get(at)).map_or(Cell::Empty, |field| Cell::Text(field.into()))
            }
            Fields::Object(object) => {
                object.get(name).map_or(Cell::Empty, |value| Cell::Json(value.get().into()))
            }
            Fields::None if name == text => {
                row.text.as_ref().map_or(Cell::Empty, |text| Cell::Text(text.into()))
            }
            Fields::None => Cell::Empty,
        })
    }

    /// The cells of the answer.
    pub(super) fn answer<'r>(&'r self, answered: &'r Answered) -> impl Iterator<Item = Cell<'r>> {
        self.answer.iter().map(|at| match &answered.answer {
            Err(reason) if ANSWER[*at] == "error" => Cell::Text(reason.as_str().into()),
            Err(_) => Cell::Empty,
            Ok(prediction) => {
                let positive = prediction.probability;
                match ANSWER[*at] {
                    "label" => Cell::Text(prediction.label().as_str().into()),
                    "score" => Cell::Float(positive.max(1.0 - positive)),
                    "probabilities.negative" => Cell::Float(1.0 - positive),
                    "probabilities.positive" => Cell::Float(positive),
                    "tokens" => Cell::Count(prediction.tokens),
                    "unknown_tokens" => Cell::Count(prediction.unknown_tokens),
                    "truncated" => Cell::Flag(prediction.dropped_tokens > 0),
                    name => self.detail(answered, name),
                }
            }
        })
    }

    /// What is called `name` of what is said besides the verdict.
    fn detail<'r>(&self, answered: &'r Answered, name: &str) -> Cell<'r> {
        let (Ok(text), Some(details)) = (&answered.row.text, &answered.details) else { return Cell::Empty };
        match name {
            "words" => Cell::Json(explained::words(text, details, self.offsets).into()),
            "sentences" => Cell::Json(explained::sentences(text, details, self.offsets).into()),
            "mixed" => Cell::Flag(details.mixed()),
            "trajectory" => Cell::Json(explained::trajectory(text, details, self.offsets).into()),
            _ => Cell::Empty,
        }
    }
}
