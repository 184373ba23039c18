//! Finds the distinct grams of a review: one pass over its ids, one probe per gram, nothing allocated.

use super::key::{HIGHEST, ID_BITS, is_word};
use crate::text::{Filter, GOLDEN_RATIO};

/// A gram and what it adds to the two sums of a score, side by side so that one cache line brings both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) key: u64,
    /// w r
    pub(crate) product: f32,
    /// r^2
    pub(crate) square: f32,
}

/// Grams and their places, 0 to n - 1 in ascending order of their keys.
#[derive(Clone, Debug)]
pub(crate) struct NgramIndex {
    entries: Vec<Entry>,
    /// Turns nearly every absent gram away.
    filter: Filter,
    /// Open addressing with linear steps, a power of two, at most half full. A slot holds the place of an entry, from 1 on,
    /// and above it a tag, other bits of the hash; equality is always settled by the whole key. 0 is free.
    slots: Vec<u32>,
    /// Leaves of a 64-bit hash as many high bits as number the slots.
    shift: u32,
    /// The bits of a slot that hold a place.
    place_mask: u32,
}

/// Grams that are looked up side by side.
const TOGETHER: usize = 64;

/// Which grams a review has shown, for reuse from review to review and from table to table: a gram counts as seen
/// where its stamp is the present review's number.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    stamps: Vec<u32>,
    /// The number of the present review.
    pub(super) review: u32,
}

impl Scratch {
    /// The stamps for a new review and its number, of which no stamp is left.
    fn begin(&mut self, entries: usize) -> (&mut [u32], u32) {
        if self.stamps.len() < entries {
            self.stamps.resize(entries, 0);
        }
        self.review = self.review.wrapping_add(1);
        if self.review == 0 {
            self.stamps.fill(0);
            self.review = 1;
        }
        (&mut self.stamps, self.review)
    }
}

impl NgramIndex {
    /// An index of `keys`, strictly ascending.
    #[cfg(feature = "train")]
    pub(crate) fn new(keys: &[u64]) -> Self {
        Self::of(keys.iter().map(|&key| Entry { key, product: 0.0, square: 0.0 }).collect())
    }

    /// An index of `entries`, their keys strictly ascending, fewer than 2^32 - 1.
    pub(crate) fn of(entries: Vec<Entry>) -> Self {
        let slots = (2 * entries.len()).next_power_of_two().max(2);
        let place_mask = (entries.len() as u64 + 2).next_power_of_two() - 1;
        let mut index = Self {
            filter: Filter::new(entries.len()),
            slots: vec![0; slots],
            shift: 64 - slots.ilog2(),
            place_mask: place_mask as u32,
            entries,
        };
        for place in 0..index.entries.len() {
            let key = index.entries[place].key;
            index.filter.insert(key);
            let (mut slot, tag) = index.hash(key);
            while index.slots[slot] != 0 {
                slot = (slot + 1) & (slots - 1);
            }
            index.slots[slot] = tag | (place + 1) as u32;
        }
        index
    }

    /// The entry at `place`.
    pub(crate) fn entry(&self, place: u32) -> &Entry {
        &self.entries[place as usize]
    }

    /// The keys, ascending.
    pub(crate) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().map(|entry| entry.key)
    }

    /// The slot where the search for `key` begins, and the key's tag.
    #[inline(always)]
    fn hash(&self, key: u64) -> (usize, u32) {
        let hash = key.wrapping_mul(GOLDEN_RATIO);
        ((hash >> self.shift) as usize, (hash << (64 - self.shift) >> 32) as u32 & !self.place_mask)
    }

    /// The place of `key`, or `None` where it is not in the index.
    pub(crate) fn find(&self, key: u64) -> Option<u32> {
        self.find_from(key, self.slots[self.hash(key).0])
    }

    /// As [`NgramIndex::find`], where the slot in which the search begins is known.
    #[inline(always)]
    fn find_from(&self, key: u64, mut slot: u32) -> Option<u32> {
        let (mut at, tag) = self.hash(key);
        loop {
            let place = (slot & self.place_mask).checked_sub(1)?;
            if slot & !self.place_mask == tag && self.entries[place as usize].key == key {
                return Some(place);
            }
            at = (at + 1) & (self.slots.len() - 1);
            slot = self.slots[at];
        }
    }

    /// Calls `each` with place and entry of every distinct gram of the index that `ids` hold, in order of appearance.
    #[inline(always)]
    pub(crate) fn each_distinct(
        &self,
        ids: &[u32],
        scratch: &mut Scratch,
        mut each: impl FnMut(u32, &Entry),
    ) {
        let (stamps, review) = scratch.begin(self.entries.len());
        // In steps, each of which waits for memory once and not once a gram; hardly a branch is guessed wrong.
        let mut look_up = |keys: &[u64]| {
            let (mut kept, mut count) = ([0; TOGETHER], 0);
            for &key in keys {
                kept[count] = key;
                count += usize::from(self.filter.may_hold(key));
            }
            let kept = &kept[..count];
            let mut slots = [0; TOGETHER];
            for (slot, &key) in slots.iter_mut().zip(kept) {
                *slot = self.slots[self.hash(key).0];
            }
            let (mut places, mut found) = ([0; TOGETHER], 0);
            for (&key, &slot) in kept.iter().zip(&slots) {
                if let Some(place) = self.find_from(key, slot) {
                    places[found] = place;
                    found += 1;
                }
            }
            let mut distinct = 0;
            for at in 0..found {
                let place = places[at];
                let stamp = &mut stamps[place as usize];
                places[distinct] = place;
                distinct += usize::from(*stamp != review);
                *stamp = review;
            }
            for &place in &places[..distinct] {
                each(place, &self.entries[place as usize]);
            }
        };
        let (mut keys, mut count) = ([0; TOGETHER], 0);
        each_gram(ids, |key| {
            keys[count] = key;
            count += 1;
            if count == TOGETHER {
                look_up(&keys);
                count = 0;
            }
        });
        look_up(&keys[..count]);
    }
}

/// Calls `each` with the key of every gram of `ids`, as often as it stands there: what ends at the first id, what ends
/// at the second, and so on, short before long. An id that a gram cannot hold parts those on its two sides.
#[inline(always)]
pub(crate) fn each_gram(ids: &[u32], mut each: impl FnMut(u64)) {
    // The last ids, packed; 0 where there is none.
    let mut run = 0u64;
    for &id in ids {
        if !is_word(id) {
            run = 0;
            continue;
        }
        run = (run << ID_BITS | u64::from(id)) & HIGHEST[2];
        each(run & HIGHEST[0]);
        if run > HIGHEST[0] {
            each(run & HIGHEST[1]);
        }
        if run > HIGHEST[1] {
            each(run);
        }
    }
}
