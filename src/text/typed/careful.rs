//! The careful half of the scanner: stretches that hold more than plain words and marks, read in normal form.

use super::markup;
use super::normal::{NO_STAR, Normalizer, STAR, Unit};
use super::rating::{RATINGS, is_number_word, rating};
use super::symbols::{class_of, emoticon, is_pictograph};
use crate::text::key::{Key, Letters};
use crate::text::token::Token;

/// Most bytes that are read at once; hostile texts hold no white space.
const STRETCH_BYTES: usize = 1024;
/// How far a rating may go on behind the white space that ends a stretch, in bytes.
const LOOK_AHEAD_BYTES: usize = 48;
/// Most units of an address and of a masked word.
const ADDRESS_UNITS: usize = 256;
const MASKED_UNITS: usize = 16;

const TOP_LEVEL_DOMAINS: [&str; 16] =
    ["com", "net", "org", "edu", "gov", "co", "uk", "tv", "io", "info", "biz", "de", "fr", "me", "ly", "be"];

/// Words that people mask, the more usual of two that fit a mask first.
const MASKED_WORDS: [&str; 26] = [
    "fucking", "fuck", "fucked", "fucker", "fuckin", "fucks", "shitty", "shit", "shite", "bullshit", "crap",
    "crappy", "damn", "damned", "goddamn", "bitch", "bitches", "bastard", "asshole", "ass", "arse", "sucks",
    "sucked", "suck", "piss", "hell",
];

/// Reads the stretch of `text` that starts at byte `start` and calls `each` with its tokens; the byte after it.
#[cold]
#[inline(never)]
pub(super) fn scan(
    text: &str,
    start: usize,
    normalizer: &mut Normalizer,
    each: &mut impl FnMut(Token<'_>, Key),
) -> usize {
    let bytes = text.as_bytes();
    let end = stretch_end(text, start);
    let stretch = &bytes[start..end];
    // Numbers, stars and entities of markup may need what comes behind the next spaces.
    let goes_on = |two: &[u8]| match two {
        [b'0'..=b'9' | b'*' | b'&' | 0xef | 0xf0, ..] => true,
        [0xc2, next] => (0xbc..=0xbe).contains(next),
        [0xe2, next] => matches!(next, 0x98 | 0x9c | 0xad),
        _ => false,
    };
    // Marks may stand before the number word.
    let mut words = (0..stretch.len()).filter(|&at| {
        stretch[at].is_ascii_alphabetic() && (at == 0 || !stretch[at - 1].is_ascii_alphabetic())
    });
    let counted = words.any(|at| {
        let key = Letters::at(bytes, start + at).key;
        key.is_whole() && is_number_word(key.value)
    });
    let seen = match counted || goes_on(&stretch[stretch.len() - 1..]) || stretch.windows(2).any(goes_on) {
        true => text.floor_char_boundary((end + LOOK_AHEAD_BYTES).min(text.len())),
        false => end,
    };
    normalizer.run(text, start, seen);
    let Normalizer { units, word, .. } = normalizer;
    let limit = units.partition_point(|unit| unit.start < end);
    let before = text[..start].chars().next_back();
    let mut reader = Reader {
        units,
        before,
        after_minus: matches!(&text[..start], "-" | "\u{2212}"),
        word: std::mem::take(word),
        last_end: start,
        no_address_before: 0,
        each,
    };
    let mut at = 0;
    while at < limit {
        at = reader.token(at);
    }
    *word = reader.word;
    at.checked_sub(1).map_or(end, |last| units[last].end.max(end))
}

/// Whether an address may go on at `at`, behind a word and a point: another label follows, or one that addresses end in.
#[inline(always)]
pub(super) fn may_go_on(bytes: &[u8], at: usize) -> bool {
    let letters = Letters::at(bytes, at).key;
    let end = at + letters.length as usize;
    let byte_at = |at: usize| bytes.get(at).copied().unwrap_or(b' ');
    let ends = match byte_at(end) {
        b' ' | b',' | b'<' | b'!' | b'?' | b'"' | b')' | b';' | b'\'' => true,
        b'.' => matches!(byte_at(end + 1), b' ' | b'.' | b'<' | b'\n' | b')' | b',' | b'"'),
        _ => false,
    };
    let known = |domain: &&str| Key::of(domain.as_bytes()) == letters;
    !ends || letters.length <= 4 && TOP_LEVEL_DOMAINS.iter().any(known)
}

/// Where the stretch at `start` ends: at white space or a tag, or where it is too long.
fn stretch_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let ends = |&byte: &u8| byte <= b' ' || byte == b'<' || byte == 0x7f;
    let most = (start + STRETCH_BYTES).min(bytes.len());
    match bytes[start + 1..most].iter().position(ends) {
        Some(length) => start + 1 + length,
        None => text.floor_char_boundary(most).max(text.ceil_char_boundary(start + 1)),
    }
}

