//! The tokenizer: splits a text into lower-cased words and remembers where each stood.

use serde::{Deserialize, Serialize};

use super::vocabulary::{HASH_START, UNKNOWN_ID, Vocabulary, hash_byte, hash_bytes};

/// Which rules cut a text into words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scheme {
    /// The rules of Keras's `text_to_word_sequence`: lower-case; each of ``!"#$%&()*+,-./:;<=>?@[\]^_`{|}~``, tab
    /// and newline is a space; split on spaces. Apostrophes, carriage returns and every other character stay.
    #[default]
    Keras,
}

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

/// Cuts texts into words by one [`Scheme`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokenizer {
    scheme: Scheme,
}

impl Tokenizer {
    /// A tokenizer with the rules of `scheme`.
    pub fn new(scheme: Scheme) -> Self {
        Self { scheme }
    }

    /// The rules that this tokenizer follows.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Calls `each` with every word of `text`, in order.
    pub fn for_each(&self, text: &str, mut each: impl FnMut(Token<'_>)) {
        self.scan(text, |token, _| each(token));
    }

    /// Appends the id of every word of `text` to `ids`, [`UNKNOWN_ID`] for a word that `vocabulary` does not hold;
    /// returns how many were unknown.
    pub fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) -> usize {
        let mut unknown = 0;
        self.scan(text, |token, hash| {
            let id = vocabulary.id_hashed(token.word.as_bytes(), hash);
            unknown += usize::from(id.is_none());
            ids.push(id.unwrap_or(UNKNOWN_ID));
        });
        unknown
    }

    /// As [`Tokenizer::for_each`], with the vocabulary's hash of each word, computed while scanning.
    #[inline(always)]
    fn scan(&self, text: &str, mut each: impl FnMut(Token<'_>, u32)) {
        match self.scheme {
            // Lower-casing the capital sigma looks at its neighbours beyond the word, so it alone needs the whole text.
            Scheme::Keras if text.contains('Σ') => scan_keras_with_sigma(text, &mut each),
            Scheme::Keras => scan_keras(text, &mut each),
        }
    }
}

/// `KERAS[byte]` is 0 for a separator, else the byte lower-cased as ASCII (bytes of other characters stay).
const KERAS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).to_ascii_lowercase();
        byte += 1;
    }
    let separators = b" !\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n";
    let mut at = 0;
    while at < separators.len() {
        table[separators[at] as usize] = 0;
        at += 1;
    }
    // NUL is an ordinary character of a word. It has no code of its own left here, so it takes one that no UTF-8
    // text holds; `scan_keras` treats a word with such a byte by the slow path.
    table[0] = 0xff;
    table
};

#[inline(always)]
fn scan_keras(text: &str, each: &mut impl FnMut(Token<'_>, u32)) {
    let bytes = text.as_bytes();
    let mut lowered = String::new();
    let mut at = 0;
    while at < bytes.len() {
        if KERAS[bytes[at] as usize] == 0 {
            at += 1;
            continue;
        }
        let start = at;
        let mut hash = HASH_START;
        let (mut changed, mut seen) = (0, 0);
        while at < bytes.len() {
            let lower = KERAS[bytes[at] as usize];
            if lower == 0 {
                break;
            }
            changed |= lower ^ bytes[at];
            seen |= lower;
            hash = hash_byte(hash, lower);
            at += 1;
        }
        let word = &text[start..at];
        if seen >= 0x80 {
            let word = word.to_lowercase();
            each(Token { word: &word, start, end: at }, hash_bytes(word.as_bytes()));
        } else if changed != 0 {
            lowered.clear();
            lowered.push_str(word);
            lowered.make_ascii_lowercase();
            each(Token { word: &lowered, start, end: at }, hash);
        } else {
            each(Token { word, start, end: at }, hash);
        }
    }
}

/// The slow twin of [`scan_keras`]: lower-cases the whole text at once and walks both texts side by side.
#[cold]
fn scan_keras_with_sigma(text: &str, each: &mut impl FnMut(Token<'_>, u32)) {
    let lower = text.to_lowercase();
    let (mut start, mut lower_at, mut lower_start) = (None, 0, 0);
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let separates = character.is_ascii() && KERAS[character as usize] == 0;
        if let Some(from) = start.filter(|_| separates) {
            let word = &lower[lower_start..lower_at];
            each(Token { word, start: from, end: at }, hash_bytes(word.as_bytes()));
            start = None;
        } else if start.is_none() && !separates {
            (start, lower_start) = (Some(at), lower_at);
        }
        // All three sigmas take two bytes, so lengths do not depend on the neighbours even though letters do.
        lower_at += character.to_lowercase().map(char::len_utf8).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Tokenizer::default().for_each(text, |token| words.push(token.word.to_string()));
        words
    }

    #[test]
    fn cuts_as_keras_does() {
        assert_eq!(
            words("A gripping, beautifully-shot film."),
            ["a", "gripping", "beautifully", "shot", "film"]
        );
        assert_eq!(words("Don't<br /><br />stop"), ["don't", "br", "br", "stop"]);
        assert_eq!(words("..., \t\n"), Vec::<String>::new());
        assert_eq!(words("a\rb\u{a0}c d\u{b}e"), ["a\rb\u{a0}c", "d\u{b}e"]);
        assert_eq!(words("nul\0stays ÉTÉ Straße"), ["nul\0stays", "été", "straße"]);
    }

    #[test]
    fn the_capital_sigma_looks_at_its_neighbours() {
        assert_eq!(words("ΟΔΟΣ ΣΟΦΟΣ Σ ΑΣ.Α"), ["οδος", "σοφος", "σ", "ασ", "α"]);
        assert_eq!(words("İΣ!x"), ["i\u{307}ς", "x"]);
    }

    #[test]
    fn offsets_point_into_the_original() {
        let text = "  İstanbul, ΣΟΦΟΣ & Été  ";
        let mut cut = Vec::new();
        Tokenizer::default().for_each(text, |token| cut.push(text[token.start..token.end].to_string()));
        assert_eq!(cut, ["İstanbul", "ΣΟΦΟΣ", "Été"]);
    }

    proptest::proptest! {
        #[test]
        fn offsets_are_character_borders_in_order_and_hashes_match(text in "\\PC*|[a-zΣσA-Zİß .,<>\0\t]*") {
            let mut last = 0;
            for scanned_text in [text.clone(), text.clone() + "Σ"] {
                last = 0;
                Tokenizer::default().scan(&scanned_text, |token, hash| {
                    assert!(token.start >= last && token.end > token.start);
                    assert_eq!(scanned_text[token.start..token.end].to_lowercase().len(), token.word.len());
                    assert_eq!(hash, hash_bytes(token.word.as_bytes()));
                    last = token.end;
                });
            }
            let _ = last;
        }

        #[test]
        fn both_scanners_agree_where_no_sigma_decides(text in "[a-zA-Zéİß .,<>'\0\t]*") {
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            scan_keras(&text, &mut |token, hash| fast.push((token.word.to_string(), token.start, token.end, hash)));
            scan_keras_with_sigma(&text, &mut |token, hash| {
                slow.push((token.word.to_string(), token.start, token.end, hash))
            });
            assert_eq!(fast, slow);
        }
    }
}
