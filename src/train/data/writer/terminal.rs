//! Explained texts for people at a terminal: words in colour, the strongest of them in figures.

use std::fmt::Write;
use std::io::IsTerminal;

use anstream::{AutoStream, ColorChoice};
use anstyle::{Ansi256Color, Style};

use super::layout::Answered;
use crate::predict::{Details, Prediction, WordWeight};

/// Words of either side that are named with their weights.
const NAMED: usize = 5;
/// Shares of the strongest weight from which on a word is coloured a little, plainly and strongly.
const STEPS: [f32; 3] = [0.12, 0.3, 0.6];
/// Backgrounds by these steps: blue speaks for positive, orange for negative, which colour-blind people tell apart.
const POSITIVE: [u8; 3] = [153, 75, 27];
const NEGATIVE: [u8; 3] = [223, 215, 208];
/// Letters on these backgrounds.
const INK: u8 = 16;

/// Whether answers to standard output are for people: at a terminal, or where colours are asked for whatever it is
/// (`CLICOLOR_FORCE`); and whether they may have colours (`NO_COLOR`, `TERM`).
pub fn wanted() -> Option<bool> {
    let out = std::io::stdout();
    let choice = AutoStream::choice(&out);
    let people = out.is_terminal() || matches!(choice, ColorChoice::Always | ColorChoice::AlwaysAnsi);
    people.then_some(choice != ColorChoice::Never)
}

/// What the colours mean, said once.
pub fn legend(colour: bool) -> String {
    let mut text = String::new();
    if colour {
        let _ = write!(
            text,
            "{} {}  the stronger the colour, the more a word moves the verdict; dotted: not in the vocabulary\n\n",
            painted("for positive", background(POSITIVE[1])),
            painted("for negative", background(NEGATIVE[1]))
        );
    }
    text
}

/// Rows as people read them.
pub fn rows(rows: &[Answered], colour: bool) -> Vec<u8> {
    let mut out = String::new();
    for Answered { row, answer, details } in rows {
        match (&row.text, answer, details) {
            (Ok(text), Ok(said), Some(details)) => {
                let _ = writeln!(out, "{}  line {}", bold(&verdict(said), colour), row.line);
                explained(&mut out, text, details, colour);
            }
            (_, Err(reason), _) => {
                let _ = writeln!(out, "{}", printable(reason));
            }
            _ => {}
        }
        out.push('\n');
    }
    out.into_bytes()
}

fn explained(out: &mut String, text: &str, details: &Details, colour: bool) {
    let strongest = details.words.iter().map(|word| word.weight.abs()).fold(0.0, f32::max);
    let stretch = |from: usize, to: usize| match colour {
        true => coloured(text, from..to, &details.words, strongest),
        false => printable(&text[from..to]),
    };
    if details.sentences.is_empty() {
        let _ = writeln!(out, "{}", stretch(0, text.len()).trim_end());
    }
    for (range, said) in &details.sentences {
        let _ = writeln!(out, "  {}  {}", verdict(said), stretch(range.start, range.end).trim());
    }
    if details.mixed() {
        out.push_str("  its sentences disagree\n");
    }
    for (name, side) in [("for", 1.0), ("against", -1.0)] {
        let words = strongest_of(text, &details.words, side);
        if !words.is_empty() {
            let _ = writeln!(out, "  {name:<8}{}", words.join(", "));
        }
    }
    if !details.trajectory.is_empty() {
        let points: Vec<String> =
            details.trajectory.iter().map(|(_, said)| format!("{:.2}", said.probability)).collect();
        let _ = writeln!(out, "  positive after each sentence: {}", points.join(" "));
    }
}

/// The words with the largest weights on one side; a word that stands there twice counts as often.
fn strongest_of(text: &str, words: &[WordWeight], side: f32) -> Vec<String> {
    let mut sums: Vec<(String, f32)> = Vec::new();
    for word in words {
        let name = printable(&text[word.range.clone()]).to_lowercase();
        match sums.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += word.weight,
            None => sums.push((name, word.weight)),
        }
    }
    sums.retain(|(_, sum)| side * sum >= 0.005);
    sums.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    sums.truncate(NAMED);
    sums.into_iter().map(|(name, sum)| format!("{name} {sum:+.2}")).collect()
}

/// A stretch of `text` with its words in colour.
fn coloured(text: &str, range: std::ops::Range<usize>, words: &[WordWeight], strongest: f32) -> String {
    let (mut out, mut at) = (String::new(), range.start);
    let within = |word: &&WordWeight| word.range.start >= range.start && word.range.end <= range.end;
    for word in words.iter().filter(within) {
        // Words come in order; where one reaches into the next, the rest of it is shown.
        let start = word.range.start.max(at);
        out += &printable(&text[at..start]);
        let shown = printable(&text[start..word.range.end.max(start)]);
        let share = word.weight.abs() / strongest.max(1e-6);
        let step = STEPS.iter().rposition(|&from| share >= from);
        let colours = if word.weight > 0.0 { POSITIVE } else { NEGATIVE };
        let mut style = step.map_or(Style::new(), |step| background(colours[step]));
        if step == Some(STEPS.len() - 1) {
            style = style.bold();
        }
        if !word.known {
            style = style.effects(style.get_effects() | anstyle::Effects::DOTTED_UNDERLINE);
        }
        out += &painted(&shown, style);
        at = word.range.end.max(start);
    }
    out + &printable(&text[at..range.end.max(at)])
}

fn background(colour: u8) -> Style {
    Style::new().bg_color(Some(Ansi256Color(colour).into())).fg_color(Some(Ansi256Color(INK).into()))
}

fn painted(text: &str, style: Style) -> String {
    format!("{style}{text}{style:#}")
}

fn bold(text: &str, colour: bool) -> String {
    if colour { painted(text, Style::new().bold()) } else { text.to_string() }
}

fn verdict(said: &Prediction) -> String {
    format!("{:<9} {:>5.1} %", said.label().as_str(), 100.0 * said.score())
}

/// What a terminal can show: a text may hold what would be taken for a command.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, word: &str, weight: f32) -> WordWeight {
        let start = text.find(word).unwrap();
        WordWeight { range: start..start + word.len(), weight, known: weight != 0.5 }
    }

    #[test]
    fn words_are_coloured_by_their_share_of_the_strongest() {
        let text = "good but \u{1b}[2Jdull, oddly";
        let words = [word(text, "good", 0.4), word(text, "dull", -1.0), word(text, "oddly", 0.5)];
        let shown = coloured(text, 0..text.len(), &words, 1.0);
        assert!(!shown.contains("\u{1b}[2J") && shown.contains("but  [2J"), "{shown:?}");
        assert!(shown.contains("\u{1b}[1m\u{1b}[38;5;16m\u{1b}[48;5;208mdull\u{1b}[0m"), "{shown:?}");
        assert!(shown.contains("48;5;75mgood"), "{shown:?}");
        assert_eq!(strongest_of(text, &words, -1.0), ["dull -1.00"]);
        assert_eq!(strongest_of(text, &words, 1.0), ["oddly +0.50", "good +0.40"]);
        let no_words = coloured(text, 0..4, &[], 1.0);
        assert_eq!(no_words, "good");
    }
}
