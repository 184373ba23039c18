//! Tables of keys, and what answers most questions in front of them.

use super::key::{GOLDEN_RATIO, Key};

/// Keys and ids; look-up costs one product and, nearly always, one comparison of two numbers.
///
/// The table is our own because it must be faster than the standard map: it is asked once per word of every
/// text, the key is computed while the tokenizer scans, and nothing is ever removed.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Open addressing with linear probing: `2^bits` slots, at most half full.
    slots: Vec<Slot>,
    bits: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Value and length of the key, side by side with the id so that four slots share a cache line.
    value: u64,
    length: u32,
    /// `u32::MAX` marks a free slot.
    id: u32,
}

const FREE: Slot = Slot { value: 0, length: 0, id: u32::MAX };

impl Table {
    /// An empty table with room for `count` keys.
    pub fn new(count: usize) -> Self {
        let bits = (count * 2).next_power_of_two().max(2).trailing_zeros();
        Self { slots: vec![FREE; 1 << bits], bits }
    }

    /// Puts in `key`, which must not be there yet, with `id`.
    pub fn insert(&mut self, key: Key, id: u32) {
        let mut at = key.slot(self.bits);
        while self.slots[at].id != FREE.id {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = Slot { value: key.value, length: key.length, id };
    }

    /// The id of `key`, one that tells the word from every other, where it stands in the first slot that is looked at.
    #[inline(always)]
    pub fn find_at_once(&self, key: Key) -> Option<u32> {
        let slot = &self.slots[key.slot(self.bits)];
        (slot.value == key.value && slot.length == key.length).then_some(slot.id)
    }

    /// The id of `key`; `is_it` says whether an id is that of the word looked for, where its key alone does not tell.
    #[inline(always)]
    pub fn find(&self, key: Key, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let last = self.slots.len() - 1;
        let mut at = key.slot(self.bits);
        loop {
            let slot = self.slots[at & last];
            if slot.value == key.value && slot.length == key.length && (key.is_whole() || is_it(slot.id)) {
                return Some(slot.id);
            }
            if slot.id == FREE.id {
                return None;
            }
            at += 1;
        }
    }
}

/// Which keys there are, by their values, in few bits that stay in a near cache: never wrong of one that it holds, seldom of
/// another.
///
/// A Bloom filter all of whose bits for one key lie in one word (Putze, Sanders and Singler 2007, "Cache-, Hash- and
/// Space-Efficient Bloom Filters").
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    words: Vec<u64>,
    /// `2^bits` words.
    bits: u32,
}

impl Filter {
    /// An empty filter for `count` keys.
    pub fn new(count: usize) -> Self {
        // 8 to 16 bits for each key, of which three are set: one to three in a hundred of the others are taken for one.
        let bits = (count / 8).next_power_of_two().max(2).trailing_zeros();
        Self { words: vec![0; 1 << bits], bits }
    }

    /// Puts in what a number stands for.
    pub fn insert(&mut self, value: u64) {
        let (word, mask) = self.place(value);
        self.words[word] |= mask;
    }

    /// Whether `value` may be there.
    #[inline(always)]
    pub fn may_hold(&self, value: u64) -> bool {
        let (word, mask) = self.place(value);
        self.words[word] & mask == mask
    }

    #[inline(always)]
    fn place(&self, value: u64) -> (usize, u64) {
        let hash = value.wrapping_mul(GOLDEN_RATIO);
        let rest = hash << self.bits;
        let mask = 1 << (rest >> 58) | 1 << (rest >> 52 & 63) | 1 << (rest >> 46 & 63);
        ((hash >> (64 - self.bits)) as usize, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        Key::of(format!("w{number}").as_bytes())
    }

    #[test]
    fn a_table_finds_what_was_put_in_and_nothing_else() {
        for count in [0, 1, 2, 3, 1000] {
            let mut table = Table::new(count as usize);
            (0..count).for_each(|number| table.insert(key(number), number));
            for number in 0..2 * count + 2 {
                let expected = (number < count).then_some(number);
                assert_eq!(table.find(key(number), |_| unreachable!()), expected);
            }
        }
        let (mut table, long) = (Table::new(2), Key::of(b"longer than eight"));
        (0..2).for_each(|id| table.insert(long, id));
        assert_eq!(table.find(long, |id| id == 1), Some(1));
        assert_eq!(table.find(long, |_| false), None);
    }

    #[test]
    fn a_filter_holds_what_was_put_in_and_little_else() {
        for count in [1, 7, 3_000, 80_000] {
            let mut filter = Filter::new(count as usize);
            assert!(!filter.may_hold(key(0).value));
            (0..count).for_each(|number| filter.insert(key(number).value));
            assert!((0..count).all(|number| filter.may_hold(key(number).value)));
            let wrong =
                (count..2 * count + 1000).filter(|&number| filter.may_hold(key(number).value)).count();
            assert!(wrong <= (count as usize + 1000) / 20, "{wrong} of {count}");
        }
    }
}
