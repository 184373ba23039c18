//! SSE4.1 with SSSE3, what virtual machines offer where AVX2 is held back: 8 words at a time.

use std::arch::x86_64::*;

use super::{Words, one_intrinsic};

/// Registers of 8 words.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Sse41Words;

impl Words for Sse41Words {
    type W = __m128i;
    type D = __m128i;
    type F = __m128;
    const LANES: usize = 8;
    const ROWS: usize = 1;
    const FLIP: u8 = 0;

    one_intrinsic! {
        splat_d(value: i32) -> __m128i = _mm_set1_epi32;
        pack(a: __m128i, b: __m128i) -> __m128i = _mm_packs_epi32;
        splat(value: i16) -> __m128i = _mm_set1_epi16;
        add(a: __m128i, b: __m128i) -> __m128i = _mm_add_epi16;
        adds(a: __m128i, b: __m128i) -> __m128i = _mm_adds_epi16;
        max(a: __m128i, b: __m128i) -> __m128i = _mm_max_epi16;
        mul_round(a: __m128i, b: __m128i) -> __m128i = _mm_mulhrs_epi16;
        mul_low(a: __m128i, b: __m128i) -> __m128i = _mm_mullo_epi16;
        splat_f(value: f32) -> __m128 = _mm_set1_ps;
        add_f(a: __m128, b: __m128) -> __m128 = _mm_add_ps;
        mul_f(a: __m128, b: __m128) -> __m128 = _mm_mul_ps;
        to_float(v: __m128i) -> __m128 = _mm_cvtepi32_ps;
    }

    #[inline(always)]
    unsafe fn load_d(from: *const i32) -> __m128i {
        // SAFETY: the caller vouches for a register of numbers at `from`.
        unsafe { _mm_loadu_si128(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_d(to: *mut i32, v: __m128i) {
        // SAFETY: the caller vouches for room of a register at `to`.
        unsafe { _mm_storeu_si128(to.cast(), v) }
    }
    /// As with AVX2: the states' sizes times the weights with the states' signs, which saturates nothing.
    #[inline(always)]
    unsafe fn dot4(acc: __m128i, states: __m128i, weights: *const i8) -> __m128i {
        // SAFETY: the caller vouches for the instruction set and for a register of bytes at `weights`.
        unsafe {
            let signed = _mm_sign_epi8(_mm_loadu_si128(weights.cast()), states);
            let pairs = _mm_maddubs_epi16(_mm_abs_epi8(states), signed);
            _mm_add_epi32(acc, _mm_madd_epi16(pairs, _mm_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn dot2(acc: __m128i, a: __m128i, weights: *const i16) -> __m128i {
        // SAFETY: the caller vouches for the instruction set and for a register of words at `weights`.
        unsafe { _mm_add_epi32(acc, _mm_madd_epi16(a, _mm_loadu_si128(weights.cast()))) }
    }
    #[inline(always)]
    unsafe fn shift_right_d(v: __m128i, counts: __m128i) -> __m128i {
        // There is no shift of each by its own count.
        let (mut numbers, mut by) = ([0; 4], [0; 4]);
        // SAFETY: the instruction set is the caller's promise; a register is four numbers of 32 bits.
        unsafe {
            Self::store_d(numbers.as_mut_ptr(), v);
            Self::store_d(by.as_mut_ptr(), counts);
            for at in 0..4 {
                numbers[at] >>= by[at];
            }
            Self::load_d(numbers.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn add_pairs([low, high]: [__m128i; 2], a: __m128i, b: __m128i) -> [__m128i; 2] {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let one = _mm_set1_epi16(1);
            [
                _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(a, b), one)),
                _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(a, b), one)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load(from: *const i16) -> __m128i {
        // SAFETY: the caller vouches for a register of numbers at `from`.
        unsafe { _mm_loadu_si128(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, v: __m128i) {
        // SAFETY: the caller vouches for room of a register at `to`.
        unsafe { _mm_storeu_si128(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: __m128i) -> [__m128i; N] {
        // SAFETY: the instruction set is the caller's promise; a table is four times 16 bytes.
        unsafe {
            // Bytes 2 i and 2 i + 1 of a table, of which a permutation finds one among the 16 that 8 entries take.
            let doubled = _mm_and_si128(_mm_add_epi16(indices, indices), _mm_set1_epi16(62));
            let bytes =
                _mm_add_epi8(_mm_mullo_epi16(doubled, _mm_set1_epi16(0x0101)), _mm_set1_epi16(0x0100));
            let within = _mm_and_si128(bytes, _mm_set1_epi8(15));
            // Bits 3 and 4 of an index choose the quarter; a blend reads the highest bit of a byte.
            let (odd, upper) = (_mm_slli_epi16::<3>(bytes), _mm_slli_epi16::<2>(bytes));
            // A loop, not closures: those would be functions without the instruction set.
            let mut found = [indices; N];
            for table in 0..N {
                let mut quarters = [indices; 4];
                for quarter in 0..4 {
                    let entries = _mm_loadu_si128(tables[table].as_ptr().add(8 * quarter).cast());
                    quarters[quarter] = _mm_shuffle_epi8(entries, within);
                }
                let low = _mm_blendv_epi8(quarters[0], quarters[1], odd);
                let high = _mm_blendv_epi8(quarters[2], quarters[3], odd);
                found[table] = _mm_blendv_epi8(low, high, upper);
            }
            found
        }
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: __m128i) {
        // SAFETY: the caller vouches for the instruction set and for room of 8 bytes at `to`.
        unsafe {
            // The high bytes alone, which then pack as they are.
            let high = _mm_srli_epi16::<8>(v);
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(high, high));
        }
    }
    #[inline(always)]
    unsafe fn load_f(from: *const f32) -> __m128 {
        // SAFETY: the caller vouches for a register of floats at `from`.
        unsafe { _mm_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn pack_floats(a: __m128, b: __m128) -> __m128i {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm_packs_epi32(_mm_cvtps_epi32(a), _mm_cvtps_epi32(b)) }
    }
    #[inline(always)]
    unsafe fn clamp_f(v: __m128, limit: f32) -> __m128 {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm_max_ps(_mm_min_ps(v, _mm_set1_ps(limit)), _mm_set1_ps(-limit)) }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
