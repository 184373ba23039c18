//! AVX-512 BW and VNNI: 32 words at a time.

use std::arch::x86_64::*;

use super::{Words, one_intrinsic};

/// Registers of 32 words; four products of bytes in one instruction, which reads the states without a sign.
pub(in super::super::super) type Vnni = Words512<0x80>;

/// The same beside AMX, which does the products and reads the states with their sign.
pub(in super::super::super) type BesideAmx = Words512<0>;

/// Registers of 32 words, for hidden bytes XORed with `FLIP`.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Words512<const FLIP: u8>;

impl<const FLIP: u8> Words for Words512<FLIP> {
    type W = __m512i;
    type D = __m512i;
    type F = __m512;
    const LANES: usize = 32;
    const ROWS: usize = 3;
    const FLIP: u8 = FLIP;

    one_intrinsic! {
        splat_d(value: i32) -> __m512i = _mm512_set1_epi32;
        shift_right_d(v: __m512i, counts: __m512i) -> __m512i = _mm512_srav_epi32;
        pack(a: __m512i, b: __m512i) -> __m512i = _mm512_packs_epi32;
        splat(value: i16) -> __m512i = _mm512_set1_epi16;
        add(a: __m512i, b: __m512i) -> __m512i = _mm512_add_epi16;
        adds(a: __m512i, b: __m512i) -> __m512i = _mm512_adds_epi16;
        max(a: __m512i, b: __m512i) -> __m512i = _mm512_max_epi16;
        mul_round(a: __m512i, b: __m512i) -> __m512i = _mm512_mulhrs_epi16;
        mul_low(a: __m512i, b: __m512i) -> __m512i = _mm512_mullo_epi16;
        splat_f(value: f32) -> __m512 = _mm512_set1_ps;
        add_f(a: __m512, b: __m512) -> __m512 = _mm512_add_ps;
        mul_f(a: __m512, b: __m512) -> __m512 = _mm512_mul_ps;
        to_float(v: __m512i) -> __m512 = _mm512_cvtepi32_ps;
    }

    #[inline(always)]
    unsafe fn load_d(from: *const i32) -> __m512i {
        // SAFETY: the caller vouches for the instruction set and for a register of numbers at `from`.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store_d(to: *mut i32, v: __m512i) {
        // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn dot4(acc: __m512i, states: __m512i, weights: *const i8) -> __m512i {
        // SAFETY: the caller vouches for the instruction set and for a register of bytes at `weights`.
        unsafe { _mm512_dpbusd_epi32(acc, states, _mm512_loadu_si512(weights.cast())) }
    }
    #[inline(always)]
    unsafe fn dot2(acc: __m512i, a: __m512i, weights: *const i16) -> __m512i {
        // SAFETY: the caller vouches for the instruction set and for a register of words at `weights`.
        unsafe { _mm512_dpwssd_epi32(acc, a, _mm512_loadu_si512(weights.cast())) }
    }
    #[inline(always)]
    unsafe fn add_pairs([low, high]: [__m512i; 2], a: __m512i, b: __m512i) -> [__m512i; 2] {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let one = _mm512_set1_epi16(1);
            [
                _mm512_dpwssd_epi32(low, _mm512_unpacklo_epi16(a, b), one),
                _mm512_dpwssd_epi32(high, _mm512_unpackhi_epi16(a, b), one),
            ]
        }
    }
    #[inline(always)]
    unsafe fn load(from: *const i16) -> __m512i {
        // SAFETY: the caller vouches for the instruction set and for a register of numbers at `from`.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, v: __m512i) {
        // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
        unsafe { _mm512_storeu_si512(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: __m512i) -> [__m512i; N] {
        // A loop, not a closure: that would be a function without the instruction set.
        let mut found = [indices; N];
        for table in 0..N {
            // SAFETY: the instruction set is the caller's promise; each table is a whole register.
            found[table] = unsafe {
                _mm512_permutexvar_epi16(indices, _mm512_loadu_si512(tables[table].as_ptr().cast()))
            };
        }
        found
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: __m512i) {
        // SAFETY: the caller vouches for the instruction set and for 32 bytes at `to`.
        unsafe {
            let flipped = _mm512_xor_si512(v, _mm512_set1_epi16(i16::from_le_bytes([0, Self::FLIP])));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi16_epi8(_mm512_srli_epi16::<8>(flipped)));
        }
    }
    #[inline(always)]
    unsafe fn load_f(from: *const f32) -> __m512 {
        // SAFETY: the caller vouches for the instruction set and for a register of floats at `from`.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn pack_floats(a: __m512, b: __m512) -> __m512i {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b)) }
    }
    #[inline(always)]
    unsafe fn clamp_f(v: __m512, limit: f32) -> __m512 {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm512_max_ps(_mm512_min_ps(v, _mm512_set1_ps(limit)), _mm512_set1_ps(-limit)) }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const u8) {
        // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
