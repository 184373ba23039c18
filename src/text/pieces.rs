//! Pieces of words, by which a word that the vocabulary lacks is read.

use super::key::Key;
use super::table::{Filter, Table};

/// What begins a piece inside a word, and what ends one at a word's start.
pub(crate) const JOINT: &str = "##";
/// Most letters of a piece, so that with [`JOINT`] its key tells it from every other.
pub(crate) const PIECE_LETTERS: usize = 6;

/// The pieces of a vocabulary. Most keys that are asked for are none of a piece, and those that are lie close together.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    filter: Filter,
    table: Table,
}

impl Pieces {
    /// The pieces among `words`, each with its id.
    pub fn new<'w>(words: impl Iterator<Item = (u32, &'w str)>) -> Self {
        let is_piece = |(_, word): &(u32, &str)| {
            word.len() <= PIECE_LETTERS + JOINT.len() && (word.starts_with(JOINT) || word.ends_with(JOINT))
        };
        let pieces: Vec<_> = words.filter(is_piece).collect();
        let mut all = Self { filter: Filter::new(pieces.len()), table: Table::new(pieces.len()) };
        for (id, piece) in pieces {
            let key = Key::of(piece.as_bytes());
            all.filter.insert(key.value);
            all.table.insert(key, id);
        }
        all
    }

    /// The id of the piece with this key.
    #[inline(always)]
    pub fn find(&self, key: Key) -> Option<u32> {
        // The key of a piece holds all of it.
        if self.filter.may_hold(key.value) { self.table.find(key, |_| false) } else { None }
    }
}

/// Cuts `word` into the longest pieces that `find` knows by their keys, from its start on; whether all of it is cut.
pub(crate) fn for_each_piece(
    word: &[u8],
    find: impl Fn(Key) -> Option<u32>,
    mut each: impl FnMut(u32, &[u8]),
) -> bool {
    let mut from = 0;
    while from < word.len() {
        let most = (word.len() - from).min(PIECE_LETTERS);
        let mut letters =
            word[from..from + most].iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte));
        let mut length = most;
        let id = loop {
            if length == 0 {
                return false;
            }
            if let Some(id) = find(packed_key(letters, length, from == 0)) {
                break id;
            }
            length -= 1;
            letters &= (1 << (8 * length)) - 1;
        };
        each(id, &word[from..from + length]);
        from += length;
    }
    true
}

/// The key of a piece whose `length` letters stand in `letters`, little end first.
fn packed_key(letters: u64, length: usize, first: bool) -> Key {
    let joint = u64::from(u16::from_le_bytes([JOINT.as_bytes()[0], JOINT.as_bytes()[1]]));
    let value = match first {
        true => letters | joint << (8 * length),
        false => letters << (8 * JOINT.len()) | joint,
    };
    Key { value, length: (length + JOINT.len()) as u32 }
}

/// The key of `piece` as it stands in the vocabulary: `un##` at a word's start, `##able` inside.
#[cfg(any(test, feature = "train"))]
pub(crate) fn piece_key(piece: &[u8], first: bool) -> Key {
    let letters = piece.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte));
    packed_key(letters, piece.len(), first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_the_keys_of_their_written_form() {
        for piece in ["u", "un", "unwatc"] {
            assert_eq!(piece_key(piece.as_bytes(), true), Key::of(format!("{piece}{JOINT}").as_bytes()));
            assert_eq!(piece_key(piece.as_bytes(), false), Key::of(format!("{JOINT}{piece}").as_bytes()));
        }
    }

    #[test]
    fn pieces_are_found_by_their_keys() {
        let words = ["##able", "un##", "##", "word", "no#", "##toolong", "a##b"];
        let pieces = Pieces::new((3..).zip(words));
        let id = |piece: &str, first| pieces.find(piece_key(piece.as_bytes(), first));
        assert_eq!((id("able", false), id("un", true)), (Some(3), Some(4)));
        assert_eq!((id("able", true), id("un", false), id("wo", true)), (None, None, None));
        assert_eq!(Pieces::new(std::iter::empty()).find(piece_key(b"a", true)), None);
    }
}
