//! The vocabulary counted from reviews.

use std::collections::HashMap;

use super::pieces::{LETTER_PIECES, learn_pieces};
use crate::error::{Error, Result};
use crate::text::{SPECIAL_WORDS, Scheme, Tokenizer, Vocabulary, class_tokens};

/// The most frequent words of `texts`, at most as many as `vocab_size` ids hold; words of equal count stand in
/// alphabetical order (by their bytes).
///
/// # Errors
/// As [`Vocabulary::from_words`]; [`Error::Setting`] where `vocab_size` leaves no room for what the scheme needs.
pub fn count_vocabulary<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    scheme: Scheme,
    vocab_size: usize,
) -> Result<Vocabulary> {
    let tokenizer = Tokenizer::new(scheme);
    let mut counts: HashMap<String, u64> = HashMap::new();
    for text in texts {
        tokenizer.for_each(text, |token| {
            // Most words have been met before, and then no new string is made.
            if let Some(count) = counts.get_mut(token.word) {
                *count += 1;
            } else {
                counts.insert(token.word.to_string(), 1);
            }
        });
    }
    // A carriage return at a word's end would be lost with the line's end in vocab.txt.
    let mut counts: Vec<(String, u64)> =
        counts.into_iter().filter(|(word, _)| !word.ends_with('\r')).collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    if scheme == Scheme::Typed {
        return with_classes_and_pieces(counts, vocab_size);
    }
    let words = counts.into_iter().map(|(word, _)| word);
    match scheme {
        // The published model's ids: a word of rank r has the id r + 3.
        Scheme::Keras => Vocabulary::from_ranked(words.take(Vocabulary::ranked_words(vocab_size))),
        _ => Vocabulary::from_words(words.take(vocab_size.saturating_sub(SPECIAL_WORDS.len()))),
    }
}

/// One id of so many is a piece of words that the vocabulary lacks.
const IDS_PER_PIECE: usize = 9;

/// The classes of the scheme, then the most frequent of `words`, then pieces learnt from the others.
fn with_classes_and_pieces(words: Vec<(String, u64)>, vocab_size: usize) -> Result<Vocabulary> {
    let classes: Vec<&str> = class_tokens().collect();
    let pieces = (vocab_size / IDS_PER_PIECE).max(LETTER_PIECES);
    let room = vocab_size.checked_sub(SPECIAL_WORDS.len() + classes.len() + pieces).ok_or_else(|| {
        let least = SPECIAL_WORDS.len() + classes.len() + LETTER_PIECES;
        Error::setting(
            "vocab_size",
            format!("{vocab_size}: the tokenizer `typed` takes {least} ids beside the words"),
        )
    })?;
    let mut words: Vec<(String, u64)> = words
        .into_iter()
        .filter(|(word, _)| is_as_meant(word) && !classes.contains(&word.as_str()))
        .collect();
    let mut others = words.split_off(room.min(words.len()));
    // The order of the text must not show in ties of pieces.
    others.sort_unstable();
    let pieces = learn_pieces(&others, pieces);
    let words = words.into_iter().map(|(word, _)| word);
    Vocabulary::from_words(classes.into_iter().map(String::from).chain(words).chain(pieces))
}

/// Whether `word` is one that readings may end at: no hashtag, none with a letter held or replaced by a sign.
fn is_as_meant(word: &str) -> bool {
    let held =
        word.as_bytes().chunk_by(|a, b| a == b).any(|run| run.len() > 2 && run[0].is_ascii_lowercase());
    let numeral = word.bytes().all(|byte| matches!(byte, b'i' | b'v' | b'x'));
    !word.contains(['#', '@', '$']) && (!held || numeral)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_ties_go_by_word() {
        let texts = ["The film, the FILM!", "a good film", "b"];
        let words = |size| {
            let vocabulary = count_vocabulary(texts, Scheme::Keras, size).unwrap();
            vocabulary.to_text().lines().skip(SPECIAL_WORDS.len() + 1).map(String::from).collect::<Vec<_>>()
        };
        assert_eq!(words(100), ["film", "the", "a", "b", "good"]);
        assert_eq!(words(SPECIAL_WORDS.len() + 3), ["film", "the"]);
    }
}
