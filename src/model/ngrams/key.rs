//! A run of one to three ids as one number.

use crate::text::SPECIAL_WORDS;

/// Ids of the longest gram.
pub const LONGEST_NGRAM: usize = 3;

/// Bits of one id in a key.
pub(super) const ID_BITS: u32 = 20;
/// Every id of a gram lies under it.
pub const NGRAM_ID_LIMIT: usize = 1 << ID_BITS;
const ID_MASK: u64 = (1 << ID_BITS) - 1;
/// The highest key of one id, of two, of three.
pub(super) const HIGHEST: [u64; LONGEST_NGRAM] =
    [ID_MASK, (1 << (2 * ID_BITS)) - 1, (1 << (3 * ID_BITS)) - 1];

/// Whether a gram can hold `id`: the special ids (padding, start, unknown word) stand in none. Grams with the start
/// would be wrong in every window but the first; those with unknown words measured worse than none.
#[inline(always)]
pub(super) fn is_word(id: u32) -> bool {
    (SPECIAL_WORDS.len()..NGRAM_ID_LIMIT).contains(&(id as usize))
}

/// One to three ids as one number that no other gram has; `None` for another number of ids, for a special id and for
/// one of [`NGRAM_ID_LIMIT`] or more.
pub fn pack_ngram(ids: &[u32]) -> Option<u64> {
    let packs = (1..=LONGEST_NGRAM).contains(&ids.len()) && ids.iter().all(|&id| is_word(id));
    packs.then(|| ids.iter().fold(0, |key, &id| key << ID_BITS | u64::from(id)))
}

/// The two runs that a key's run is made of, without its last id and without its first; 0 for no ids.
#[cfg(feature = "train")]
pub(crate) fn parts(key: u64) -> (u64, u64) {
    let back = if key > HIGHEST[1] { key & HIGHEST[1] } else { key & HIGHEST[0] };
    (key >> ID_BITS, if key > HIGHEST[0] { back } else { 0 })
}

/// The ids of a key, first id first; empty where [`pack_ngram`] makes no such key.
pub fn unpack_ngram(key: u64) -> Vec<u32> {
    let places = (0..LONGEST_NGRAM as u32).rev();
    let ids: Vec<u32> =
        places.map(|place| (key >> (place * ID_BITS) & ID_MASK) as u32).skip_while(|&id| id == 0).collect();
    if pack_ngram(&ids) == Some(key) { ids } else { Vec::new() }
}
