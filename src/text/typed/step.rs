//! One token at a time, where text is plain but for what stands near it.

use super::careful;
use super::markup;
use super::normal::Normalizer;
use super::rating;
use crate::text::key::{Key, Letters};
use crate::text::token::{Token, plain_word, tell};

/// What may follow a word that is read as it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    /// The word ends here, whatever comes next.
    End,
    Space,
    Dot,
    Hyphen,
    Colon,
    Apostrophe,
    /// Only the careful half knows.
    Other,
}

/// What a token can start with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Space,
    Letter,
    Digit,
    Dot,
    /// `!` and `?`, whose runs are one token.
    Run,
    Quote,
    Hyphen,
    /// One token.
    Mark,
    /// One token, unless an emoticon starts here.
    Eyes,
    /// Perhaps a tag or a heart.
    Less,
    /// Only the careful half knows.
    Other,
}

const STARTS: [Start; 256] = {
    let mut starts = [Start::Other; 256];
    let mut byte = 0;
    while byte < 128 {
        starts[byte] = match byte as u8 {
            0..=b' ' | 0x7f => Start::Space,
            b'a'..=b'z' | b'A'..=b'Z' => Start::Letter,
            b'0'..=b'9' => Start::Digit,
            b'.' => Start::Dot,
            b'!' | b'?' => Start::Run,
            b'"' | b'\'' => Start::Quote,
            b'-' => Start::Hyphen,
            b',' | b'/' | b'%' | b'[' | b']' | b'{' | b'}' => Start::Mark,
            b':' | b';' | b'(' | b')' => Start::Eyes,
            b'<' => Start::Less,
            _ => Start::Other,
        };
        byte += 1;
    }
    starts
};

const AFTERS: [After; 256] = {
    let mut afters = [After::Other; 256];
    let mut byte = 0;
    while byte < 128 {
        afters[byte] = match byte as u8 {
            b' ' | b'\t'..=b'\r' => After::Space,
            0..=b' ' | 0x7f => After::End,
            b'!' | b'?' | b',' | b';' | b'"' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'/' | b'%'
            | b'<' | b'>' | b'=' => After::End,
            b'.' => After::Dot,
            b'-' => After::Hyphen,
            b':' => After::Colon,
            b'\'' => After::Apostrophe,
            _ => After::Other,
        };
        byte += 1;
    }
    afters
};

