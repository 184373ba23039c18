//! The normal form: characters as they were meant, each with the bytes of the text that it came from.
//!
//! In this order: HTML entities; code points of Windows-1252 that were taken for Latin-1; UTF-8 that was read as
//! Windows-1252; compatibility decomposition (Unicode Standard Annex #15, NFKD) without its marks; lower case; one
//! apostrophe, quote, dash and space; nothing where nothing is seen.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

use super::symbols::{is_pictograph, is_skin_tone};

/// A character in normal form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Lower-cased and without accents.
    pub ch: char,
    /// Whether it was a capital.
    pub upper: bool,
    /// Byte of the text at which its source starts.
    pub start: usize,
    /// Byte after its source.
    pub end: usize,
}

/// The star of ratings, whichever was typed.
pub(super) const STAR: char = '★';
/// The star that was not given.
pub(super) const NO_STAR: char = '☆';

const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Buffers that texts share.
#[derive(Debug, Default)]
pub(super) struct Normalizer {
    raw: Vec<Unit>,
    /// The normal form of the last stretch.
    pub units: Vec<Unit>,
    /// Room for a word.
    pub word: String,
}

impl Normalizer {
    /// Brings `text[start..end]` into normal form, into `self.units`.
    pub fn run(&mut self, text: &str, start: usize, end: usize) {
        self.raw.clear();
        read_characters(text, start, end, &mut self.raw);
        // Twice, because what was read wrongly once is sometimes read wrongly again.
        for _ in 0..2 {
            if !self.raw.iter().any(|unit| is_lead(unit.ch)) || !repair(&mut self.raw) {
                break;
            }
        }
        self.units.clear();
        let mut join = false;
        for &unit in &self.raw {
            fold(unit, &mut join, &mut self.units);
        }
    }
}

/// The characters of `text[start..end]`, entities decoded.
fn read_characters(text: &str, start: usize, end: usize, raw: &mut Vec<Unit>) {
    let mut at = start;
    let mut rest = text[start..end].chars();
    while let Some(ch) = rest.next() {
        let mut length = ch.len_utf8();
        if ch == '&'
            && let Some((decoded, taken)) = entity(&text[at..end])
        {
            length = taken;
            raw.extend(decoded.chars().map(|ch| unit(windows_1252(ch), at, at + taken)));
            rest = text[at + taken..end].chars();
        } else {
            raw.push(unit(windows_1252(ch), at, at + length));
        }
        at += length;
    }
}

fn unit(ch: char, start: usize, end: usize) -> Unit {
    Unit { ch, upper: false, start, end }
}

/// Longest entity that is looked for, in bytes; the longest name has 32.
const ENTITY_BYTES: usize = 40;

/// The entity at the start of `text`, which begins with `&`: what it stands for, and its length in bytes.
fn entity(text: &str) -> Option<(String, usize)> {
    let bytes = &text.as_bytes()[..text.len().min(ENTITY_BYTES)];
    // `&amp;quot;` was escaped twice.
    let doubled = bytes.starts_with(b"&amp;");
    let name = if doubled { 5 } else { 1 };
    let body = bytes[name..].iter().take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'#').count();
    let closed = bytes.get(name + body) == Some(&b';');
    let end = name + body + usize::from(closed);
    let numeric = bytes.get(name) == Some(&b'#') && body > 1;
    if body > 0 && (closed || numeric) {
        let whole = format!("&{};", &text[name..name + body]);
        let decoded = htmlize::unescape(&whole);
        // What is no entity stays as it is, ampersand and all.
        if decoded != whole {
            return Some((decoded.into_owned(), end));
        }
    }
    let short = ["&amp;", "&nbsp", "&quot", "&amp"].into_iter().find(|short| text.starts_with(short))?;
    let decoded = match short {
        "&nbsp" => " ",
        "&quot" => "\"",
        _ => "&",
    };
    Some((decoded.to_string(), short.len()))
}

/// What Windows-1252 has at 0x80 to 0x9f; 0 where it has nothing.
const HIGH: [char; 32] = [
    '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0', '‘', '’', '“',
    '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\0', 'ž', 'Ÿ',
];

/// A control code of Latin-1 as the character of Windows-1252 that it was.
fn windows_1252(ch: char) -> char {
    match ch {
        '\u{80}'..='\u{9f}' if HIGH[ch as usize - 0x80] != '\0' => HIGH[ch as usize - 0x80],
        _ => ch,
    }
}

/// The byte of Windows-1252 that `ch` is read from.
fn byte_of(ch: char) -> Option<u8> {
    match ch {
        '\u{80}'..='\u{ff}' => Some(ch as u8),
        _ => HIGH.iter().position(|&high| high == ch && ch != '\0').map(|place| 0x80 + place as u8),
    }
}

/// Whether `ch` is what the first byte of a character that English text holds turns into.
fn is_lead(ch: char) -> bool {
    matches!(ch, 'Â' | 'Ã' | 'Å' | 'â' | 'ð' | 'ï')
}

/// Puts together what was UTF-8; whether there was any.
fn repair(raw: &mut Vec<Unit>) -> bool {
    let (mut read, mut write) = (0, 0);
    while read < raw.len() {
        let (ch, taken) = match is_lead(raw[read].ch).then(|| misread(&raw[read..])).flatten() {
            Some(found) => found,
            None => (raw[read].ch, 1),
        };
        raw[write] = unit(ch, raw[read].start, raw[read + taken - 1].end);
        read += taken;
        write += 1;
    }
    let changed = write < raw.len();
    raw.truncate(write);
    changed
}

