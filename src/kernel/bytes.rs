//! What the bytes of a text are, 64 at once: letters, spaces, marks. Work on them is compiled for each kind of processor, as
//! a whole, so that looking at the bits gains by it too.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::isa::{Isa, Set};

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
}

/// What tells bytes apart; only [`with_byte_classes`] has any, of this processor.
pub trait ByteClassifier {
    /// The classes of `bytes`.
    fn classes(bytes: &[u8; BYTE_BLOCK]) -> ByteClasses;
}

/// Work on the bytes of a text.
pub trait ByteWork {
    /// What it gives.
    type Output;

    /// Does it; to be inlined, with what it calls.
    fn run<C: ByteClassifier>(self) -> Self::Output;
}

/// Does `work` with what this processor has ([`Isa::current`]); it gives the same on each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn with_byte_classes<W: ByteWork>(work: W) -> W::Output {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    LEVEL.get_or_init(|| Level::of(Isa::current())).run(work)
}

/// Does `work`.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn with_byte_classes<W: ByteWork>(work: W) -> W::Output {
    work.run::<Portable>()
}

/// What a processor has for bytes and bits; only detection makes more than [`Level::Sse2`].
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Avx512,
    Avx2,
    /// What each of the family has.
    Sse2,
}

#[cfg(target_arch = "x86_64")]
impl Level {
    fn of(isa: Isa) -> Self {
        let has_bits = is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        match isa.set() {
            Set::Amx | Set::Avx512Vnni | Set::Avx512 if has_bits && is_x86_feature_detected!("avx512bw") => {
                Self::Avx512
            }
            Set::Sse41 | Set::Portable => Self::Sse2,
            _ if has_bits && is_x86_feature_detected!("avx2") => Self::Avx2,
            _ => Self::Sse2,
        }
    }

    #[inline(always)]
    fn run<W: ByteWork>(self, work: W) -> W::Output {
        #[target_feature(enable = "avx512f,avx512bw,bmi1,bmi2,lzcnt,popcnt")]
        fn avx512<W: ByteWork>(work: W) -> W::Output {
            work.run::<Avx512>()
        }
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn avx2<W: ByteWork>(work: W) -> W::Output {
            work.run::<Avx2>()
        }
        match self {
            // SAFETY: `Level::of` has found the features.
            Self::Avx512 => unsafe { avx512(work) },
            // SAFETY: `Level::of` has found the features.
            Self::Avx2 => unsafe { avx2(work) },
            Self::Sse2 => work.run::<Sse2>(),
        }
    }
}

/// 64 bytes in a register (AVX-512 BW).
#[cfg(target_arch = "x86_64")]
struct Avx512;

#[cfg(target_arch = "x86_64")]
impl ByteClassifier for Avx512 {
    #[inline(always)]
    fn classes(bytes: &[u8; BYTE_BLOCK]) -> ByteClasses {
        // SAFETY: whoever has this classifier has the processor ([`Level::run`]); `bytes` fill the register.
        unsafe {
            let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
            macro_rules! is {
                ($($byte:literal)*) => {
                    $(_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8($byte as i8)))|*
                };
            }
            let lower = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
            let letter = _mm512_sub_epi8(lower, _mm512_set1_epi8(b'a' as i8));
            ByteClasses {
                letters: _mm512_cmplt_epu8_mask(letter, _mm512_set1_epi8(26)),
                spaces: is!(b' ' b'\n'),
                apostrophes: is!(b'\''),
                dots: is!(b'.'),
                stops: is!(b',' b'!' b'?'),
                quotes: is!(b'"'),
                closing: is!(b')'),
                opening: is!(b'(' b'-'),
                beyond: _mm512_movepi8_mask(bytes),
            }
        }
    }
}

