//! Places in a text as other languages count them.

use std::ops::Range;

/// In what offsets count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Offsets {
    /// Bytes of UTF-8.
    Utf8,
    /// Units of UTF-16.
    Utf16,
    /// Unicode code points.
    #[default]
    Codepoints,
}

/// Turns offsets in bytes into others, in whatever order they are asked for.
#[derive(Debug)]
pub struct OffsetTable<'t> {
    text: &'t str,
    offsets: Offsets,
    /// The offset of every [`OffsetTable::STEP`]th byte, or of the character's beginning before it.
    marks: Vec<(usize, usize)>,
}

impl<'t> OffsetTable<'t> {
    const STEP: usize = 256;

    /// The table of `text`.
    pub fn new(text: &'t str, offsets: Offsets) -> Self {
        let mut marks = Vec::new();
        if offsets != Offsets::Utf8 && !text.is_ascii() {
            let (mut at, mut offset) = (0, 0);
            while at < text.len() {
                marks.push((at, offset));
                let next = text.floor_char_boundary(at + Self::STEP);
                offset += Self::length(&text[at..next], offsets);
                at = next;
            }
        }
        Self { text, offsets, marks }
    }

    fn length(text: &str, offsets: Offsets) -> usize {
        match offsets {
            Offsets::Utf8 => text.len(),
            Offsets::Utf16 => text.chars().map(char::len_utf16).sum(),
            Offsets::Codepoints => text.chars().count(),
        }
    }

    /// The offset of `byte`, which lies at a character's border.
    pub fn of(&self, byte: usize) -> usize {
        let before = self.marks.partition_point(|&(at, _)| at <= byte);
        match before.checked_sub(1).map(|mark| self.marks[mark]) {
            None => byte,
            Some((at, offset)) => offset + Self::length(&self.text[at..byte], self.offsets),
        }
    }

    /// The offsets of the range `bytes`.
    pub fn range(&self, bytes: &Range<usize>) -> Range<usize> {
        self.of(bytes.start)..self.of(bytes.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn offsets_are_those_of_each_language(text in "(\\PC|👍🏽|e\u{301}|\r\n|&amp;){0,700}", share in 0.0..1.0f64) {
            let byte = text.floor_char_boundary((share * (text.len() + 1) as f64) as usize);
            let of = |offsets| OffsetTable::new(&text, offsets).of(byte);
            assert_eq!(of(Offsets::Utf8), byte);
            assert_eq!(of(Offsets::Utf16), text[..byte].encode_utf16().count());
            assert_eq!(of(Offsets::Codepoints), text[..byte].chars().count());
        }
    }
}