/// The character whose UTF-8 bytes, taken for Windows-1252, stand at the start of `raw`, and how many there are.
fn misread(raw: &[Unit]) -> Option<(char, usize)> {
    let lead = byte_of(raw[0].ch)?;
    let count = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    };
    let mut bytes = [lead, 0, 0, 0];
    let following = raw.iter().skip(1).map(|unit| byte_of(unit.ch)).take(count - 1);
    let found = following.map_while(|byte| byte.filter(|byte| (0x80..0xc0).contains(byte)));
    let found = bytes[1..].iter_mut().zip(found).map(|(place, byte)| *place = byte).count();
    if found + 1 == count {
        return Some((std::str::from_utf8(&bytes[..count]).ok()?.chars().next()?, count));
    }
    // Windows-1252 has no 0x81, 0x8d, 0x8f, 0x90 and 0x9d, and many a program drops them.
    match bytes[..=found] {
        [0xe2, 0x80] => Some(('"', 2)),
        [0xe2, 0xa4] => Some(('❤', 2)),
        [0xef, 0xb8] => Some(('\u{fe0f}', 2)),
        _ => None,
    }
}

/// Appends the normal form of `raw`; `join` says whether a joiner stood before it.
fn fold(raw: Unit, join: &mut bool, units: &mut Vec<Unit>) {
    let Unit { ch, start, end, .. } = raw;
    if ch.is_ascii() && !ch.is_ascii_control() {
        *join = false;
        return units.push(Unit { ch: ch.to_ascii_lowercase(), upper: ch.is_ascii_uppercase(), start, end });
    }
    // What belongs to the character before is part of its source.
    let before = units.last_mut().filter(|before| before.end == start);
    if is_invisible(ch) {
        *join = ch == ZERO_WIDTH_JOINER && before.as_ref().is_some_and(|before| is_pictograph(before.ch));
        if let Some(before) = before.filter(|_| !matches!(ch, '\u{ad}' | '\u{200b}' | '\u{feff}')) {
            before.end = end;
        }
        return;
    }
    if is_combining_mark(ch) || is_skin_tone(ch) || *join && is_pictograph(ch) {
        *join = false;
        if let Some(before) = before {
            before.end = end;
        }
        return;
    }
    *join = false;
    let one = |ch| Unit { ch, upper: false, start, end };
    match ch {
        // Spacing accents whose decomposition is a space and a mark.
        '´' | '‘' | '’' | '‛' | '′' | '‵' | 'ʹ' | 'ʻ' | 'ʼ' | 'ʽ' | 'ˈ' | 'ˊ' | 'ˋ' | '՚' | '׳' | 'ꞌ'
        | '＇' | '｀' | '‚' | '‹' | '›' | '❛' | '❜' => units.push(one('\'')),
        '“' | '”' | '„' | '‟' | '″' | '‶' | 'ʺ' | '«' | '»' | '〝' | '〞' | '〟' | '❝' | '❞' | '＂'
        | '「' | '」' | '『' | '』' | '״' | '¨' => units.push(one('"')),
        '‐' | '‑' | '‒' | '–' | '—' | '―' | '⁃' | '−' | '﹘' | '﹣' | '－' | '⸺' | '⸻' | '〜' | '～'
        | '─' | '━' => {
            units.push(one('-'));
        }
        '…' | '⋯' | '‥' => units.extend([one('.'); 3]),
        '½' | '¼' | '¾' => units.push(one(ch)),
        '⁄' | '∕' | '÷' => units.push(one('/')),
        '★' | '⭐' | '✭' | '✮' | '✯' | '✰' | '⭑' | '🌟' => units.push(one(STAR)),
        '☆' | '⚝' => units.push(one(NO_STAR)),
        // Composed or not, syllables of Hangul are no words that the vocabulary holds.
        '\u{ac00}'..='\u{d7a3}' => units.push(one(ch)),
        _ if ch.is_whitespace() || ch.is_control() => units.push(one(' ')),
        _ if is_pictograph(ch) => units.push(one(ch)),
        _ => decompose(raw, units),
    }
}

/// Appends the letters of the compatibility decomposition of `raw`, or its first other character.
fn decompose(raw: Unit, units: &mut Vec<Unit>) {
    let before = units.len();
    let mut other = None;
    decompose_compatible(raw.ch, |part| {
        if is_combining_mark(part) {
            return;
        }
        let upper = part.is_uppercase();
        let mut push = |ch: char| match ch.is_alphanumeric() {
            true => units.push(Unit { ch, upper, ..raw }),
            false => {
                other.get_or_insert(ch);
            }
        };
        match part {
            'ß' | 'ẞ' => ['s', 's'].into_iter().for_each(push),
            'æ' | 'Æ' => ['a', 'e'].into_iter().for_each(push),
            'œ' | 'Œ' => ['o', 'e'].into_iter().for_each(push),
            'ø' | 'Ø' => push('o'),
            'ł' | 'Ł' => push('l'),
            'đ' | 'Đ' | 'ð' | 'Ð' => push('d'),
            'þ' | 'Þ' => ['t', 'h'].into_iter().for_each(push),
            'ı' => push('i'),
            _ => part.to_lowercase().filter(|ch| !is_combining_mark(*ch)).for_each(&mut push),
        }
    });
    if units.len() == before
        && let Some(ch) = other
    {
        units.push(Unit { ch, ..raw });
    }
}

/// Characters that show nothing and separate nothing.
fn is_invisible(ch: char) -> bool {
    matches!(ch,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '™' | '℠' | '®' | '©' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' | '\u{81}' | '\u{8d}' | '\u{8f}' | '\u{90}' | '\u{9d}')
}
