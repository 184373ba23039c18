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

/// A word of ASCII letters, perhaps with an apostrophe inside, or a mark: of at most 16 bytes, which stand in the text as
/// they are told but for capitals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain {
    /// Its bytes, lower-cased, little end first and filled up with zeros.
    pub parts: [u64; 2],
    /// Byte at which it starts in the original text.
    pub start: usize,
    /// Byte after its last in the original text.
    pub end: usize,
}

impl Plain {
    /// Its key.
    #[inline(always)]
    pub fn key(self) -> Key {
        Key::of_parts([self.parts[0], self.parts[1], 0], self.end - self.start)
    }

    /// Calls `each` with the token that it is.
    #[inline(always)]
    pub fn with_token<T>(self, each: impl FnOnce(Token<'_>) -> T) -> T {
        let Self { parts, start, end, .. } = self;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&parts[0].to_le_bytes());
        bytes[8..].copy_from_slice(&parts[1].to_le_bytes());
        each(Token { word: std::str::from_utf8(&bytes[..end - start]).unwrap_or_default(), start, end })
    }
}

/// What takes the tokens of a text, in order, each with the vocabulary's key of its word.
pub(super) trait Sink {
    /// Takes any token.
    fn token(&mut self, token: Token<'_>, key: Key);

    /// Takes a token that is plain, as most are.
    #[inline(always)]
    fn plain(&mut self, plain: Plain) {
        plain.with_token(|token| self.token(token, plain.key()));
    }

    /// Told after plain tokens, how many of them are words and no marks.
    #[inline(always)]
    fn plain_words(&mut self, _words: usize) {}
}

impl<F: FnMut(Token<'_>, Key)> Sink for F {
    #[inline(always)]
    fn token(&mut self, token: Token<'_>, key: Key) {
        self(token, key);
    }
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
