//! What is said of a text besides its verdict, as JSON by the server's names.

use serde::Serialize;

use crate::predict::{Details, DetailsWanted, OffsetTable, Offsets, Prediction};

/// What is written besides the verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Explaining")]
pub struct ExplainArgs {
    /// Say what each word does: coloured on a terminal, `words` in JSON lines.
    #[arg(long)]
    pub explain: bool,
    /// Judge each sentence by itself: `sentences`, and `mixed` where sure ones disagree.
    #[arg(long)]
    pub sentences: bool,
    /// Say what the verdict would be if the text ended after each sentence: `trajectory`.
    #[arg(long)]
    pub trajectory: bool,
    /// In what `start` and `end` count: utf8 (bytes), utf16 (units) or codepoints.
    #[arg(long, value_name = "UNIT", default_value = "codepoints", value_parser = offsets)]
    pub offsets: Offsets,
}

fn offsets(text: &str) -> Result<Offsets, String> {
    match text {
        "utf8" => Ok(Offsets::Utf8),
        "utf16" => Ok(Offsets::Utf16),
        "codepoints" => Ok(Offsets::Codepoints),
        _ => Err("expected utf8, utf16 or codepoints".into()),
    }
}

impl ExplainArgs {
    /// What is asked for.
    pub fn wanted(self) -> DetailsWanted {
        DetailsWanted { words: self.explain, sentences: self.sentences, trajectory: self.trajectory }
    }
}

#[derive(Serialize)]
struct Word<'t> {
    start: usize,
    end: usize,
    text: &'t str,
    weight: f32,
    known: bool,
}

#[derive(Serialize)]
struct Probabilities {
    negative: f32,
    positive: f32,
}

#[derive(Serialize)]
struct Sentence {
    start: usize,
    end: usize,
    label: &'static str,
    score: f32,
    probabilities: Probabilities,
}

#[derive(Serialize)]
struct Point {
    end: usize,
    positive: f32,
}

/// `words` of a text.
pub fn words(text: &str, details: &Details, offsets: Offsets) -> String {
    let place = OffsetTable::new(text, offsets);
    let words = details.words.iter().map(|word| {
        let range = place.range(&word.range);
        let text = &text[word.range.clone()];
        Word { start: range.start, end: range.end, text, weight: word.weight, known: word.known }
    });
    json(&words.collect::<Vec<_>>())
}

/// `sentences` of a text.
pub fn sentences(text: &str, details: &Details, offsets: Offsets) -> String {
    let place = OffsetTable::new(text, offsets);
    let sentences = details.sentences.iter().map(|(range, said)| {
        let (range, Prediction { probability, .. }) = (place.range(range), said);
        Sentence {
            start: range.start,
            end: range.end,
            label: said.label().as_str(),
            score: said.score(),
            probabilities: Probabilities { negative: 1.0 - probability, positive: *probability },
        }
    });
    json(&sentences.collect::<Vec<_>>())
}

/// `trajectory` of a text.
pub fn trajectory(text: &str, details: &Details, offsets: Offsets) -> String {
    let place = OffsetTable::new(text, offsets);
    let point = |(end, said): &(usize, Prediction)| Point { end: place.of(*end), positive: said.probability };
    json(&details.trajectory.iter().map(point).collect::<Vec<_>>())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("plain data")
}