/// Reads what stands at byte `start` of `text` and calls `each` with its tokens; the byte to go on with.
#[inline(never)]
pub(super) fn step(
    text: &str,
    start: usize,
    normalizer: &mut Normalizer,
    each: &mut impl FnMut(Token<'_>, Key),
) -> usize {
    let bytes = text.as_bytes();
    let byte_at = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let kind = STARTS[bytes[start] as usize];
    let end = match kind {
        Start::Space => return start + 1,
        Start::Letter => {
            let letters = Letters::at(bytes, start);
            match plain_end(text, start, letters) {
                Some(end) => return word(text, start, end, letters, each),
                None => return careful::scan(text, start, normalizer, each),
            }
        }
        Start::Digit => match plain_number_end(bytes, start) {
            Some(end) => {
                tell(&text[start..end], start, end, each);
                return end;
            }
            None => None,
        },
        Start::Dot => Some(dots_end(bytes, start)),
        Start::Run => Some(run_end(bytes, start, |byte| byte == bytes[start])),
        // What follows may be another kind of quote, which belongs to the run.
        Start::Quote => Some(run_end(bytes, start, |byte| matches!(byte, b'"' | b'\'')))
            .filter(|&end| byte_at(end) < 0x80),
        Start::Hyphen => Some(run_end(bytes, start, |byte| byte == b'-'))
            .filter(|&end| !matches!(byte_at(end), b'_' | 0x80..)),
        Start::Mark => Some(start + 1),
        Start::Eyes => Some(start + 1).filter(|&end| is_plain_mark(bytes[start], byte_at(end))),
        Start::Less if bytes[start..].starts_with(b"<br />") => return start + 6,
        Start::Less => {
            match markup::end(text[start..].char_indices().map(|(at, ch)| (ch, at + ch.len_utf8()))) {
                Some(length) => return start + length,
                None if matches!(byte_at(start + 1), b'3' | b'/') => None,
                None => return start + 1,
            }
        }
        Start::Other if bytes[start..].starts_with(b"& ") => {
            tell("and", start, start + 1, each);
            return start + 1;
        }
        Start::Other => None,
    };
    let Some(end) = end else { return careful::scan(text, start, normalizer, each) };
    let word = match &text[start..end] {
        "[" | "{" => "(",
        "]" | "}" => ")",
        run => match kind {
            Start::Dot if run.len() > 1 => "...",
            Start::Run => &run[..run.len().min(3)],
            Start::Quote => "\"",
            Start::Hyphen => "-",
            _ => run,
        },
    };
    tell(word, start, end, each);
    end
}

/// The byte after a run of what `belongs` takes.
#[inline(always)]
fn run_end(bytes: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    start + bytes[start..].iter().take_while(|&&byte| belongs(byte)).count()
}

/// Whether what stands behind the colon, semicolon or parenthesis `byte` rules an emoticon out.
#[inline(always)]
fn is_plain_mark(byte: u8, next: u8) -> bool {
    match byte {
        b'(' => !matches!(next, b':' | b'-' | 0x80..),
        b')' => !matches!(next, b'-' | 0x80..),
        _ => match next {
            b'd' | b'p' | b'o' | b'D' | b'P' | b'O' => false,
            b' ' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'\n' | b'\r' | b'.' | b'"' | b'<' => true,
            _ => false,
        },
    }
}

/// Where the word that starts with `letters` at `start` ends, if it is plain: letters, perhaps with one apostrophe inside.
#[inline(always)]
fn plain_end(text: &str, start: usize, letters: Letters) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut end = start + letters.key.length as usize;
    let after = |at: usize| bytes.get(at).map_or(After::Space, |&byte| AFTERS[byte as usize]);
    let byte_at = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let mut next = after(end);
    if next == After::Apostrophe {
        let more = Letters::at(bytes, end + 1).key.length as usize;
        match byte_at(end + 1) {
            _ if more > 0 => {
                end += 1 + more;
                next = after(end);
                // Another apostrophe, as in `rock'n'roll`, or the end of a quotation.
                if next == After::Apostrophe {
                    return None;
                }
            }
            b'0'..=b'9' | 0x80.. => return None,
            _ => next = After::End,
        }
    }
    let plain = match next {
        After::End => true,
        After::Space => {
            !(matches!(byte_at(end + 1) | 0x20, b'o' | b'a' | b's')
                && letters.key.length as usize == end - start
                && letters.key.is_whole()
                && rating::is_number_word(letters.key.value)
                && rating::may_follow_number_word(&bytes[end..]))
        }
        // An address goes on behind its points.
        After::Dot => match byte_at(end + 1) {
            b' ' | b'.' | b'\n' | b'\r' | b'<' | b'"' | b'\'' | b')' | b'!' | b'?' | b',' => true,
            b'a'..=b'z' | b'A'..=b'Z' => {
                letters.key != Key { value: u32::from_le_bytes(*b"www\0").into(), length: 3 }
                    && !careful::may_go_on(bytes, end + 1)
            }
            _ => false,
        },
        // `A-` is a grade.
        After::Hyphen => end - start > 1,
        After::Colon => byte_at(end + 1) != b'/',
        _ => false,
    };
    plain.then_some(end)
}

