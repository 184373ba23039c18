//! Arrays of floats, for every target.

use super::Simd;

/// The instruction set that every target has: arrays that the compiler turns into what the target offers.
#[derive(Clone, Copy)]
pub(in super::super) struct Portable;

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
    unsafe fn flush_below(v: Self::V, least: f32) -> Self::V {
        lanes!(l => if v[l].abs() < least { 0.0 } else { v[l] })
    }
    #[inline(always)]
    unsafe fn power_of_two(v: Self::V) -> Self::V {
        lanes!(l => f32::from_bits((v[l].to_bits() << 23).wrapping_add(1.0f32.to_bits())))
    }
    #[inline(always)]
    unsafe fn prefetch(_from: *const f32) {}
}
