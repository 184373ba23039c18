//! Minimal pairs: made-up texts that differ in one thing, and what that should do to the probability.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::predict::Predictor;

/// The list that every model card is measured on.
const LIST: &str = include_str!("minimal_pairs.jsonl");

/// Probabilities of texts that should be judged alike may differ by so much.
const ALIKE: f32 = 0.1;

/// The probability of a text that says nothing may lie so far from one half.
pub const NEUTRAL: f32 = 0.15;

/// What is expected of the probabilities of two texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expectation {
    /// The first is the more positive one.
    #[serde(rename = "a>b")]
    Higher,
    /// They are judged alike: the same label, and probabilities no more than 0.1 apart.
    #[serde(rename = "a=b")]
    Alike,
    /// The first says nothing of the film: its probability lies within 0.15 of 0.5. There is no second.
    #[serde(rename = "a=.5")]
    Neutral,
}

/// Two texts that differ in one thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// What the texts differ in: `negation`, `intensity`, `contrast`, `names`, ...
    pub kind: String,
    /// The first text.
    pub a: String,
    /// The second text.
    pub b: String,
    /// What is expected of their probabilities.
    pub expect: Expectation,
}

/// A pair with its probabilities.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The pair.
    pub pair: Pair,
    /// The probability of each text to be positive.
    pub probabilities: [f32; 2],
}

impl Judged {
    /// Whether the probabilities are as expected of them.
    pub fn right(&self) -> bool {
        let [a, b] = self.probabilities;
        match self.pair.expect {
            Expectation::Higher => a > b,
            // Labels that differ so near one half tell nothing.
            Expectation::Alike => (a - b).abs() <= ALIKE,
            Expectation::Neutral => (a - 0.5).abs() <= NEUTRAL,
        }
    }
}

/// How a model did on the pairs of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// The kind.
    pub kind: String,
    /// Number of pairs.
    pub pairs: usize,
    /// Pairs whose probabilities are as expected.
    pub right: usize,
    /// Pairs with the first text above 0.5 and the second below; `None` where that is not what is asked.
    pub both_labels: Option<usize>,
    /// Mean of the first probability less the second.
    pub mean_difference: f64,
}

