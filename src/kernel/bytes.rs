//! What the bytes of a text are, 64 at once: letters, spaces, marks.

/// Bytes that are told apart together.
pub const BYTE_BLOCK: usize = 64;

/// What each of 64 bytes is; bit `i` of a field is about byte `i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteClasses {
    /// ASCII letters.
    pub letters: u64,
    /// A space or the end of a line.
    pub spaces: u64,
    /// `'`
    pub apostrophes: u64,
    /// `.`
    pub dots: u64,
    /// `,`, `!` and `?`
    pub stops: u64,
    /// `"`
    pub quotes: u64,
    /// `)`
    pub closing: u64,
    /// `(` and `-`
    pub opening: u64,
    /// Bytes of characters beyond ASCII.
    pub beyond: u64,
}

impl ByteClasses {
    /// The classes of `bytes`.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub fn of(bytes: &[u8; BYTE_BLOCK]) -> Self {
        let mut all = Self::default();
        for (at, part) in bytes.as_chunks::<16>().0.iter().enumerate() {
            all.add(16 * at, Self::of_sixteen(u128::from_le_bytes(*part)));
        }
        all
    }

    /// The classes of `bytes`.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub fn of(bytes: &[u8; BYTE_BLOCK]) -> Self {
        Self::portable(bytes)
    }

    /// With `part` as the bits from `at` on.
    #[inline(always)]
    fn add(&mut self, at: usize, part: Self) {
        self.letters |= part.letters << at;
        self.spaces |= part.spaces << at;
        self.apostrophes |= part.apostrophes << at;
        self.dots |= part.dots << at;
        self.stops |= part.stops << at;
        self.quotes |= part.quotes << at;
        self.closing |= part.closing << at;
        self.opening |= part.opening << at;
        self.beyond |= part.beyond << at;
    }

    /// The classes of 16 bytes, the first in the lowest bits, with what every processor of the family has.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn of_sixteen(bytes: u128) -> Self {
        use std::arch::x86_64::{
            __m128i, _mm_add_epi8, _mm_cmpeq_epi8, _mm_cmplt_epi8, _mm_movemask_epi8, _mm_or_si128,
            _mm_set_epi64x, _mm_set1_epi8,
        };
        // SAFETY: SSE2 is part of x86-64, and no pointer is involved.
        unsafe {
            let bytes = _mm_set_epi64x((bytes >> 64) as i64, bytes as i64);
            let each = |byte: u8| _mm_set1_epi8(byte as i8);
            let is = |byte: u8| _mm_cmpeq_epi8(bytes, each(byte));
            let bits = |mask: __m128i| u64::from(_mm_movemask_epi8(mask) as u16);
            // `a` to `z`, in either case, become the 26 lowest numbers with a sign.
            let lower = _mm_or_si128(bytes, each(0x20));
            let letters = _mm_cmplt_epi8(_mm_add_epi8(lower, each(0x80 - b'a')), each(0x80 + 26));
            Self {
                letters: bits(letters),
                spaces: bits(_mm_or_si128(is(b' '), is(b'\n'))),
                apostrophes: bits(is(b'\'')),
                dots: bits(is(b'.')),
                stops: bits(_mm_or_si128(_mm_or_si128(is(b','), is(b'!')), is(b'?'))),
                quotes: bits(is(b'"')),
                closing: bits(is(b')')),
                opening: bits(_mm_or_si128(is(b'('), is(b'-'))),
                beyond: bits(bytes),
            }
        }
    }

    /// The classes of `bytes`, for every processor.
    #[cfg(any(test, not(target_arch = "x86_64")))]
    fn portable(bytes: &[u8; BYTE_BLOCK]) -> Self {
        /// The bit of a byte's class in [`KINDS`], in the order of the fields.
        const KINDS: [u8; 128] = {
            let classes: [&[u8]; 8] = [
                b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                b" \n",
                b"'",
                b".",
                b",!?",
                b"\"",
                b")",
                b"(-",
            ];
            let (mut kinds, mut class) = ([0; 128], 0);
            while class < classes.len() {
                let mut at = 0;
                while at < classes[class].len() {
                    kinds[classes[class][at] as usize] = 1 << class;
                    at += 1;
                }
                class += 1;
            }
            kinds
        };
        /// The lowest bits of eight bytes, side by side.
        fn gather(ones: u64) -> u64 {
            (ones & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56
        }
        let mut all = Self::default();
        for (at, part) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let kinds = part.map(|byte| if byte < 128 { KINDS[byte as usize] } else { 0 });
            let class = |class: u32| gather(u64::from_le_bytes(kinds) >> class);
            let beyond = gather(u64::from_le_bytes(*part) >> 7);
            let [letters, spaces, apostrophes, dots, stops, quotes, closing, opening] =
                [0, 1, 2, 3, 4, 5, 6, 7].map(class);
            let part = Self { letters, spaces, apostrophes, dots, stops, quotes, closing, opening, beyond };
            all.add(8 * at, part);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_class_in_every_place() {
        for first in 0..=255u8 {
            let bytes = std::array::from_fn(|at| first.wrapping_add(37 * at as u8));
            let classes = ByteClasses::of(&bytes);
            assert_eq!(classes, ByteClasses::portable(&bytes));
            let bits = |belongs: &dyn Fn(u8) -> bool| {
                (0..BYTE_BLOCK).filter(|&at| belongs(bytes[at])).fold(0, |bits, at| bits | 1u64 << at)
            };
            let expected = ByteClasses {
                letters: bits(&|byte| byte.is_ascii_alphabetic()),
                spaces: bits(&|byte| b" \n".contains(&byte)),
                apostrophes: bits(&|byte| byte == b'\''),
                dots: bits(&|byte| byte == b'.'),
                stops: bits(&|byte| b",!?".contains(&byte)),
                quotes: bits(&|byte| byte == b'"'),
                closing: bits(&|byte| byte == b')'),
                opening: bits(&|byte| b"(-".contains(&byte)),
                beyond: bits(&|byte| byte >= 0x80),
            };
            assert_eq!(classes, expected);
        }
    }
}
