//! Which column is the text, which the label: by the names that people give them, or as they are told.

use std::collections::{HashMap, HashSet};

use super::args::ReadArgs;

/// More columns than any table has; a spreadsheet has that many.
pub const MOST_COLUMNS: usize = 16_384;

/// What columns of texts are called.
const TEXT: [&str; 17] = [
    "text",
    "review",
    "reviews",
    "sentence",
    "content",
    "reviewtext",
    "review_text",
    "review_body",
    "review_content",
    "body",
    "comment",
    "comments",
    "tweet",
    "phrase",
    "message",
    "document",
    "review text",
];

/// What columns of labels are called.
const LABEL: [&str; 16] = [
    "label",
    "labels",
    "sentiment",
    "polarity",
    "stars",
    "star",
    "rating",
    "ratings",
    "overall",
    "score",
    "star_rating",
    "review_rating",
    "class",
    "target",
    "review_score",
    "sentiment_label",
];

/// What rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Fields under a header.
    Table,
    /// Objects, which may hold others.
    Nested,
}

/// The columns of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// All of them, in order; empty where rows are texts and nothing else.
    pub names: Vec<String>,
    /// The column of the text.
    pub text: String,
    /// The column of the label, or why none can be told among several.
    pub label: Result<Option<String>, String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self { names: Vec::new(), text: String::new(), label: Ok(None) }
    }
}

/// Whether `name` is a usual one for a text.
pub fn is_text(name: &str) -> bool {
    TEXT.contains(&name.trim().to_lowercase().as_str())
}

impl Columns {
    /// Chooses among `found`, of which those that stand there again are called `name.2`, `name.3` from here on.
    ///
    /// # Errors
    /// The reason in words, with the names that were found and the flag that decides.
    pub fn choose(found: Vec<String>, args: &ReadArgs, shape: Shape) -> Result<Self, String> {
        if found.len() > MOST_COLUMNS {
            return Err(format!("its first row has more than {MOST_COLUMNS} fields: is it a table?"));
        }
        let names = distinct(&found);
        let told = |wanted: &str, flag: &str| {
            let by_number = || names.get(wanted.parse::<usize>().ok()?.checked_sub(1)?);
            let found = names.iter().find(|name| name.trim() == wanted.trim());
            let found =
                found.or_else(|| names.iter().find(|name| name.trim().eq_ignore_ascii_case(wanted.trim())));
            // A member of a member: `review.text`.
            let inside = || {
                let (outer, _) = wanted.split_once('.').filter(|_| shape == Shape::Nested)?;
                names.iter().any(|name| name == outer).then(|| wanted.to_string())
            };
            found.or_else(by_number).cloned().or_else(inside).ok_or_else(|| {
                format!("has no column `{}` ({flag}); its columns are {}", short(wanted), list(&names))
            })
        };
        let usual = |known: &[&str]| -> Vec<&String> {
            let known = |name: &str| known.contains(&name.trim().to_lowercase().as_str());
            names.iter().zip(&found).filter(|(_, found)| known(found)).map(|(name, _)| name).collect()
        };
        let text = match (&args.text_column, usual(&TEXT).as_slice()) {
            (Some(wanted), _) => told(wanted, "--text-column")?,
            (None, [one]) => one.to_string(),
            (None, []) if args.no_header && names.len() == 1 => names[0].clone(),
            (None, []) => {
                let hint = match shape {
                    Shape::Table if !args.no_header => ", --no-header says that the first row is none",
                    _ => "",
                };
                return Err(format!(
                    "no column has a usual name of a text (text, review, sentence, content …); its columns are {}; \
                     --text-column names one{hint}",
                    list(&names)
                ));
            }
            (None, several) => {
                let several: Vec<String> = several.iter().map(|name| name.to_string()).collect();
                return Err(format!("{} may each be the text; --text-column names one", list(&several)));
            }
        };
        let label = match (&args.label_column, usual(&LABEL).as_slice()) {
            (Some(wanted), _) => Ok(Some(told(wanted, "--label-column")?)),
            (None, []) => Ok(None),
            (None, [one]) => Ok(Some(one.to_string())),
            (None, several) => {
                let several: Vec<String> = several.iter().map(|name| name.to_string()).collect();
                Err(format!("{} may each be the label; --label-column names one", list(&several)))
            }
        };
        Ok(Self { names, text, label })
    }

    /// The column of the label, where one can be told.
    pub fn label(&self) -> Option<&str> {
        self.label.as_ref().ok()?.as_deref()
    }

    /// What was taken for what.
    pub fn taken(&self) -> String {
        let label = self.label().map_or(String::new(), |label| format!(", label from `{}`", short(label)));
        format!("text from `{}`{label}", short(&self.text))
    }
}

/// `names`, a second one of the same name with its number behind it.
fn distinct(names: &[String]) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    // How often each name was met.
    let mut met: HashMap<&str, usize> = HashMap::new();
    let name = |name| {
        let count = met.entry(name).or_default();
        *count += 1;
        if *count == 1 {
            return name.to_string();
        }
        // From where the last search ended: a header of a thousand equal names takes no million looks.
        loop {
            let free = format!("{name}.{count}");
            if taken.insert(free.clone()) {
                return free;
            }
            *count += 1;
        }
    };
    names.iter().map(String::as_str).map(name).collect()
}

/// A name, printable and short.
pub fn short(name: &str) -> String {
    let cut: String = name.chars().take(40).collect();
    let more = if cut.len() < name.len() { "…" } else { "" };
    format!("{}{more}", cut.escape_debug())
}

/// Names, printable and few.
pub fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(12).map(|name| format!("`{}`", short(name))).collect();
    if names.len() > 12 {
        shown.push(format!("{} more", names.len() - 12));
    }
    shown.join(", ")
}