/// Reads a list of pairs, one JSON object a line; `None` for the list of the model cards.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Invalid`] naming the line that is no pair, or where there is none.
pub fn load_pairs(path: Option<&Path>) -> Result<Vec<Pair>> {
    let (name, text) = match path {
        Some(path) => (path, std::fs::read_to_string(path).map_err(Error::io(path))?),
        None => (Path::new("minimal_pairs.jsonl"), LIST.to_string()),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let pairs = lines.map(|(at, line)| {
        let fault = |reason: String| Error::invalid(name, format!("line {}: {reason}", at + 1));
        let pair: Pair = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
        if pair.a.trim().is_empty() {
            return Err(fault("`a` is empty".into()));
        }
        Ok(pair)
    });
    let pairs = pairs.collect::<Result<Vec<_>>>()?;
    if pairs.is_empty() { Err(Error::invalid(name, "holds no pair")) } else { Ok(pairs) }
}

/// Scores both texts of every pair.
///
/// # Errors
/// Those of [`Predictor::predict`].
pub fn judge(predictor: &Predictor, pairs: Vec<Pair>) -> Result<Vec<Judged>> {
    let probability = |text: &str| -> Result<f32> {
        // Where there is no second text, nothing is what the first is compared with.
        if text.is_empty() { Ok(0.5) } else { Ok(predictor.predict(text)?.probability) }
    };
    pairs
        .into_iter()
        .map(|pair| Ok(Judged { probabilities: [probability(&pair.a)?, probability(&pair.b)?], pair }))
        .collect()
}

/// The figures of each kind, in the order of their first pair.
pub fn behaviour(judged: &[Judged]) -> Vec<Behaviour> {
    let mut kinds: Vec<&str> = Vec::new();
    for Judged { pair, .. } in judged {
        if !kinds.contains(&pair.kind.as_str()) {
            kinds.push(&pair.kind);
        }
    }
    let of = |kind: &str| {
        let pairs: Vec<&Judged> = judged.iter().filter(|judged| judged.pair.kind == kind).collect();
        let count = |test: fn(&Judged) -> bool| pairs.iter().filter(|judged| test(judged)).count();
        let sum: f64 = pairs.iter().map(|j| f64::from(j.probabilities[0] - j.probabilities[1])).sum();
        // Degrees of praise or blame may stand on one side of the border.
        let sided = kind.starts_with("negation") || kind == "contrast";
        Behaviour {
            kind: kind.into(),
            pairs: pairs.len(),
            right: count(Judged::right),
            both_labels: sided.then(|| count(|j| j.probabilities[0] >= 0.5 && j.probabilities[1] < 0.5)),
            mean_difference: (sum / pairs.len() as f64 * 1e4).round() / 1e4,
        }
    };
    kinds.into_iter().map(of).collect()
}

/// The figures as a Markdown table.
pub fn table(behaviours: &[Behaviour]) -> String {
    let mut text = String::from(
        "| pairs | number | as expected | both labels right | mean difference |\n|---|---|---|---|---|\n",
    );
    for b in behaviours {
        let labels = b.both_labels.map_or("-".into(), |count| count.to_string());
        let _ = writeln!(
            text,
            "| {} | {} | {} ({:.0} %) | {labels} | {:+.3} |",
            b.kind,
            b.pairs,
            b.right,
            100.0 * b.right as f64 / b.pairs as f64,
            b.mean_difference
        );
    }
    text
}

/// The pairs that are not as expected, one a line.
pub fn failures(judged: &[Judged]) -> String {
    let wrong = judged.iter().filter(|judged| !judged.right());
    wrong
        .map(|Judged { pair, probabilities: [a, b] }| {
            format!("{}: {a:.2} {}  |  {b:.2} {}\n", pair.kind, pair.a, pair.b)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(kind: &str, expect: Expectation, a: f32, b: f32) -> Judged {
        let pair = Pair { kind: kind.into(), a: "a".into(), b: "b".into(), expect };
        Judged { pair, probabilities: [a, b] }
    }

    #[test]
    fn the_list_is_whole_and_without_repetition() {
        let pairs = load_pairs(None).unwrap();
        assert!(pairs.len() >= 200);
        let kinds = behaviour(&pairs.iter().map(|p| judged(&p.kind, p.expect, 0.5, 0.5)).collect::<Vec<_>>());
        let names: Vec<&str> = kinds.iter().map(|behaviour| behaviour.kind.as_str()).collect();
        let expected = [
            ["negation", "negation, hard", "intensity", "contrast", "names", "places"].as_slice(),
            &["people", "groups", "nationalities", "genders", "no opinion"],
        ];
        assert_eq!(names, expected.concat());
        assert_eq!(kinds.iter().find(|kind| kind.kind == "no opinion").unwrap().pairs, 200);
        for (at, pair) in pairs.iter().enumerate() {
            assert_ne!(pair.a, pair.b);
            assert!(!pairs[..at].iter().any(|other| (&other.a, &other.b) == (&pair.a, &pair.b)), "{pair:?}");
        }
    }

    #[test]
    fn order_labels_and_likeness_are_counted() {
        use Expectation::{Alike, Higher, Neutral};
        let all = [
            judged("negation", Higher, 0.9, 0.2),
            judged("negation", Higher, 0.9, 0.7),
            judged("negation", Higher, 0.3, 0.4),
            judged("names", Alike, 0.55, 0.6),
            judged("names", Alike, 0.49, 0.51),
            judged("names", Alike, 0.9, 0.7),
            judged("no opinion", Neutral, 0.36, 0.5),
            judged("no opinion", Neutral, 0.7, 0.5),
        ];
        let [negation, names, no_opinion] = &behaviour(&all)[..] else { panic!() };
        assert_eq!((negation.right, negation.both_labels), (2, Some(1)));
        assert_eq!((names.pairs, names.right, names.both_labels), (3, 2, None));
        assert_eq!((no_opinion.right, no_opinion.both_labels), (1, None));
        assert!((negation.mean_difference - 0.2667).abs() < 1e-6);
        assert!(table(&behaviour(&all)).contains("| negation | 3 | 2 (67 %) | 1 | +0.267 |"));
        assert_eq!(failures(&all).lines().count(), 3);
    }

    #[test]
    fn a_line_that_is_no_pair_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "\n{\"kind\": \"x\", \"a\": \"1\", \"b\": \"2\"}\n").unwrap();
        let fault = load_pairs(Some(file.path())).unwrap_err().to_string();
        assert!(fault.contains("line 2") && fault.contains("expect"), "{fault}");
        let told = |text: &str| {
            std::fs::write(&file, text).unwrap();
            load_pairs(Some(file.path())).map_err(|fault| fault.to_string())
        };
        let pair = r#"{"kind": "x", "a": "A", "b": "b", "expect": "a>b"}"#;
        assert_eq!(told(&format!("\u{feff}{pair}\n")).unwrap().len(), 1);
        assert!(told(&pair.replace('A', "")).unwrap_err().contains("line 1: `a` is empty"));
        assert!(told("\n").unwrap_err().contains("holds no pair"));
    }
}
