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
    /// Open addressing with linear probing, `2^bits` slots: some bits of a remainder's hash above the place of its word among
    /// the frequent ones, from 1 on. 0 is free.
    slots: Vec<u32>,
    bits: u32,
    /// The id of the first word.
    first: u32,
    /// Every remainder that there is: most words that are asked for have none.
    filter: Option<Filter>,
}

/// Bits of a slot that hold a place.
const PLACE_BITS: u32 = (FREQUENT + 1).next_power_of_two().trailing_zeros();

/// Room for the longest word that is corrected.
const ROOM: usize = 24;

impl Spelling {
    /// The index of `words`, most frequent first, which have the ids from `first` on.
    pub fn new<'w>(first: u32, words: impl Iterator<Item = &'w [u8]>) -> Self {
        let words: Vec<_> =
            (1..).zip(words.take(FREQUENT)).filter(|(_, word)| is_correctable(word)).collect();
        let entries: usize = words.iter().map(|(_, word)| word.len() + 1).sum();
        // Up to five sixths full, so that it stays in a near cache.
        let bits = (entries * 6 / 5 + 1).next_power_of_two().trailing_zeros();
        let mut index = Self { slots: vec![0; 1 << bits], bits, first, filter: None };
        let mut filter = Filter::new(entries);
        for (place, word) in words {
            let (short, length) = squeeze_short(word);
            for_each_remainder(&short, length, |key| {
                let mut at = key.slot(index.bits);
                while index.slots[at] != 0 {
                    at = (at + 1) & (index.slots.len() - 1);
                }
                index.slots[at] = fingerprint(key) | place;
                filter.insert(key.value);
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
            if !filter.may_hold(key.value) {
                return;
            }
            let mut at = key.slot(self.bits);
            while self.slots[at] != 0 {
                let (print, place) =
                    (self.slots[at] >> PLACE_BITS << PLACE_BITS, self.slots[at] % (1 << PLACE_BITS));
                let id = self.first + place - 1;
                if print == fingerprint(key) && found.is_none_or(|found| id < found) {
                    let (meant, meant_length) = squeeze_short(word(id));
                    if is_slip(&short[..length], &meant[..meant_length]) {
                        found = Some(id);
                    }
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

/// The bits of `key` that a slot holds: the highest of a product with 2^32 over the golden ratio.
fn fingerprint(key: Key) -> u32 {
    ((key.value ^ key.value >> 32) as u32 ^ key.length << 24).wrapping_mul(0x9e37_79b1) >> PLACE_BITS
        << PLACE_BITS
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

/// Calls `each` with the keys of what is left of `word`, of `length` bytes, when one letter behind the first is dropped, and
/// at last with its own.
#[inline(always)]
fn for_each_remainder(word: &[u8; ROOM], length: usize, mut each: impl FnMut(Key)) {
    let eight = |part: usize| u64::from_le_bytes(word.as_chunks().0[part]);
    let (first, last) = (u128::from(eight(1)) << 64 | u128::from(eight(0)), eight(2));
    // The bytes before the one that is dropped: those behind it move up, from one number into the other.
    let (mut before, mut last_before) = (0xff, 0);
    for dropped in 1..=length {
        let moved = first >> 8 | u128::from(last) << 120;
        let left = first & before | moved & !before;
        let last = last & last_before | last >> 8 & !last_before;
        let length = if dropped == length { length } else { length - 1 };
        each(Key::of_parts([left as u64, (left >> 64) as u64, last], length));
        if dropped >= 16 {
            last_before = last_before << 8 | 0xff;
        }
        before = before << 8 | 0xff;
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
            let mut expected: Vec<Key> = (1..length)
                .map(|dropped| Key::of(&[&word[..dropped], &word[dropped + 1..]].concat()))
                .collect();
            expected.push(Key::of(word));
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
        let index = Spelling::new(1, words.iter().map(|word| word.as_bytes()));
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
