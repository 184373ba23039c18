//! Plain words and marks, a window of 64 bytes at once: where each starts and ends, and which of them are plain, are a few
//! operations on [`ByteClasses`], and what is left for each is to load its bytes.
//!
//! What counts as plain here is part of what [`super::step`] reads as it stands; it reads the rest.

use super::rating::is_number_word;
use crate::kernel::{BYTE_BLOCK, ByteClasses, ByteClassifier};
use crate::text::token::{Plain, Sink};

/// Bytes that a window looks at: the letters of the last word are loaded 16 at once.
pub(super) const WINDOW: usize = BYTE_BLOCK + 16;
/// Bytes behind a token that say whether it is plain.
const BEHIND: u32 = 2;

/// The lowest bytes of a number, by how many.
const LOWEST: [u64; 9] = {
    let (mut masks, mut bytes) = ([0; 9], 1);
    while bytes < masks.len() {
        masks[bytes] = u64::MAX >> (64 - 8 * bytes);
        bytes += 1;
    }
    masks
};

/// The tokens that start in the first bytes of a window.
pub(super) struct Window<'w> {
    bytes: &'w [u8; WINDOW],
    letters: u64,
    spaces: u64,
    /// Where tokens start, plain or not.
    starts: u64,
    /// Bytes that go on with a word.
    inside: u64,
    /// Where tokens start that are not plain.
    bad_starts: u64,
    /// Where words end, or hold an apostrophe, that make them other than plain.
    bad_ends: u64,
    /// All tokens that start before this place end, and are judged, inside the window.
    pub end: usize,
}

impl<'w> Window<'w> {
    /// The window of `bytes`, where a token may start; spaces behind the end of the text.
    #[inline(always)]
    pub fn of<C: ByteClassifier>(bytes: &'w [u8; WINDOW]) -> Self {
        let block = bytes.first_chunk().unwrap_or(&[b' '; BYTE_BLOCK]);
        let ByteClasses { letters, spaces, apostrophes, dots, stops, quotes, closing, opening, beyond } =
            C::classes(block);
        // The byte behind, the second behind.
        let next = |bits: u64| bits >> 1;
        let second = |bits: u64| bits >> 2;

        let inner = apostrophes & (letters << 1) & next(letters);
        let inside = inner | letters & ((letters | inner) << 1);
        let starts = !(spaces | inside);
        let words = letters & starts;
        let word_ends = !inside & ((words | inside) << 1);
        let stops = stops | dots;

        // A point followed by another is one token with it, even behind a space.
        let plain_marks = stops & next(spaces | quotes | closing) & !(dots & next(spaces) & second(dots))
            | quotes & next(spaces | letters | stops | closing)
            | closing & next(spaces | stops | quotes)
            | opening & next(spaces | letters | quotes);
        // `A-` is a grade.
        let bad_starts = starts & !(words | plain_marks) | words & next(opening);
        // An address goes on behind its points; an ending may stand apart from its word (`it 's`).
        let mut bad_ends = word_ends & !(spaces | stops | quotes | closing | opening)
            | word_ends & dots & !next(spaces | quotes | closing)
            | word_ends & spaces & next(apostrophes | beyond);
        let mut apart = word_ends & spaces & next(letters) & second(apostrophes | beyond);
        while apart != 0 {
            let at = apart.trailing_zeros() as usize;
            if bytes[at + 1] | 0x20 == b'n' {
                bad_ends |= 1 << at;
            }
            apart &= apart - 1;
        }
        // Letters that an apostrophe begins and another one ends: the sum carries to where the letters end.
        bad_ends |= (inner << 1).wrapping_add(letters) & !letters & apostrophes;

        let decided = !inside & (u64::MAX >> BEHIND);
        let end = decided.checked_ilog2().unwrap_or(0) as usize;
        Self { bytes, letters, spaces, starts, inside, bad_starts, bad_ends, end }
    }

    /// Whether a word goes on at `at`, which lies inside the window.
    #[inline(always)]
    pub fn is_inside_word(&self, at: usize) -> bool {
        self.inside >> at & 1 != 0
    }

    /// Gives `sink` the plain tokens from `from` on, where the window's first byte is that at `offset` of the text; where the
    /// first other token starts, or [`Window::end`].
    #[inline(always)]
    pub fn tell(&self, from: usize, offset: usize, sink: &mut impl Sink) -> usize {
        let ahead = u64::MAX << from;
        let mut limit = self.end;
        let bad_ends = self.bad_ends & (ahead << 1);
        if bad_ends != 0 {
            let before = self.starts & ((1 << bad_ends.trailing_zeros()) - 1);
            limit = limit.min(before.checked_ilog2().unwrap_or(0) as usize);
        }
        limit = limit.min((self.bad_starts & ahead).trailing_zeros() as usize);

        let all = self.starts & ahead & ((1 << limit) - 1);
        // Every token has one end, which is at most the next one's start.
        let mut ends = !self.inside & ((self.starts | self.inside) << 1) & (ahead << 1);
        let mut starts = all;
        while starts != 0 {
            let (start, end) = (starts.trailing_zeros() as usize, ends.trailing_zeros() as usize);
            let length = end - start;
            let mut parts = [self.eight(start), 0];
            if length <= 8 {
                parts[0] &= LOWEST[length];
                // `Four stars`, `two out of five`, `five and a half`.
                if is_number_word(parts[0])
                    && self.spaces >> end & 1 != 0
                    && matches!(self.bytes[end + 1] | 0x20, b'o' | b'a' | b's')
                {
                    break;
                }
                sink.plain(Plain { parts, start: offset + start, end: offset + end });
            } else if length <= 16 {
                parts[1] = self.eight(start + 8) & LOWEST[length - 8];
                sink.plain(Plain { parts, start: offset + start, end: offset + end });
            } else {
                break;
            }
            (starts, ends) = (starts & (starts - 1), ends & ends.wrapping_sub(1));
        }
        sink.plain_words(((all ^ starts) & self.letters).count_ones() as usize);
        if starts == 0 { limit } else { starts.trailing_zeros() as usize }
    }

    /// Eight bytes from `at` on, little end first; letters lower-cased, and marks as they are.
    #[inline(always)]
    fn eight(&self, at: usize) -> u64 {
        let part = self.bytes[at..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(part) | 0x2020_2020_2020_2020
    }
}
