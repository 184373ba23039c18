//! The scheme `words`: words and marks, as the models before `typed` read them.

use super::key::{Key, Letters};
use super::token::{Token, plain_word, tell};

/// What a byte is to the scheme.
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

/// Whether a token whose first byte this is is a word, not a mark.
#[inline(always)]
pub(super) fn is_word(first: u8) -> bool {
    matches!(KINDS[first as usize], Kind::Word | Kind::Beyond)
}

/// Calls `each` with every token of `text`, in order.
#[inline(always)]
pub(super) fn scan(text: &str, each: &mut impl FnMut(Token<'_>, Key)) {
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