/// Where the digits that start at `start` end, if they are a number by themselves: no rating, price or part of a word.
#[inline(always)]
fn plain_number_end(bytes: &[u8], start: usize) -> Option<usize> {
    let byte_at = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let mut end = start;
    while byte_at(end).is_ascii_digit() {
        end += 1;
    }
    let next = byte_at(end + 1);
    let plain = match byte_at(end) {
        // `4 / 5`, `4 out of 5`, `4 stars`, `4 and a half`, `4 1/2`.
        b' ' => {
            next.is_ascii_alphabetic() && {
                let second = byte_at(end + 2);
                let begun = (next | 0x20, second | 0x20);
                match begun.0 {
                    b'o' | b's' | b'a' => {
                        (second == b' ' || second.is_ascii_alphabetic())
                            && !matches!(begun, (b'o', b'u') | (b's', b't') | (b'a', b'n'))
                    }
                    _ => true,
                }
            }
        }
        b'.' | b',' => matches!(next, b' ' | b'.' | b'\n' | b'\r' | b'<' | b'"' | b')'),
        b')' | b';' | b'!' | b'?' | b'"' | b'<' | b']' => true,
        _ => false,
    };
    plain.then_some(end)
}

/// Tells the plain word `text[start..end]`, together with an ending that stands apart from it; the byte after it.
#[inline(always)]
fn word(
    text: &str,
    start: usize,
    end: usize,
    letters: Letters,
    each: &mut impl FnMut(Token<'_>, Key),
) -> usize {
    let bytes = text.as_bytes();
    if bytes.get(end) == Some(&b' ')
        && match bytes.get(end + 1) {
            Some(b'n' | b'N') => matches!(bytes.get(end + 2), Some(b'\'' | 0xc2 | 0xe2)),
            next => matches!(next, Some(b'\'' | 0xc2 | 0xe2)),
        }
        && let Some((ending, after)) = ending_apart(text, end + 1)
    {
        let whole = text[start..end].to_ascii_lowercase() + ending;
        tell(&whole, start, after, each);
        return after;
    }
    if letters.key.length as usize == end - start {
        plain_word(text, start, end, letters, each);
    } else if letters.capitals {
        tell(&text[start..end].to_ascii_lowercase(), start, end, each);
    } else {
        // Capitals behind the apostrophe alone (`don'T`) are rare enough to look for here.
        match text[start..end].bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => tell(&text[start..end].to_ascii_lowercase(), start, end, each),
            false => tell(&text[start..end], start, end, each),
        }
    }
    end
}

/// The ending of a word that a tokenizer cut off (`did n't`, `it 's`) at byte `at`, and the byte after it.
#[cold]
fn ending_apart(text: &str, at: usize) -> Option<(&'static str, usize)> {
    const ENDINGS: [(&str, &str, &str); 7] = [
        ("n", "t", "n't"),
        ("", "s", "'s"),
        ("", "ll", "'ll"),
        ("", "ve", "'ve"),
        ("", "re", "'re"),
        ("", "d", "'d"),
        ("", "m", "'m"),
    ];
    let take = |text: &'_ str, part: &str| match text.get(..part.len()) {
        Some(start) if start.eq_ignore_ascii_case(part) => Some(part.len()),
        _ => None,
    };
    ENDINGS.into_iter().find_map(|(before, behind, ending)| {
        let quote = at + take(&text[at..], before)?;
        let apostrophe =
            text[quote..].chars().next().filter(|ch| matches!(ch, '\'' | '’' | '´' | '\u{92}' | '′'))?;
        let from = quote + apostrophe.len_utf8();
        let end = from + take(&text[from..], behind)?;
        let next = text[end..].chars().next();
        let apart = |ch: char| ch.is_whitespace() || matches!(ch, '.' | ',' | '!' | '?' | ';' | ':' | ')');
        next.is_none_or(apart).then_some((ending, end))
    })
}

/// Where a run of points ends, spaces between them included where none but points follow.
#[inline(always)]
fn dots_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        while bytes.get(at) == Some(&b'.') {
            at += 1;
        }
        let apart = bytes.get(at) == Some(&b' ')
            && bytes.get(at + 1) == Some(&b'.')
            && bytes.get(at + 2).is_none_or(|next| matches!(next, b' ' | b'.' | b'\n' | b'\r'));
        if !apart {
            return at;
        }
        at += 1;
    }
}
