//! Misspelt words: frequent words that differ from them by one slip.
//!
//! An index of what is left of each word when one letter is dropped (Garbe's symmetric delete): two words that differ by
//! one letter, dropped, added, exchanged or changed, share such a remainder. Doubled letters count once on both sides.

use super::key::Key;
use super::table::Filter;

/// Only so many of the most frequent words are what a misspelt word can have been meant to be.
const FREQUENT: usize = 10_000;
/// Lengths of words that are corrected: slips in shorter ones make other words, and longer ones are no words.
const LETTERS: std::ops::RangeInclusive<usize> = 5..=18;

#[derive(Clone, Debug, Default)]
pub(super) struct Spelling {
    /// Open addressing with linear probing, `2^bits` slots: a hash of the remainder, the id of its word. A free slot has
    /// the id 0.
    slots: Vec<(u32, u32)>,
    bits: u32,
    /// Every remainder that there is: most words that are asked for have none.
    filter: Option<Filter>,
}

/// Room for the longest word that is corrected.
const ROOM: usize = 24;

impl Spelling {
    /// The index of `words`, most frequent first, each with its id.
    pub fn new<'w>(words: impl Iterator<Item = (u32, &'w [u8])>) -> Self {
        let words: Vec<_> = words.take(FREQUENT).filter(|(_, word)| is_correctable(word)).collect();
        let entries: usize = words.iter().map(|(_, word)| word.len() + 1).sum();
        let bits = (2 * entries.max(1)).next_power_of_two().trailing_zeros();
        let mut index = Self { slots: vec![(0, 0); 1 << bits], bits, filter: None };
        let mut filter = Filter::new(entries);
        for (id, word) in words {
            let (short, length) = squeeze_short(word);
            for_each_remainder(&short, length, |key| {
                let mut at = key.slot(index.bits);
                while index.slots[at].1 != 0 {
                    at = (at + 1) & (index.slots.len() - 1);
                }
                index.slots[at] = (fingerprint(key), id);
                filter.insert(key);
            });
        }
        index.filter = Some(filter);
        index
    }

    /// The most frequent word that `typed` is a slip away from; `word` gives the bytes of an id.
    pub fn corrected<'w>(&self, typed: &[u8], word: impl Fn(u32) -> &'w [u8]) -> Option<u32> {
        let filter = self.filter.as_ref().filter(|_| is_correctable(typed))?;
        let (short, length) = squeeze_short(typed);
        let mut found: Option<u32> = None;
        for_each_remainder(&short, length, |key| {
            if !filter.may_hold(key) {
                return;
            }
            let mut at = key.slot(self.bits);
            loop {
                let (print, id) = self.slots[at];
                if id == 0 {
                    break;
                }
                if print == fingerprint(key)
                    && found.is_none_or(|found| id < found)
                    && is_slip(&short[..length], &squeeze(word(id), 1))
                {
                    found = Some(id);
                }
                at = (at + 1) & (self.slots.len() - 1);
            }
        });
        found
    }
}

fn is_correctable(word: &[u8]) -> bool {
    LETTERS.contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase)
}

fn fingerprint(key: Key) -> u32 {
    (key.value ^ key.value >> 32) as u32 ^ key.length << 24
}

/// `word` with every run of a byte cut to `most`.
pub(super) fn squeeze(word: &[u8], most: usize) -> Vec<u8> {
    word.chunk_by(|a, b| a == b).flat_map(|run| &run[..run.len().min(most)]).copied().collect()
}

/// A word of at most [`LETTERS`] with every run of a byte cut to one, zeros behind it, and its length.
fn squeeze_short(word: &[u8]) -> ([u8; ROOM], usize) {
    let (mut short, mut length, mut last) = ([0; ROOM], 0, 0);
    for &byte in word {
        // Where it is the same, the next one takes its place.
        length += usize::from(byte != last);
        short[length - 1] = byte;
        last = byte;
    }
    (short, length)
}

