//! The tokenizer: splits a text into lower-cased words and remembers where each stood.

use serde::{Deserialize, Serialize};

use super::key::{Key, Letters};
use super::vocabulary::{UNKNOWN_ID, Vocabulary};

/// Which rules cut a text into words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scheme {
    /// The rules of Keras's `text_to_word_sequence`: lower-case; each of ``!"#$%&()*+,-./:;<=>?@[\]^_`{|}~``, tab
    /// and newline is a space; split on spaces. Apostrophes, carriage returns and every other character stay.
    #[default]
    Keras,
    /// Words and punctuation: lower-case; a word is a run of ASCII letters, digits and all characters beyond ASCII
    /// but white space and the curly quotes, with single apostrophes (straight or curly, written straight) inside;
    /// a run of one of `. ! ?` is one token, cut to three; every other ASCII punctuation mark is a token of its own;
    /// the HTML line break is the token `<br>`; white space and control characters separate.
    Words,
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

/// What [`Tokenizer::encode`] met in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens that are words, not punctuation.
    pub words: usize,
    /// Tokens that the vocabulary does not hold.
    pub unknown: usize,
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

    /// Appends the id of every token of `text` to `ids`, [`UNKNOWN_ID`] for one that `vocabulary` does not hold.
    pub fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) -> Counts {
        let mut counts = Counts::default();
        let all_are_words = self.scheme == Scheme::Keras;
        self.scan(text, |token, key| {
            let word = token.word.as_bytes();
            let id = vocabulary.find(word, key);
            counts.unknown += usize::from(id.is_none());
            counts.words +=
                usize::from(all_are_words || matches!(KINDS[word[0] as usize], Kind::Word | Kind::Beyond));
            ids.push(id.unwrap_or(UNKNOWN_ID));
        });
        counts
    }

    /// As [`Tokenizer::for_each`], with the vocabulary's key of each word, made while scanning.
    #[inline(always)]
    fn scan(&self, text: &str, mut each: impl FnMut(Token<'_>, Key)) {
        match self.scheme {
            // Lower-casing the capital sigma looks at its neighbours beyond the word, so it alone needs the whole text.
            Scheme::Keras if text.contains('Σ') => scan_keras_with_sigma(text, &mut each),
            Scheme::Keras => scan_keras(text, &mut each),
            Scheme::Words => scan_words(text, &mut each),
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
fn scan_keras(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if KERAS[bytes[at] as usize] == 0 {
            at += 1;
            continue;
        }
        let start = at;
        let letters = Letters::at(bytes, start);
        at += letters.key.length as usize;
        if at > start && bytes.get(at).is_none_or(|&byte| KERAS[byte as usize] == 0) {
            plain_word(text, start, at, letters, each);
            continue;
        }
        let (mut changed, mut seen) = (u8::from(letters.capitals), 0);
        while let Some(&byte) = bytes.get(at) {
            let lower = KERAS[byte as usize];
            if lower == 0 {
                break;
            }
            changed |= lower ^ byte;
            seen |= lower;
            at += 1;
        }
        match seen >= 0x80 {
            true => tell(&text[start..at].to_lowercase(), start, at, each),
            false if changed != 0 => tell(&text[start..at].to_ascii_lowercase(), start, at, each),
            false => tell(&text[start..at], start, at, each),
        }
    }
}

/// A word of ASCII letters alone, which most are.
#[inline(always)]
fn plain_word(text: &str, start: usize, end: usize, letters: Letters, each: &mut impl FnMut(Token<'_>, Key)) {
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
fn tell(word: &str, start: usize, end: usize, each: &mut impl FnMut(Token<'_>, Key)) {
    each(Token { word, start, end }, Key::of(word.as_bytes()));
}

/// The slow twin of [`scan_keras`]: lower-cases the whole text at once and walks both texts side by side.
#[cold]
fn scan_keras_with_sigma(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    let lower = text.to_lowercase();
    let (mut start, mut lower_at, mut lower_start) = (None, 0, 0);
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let separates = character.is_ascii() && KERAS[character as usize] == 0;
        if let Some(from) = start.filter(|_| separates) {
            let word = &lower[lower_start..lower_at];
            each(Token { word, start: from, end: at }, Key::of(word.as_bytes()));
            start = None;
        } else if start.is_none() && !separates {
            (start, lower_start) = (Some(at), lower_at);
        }
        // All three sigmas take two bytes, so lengths do not depend on the neighbours even though letters do.
        lower_at += character.to_lowercase().map(char::len_utf8).sum::<usize>();
    }
}

/// What a byte is to [`Scheme::Words`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    /// Part of a word.
    Word,
    Apostrophe,
    /// A mark whose runs are one token.
    Run,
    Mark,
    /// The first byte of a character that is perhaps white space or a curly quote (U+0080 to U+3FFF hold them all).
    Beyond,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Word; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            0..=b' ' | 0x7f => Kind::Space,
            b'\'' => Kind::Apostrophe,
            b'.' | b'!' | b'?' => Kind::Run,
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => Kind::Word,
            0..=0x7f => Kind::Mark,
            0xc2 | 0xe1..=0xe3 => Kind::Beyond,
            _ => Kind::Word,
        };
        byte += 1;
    }
    kinds
};

/// The character at byte `at` where it is white space or a curly quote: its kind and its length in bytes.
#[cold]
fn beyond(text: &str, at: usize) -> (Kind, usize) {
    let Some(character) = text[at..].chars().next() else { return (Kind::Space, 1) };
    let kind = match character {
        '\u{2018}' | '\u{2019}' => Kind::Apostrophe,
        '\u{201c}' | '\u{201d}' => Kind::Mark,
        _ if character.is_whitespace() || character.is_control() => Kind::Space,
        _ => Kind::Word,
    };
    (kind, character.len_utf8())
}

#[inline(always)]
fn scan_words(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    let bytes = text.as_bytes();
    let kind_at = |at: usize| match bytes.get(at).map(|&byte| KINDS[byte as usize]) {
        None => (Kind::Space, 1),
        Some(Kind::Beyond) => beyond(text, at),
        Some(kind) => (kind, 1),
    };
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let (kind, length) = kind_at(at);
        at += length;
        match kind {
            Kind::Space => {}
            Kind::Run => {
                while bytes.get(at) == Some(&bytes[start]) {
                    at += 1;
                }
                let word = &text[start..at.min(start + 3)];
                each(Token { word, start, end: at }, Key::of(word.as_bytes()));
            }
            Kind::Mark | Kind::Apostrophe | Kind::Beyond => {
                if bytes[start] == b'<' {
                    at = line_break_end(bytes, start).unwrap_or(at);
                }
                let word = match &text[start..at] {
                    "\u{2018}" | "\u{2019}" => "'",
                    "\u{201c}" | "\u{201d}" => "\"",
                    mark if mark.len() > 1 => "<br>",
                    mark => mark,
                };
                each(Token { word, start, end: at }, Key::of(word.as_bytes()));
            }
            Kind::Word => {
                let letters = Letters::at(bytes, start);
                let mut end = start + letters.key.length as usize;
                let ends = |kind: Kind| matches!(kind, Kind::Space | Kind::Run | Kind::Mark);
                if end > start && bytes.get(end).is_none_or(|&byte| ends(KINDS[byte as usize])) {
                    at = end;
                    plain_word(text, start, end, letters, each);
                    continue;
                }
                let (mut capitals, mut beyond_ascii) = (letters.capitals, false);
                if end == start {
                    end = at;
                    beyond_ascii = length > 1 || bytes[start] >= 0x80;
                }
                loop {
                    let (kind, length) = kind_at(end);
                    match kind {
                        Kind::Word => {
                            capitals |= bytes[end].is_ascii_uppercase();
                            beyond_ascii |= bytes[end] >= 0x80;
                        }
                        // Inside a word only: what follows must be a word again.
                        Kind::Apostrophe if kind_at(end + length).0 == Kind::Word => {
                            beyond_ascii |= length > 1
                        }
                        _ => break,
                    }
                    end += length;
                }
                at = end;
                let word = &text[start..end];
                if beyond_ascii {
                    let word = word.to_lowercase().replace(['\u{2018}', '\u{2019}'], "'");
                    tell(&word, start, end, each);
                } else if capitals {
                    tell(&word.to_ascii_lowercase(), start, end, each);
                } else {
                    tell(word, start, end, each);
                }
            }
        }
    }
}

