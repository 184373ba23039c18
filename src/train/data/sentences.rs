//! Made-up sentences to learn from beside the reviews: what a word is worth beside a negation, a degree or a "but",
//! what signs and ratings say, and what says nothing.
//!
//! Whole reviews hardly tell: "boring" is blame in most reviews that hold "never boring" too. `sentences.toml` is the
//! grammar and says how it is read.

use std::collections::{BTreeMap, HashSet};

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::Deserialize;

use crate::error::Result;
use crate::model::Config;
use crate::predict::encode_tail;
use crate::text::Vocabulary;
use crate::train::data::example::Example;
use crate::train::data::minimal_pairs;
use crate::train::random::{Stream, stream_rng};

const GRAMMAR: &str = include_str!("sentences.toml");

/// Sentences that a run draws from: enough that none is met often.
const SENTENCES: usize = 200_000;

/// Share of the sentences that have a lead before them.
const LEADS: f64 = 0.25;

/// Texts with slots, the words that fill them, and what each text says of the film.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grammar {
    leads: Vec<String>,
    ends: Vec<String>,
    words: BTreeMap<String, Vec<String>>,
    #[serde(rename = "sentences")]
    groups: Vec<Group>,
}

/// Texts that say the same of a film.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    target: f32,
    texts: Vec<String>,
}

/// A sentence from the grammar.
#[derive(Debug, PartialEq)]
struct Drawn {
    text: String,
    /// The text without lead and end.
    bare: String,
    target: f32,
}

impl Grammar {
    fn built_in() -> Self {
        toml::from_str(GRAMMAR).expect("a test reads it")
    }

    /// Every text with its target.
    fn texts(&self) -> Vec<(&str, f32)> {
        self.groups
            .iter()
            .flat_map(|group| group.texts.iter().map(|text| (text.as_str(), group.target)))
            .collect()
    }

    /// A sentence from one of `texts`.
    fn draw(&self, texts: &[(&str, f32)], rng: &mut impl Rng) -> Drawn {
        let &(text, target) = pick(texts, rng);
        let (mut lead, mut body) = (String::new(), String::new());
        if rng.random_bool(LEADS) {
            self.fill(pick::<String>(&self.leads, rng), &mut lead, rng);
        }
        self.fill(text, &mut body, rng);
        // A question ends in its own mark.
        let end = if body.ends_with('?') { "" } else { pick::<String>(&self.ends, rng) };
        Drawn { text: tidy(&format!("{lead} {body} {end}")), bare: tidy(&body), target }
    }

    /// Appends `text` to `sentence` with its slots filled.
    fn fill(&self, text: &str, sentence: &mut String, rng: &mut impl Rng) {
        for (at, part) in text.split(['{', '}']).enumerate() {
            match at % 2 {
                0 => sentence.push_str(part),
                _ => self.fill(pick::<String>(&self.words[part], rng), sentence, rng),
            }
        }
    }
}

fn pick<'l, T>(list: &'l [T], rng: &mut impl Rng) -> &'l T {
    list.choose(rng).expect("no list of the grammar is empty")
}

/// One space between words, none before a mark; `is n't` in one word; `an` before a vowel.
fn tidy(sentence: &str) -> String {
    let mut tidied = String::with_capacity(sentence.len());
    let mut words = sentence.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let joined = word == "n't" || word.starts_with([',', ';', ':', '.', '!']);
        if !(tidied.is_empty() || joined) {
            tidied.push(' ');
        }
        let vowel = |next: &&str| next.starts_with(['a', 'e', 'i', 'o', 'u']) || next.starts_with("honest");
        tidied += if word == "a" && words.peek().is_some_and(vowel) { "an" } else { word };
    }
    tidied
}

/// The sentences of a run under `seed` with their targets; none of the minimal pairs' texts is among them.
///
/// # Errors
/// Those of [`minimal_pairs::load_pairs`].
pub fn sentences(seed: u64, config: &Config, vocabulary: &Vocabulary) -> Result<Vec<Example>> {
    let grammar = Grammar::built_in();
    let bare = |text: &str| text.to_lowercase().trim_end_matches(['.', '!']).to_string();
    let pairs = minimal_pairs::load_pairs(None)?;
    let held_out: HashSet<String> = pairs.iter().flat_map(|pair| [bare(&pair.a), bare(&pair.b)]).collect();
    let (texts, mut rng) = (grammar.texts(), stream_rng(seed, Stream::Sentences, 0));
    let drawn = (0..SENTENCES).map(|_| grammar.draw(&texts, &mut rng));
    let kept = drawn.filter(|sentence| !held_out.contains(&sentence.bare));
    let encoded = kept.map(|Drawn { text, target, .. }| Example {
        ids: encode_tail(&text, config, vocabulary),
        target,
        weight: 1.0,
        logit_offset: 0.0,
    });
    Ok(encoded.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_its_words_and_no_list_is_empty() {
        let grammar = Grammar::built_in();
        let lists = grammar.words.values().chain([&grammar.leads, &grammar.ends]);
        assert!(lists.clone().all(|list| !list.is_empty()));
        let texts = grammar.groups.iter().flat_map(|group| &group.texts).chain(lists.flatten());
        let mut used = HashSet::new();
        for text in texts {
            let parts: Vec<&str> = text.split(['{', '}']).collect();
            assert!(parts.len() % 2 == 1, "{text}");
            for slot in parts.iter().skip(1).step_by(2) {
                assert!(grammar.words.contains_key(*slot), "{text}: no list {slot}");
                used.insert(slot.to_string());
            }
        }
        let unused: Vec<&String> = grammar.words.keys().filter(|list| !used.contains(*list)).collect();
        assert!(unused.is_empty(), "{unused:?}");
        assert!(grammar.groups.iter().all(|group| (0.0..=1.0).contains(&group.target)));
    }

    #[test]
    fn praise_and_blame_are_drawn_alike() {
        let grammar = Grammar::built_in();
        let (texts, mut rng) = (grammar.texts(), stream_rng(1, Stream::Sentences, 0));
        let mean =
            (0..20_000).map(|_| f64::from(grammar.draw(&texts, &mut rng).target)).sum::<f64>() / 20_000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn a_sentence_is_tidied() {
        assert_eq!(tidy("it is n't a awful  film , is it ?"), "it isn't an awful film, is it ?");
        assert_eq!(tidy("a honest , a uninspired one  "), "an honest, an uninspired one");
    }

    #[test]
    fn a_seed_draws_its_own_sentences_and_none_of_the_pairs() {
        let grammar = Grammar::built_in();
        let texts = grammar.texts();
        let draw = |seed| grammar.draw(&texts, &mut stream_rng(seed, Stream::Sentences, 0));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let vocabulary = Vocabulary::from_words(["it", "is", "not", "good", "."]).unwrap();
        let config = Config { tokenizer: crate::text::Scheme::Words, ..Config::keras_imdb() };
        let some = sentences(1, &config, &vocabulary).unwrap();
        assert!(some.len() > SENTENCES * 9 / 10);
        let not_good = encode_tail("It is not good.", &config, &vocabulary);
        assert!(!some.iter().any(|example| example.ids == not_good && example.target > 0.5));
    }
}
