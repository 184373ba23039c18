//! Ratings: `4/5`, `9.5 out of ten`, `3 stars`, `★★★☆☆`, `***1/2`, `B+`, as tenths.

use super::normal::{NO_STAR, STAR, Unit};
use crate::text::key::{GOLDEN_RATIO, whole_value};

/// The names of ratings, by tenth.
pub(super) const RATINGS: [&str; 11] = [
    "<rating-0>",
    "<rating-1>",
    "<rating-2>",
    "<rating-3>",
    "<rating-4>",
    "<rating-5>",
    "<rating-6>",
    "<rating-7>",
    "<rating-8>",
    "<rating-9>",
    "<rating-10>",
];

const NUMBER_WORDS: [&str; 11] =
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];

/// Scales that ratings are given on; other fractions are dates and parts.
const SCALES: [f32; 4] = [4.0, 5.0, 10.0, 100.0];

/// The rating that starts at unit `at`, `before` it nothing or this: its name, and the unit after it.
pub(super) fn rating(units: &[Unit], at: usize, before: Option<char>) -> Option<(&'static str, usize)> {
    let units = Units(units);
    let (value, scale, end) = match units.get(at)? {
        STAR | NO_STAR => units.drawn_stars(at)?,
        '*' => units.asterisks(at, before)?,
        ch if ch.is_ascii_digit() || ch == '½' => units.amount(at, None)?,
        'a'..='f' if units.0[at].upper && matches!(units.get(at + 1), Some('+' | '-')) => units.grade(at)?,
        _ => units.amount(at, Some(Word { first: before.is_none() }))?,
    };
    let tenths = (10.0 * value / scale).round();
    // Eleven of ten is ten; seventy of five is something else.
    (tenths <= 12.0).then(|| (RATINGS[(tenths as usize).min(10)], end))
}

/// The values of the keys of [`NUMBER_WORDS`], each at its [`number_place`]; 0 elsewhere.
const NUMBER_KEYS: [u64; 128] = {
    let (mut keys, mut at) = ([0; 128], 0);
    while at < NUMBER_WORDS.len() {
        let value = whole_value(NUMBER_WORDS[at].as_bytes());
        assert!(keys[number_place(value)] == 0, "two number words have one place");
        keys[number_place(value)] = value;
        at += 1;
    }
    keys
};

const fn number_place(value: u64) -> usize {
    (value.wrapping_mul(GOLDEN_RATIO) >> 57) as usize
}

/// Whether the word that is `value`, little end first and filled up with zeros, can begin a rating; at least one letter.
#[inline(always)]
pub(super) fn is_number_word(value: u64) -> bool {
    NUMBER_KEYS[number_place(value)] == value
}

/// Whether `rest`, which begins with white space, may go on a rating that a number word begins.
pub(super) fn may_follow_number_word(rest: &[u8]) -> bool {
    // A line may end inside a rating.
    let stands = |(byte, literal): (&u8, &u8)| match literal {
        b' ' => matches!(byte, b' ' | b'\t'..=b'\r'),
        _ => byte.eq_ignore_ascii_case(literal),
    };
    let starts = |literal: &[u8]| rest.len() >= literal.len() && rest.iter().zip(literal).all(stands);
    starts(b" out of ") || starts(b" star") || starts(b" and a half") || starts(b" and 1/2")
}

/// A number in words.
#[derive(Clone, Copy)]
struct Word {
    /// Whether the text begins with it.
    first: bool,
}

struct Units<'u>(&'u [Unit]);

