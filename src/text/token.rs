//! What every scheme cuts a text into.

use super::key::{Key, Letters};

/// One word of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The word, lower-cased.
    pub word: &'t str,
    /// Byte at which it starts in the original text; always at a character border.
    pub start: usize,
    /// Byte after its last in the original text; always at a character border.
    pub end: usize,
}

/// A word of ASCII letters alone, which most are.
#[inline(always)]
pub(super) fn plain_word(
    text: &str,
    start: usize,
    end: usize,
    letters: Letters,
    each: &mut impl FnMut(Token<'_>, Key),
) {
    if !letters.capitals {
        each(Token { word: &text[start..end], start, end }, letters.key);
    } else if letters.key.is_whole() {
        // The key holds the letters lower-cased.
        let lower = letters.key.value.to_le_bytes();
        let word = std::str::from_utf8(&lower[..end - start]).unwrap_or_default();
        each(Token { word, start, end }, letters.key);
    } else {
        each(Token { word: &text[start..end].to_ascii_lowercase(), start, end }, letters.key);
    }
}

/// A word, lower-cased, that holds other characters than letters.
pub(super) fn tell(word: &str, start: usize, end: usize, each: &mut impl FnMut(Token<'_>, Key)) {
    each(Token { word, start, end }, Key::of(word.as_bytes()));
}
