//! AVX-512 F and DQ, with tanh from a table in registers.

use std::arch::asm;
use std::arch::x86_64::*;

use super::tanh_table::{FINE, LIMIT, SCALE};
use super::{Simd, intrinsics};

/// Registers of 16 floats.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const TILE_ROWS: usize = 6;
    const SIGMOID_SCALE: f32 = SCALE / 2.0;
    const TANH_SCALE: f32 = SCALE;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller vouches for the instruction set and for a register of floats at `from`.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: the caller vouches for the instruction set and for room of a register at `to`.
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe { _mm512_set1_ps(value) }
    }
    intrinsics! {
        __m512:
        add(a, b) = _mm512_add_ps;
        sub(a, b) = _mm512_sub_ps;
        mul(a, b) = _mm512_mul_ps;
        div(a, b) = _mm512_div_ps;
        min(a, b) = _mm512_min_ps;
        max(a, b) = _mm512_max_ps;
        fma(a, b, c) = _mm512_fmadd_ps;
    }
    #[inline(always)]
    unsafe fn flush_below(v: Self::V, least: f32) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(v), _mm512_set1_ps(least));
            _mm512_maskz_mov_ps(kept, v)
        }
    }
    #[inline(always)]
    unsafe fn power_of_two(v: Self::V) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(v));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f80_0000)))
        }
    }
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
    }
    #[inline(always)]
    unsafe fn sigmoid(scaled: Self::V) -> Self::V {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let half = Self::splat(0.5);
            Self::fma(Self::tanh(scaled), half, half)
        }
    }
    #[inline(always)]
    unsafe fn tanh(scaled: Self::V) -> Self::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { tanh_by_table(scaled) }
    }
    #[inline(always)]
    unsafe fn cell(gates: [Self::V; 4], c: Self::V) -> (Self::V, Self::V) {
        // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
        unsafe {
            let [i, f, g, o] = gates;
            let (i, f, g, o) = (Self::sigmoid(i), Self::sigmoid(f), Self::tanh(g), Self::sigmoid(o));
            let c = Self::fma(f, c, Self::mul(i, g));
            (Self::mul(o, Self::tanh(Self::mul(c, Self::splat(SCALE)))), c)
        }
    }
}

/// tanh of a number multiplied by [`SCALE`], as [`super::tanh_table`] describes.
///
/// In assembly because it runs five times a step on all that there is of registers: left to itself, the compiler
/// interleaves the five and spills their coefficients (measured: 29 µs instead of 22 for 500 steps of 32 units).
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn tanh_by_table(scaled: __m512) -> __m512 {
    let row = |degree: usize| FINE.0[degree].as_ptr();
    // SAFETY: register-to-register arithmetic; the loads are of whole aligned rows of a static table.
    unsafe {
        let mut result = scaled;
        asm!(
            // |x|, capped: the smaller of two magnitudes, its sign cleared.
            "vrangeps {u}, {x}, {cap}, 10",
            "vaddps {u}, {u}, {one}",
            "vpandd {r}, {u}, {mask}",
            "vsubps {r}, {u}, {r}",
            "vpsrld {u}, {u}, 21",
            "vpermps {a}, {u}, {c5}",
            "vpermps {b}, {u}, {c4}",
            "vfmadd231ps {b}, {a}, {r}",
            "vpermps {a}, {u}, {c3}",
            "vpermps {c}, {u}, {c2}",
            "vfmadd231ps {c}, {a}, {r}",
            "vmulps {s}, {r}, {r}",
            "vpermps {a}, {u}, {c1}",
            "vpermps {u}, {u}, {c0}",
            "vfmadd231ps {u}, {a}, {r}",
            "vfmadd231ps {c}, {b}, {s}",
            "vfmadd231ps {u}, {c}, {s}",
            // The sign of x over the size: sign ? x : u, bit by bit.
            "vpternlogd {x}, {u}, {sign}, 0xe4",
            x = inout(zmm_reg) result,
            u = out(zmm_reg) _, r = out(zmm_reg) _, s = out(zmm_reg) _,
            a = out(zmm_reg) _, b = out(zmm_reg) _, c = out(zmm_reg) _,
            cap = in(zmm_reg) _mm512_set1_ps(LIMIT - 1.0),
            one = in(zmm_reg) _mm512_set1_ps(1.0),
            mask = in(zmm_reg) _mm512_castsi512_ps(_mm512_set1_epi32(0xffe0_0000u32 as i32)),
            sign = in(zmm_reg) _mm512_castsi512_ps(_mm512_set1_epi32(i32::MIN)),
            c0 = in(zmm_reg) _mm512_load_ps(row(0)),
            c1 = in(zmm_reg) _mm512_load_ps(row(1)),
            c2 = in(zmm_reg) _mm512_load_ps(row(2)),
            c3 = in(zmm_reg) _mm512_load_ps(row(3)),
            c4 = in(zmm_reg) _mm512_load_ps(row(4)),
            c5 = in(zmm_reg) _mm512_load_ps(row(5)),
            options(pure, nomem, nostack, preserves_flags),
        );
        result
    }
}