/// Calls `each` with the key of `word`, of `length` bytes, and with those of what is left when one letter behind the first
/// is dropped, the last one first.
#[inline(always)]
fn for_each_remainder(word: &[u8; ROOM], length: usize, mut each: impl FnMut(Key)) {
    let eight = |part: usize| u64::from_le_bytes(word.as_chunks().0[part]);
    let parts = [eight(0), eight(1), eight(2)];
    each(Key::of_parts(parts, length));
    for dropped in (1..length).rev() {
        // What stands behind the letter moves up by one byte, over the borders of parts.
        let mut left = parts;
        let (part, bits) = (dropped / 8, 8 * (dropped % 8));
        let before = (1 << bits) - 1;
        left[part] = left[part] & before | (left[part] >> 8) & !before;
        for next in part + 1..left.len() {
            left[next - 1] |= left[next] << 56;
            left[next] >>= 8;
        }
        each(Key::of_parts(left, length - 1));
    }
}

/// Whether `typed` is `meant` but for one slip that is more likely than another word.
fn is_slip(typed: &[u8], meant: &[u8]) -> bool {
    let same = typed.iter().zip(meant).take_while(|(a, b)| a == b).count();
    let (t, m) = (&typed[same..], &meant[same..]);
    match (t, m) {
        ([], []) => true,
        // The first letter is seldom wrong.
        _ if same == 0 => false,
        // A letter too many or too few.
        ([_, rest @ ..], m) if rest == m => true,
        (t, [_, rest @ ..]) if t == rest => true,
        ([a, b, rest @ ..], [c, d, end @ ..]) if a == d && b == c && rest == end => true,
        ([a, rest @ ..], [b, end @ ..]) if rest == end => are_confused(*a, *b),
        _ => false,
    }
}

/// Letters that are taken for each other: vowels, and consonants that sound alike.
fn are_confused(a: u8, b: u8) -> bool {
    let vowel = |letter| b"aeiouy".contains(&letter);
    const ALIKE: [&[u8]; 7] = [b"ck", b"cs", b"sz", b"gj", b"fv", b"mn", b"dt"];
    vowel(a) && vowel(b) || ALIKE.iter().any(|pair| pair.contains(&a) && pair.contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remainders_have_the_keys_of_what_is_left() {
        for length in 1..=*LETTERS.end() {
            let word = &b"abcdefghijklmnopqrstuvwxyz"[..length];
            let mut expected = vec![Key::of(word)];
            for dropped in (1..length).rev() {
                expected.push(Key::of(&[&word[..dropped], &word[dropped + 1..]].concat()));
            }
            let mut found = Vec::new();
            let (word, length) = squeeze_short(word);
            for_each_remainder(&word, length, |key| found.push(key));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn both_ways_of_squeezing_agree() {
        for word in
            ["a", "aabbaa", "eightlet", "llamas", "bookkeeper", "abcdefghijklmnopqr", "xxxxxxxxxxxxxxxxxx"]
        {
            let (short, length) = squeeze_short(word.as_bytes());
            assert_eq!(short[..length], squeeze(word.as_bytes(), 1));
            assert!(short[length..].iter().all(|&byte| byte == 0), "{word}");
        }
    }

    #[test]
    fn one_slip_is_corrected_to_the_more_frequent_word() {
        let words = [
            "terrible",
            "wonderful",
            "awesome",
            "boring",
            "definitely",
            "weird",
            "disappointing",
            "bored",
            "brads",
        ];
        let index = Spelling::new((1..).zip(words.iter().map(|word| word.as_bytes())));
        let read = |typed: &str| {
            index
                .corrected(typed.as_bytes(), |id| words[id as usize - 1].as_bytes())
                .map(|id| words[id as usize - 1])
        };
        for (typed, meant) in [
            ("terible", "terrible"),
            ("terribel", "terrible"),
            ("wonderfull", "wonderful"),
            ("awsome", "awesome"),
            ("boreing", "boring"),
            ("definatly", ""),
            ("definately", "definitely"),
            ("wierd", "weird"),
            ("dissapointing", "disappointing"),
            ("dissappointing", "disappointing"),
            ("borred", "bored"),
            ("worderful", ""),
            ("oring", ""),
            ("bor", ""),
        ] {
            assert_eq!(read(typed).unwrap_or(""), meant, "{typed}");
        }
    }
}
