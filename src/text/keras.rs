//! The scheme `keras`: what Keras's `text_to_word_sequence` does.

use super::key::{Key, Letters};
use super::token::{Token, plain_word, tell};

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
    // text holds; `scan_plain` treats a word with such a byte by the slow path.
    table[0] = 0xff;
    table
};

/// Calls `each` with every word of `text`, in order.
#[inline(always)]
pub(super) fn scan(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
    // Lower-casing the capital sigma looks at its neighbours beyond the word, so it alone needs the whole text.
    match text.contains('Σ') {
        true => scan_with_sigma(text, each),
        false => scan_plain(text, each),
    }
}

/// The scanner of texts without a capital sigma.
#[inline(always)]
pub(super) fn scan_plain(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
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

/// The slow twin of [`scan_plain`]: lower-cases the whole text at once and walks both texts side by side.
#[cold]
pub(super) fn scan_with_sigma(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
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
