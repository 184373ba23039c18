//! The tokenizer: splits a text into lower-cased words and remembers where each stood.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::key::Key;
use super::pieces::JOINT;
use super::reading::{self, Reading};
use super::token::{Plain, Sink, Token};
use super::vocabulary::{UNKNOWN_ID, Vocabulary};
use super::{keras, typed, words};

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
    /// Text as people type it, told as what they meant: one normal form (HTML entities, UTF-8 read as Windows-1252, NFKD
    /// without marks, lower case; one apostrophe, quote, dash, ellipsis and space; nothing for what shows nothing);
    /// tags, emphasis and line breaks are skipped; emoji and emoticons, ratings, prices, addresses and mentions are the
    /// names of their classes; hashtags are split. A word that the vocabulary lacks is read as the word it was meant to
    /// be (`didnt`, `soooo`, `b0ring`, `awsome`), or by its pieces.
    Typed,
}

/// What [`Tokenizer::encode`] met in a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens that are words, not punctuation.
    pub words: usize,
    /// Tokens that the vocabulary does not hold, those that are read by their pieces included.
    pub unknown: usize,
    /// Words that tell something; with [`Scheme::Typed`] no unknown ones and no numbers, names of users and the like.
    pub known: usize,
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
        self.scan(text, |token, _| match self.scheme {
            Scheme::Typed => each(Token { word: reading::canonical(token.word), ..token }),
            _ => each(token),
        });
    }

    /// Appends the id of every token of `text` to `ids`, [`UNKNOWN_ID`] for one that `vocabulary` does not hold.
    pub fn encode(&self, text: &str, vocabulary: &Vocabulary, ids: &mut Vec<u32>) -> Counts {
        self.encode_with(text, vocabulary, |id, _| ids.push(id))
    }

    /// Calls `each` with every id of `text`, in order, and the bytes that it stands for. Ids that one word is read by
    /// (pieces, the words of a hashtag) all stand for the bytes of the whole word.
    #[inline(always)]
    pub fn encode_with(
        &self,
        text: &str,
        vocabulary: &Vocabulary,
        mut each: impl FnMut(u32, Range<usize>),
    ) -> Counts {
        if self.scheme == Scheme::Typed {
            return typed::scan(text, Encoder { vocabulary, counts: Counts::default(), unread: 0, each })
                .counts;
        }
        let mut counts = Counts::default();
        self.scan(text, |token, key| {
            let first = token.word.as_bytes()[0];
            let is_word = self.scheme == Scheme::Keras || words::is_word(first);
            counts.words += usize::from(is_word);
            let id = vocabulary.find(token.word.as_bytes(), key);
            counts.known += usize::from(is_word && id.is_some());
            counts.unknown += usize::from(id.is_none());
            each(id.unwrap_or(UNKNOWN_ID), token.start..token.end);
        });
        counts
    }

    /// Whether `id` stands for a word that tells something by itself, as [`Counts::known`] counts; each does but with
    /// [`Scheme::Typed`].
    pub(crate) fn tells(&self, id: u32, vocabulary: &Vocabulary) -> bool {
        let known = |word: &str| typed::is_word(word) && typed::tells(word) && !word.contains(JOINT);
        self.scheme != Scheme::Typed || id > UNKNOWN_ID && vocabulary.word(id).is_some_and(known)
    }

    /// As [`Tokenizer::for_each`], with the vocabulary's key of each word, made while scanning.
    #[inline(always)]
    fn scan(&self, text: &str, mut each: impl FnMut(Token<'_>, Key)) {
        match self.scheme {
            Scheme::Keras => keras::scan(text, &mut each),
            Scheme::Words => words::scan(text, &mut each),
            Scheme::Typed => drop(typed::scan(text, each)),
        }
    }
}

/// What looks up the tokens of [`Scheme::Typed`].
struct Encoder<'v, E> {
    vocabulary: &'v Vocabulary,
    counts: Counts,
    /// Plain words since [`Sink::plain_words`] that the vocabulary lacks.
    unread: usize,
    each: E,
}

impl<E: FnMut(u32, Range<usize>)> Sink for Encoder<'_, E> {
    fn token(&mut self, token: Token<'_>, key: Key) {
        let is_word = typed::is_word(token.word);
        self.counts.words += usize::from(is_word);
        match self.vocabulary.find(token.word.as_bytes(), key) {
            Some(id) => {
                self.counts.known += usize::from(is_word && typed::tells(token.word));
                (self.each)(id, token.start..token.end);
            }
            None => self.unknown(token),
        }
    }

    #[inline(always)]
    fn plain(&mut self, plain: Plain) {
        match self.vocabulary.find_at_once(&plain) {
            Some(id) => (self.each)(id, plain.start..plain.end),
            None => self.plain_further(plain),
        }
    }

    #[inline(always)]
    fn plain_words(&mut self, words: usize) {
        self.counts.words += words;
        self.counts.known += words - std::mem::take(&mut self.unread);
    }
}

impl<E: FnMut(u32, Range<usize>)> Encoder<'_, E> {
    /// As [`Sink::plain`], where one look does not tell.
    #[inline(never)]
    fn plain_further(&mut self, plain: Plain) {
        match self.vocabulary.find_plain(&plain) {
            Some(id) => (self.each)(id, plain.start..plain.end),
            None => plain.with_token(|token| {
                self.unread += usize::from(typed::is_word(token.word));
                self.unknown(token);
            }),
        }
    }

    /// Takes a token that the vocabulary lacks.
    #[cold]
    #[inline(never)]
    fn unknown(&mut self, token: Token<'_>) {
        let tell = &mut |id| (self.each)(id, token.start..token.end);
        match reading::read(token.word, self.vocabulary, tell) {
            Reading::Known => self.counts.known += 1,
            Reading::Class => {}
            Reading::Unknown => self.counts.unknown += 1,
        }
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
            keras::scan_plain(&text, &mut |token, key| fast.push((token.word.to_string(), token.start, token.end, key)));
            keras::scan_with_sigma(&text, &mut |token, key| {
                slow.push((token.word.to_string(), token.start, token.end, key))
            });
            assert_eq!(fast, slow);
        }
    }
}
