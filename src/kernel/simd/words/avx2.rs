//! AVX2: 16 words at a time; with AVX-VNNI four products of bytes in one instruction.

use std::arch::x86_64::*;

use super::{Words, one_intrinsic};

/// Registers of 16 words.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Avx2Words;

/// As [`Avx2Words`], with the products of AVX-VNNI.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Avx2Vnni;

/// What both have in common; `$flip` and the two products differ.
macro_rules! words_of_16 {
    ($name:ident, $flip:literal, { $($products:tt)* }) => {
        impl Words for $name {
            type W = __m256i;
            type D = __m256i;
            type F = __m256;
            const LANES: usize = 16;
            const ROWS: usize = 1;
            const FLIP: u8 = $flip;

            $($products)*

            one_intrinsic! {
                splat_d(value: i32) -> __m256i = _mm256_set1_epi32;
                shift_right_d(v: __m256i, counts: __m256i) -> __m256i = _mm256_srav_epi32;
                pack(a: __m256i, b: __m256i) -> __m256i = _mm256_packs_epi32;
                splat(value: i16) -> __m256i = _mm256_set1_epi16;
                add(a: __m256i, b: __m256i) -> __m256i = _mm256_add_epi16;
                adds(a: __m256i, b: __m256i) -> __m256i = _mm256_adds_epi16;
                max(a: __m256i, b: __m256i) -> __m256i = _mm256_max_epi16;
                mul_round(a: __m256i, b: __m256i) -> __m256i = _mm256_mulhrs_epi16;
                mul_low(a: __m256i, b: __m256i) -> __m256i = _mm256_mullo_epi16;
                splat_f(value: f32) -> __m256 = _mm256_set1_ps;
                add_f(a: __m256, b: __m256) -> __m256 = _mm256_add_ps;
                mul_f(a: __m256, b: __m256) -> __m256 = _mm256_mul_ps;
                to_float(v: __m256i) -> __m256 = _mm256_cvtepi32_ps;
            }

            #[inline(always)]
            unsafe fn load_d(from: *const i32) -> __m256i {
                // SAFETY: the caller vouches for the instruction set and for a register of numbers at `from`.
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store_d(to: *mut i32, v: __m256i) {
                // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
                unsafe { _mm256_storeu_si256(to.cast(), v) }
            }
            #[inline(always)]
            unsafe fn add_pairs([low, high]: [__m256i; 2], a: __m256i, b: __m256i) -> [__m256i; 2] {
                // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
                unsafe {
                    let one = _mm256_set1_epi16(1);
                    [
                        _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), one)),
                        _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), one)),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn load(from: *const i16) -> __m256i {
                // SAFETY: the caller vouches for the instruction set and for a register of numbers at `from`.
                unsafe { _mm256_loadu_si256(from.cast()) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i16, v: __m256i) {
                // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
                unsafe { _mm256_storeu_si256(to.cast(), v) }
            }
            #[inline(always)]
            unsafe fn load_f(from: *const f32) -> __m256 {
                // SAFETY: the caller vouches for the instruction set and for a register of floats at `from`.
                unsafe { _mm256_loadu_ps(from) }
            }
            #[inline(always)]
            unsafe fn pack_floats(a: __m256, b: __m256) -> __m256i {
                // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
                unsafe { _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)) }
            }
            #[inline(always)]
            unsafe fn clamp_f(v: __m256, limit: f32) -> __m256 {
                // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
                unsafe { _mm256_max_ps(_mm256_min_ps(v, _mm256_set1_ps(limit)), _mm256_set1_ps(-limit)) }
            }
            #[inline(always)]
            unsafe fn prefetch(from: *const u8) {
                // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
            }
            #[inline(always)]
            unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: __m256i) -> [__m256i; N] {
                // SAFETY: the instruction set is the caller's promise; a table is four times 16 bytes.
                unsafe {
                    // Bytes 2 i and 2 i + 1 of a table, of which a permutation finds one among the 16 that 8 entries take.
                    let doubled = _mm256_and_si256(_mm256_add_epi16(indices, indices), _mm256_set1_epi16(62));
                    let bytes = _mm256_mullo_epi16(doubled, _mm256_set1_epi16(0x0101));
                    let bytes = _mm256_add_epi8(bytes, _mm256_set1_epi16(0x0100));
                    let within = _mm256_and_si256(bytes, _mm256_set1_epi8(15));
                    // Bits 3 and 4 of an index choose the quarter; a blend reads the highest bit of a byte.
                    let odd = _mm256_slli_epi16::<3>(bytes);
                    let upper = _mm256_slli_epi16::<2>(bytes);
                    // A loop, not closures: those would be functions without the instruction set.
                    let mut found = [indices; N];
                    for table in 0..N {
                        let mut quarters = [indices; 4];
                        for quarter in 0..4 {
                            let from = tables[table].as_ptr().add(8 * quarter).cast();
                            let entries = _mm256_broadcastsi128_si256(_mm_loadu_si128(from));
                            quarters[quarter] = _mm256_shuffle_epi8(entries, within);
                        }
                        let low = _mm256_blendv_epi8(quarters[0], quarters[1], odd);
                        let high = _mm256_blendv_epi8(quarters[2], quarters[3], odd);
                        found[table] = _mm256_blendv_epi8(low, high, upper);
                    }
                    found
                }
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, v: __m256i) {
                // SAFETY: the caller vouches for the instruction set and for 16 bytes at `to`.
                unsafe {
                    // The high bytes alone, which then pack as they are.
                    let high = _mm256_srli_epi16::<8>(v);
                    let high = _mm256_xor_si256(high, _mm256_set1_epi16(i16::from(Self::FLIP)));
                    let packed = _mm_packus_epi16(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
                    _mm_storeu_si128(to.cast(), packed);
                }
            }
        }
    };
}

words_of_16!(Avx2Words, 0, {
    /// `vpmaddubsw` saturates, but not over sizes of at most 128 and 127: the states' sizes times the weights with the
    /// states' signs.
    #[inline(always)]
    unsafe fn dot4(acc: __m256i, states: __m256i, weights: *const i8) -> __m256i {
        // SAFETY: the caller vouches for the instruction set and for a register of bytes at `weights`.
        unsafe {
            let signed = _mm256_sign_epi8(_mm256_loadu_si256(weights.cast()), states);
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(states), signed);
            _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn dot2(acc: __m256i, a: __m256i, weights: *const i16) -> __m256i {
        // SAFETY: the caller vouches for the instruction set and for a register of words at `weights`.
        unsafe { _mm256_add_epi32(acc, _mm256_madd_epi16(a, _mm256_loadu_si256(weights.cast()))) }
    }
});

words_of_16!(Avx2Vnni, 0x80, {
    #[inline(always)]
    unsafe fn dot4(acc: __m256i, states: __m256i, weights: *const i8) -> __m256i {
        // SAFETY: the caller vouches for the instruction set and for a register of bytes at `weights`.
        unsafe { _mm256_dpbusd_avx_epi32(acc, states, _mm256_loadu_si256(weights.cast())) }
    }
    #[inline(always)]
    unsafe fn dot2(acc: __m256i, a: __m256i, weights: *const i16) -> __m256i {
        // SAFETY: the caller vouches for the instruction set and for a register of words at `weights`.
        unsafe { _mm256_dpwssd_avx_epi32(acc, a, _mm256_loadu_si256(weights.cast())) }
    }
});
