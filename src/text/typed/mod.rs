//! The scheme `typed`: text as people type it, told as what they meant.
//!
//! Plain words and marks in ASCII are read as they stand: 64 bytes at once where nothing near them asks for more
//! ([`plain`]), else one token at a time ([`step`]). Whatever else a stretch between two spaces holds sends it through
//! [`careful`], which reads it in [`normal`] form. All three give the same tokens for what they can read.

mod careful;
mod markup;
mod normal;
mod plain;
mod rating;
mod step;
mod symbols;
#[cfg(test)]
mod tests;

use self::normal::Normalizer;
use self::plain::{WINDOW, Window};
use self::step::step;
use super::token::Sink;
use crate::kernel::{ByteClassifier, ByteWork, with_byte_classes};

/// The tokens that stand for a class of things, as they stand in `vocab.txt` behind the special words, in this order.
pub(crate) fn class_tokens() -> impl Iterator<Item = &'static str> {
    let ends = ["'s", "n't", "'ll", "'ve", "'re", "'d", "'m"];
    let things = ["<url>", "<email>", "<user>", "<number>", "<year>", "<price>"];
    ends.into_iter().chain(things).chain(rating::RATINGS).chain(symbols::class_names())
}

/// Gives `sink` every token of `text`, in order, and gives it back.
#[inline(always)]
pub(super) fn scan<S: Sink>(text: &str, sink: S) -> S {
    with_byte_classes(Scan { text, sink })
}

struct Scan<'t, S> {
    text: &'t str,
    sink: S,
}

impl<S: Sink> ByteWork for Scan<'_, S> {
    type Output = S;

    #[inline(always)]
    fn run<C: ByteClassifier>(self) -> S {
        let Self { text, mut sink } = self;
        let bytes = text.as_bytes();
        let mut normalizer = Normalizer::default();
        let mut last;
        let mut at = 0;
        while at < bytes.len() {
            let window = match bytes[at..].first_chunk() {
                Some(window) => window,
                None => {
                    last = last_window(&bytes[at..]);
                    &last
                }
            };
            let window = Window::of::<C>(window);
            let mut from = 0;
            loop {
                from = window.tell(from, at, &mut sink);
                if from >= window.end && from > 0 {
                    at += from;
                    break;
                }
                let next = step(text, at + from, &mut normalizer, &mut |token, key| sink.token(token, key));
                from = next - at;
                if from >= window.end || window.is_inside_word(from) {
                    at = next;
                    break;
                }
            }
        }
        sink
    }
}

/// The window of the last bytes of a text, spaces behind them.
#[inline(never)]
fn last_window(rest: &[u8]) -> [u8; WINDOW] {
    let mut last = [b' '; WINDOW];
    last[..rest.len()].copy_from_slice(rest);
    last
}

/// Whether `word`, a token, is more than a mark.
#[inline(always)]
pub(super) fn is_word(word: &str) -> bool {
    let first = word.as_bytes()[0];
    first.is_ascii_alphanumeric()
        || first >= 0x80
        || match first {
            // A hashtag, or letters of which a sign stands for the first (`$hit`), however short.
            b'#' | b'$' => word.len() > 1,
            b':' | b'<' => word.len() > 3,
            _ => false,
        }
}

/// Whether `word`, a token that is more than a mark, tells something by itself: no number, price, address or the like,
/// nor an emoji that says nothing of a feeling.
#[inline(always)]
pub(super) fn tells(word: &str) -> bool {
    match word.as_bytes()[0] {
        b'<' => word.starts_with("<rating"),
        b'0'..=b'9' => word.bytes().any(|byte| byte.is_ascii_alphabetic()),
        b':' => !symbols::NEUTRAL.contains(&word),
        _ => true,
    }
}
