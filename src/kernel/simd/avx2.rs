//! AVX2 with fused multiply-add.

use std::arch::x86_64::*;

use super::{Simd, intrinsics};

/// Registers of 8 floats, with fused multiply-add.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const TILE_ROWS: usize = 3;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for the instruction set and for a register of floats at `from`.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm256_set1_ps(value) }
    }
    intrinsics! {
        __m256:
        add(a, b) = _mm256_add_ps;
        sub(a, b) = _mm256_sub_ps;
        mul(a, b) = _mm256_mul_ps;
        div(a, b) = _mm256_div_ps;
        min(a, b) = _mm256_min_ps;
        max(a, b) = _mm256_max_ps;
        fma(a, b, c) = _mm256_fmadd_ps;
    }
    #[inline(always)]
    unsafe fn flush_below(v: Self::V, least: f32) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), v);
            _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(size, _mm256_set1_ps(least)), v)
        }
    }
    #[inline(always)]
    unsafe fn power_of_two(v: Self::V) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(v));
            _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f80_0000)))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
}