struct Reader<'r, E> {
    units: &'r [Unit],
    /// The character before the first unit.
    before: Option<char>,
    /// Whether all before the first unit is a minus.
    after_minus: bool,
    /// The word being put together.
    word: String,
    /// Where the last token ended.
    last_end: usize,
    /// No address starts in front of this unit.
    no_address_before: usize,
    each: &'r mut E,
}

impl<E: FnMut(Token<'_>, Key)> Reader<'_, E> {
    fn get(&self, at: usize) -> Option<char> {
        self.units.get(at).map(|unit| unit.ch)
    }

    fn is_word(&self, at: usize) -> bool {
        self.get(at).is_some_and(char::is_alphanumeric)
    }

    fn is_letter(&self, at: usize) -> bool {
        self.get(at).is_some_and(char::is_alphabetic)
    }

    fn before(&self, at: usize) -> Option<char> {
        at.checked_sub(1).map_or(self.before, |before| self.get(before))
    }

    /// The unit after a run of what `belongs` takes.
    fn run(&self, at: usize, belongs: impl Fn(char) -> bool) -> usize {
        at + self.units[at..].iter().take_while(|unit| belongs(unit.ch)).count()
    }

    /// Tells `word`, which stands at the units `from..to`; `to`.
    fn tell(&mut self, word: &str, from: usize, to: usize) -> usize {
        // What one character of the text became may be parted by rules; a byte still belongs to one token.
        let start = self.units[from].start.max(self.last_end);
        let end = self.units[to - 1].end;
        if start < end {
            self.last_end = end;
            (self.each)(Token { word, start, end }, Key::of(word.as_bytes()));
        }
        to
    }

    /// Tells the token at unit `at`, if one starts there; the unit to go on with.
    fn token(&mut self, at: usize) -> usize {
        let ch = self.units[at].ch;
        match ch {
            '.' => {
                let end = self.run(at, |ch| ch == '.');
                self.tell(if end - at > 1 { "..." } else { "." }, at, end)
            }
            '!' | '?' => {
                let end = self.run(at, |next| next == ch);
                let run = if ch == '!' { "!!!" } else { "???" };
                self.tell(&run[..(end - at).min(3)], at, end)
            }
            '"' | '\'' => {
                let end = self.run(at, |ch| matches!(ch, '"' | '\''));
                self.tell("\"", at, end)
            }
            '&' => self.tell("and", at, at + 1),
            '<' => self.less(at),
            '$' | '£' | '€' | '¥' | '₹' => self.currency(at),
            '#' => self.hashtag(at),
            '@' if self.is_word(at + 1) => {
                let end = self.run(at + 1, |ch| ch.is_alphanumeric() || ch == '_');
                self.tell("<user>", at, end)
            }
            STAR | NO_STAR | '*' => match rating(self.units, at, self.before(at)) {
                Some((name, end)) => self.tell(name, at, end),
                None if ch == '*' => self.run(at, |next| next == ch),
                None => self.emoji(at),
            },
            '½' | '¼' | '¾' => match rating(self.units, at, None) {
                Some((name, end)) => self.tell(name, at, end),
                None => self.tell("<number>", at, at + 1),
            },
            _ if ch.is_alphanumeric() => self.word(at),
            _ if is_pictograph(ch) => self.emoji(at),
            _ => self.mark(at),
        }
    }

    fn mark(&mut self, at: usize) -> usize {
        let rest = self.units[at..].iter().map(|unit| unit.ch);
        if let Some((class, length)) = emoticon(rest) {
            return self.tell(class, at, at + length);
        }
        let word = match self.units[at].ch {
            '-' => {
                let end = self.run(at, |ch| ch == '-');
                return self.tell("-", at, end);
            }
            ',' => ",",
            ';' => ";",
            ':' => ":",
            '(' | '[' | '{' => "(",
            ')' | ']' | '}' => ")",
            '/' => "/",
            '%' => "%",
            '+' => "+",
            _ => return at + 1,
        };
        self.tell(word, at, at + 1)
    }

    /// A run of emoji of one class.
    fn emoji(&mut self, at: usize) -> usize {
        let class = class_of(self.units[at].ch);
        let end = self.run(at, |ch| is_pictograph(ch) && class_of(ch) == class);
        self.tell(class, at, end.max(at + 1))
    }

    /// Skips a tag, which was written as entities if it comes to here.
    fn less(&mut self, at: usize) -> usize {
        match markup::end(self.units[at..].iter().zip(at + 1..).map(|(unit, next)| (unit.ch, next))) {
            Some(end) => end,
            None => self.mark(at),
        }
    }

    fn currency(&mut self, at: usize) -> usize {
        let digit = |at: usize| self.get(at).is_some_and(|ch| ch.is_ascii_digit());
        let from = if self.get(at + 1) == Some(' ') { at + 2 } else { at + 1 };
        if digit(from) {
            let end = self.number_end(from);
            let end = self.run(end, char::is_alphanumeric);
            return self.tell("<price>", at, end);
        }
        match self.units[at].ch == '$' && self.is_letter(at + 1) {
            true => self.word(at),
            false => at + 1,
        }
    }

    /// The unit after digits with points, commas and colons inside.
    fn number_end(&self, at: usize) -> usize {
        let mut end = self.run(at, |ch| ch.is_ascii_digit());
        while matches!(self.get(end), Some('.' | ',' | ':'))
            && self.get(end + 1).is_some_and(|ch| ch.is_ascii_digit())
        {
            end = self.run(end + 1, |ch| ch.is_ascii_digit());
        }
        end
    }

    /// A hashtag: its parts where capitals or underscores show them, else the whole behind `#`.
    fn hashtag(&mut self, at: usize) -> usize {
        let end = self.run(at + 1, |ch| ch.is_alphanumeric() || ch == '_');
        if !self.units[at + 1..end].iter().any(|unit| unit.ch.is_alphabetic()) {
            return at + 1;
        }
        let part_starts = |units: &[Unit], at: usize| match units[at - 1].ch == '_' {
            true => units[at].ch != '_',
            false => units[at].upper && !units[at - 1].upper && units[at - 1].ch.is_alphabetic(),
        };
        let parted = (at + 2..end).any(|at| part_starts(self.units, at));
        let mut from = at + 1;
        for to in at + 2..=end {
            if to < end && !part_starts(self.units, to) {
                continue;
            }
            self.word.clear();
            if !parted {
                self.word.push('#');
            }
            self.word.extend(self.units[from..to].iter().map(|unit| unit.ch).filter(|ch| *ch != '_'));
            let word = std::mem::take(&mut self.word);
            if word.len() > usize::from(!parted) {
                self.tell(&word, if from == at + 1 { at } else { from }, to);
            }
            self.word = word;
            from = to;
        }
        end
    }

    fn word(&mut self, at: usize) -> usize {
        if at >= self.no_address_before
            && let Some((class, end)) = self.address(at)
        {
            return self.tell(class, at, end);
        }
        let before = self.before(at);
        if !before.is_some_and(char::is_alphanumeric)
            && let Some((name, end)) = rating(self.units, at, before)
        {
            // `-10/10` as a whole text, or at its beginning; further on the sign may be a dash.
            let minus = match at {
                0 => self.after_minus,
                _ => at == 1 && self.before.is_none() && before == Some('-'),
            };
            let name = if minus { RATINGS[0] } else { name };
            return self.tell(name, at, end);
        }
        let mut word = std::mem::take(&mut self.word);
        word.clear();
        let mut end = at;
        if self.units[at].ch.is_ascii_digit() {
            end = self.number_end(at);
            if matches!(self.get(end), Some('$' | '£' | '€' | '¥' | '₹')) {
                self.word = word;
                return self.tell("<price>", at, end + 1);
            }
            word.extend(self.units[at..end].iter().map(|unit| unit.ch));
        }
        while let Some(ch) = self.get(end) {
            let inside = match ch {
                _ if ch.is_alphanumeric() => true,
                '\'' | '`' => end > at && self.is_word(end + 1),
                '$' => {
                    self.is_letter(end + 1) || end > at && self.is_letter(end - 1) && !self.is_word(end + 1)
                }
                '@' => end > at && self.is_letter(end - 1) && self.is_letter(end + 1),
                '*' if end > at && self.before(at) != Some('*') => match self.masked(at) {
                    Some((masked, end)) => {
                        self.word = word;
                        return self.tell(masked, at, end);
                    }
                    None => false,
                },
                _ => false,
            };
            if !inside {
                break;
            }
            word.push(if ch == '`' { '\'' } else { ch });
            end += 1;
        }
        self.tell(&word, at, end);
        self.word = word;
        end
    }

    /// The word that asterisks mask at `at`, and the unit after it.
    fn masked(&self, at: usize) -> Option<(&'static str, usize)> {
        let most = (at + MASKED_UNITS).min(self.units.len());
        let end = at
            + self.units[at..most]
                .iter()
                .take_while(|unit| unit.ch.is_ascii_alphabetic() || unit.ch == '*')
                .count();
        let mask: Vec<u8> = self.units[at..end].iter().map(|unit| unit.ch as u8).collect();
        let same_length = MASKED_WORDS.iter().filter(|word| word.len() == mask.len());
        let found = same_length.chain(&MASKED_WORDS).find(|word| fits(&mask, word.as_bytes()))?;
        Some((found, end))
    }

    /// The address of a page or of mail that starts at `at`: its class, and the unit after it.
    fn address(&mut self, at: usize) -> Option<(&'static str, usize)> {
        let (mut end, mut dots, mut mail, mut label) = (at, 0, false, at);
        let mut known = false;
        while end < self.units.len().min(at + ADDRESS_UNITS) {
            match self.units[end].ch {
                ch if ch.is_ascii_alphanumeric() => {}
                '-' | '_' if dots > 0 || mail => {}
                '.' if self.is_word(end + 1) => {
                    known |= dots > 0 && self.is_top_level(label, end);
                    (dots, label) = (dots + 1, end + 1);
                }
                '@' if !mail && self.is_word(end + 1) => (mail, label) = (true, end + 1),
                _ => break,
            }
            end += 1;
        }
        known |= dots > 0 && self.is_top_level(label, end);
        let begins =
            |literal: &str| literal.chars().enumerate().all(|(place, ch)| self.get(at + place) == Some(ch));
        if mail && dots > 0 {
            return Some(("<email>", end));
        }
        if !(known || dots > 0 && begins("www.") || begins("http://") || begins("https://")) {
            self.no_address_before = end.max(at + 1);
            return None;
        }
        let end = self.run(end, |ch| !ch.is_whitespace() && !matches!(ch, '"' | '<' | '>'));
        let trailing =
            |unit: &&Unit| matches!(unit.ch, '.' | ',' | '!' | '?' | ';' | ':' | ')' | ']' | '\'' | '*');
        let trailing = self.units[at..end].iter().rev().take_while(trailing).count();
        Some(("<url>", end - trailing))
    }

    fn is_top_level(&self, from: usize, to: usize) -> bool {
        let label = &self.units[from..to];
        TOP_LEVEL_DOMAINS.iter().any(|domain| label.iter().map(|unit| unit.ch).eq(domain.chars()))
    }
}

/// Whether `word` is what `mask` stands for, each run of asterisks for one letter or more.
fn fits(mask: &[u8], word: &[u8]) -> bool {
    match (mask, word) {
        ([], []) => true,
        ([b'*', mask @ ..], [_, word @ ..]) => fits(mask, word) || fits_longer(mask, word),
        ([m, mask @ ..], [w, word @ ..]) => m == w && fits(mask, word),
        _ => false,
    }
}

/// As [`fits`] behind an asterisk that stands for further letters too.
fn fits_longer(mask: &[u8], word: &[u8]) -> bool {
    (1..=word.len().min(4)).any(|more| fits(mask, &word[more..]))
}