/// A classifier out of the operations of an instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! classifier {
    ($(#[$doc:meta])* $name:ident: $load:ident, $set:ident, $equal:ident, $greater:ident, $add:ident, $or:ident, $mask:ident -> $bits:ty) => {
        $(#[$doc])*
        struct $name;

        impl ByteClassifier for $name {
            #[inline(always)]
            fn classes(bytes: &[u8; BYTE_BLOCK]) -> ByteClasses {
                let mut all = ByteClasses::default();
                for (at, part) in bytes.as_chunks::<{ <$bits>::BITS as usize }>().0.iter().enumerate() {
                    // SAFETY: whoever has this classifier has the processor ([`Level::run`]); `part` fills the register.
                    let part = unsafe {
                        let bytes = $load(part.as_ptr().cast());
                        let is = |byte: u8| $equal(bytes, $set(byte as i8));
                        let bits = |mask| u64::from($mask(mask) as $bits);
                        // `a` to `z`, in either case, become the 26 lowest numbers with a sign.
                        let letter = $add($or(bytes, $set(0x20)), $set((0x80 - b'a') as i8));
                        ByteClasses {
                            letters: bits($greater($set(-128 + 26), letter)),
                            spaces: bits($or(is(b' '), is(b'\n'))),
                            apostrophes: bits(is(b'\'')),
                            dots: bits(is(b'.')),
                            stops: bits($or($or(is(b','), is(b'!')), is(b'?'))),
                            quotes: bits(is(b'"')),
                            closing: bits(is(b')')),
                            opening: bits($or(is(b'('), is(b'-'))),
                            beyond: bits(bytes),
                        }
                    };
                    all.add(<$bits>::BITS as usize * at, part);
                }
                all
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
classifier! {
    /// 32 bytes in a register.
    Avx2: _mm256_loadu_si256, _mm256_set1_epi8, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_add_epi8, _mm256_or_si256,
    _mm256_movemask_epi8 -> u32
}

#[cfg(target_arch = "x86_64")]
classifier! {
    /// 16 bytes in a register.
    Sse2: _mm_loadu_si128, _mm_set1_epi8, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_add_epi8, _mm_or_si128,
    _mm_movemask_epi8 -> u16
}

/// Eight bytes in a number, for every processor.
#[cfg(any(test, not(target_arch = "x86_64")))]
struct Portable;

#[cfg(any(test, not(target_arch = "x86_64")))]
impl ByteClassifier for Portable {
    fn classes(bytes: &[u8; BYTE_BLOCK]) -> ByteClasses {
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
        let mut all = ByteClasses::default();
        for (at, part) in bytes.as_chunks::<8>().0.iter().enumerate() {
            let kinds = part.map(|byte| if byte < 128 { KINDS[byte as usize] } else { 0 });
            let class = |class: u32| gather(u64::from_le_bytes(kinds) >> class);
            let beyond = gather(u64::from_le_bytes(*part) >> 7);
            let [letters, spaces, apostrophes, dots, stops, quotes, closing, opening] =
                [0, 1, 2, 3, 4, 5, 6, 7].map(class);
            let part =
                ByteClasses { letters, spaces, apostrophes, dots, stops, quotes, closing, opening, beyond };
            all.add(8 * at, part);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ClassesOf<'b>(&'b [u8; BYTE_BLOCK]);

    impl ByteWork for ClassesOf<'_> {
        type Output = ByteClasses;

        #[inline(always)]
        fn run<C: ByteClassifier>(self) -> ByteClasses {
            C::classes(self.0)
        }
    }

    #[test]
    fn every_byte_has_its_class_in_every_place_on_every_processor() {
        for first in 0..=255u8 {
            let bytes = std::array::from_fn(|at| first.wrapping_add(37 * at as u8));
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
            assert_eq!(with_byte_classes(ClassesOf(&bytes)), expected);
            assert_eq!(Portable::classes(&bytes), expected);
            #[cfg(target_arch = "x86_64")]
            for isa in Isa::available() {
                assert_eq!(Level::of(isa).run(ClassesOf(&bytes)), expected, "{isa:?}");
            }
        }
    }
}