impl Units<'_> {
    fn get(&self, at: usize) -> Option<char> {
        self.0.get(at).map(|unit| unit.ch)
    }

    /// The unit after `literal`, where that stands at `at`.
    fn after(&self, at: usize, literal: &str) -> Option<usize> {
        let mut end = at;
        for ch in literal.chars() {
            if self.get(end)? != ch {
                return None;
            }
            end += 1;
        }
        Some(end)
    }

    fn ends_word(&self, at: usize) -> bool {
        self.get(at).is_none_or(|ch| !ch.is_alphanumeric())
    }

    /// The unit after a run of `ch`.
    fn run(&self, at: usize, ch: char) -> usize {
        at + self.0[at.min(self.0.len())..].iter().take_while(|unit| unit.ch == ch).count()
    }

    /// The unit after the first of `literals` that stands at `at`; `at` where none does.
    fn skip(&self, at: usize, literals: &[&str]) -> usize {
        literals.iter().find_map(|literal| self.after(at, literal)).unwrap_or(at)
    }

    /// A number of at most three digits before and two after the point.
    fn digits(&self, at: usize) -> Option<(f32, usize)> {
        let mut end = at;
        let mut value = 0.0;
        while let Some(digit) = self.get(end).and_then(|ch| ch.to_digit(10)) {
            value = value * 10.0 + digit as f32;
            end += 1;
        }
        if end == at || end - at > 3 {
            return None;
        }
        if matches!(self.get(end), Some('.' | ',')) {
            let (mut place, mut next) = (0.1, end + 1);
            while let Some(digit) = self.get(next).and_then(|ch| ch.to_digit(10)) {
                value += digit as f32 * place;
                place /= 10.0;
                next += 1;
            }
            end = if next > end + 1 { next } else { end };
        }
        Some((value, end))
    }

    fn number_word(&self, at: usize) -> Option<(f32, usize)> {
        let found = |(value, word): (usize, &&str)| {
            let end = self.after(at, word).filter(|end| self.ends_word(*end))?;
            Some((value as f32, end))
        };
        NUMBER_WORDS.iter().enumerate().find_map(found)
    }

    /// A scale, written as number or word.
    fn scale(&self, at: usize) -> Option<(f32, usize)> {
        let at = self.skip(at, &["a possible "]);
        let stars = self.run(at, '*');
        let drawn = self.run(at, STAR);
        let (value, end) = match () {
            () if stars > at => ((stars - at) as f32, stars),
            () if drawn > at => ((drawn - at) as f32, drawn),
            () => self.digits(at).or_else(|| self.number_word(at))?,
        };
        let dated = self.get(end) == Some('/');
        (SCALES.contains(&value) && self.ends_word(end) && !dated).then_some((value, end))
    }

    /// `of` of a scale behind an amount: `/5`, ` out of ten`, ` (out of 4)`.
    fn of_scale(&self, at: usize) -> Option<(f32, usize)> {
        if let Some(from) = ["/", " / ", " /", "/ "].iter().find_map(|slash| self.after(at, slash)) {
            return self.scale(from).filter(|(_, end)| self.after(*end, " of ").is_none());
        }
        if let Some(from) = self.after(at, " (out of ") {
            let (scale, end) = self.scale(from)?;
            return Some((scale, self.after(self.skip(end, &[" stars"]), ")")?));
        }
        self.scale(self.after(at, " out of ")?)
    }

    /// The unit after ` stars`, ` star`, `-star` or `★`.
    fn stars(&self, at: usize) -> Option<usize> {
        if self.get(at) == Some(STAR) || self.get(at) == Some(' ') && self.get(at + 1) == Some(STAR) {
            let end = self.skip(at, &[" "]) + 1;
            return (self.get(end) != Some(STAR)).then_some(end);
        }
        let word = self.skip(at, &[" ", "-"]);
        let end = self.after(word, "stars").or_else(|| self.after(word, "star"))?;
        self.ends_word(end).then_some(end)
    }

    /// Whether a sentence or a part of it ends at `at`.
    fn ends_part(&self, at: usize) -> bool {
        let at = self.run(at, ' ');
        self.get(at).is_none_or(|ch| matches!(ch, '.' | ',' | '!' | '?' | ';' | ':' | ')' | '"' | '<'))
    }

    /// Value, scale and end of a rating that starts with a number, or with the word for one.
    fn amount(&self, at: usize, word: Option<Word>) -> Option<(f32, f32, usize)> {
        let (mut value, mut end) = match self.get(at) {
            Some('½') => (0.0, at),
            _ if word.is_some() => self.number_word(at)?,
            _ => self.digits(at)?,
        };
        let whole = end;
        end = self.skip(end, &["½", " ½", " 1/2", "-1/2", " & 1/2", " and a half", " and 1/2"]);
        value += if end > whole { 0.5 } else { 0.0 };
        if let Some((scale, end)) = self.of_scale(end) {
            let stars = self.stars(end);
            // Three quarters are a part, three and a half of four a rating.
            let part = scale == 4.0 && self.get(whole) == Some('/') && value.fract() == 0.0;
            return (!part || stars.is_some()).then_some((value, scale, stars.unwrap_or(end)));
        }
        let stars = self.stars(end)?;
        if let Some((scale, end)) = self.of_scale(stars) {
            return Some((value, scale, end));
        }
        let scale = if value <= 5.0 { 5.0 } else { 10.0 };
        let rates = word.is_none_or(|word| {
            // `Two stars`, and three, may be actors, unless a text begins so.
            self.ends_part(stars) && (word.first || value != 2.0 && value != 3.0)
        });
        rates.then_some((value, scale, stars))
    }

    fn drawn_stars(&self, at: usize) -> Option<(f32, f32, usize)> {
        let full = self.run(at, STAR);
        let half = self.skip(full, &["½", "1/2"]);
        let end = self.run(half, NO_STAR);
        let value = (full - at) as f32 + if half > full { 0.5 } else { 0.0 };
        if end > half {
            return (end - at > 1).then_some((value, ((end - half) as f32 + value.ceil()).max(value), end));
        }
        if let Some((scale, end)) = self.of_scale(end) {
            return Some((value, scale, end));
        }
        // One star alone is an ornament.
        (value > 1.0).then_some((value, if value <= 5.0 { 5.0 } else { 10.0 }, end))
    }

    /// Asterisks are a rating with a half or a scale; else they are emphasis or a line.
    fn asterisks(&self, at: usize, before: Option<char>) -> Option<(f32, f32, usize)> {
        if before.is_some_and(|ch| !ch.is_whitespace() && !matches!(ch, '(' | '"' | ':')) {
            return None;
        }
        let stars = self.run(at, '*');
        let end = self.skip(stars, &["½", " ½", "1/2", " 1/2"]);
        let value = (stars - at) as f32 + if end > stars { 0.5 } else { 0.0 };
        if let Some((scale, end)) = self.of_scale(end) {
            return Some((value, scale, end));
        }
        (end > stars && value <= 5.0 && self.ends_word(end)).then_some((
            value,
            if value < 4.0 { 4.0 } else { 5.0 },
            end,
        ))
    }

    fn grade(&self, at: usize) -> Option<(f32, f32, usize)> {
        let (letter, sign) = (self.get(at)?, self.get(at + 1)?);
        if self.get(at + 2).is_some_and(|ch| ch.is_alphanumeric() || matches!(ch, '-' | '+')) {
            return None;
        }
        let middle = match letter {
            'a' => 9.5,
            'b' => 8.0,
            'c' => 5.5,
            'd' => 3.0,
            'f' => 0.5,
            _ => return None,
        };
        Some((middle + if sign == '+' { 0.5 } else { -0.5 }, 10.0, at + 2))
    }
}