/// Where the HTML line break that starts at `start` ends, if one does: `<br>`, `<br/>` or `<br />` in any case.
fn line_break_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start + 1..)?;
    if !rest.get(..2)?.eq_ignore_ascii_case(b"br") {
        return None;
    }
    let tail = &rest[2..];
    let end = [&b">"[..], b"/>", b" />"].into_iter().find(|end| tail.starts_with(end))?;
    Some(start + 3 + end.len())
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

    fn words_and_marks(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        Tokenizer::new(Scheme::Words).for_each(text, |token| words.push(token.word.to_string()));
        words
    }

    #[test]
    fn words_keep_their_apostrophes_and_marks_stand_alone() {
        assert_eq!(
            words_and_marks("It wasn't 'bad'!!!!! (8/10)"),
            ["it", "wasn't", "'", "bad", "'", "!!!", "(", "8", "/", "10", ")"]
        );
        assert_eq!(
            words_and_marks("Great...<br /><BR>Really?!"),
            ["great", "...", "<br>", "<br>", "really", "?", "!"]
        );
        assert_eq!(
            words_and_marks("didn’t “Été” a\u{a0}b\rc x'"),
            ["didn't", "\"", "été", "\"", "a", "b", "c", "x", "'"]
        );
        assert_eq!(
            words_and_marks("<b>no</br x 映画 日本"),
            ["<", "b", ">", "no", "<", "/", "br", "x", "映画", "日本"]
        );
        assert_eq!(words_and_marks(" \t\0\u{85} "), Vec::<String>::new());
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
        fn offsets_are_character_borders_in_order_and_keys_match(text in "\\PC*|[a-zΣσA-Zİß .,<>\0\t]*") {
            let mut last = 0;
            for scanned_text in [text.clone(), text.clone() + "Σ"] {
                last = 0;
                Tokenizer::default().scan(&scanned_text, |token, key| {
                    assert!(token.start >= last && token.end > token.start);
                    assert_eq!(scanned_text[token.start..token.end].to_lowercase().len(), token.word.len());
                    assert_eq!(key, Key::of(token.word.as_bytes()));
                    last = token.end;
                });
            }
            let _ = last;
        }

        #[test]
        fn words_cut_at_character_borders(text in "\\PC*|[a-zA-Z.!?<>br/ '’“é映\0\t]*") {
            let mut last = 0;
            Tokenizer::new(Scheme::Words).scan(&text, |token, key| {
                assert!(token.start >= last && token.end > token.start);
                assert!(text.is_char_boundary(token.start) && text.is_char_boundary(token.end));
                assert!(text[last..token.start].chars().all(|c| c.is_whitespace() || c.is_control()));
                assert_eq!(key, Key::of(token.word.as_bytes()));
                assert!(!token.word.is_empty());
                last = token.end;
            });
        }

        #[test]
        fn both_scanners_agree_where_no_sigma_decides(text in "[a-zA-Zéİß .,<>'\0\t]*") {
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            scan_keras(&text, &mut |token, key| fast.push((token.word.to_string(), token.start, token.end, key)));
            scan_keras_with_sigma(&text, &mut |token, key| {
                slow.push((token.word.to_string(), token.start, token.end, key))
            });
            assert_eq!(fast, slow);
        }
    }
}
