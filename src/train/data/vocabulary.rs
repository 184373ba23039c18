//! The vocabulary counted from reviews.

use std::collections::HashMap;

use crate::error::Result;
use crate::text::{SPECIAL_WORDS, Scheme, Tokenizer, Vocabulary};

/// The most frequent words of `texts`, at most as many as `vocab_size` ids hold; words of equal count stand in
/// alphabetical order (by their bytes).
///
/// # Errors
/// As [`Vocabulary::from_words`].
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
    let words = counts.into_iter().map(|(word, _)| word);
    match scheme {
        // The published model's ids: a word of rank r has the id r + 3.
        Scheme::Keras => Vocabulary::from_ranked(words.take(Vocabulary::ranked_words(vocab_size))),
        _ => Vocabulary::from_words(words.take(vocab_size.saturating_sub(SPECIAL_WORDS.len()))),
    }
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
