//! The vector operations that the kernels are written in, once for every instruction set.
//!
//! A kernel is one generic, always-inlined function over [`Simd`]; the entry points in [`super::dispatch`] compile
//! it once per instruction set inside a `#[target_feature]` function. Nothing here may be called from anywhere
//! else: outside such a function the intrinsics would become calls.

use super::activation;

/// One instruction set's view of a register of `LANES` 32-bit floats.
///
/// # Safety
/// Every method is to be called only on a processor that has the instruction set, and from code compiled for it.
/// `load` and `store` need `LANES` valid floats at the pointer; no alignment is asked for.
pub(super) trait Simd: Copy + Send + Sync + 'static {
    /// A register.
    type V: Copy;
    /// Floats in a register.
    const LANES: usize;
    /// Rows that a matrix tile with four registers per row computes at once: as many as leave the accumulators, the
    /// four weights and a broadcast value in registers.
    const TILE_ROWS: usize;

    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    unsafe fn splat(value: f32) -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Zero where the size is below `least`, else `v`.
    unsafe fn drop_below(v: Self::V, least: f32) -> Self::V;
    /// `2^(v - ROUND)` where `v` is a whole number of at least -126 and at most 127 with [`ROUND`] added to it.
    unsafe fn power_of_two(v: Self::V) -> Self::V;
    /// What the pre-activations of the input, forget and output gates are multiplied by before the functions below.
    const SIGMOID_SCALE: f32 = activation::SIGMOID_SCALE;
    /// What the pre-activation of the cell candidate is multiplied by before the functions below.
    const TANH_SCALE: f32 = activation::TANH_SCALE;
    /// Sigmoid of a scaled pre-activation.
    #[inline(always)]
    unsafe fn sigmoid(scaled: Self::V) -> Self::V {
        unsafe { activation::sigmoid::<Self>(scaled) }
    }
    /// Hyperbolic tangent of a scaled pre-activation.
    #[inline(always)]
    unsafe fn tanh(scaled: Self::V) -> Self::V {
        unsafe { activation::tanh::<Self>(scaled) }
    }
    /// One step of the cell from scaled pre-activations in the order i, f, g, o: `(h', c')`.
    #[inline(always)]
    unsafe fn cell(gates: [Self::V; 4], c: Self::V) -> (Self::V, Self::V) {
        unsafe { activation::cell::<Self>(gates, c) }
    }
    /// Asks for the cache line at `from`, which need not be valid.
    unsafe fn prefetch(from: *const f32);
}

/// Added to a float of at most 2^21 in magnitude it leaves that float, rounded, in the low bits of the sum.
pub(super) const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// The instruction set that every target has: arrays that the compiler turns into what the target offers.
#[derive(Clone, Copy)]
pub(super) struct Portable;

const PORTABLE_LANES: usize = 8;

/// Applies an expression lane by lane; the loop is what the compiler vectorises.
macro_rules! lanes {
    ($lane:ident => $value:expr) => {{
        let mut out = [0.0f32; PORTABLE_LANES];
        let mut $lane = 0;
        while $lane < PORTABLE_LANES {
            out[$lane] = $value;
            $lane += 1;
        }
        out
    }};
}

impl Simd for Portable {
    type V = [f32; PORTABLE_LANES];
    const LANES: usize = PORTABLE_LANES;
    const TILE_ROWS: usize = 2;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller promises LANES floats; an array of floats needs only their alignment.
        unsafe { from.cast::<Self::V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: as for `load`.
        unsafe { to.cast::<Self::V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; PORTABLE_LANES]
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => a[l] + b[l])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => a[l] - b[l])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => a[l] * b[l])
    }
    #[inline(always)]
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => a[l] / b[l])
    }
    #[inline(always)]
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => if a[l] < b[l] { a[l] } else { b[l] })
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        lanes!(l => if a[l] > b[l] { a[l] } else { b[l] })
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Two roundings: `f32::mul_add` is a library call on targets without the instruction.
        lanes!(l => a[l] * b[l] + c[l])
    }
    #[inline(always)]
    unsafe fn drop_below(v: Self::V, least: f32) -> Self::V {
        lanes!(l => if v[l].abs() < least { 0.0 } else { v[l] })
    }
    #[inline(always)]
    unsafe fn power_of_two(v: Self::V) -> Self::V {
        lanes!(l => f32::from_bits((v[l].to_bits() << 23).wrapping_add(1.0f32.to_bits())))
    }
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::Simd;
    use crate::kernel::tanh_table::{FINE, LIMIT, SCALE};

    /// Registers of 16 floats.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512;

    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        const TILE_ROWS: usize = 6;
        const SIGMOID_SCALE: f32 = SCALE / 2.0;
        const TANH_SCALE: f32 = SCALE;

        // SAFETY (all methods): the trait's own contract, which the caller keeps.
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::V {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Self::V) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self::V {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn drop_below(v: Self::V, least: f32) -> Self::V {
            unsafe {
                let kept = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(_mm512_abs_ps(v), _mm512_set1_ps(least));
                _mm512_maskz_mov_ps(kept, v)
            }
        }
        #[inline(always)]
        unsafe fn power_of_two(v: Self::V) -> Self::V {
            unsafe {
                let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(v));
                _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f80_0000)))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
        #[inline(always)]
        unsafe fn sigmoid(scaled: Self::V) -> Self::V {
            unsafe {
                let half = Self::splat(0.5);
                Self::fma(Self::tanh(scaled), half, half)
            }
        }
        #[inline(always)]
        unsafe fn tanh(scaled: Self::V) -> Self::V {
            unsafe { tanh_by_table(scaled) }
        }
        #[inline(always)]
        unsafe fn cell(gates: [Self::V; 4], c: Self::V) -> (Self::V, Self::V) {
            unsafe {
                let [i, f, g, o] = gates;
                let (i, f, g, o) = (Self::sigmoid(i), Self::sigmoid(f), Self::tanh(g), Self::sigmoid(o));
                let c = Self::fma(f, c, Self::mul(i, g));
                (Self::mul(o, Self::tanh(Self::mul(c, Self::splat(SCALE)))), c)
            }
        }
    }

    /// tanh of a number multiplied by [`SCALE`], as [`crate::kernel::tanh_table`] describes.
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

    /// Registers of 8 floats, with fused multiply-add.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2;

    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        const TILE_ROWS: usize = 3;

        // SAFETY (all methods): the trait's own contract, which the caller keeps.
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self::V {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Self::V) {
            unsafe { _mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self::V {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn drop_below(v: Self::V, least: f32) -> Self::V {
            unsafe {
                let size = _mm256_andnot_ps(_mm256_set1_ps(-0.0), v);
                _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(size, _mm256_set1_ps(least)), v)
            }
        }
        #[inline(always)]
        unsafe fn power_of_two(v: Self::V) -> Self::V {
            unsafe {
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(v));
                _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f80_0000)))
            }
        }
        #[inline(always)]
        unsafe fn prefetch(from: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(from.cast()) }
        }
    }
}
