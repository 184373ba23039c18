//! The vector operations that the kernels are written in, once for every instruction set: one file each.
//!
//! A kernel is one generic, always-inlined function over [`Simd`]; the entry points in `dispatch` compile it
//! once per instruction set inside a `#[target_feature]` function. Nothing here may be called from anywhere
//! else: outside such a function the intrinsics would become calls.

mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;
#[cfg(target_arch = "x86_64")]
pub(super) mod tanh_table;
pub(super) mod words;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

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
    /// four weights and a broadcast value in registers, and at most `MAX_TILE_ROWS`.
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
    unsafe fn flush_below(v: Self::V, least: f32) -> Self::V;
    /// `2^(v - ROUND)` where `v` is a whole number of at least -126 and at most 127 with [`ROUND`] added to it.
    unsafe fn power_of_two(v: Self::V) -> Self::V;
    /// What the pre-activations of the input, forget and output gates are multiplied by before the functions below.
    const SIGMOID_SCALE: f32 = activation::SIGMOID_SCALE;
    /// What the pre-activation of the cell candidate is multiplied by before the functions below.
    const TANH_SCALE: f32 = activation::TANH_SCALE;
    /// Sigmoid of a scaled pre-activation.
    #[inline(always)]
    unsafe fn sigmoid(scaled: Self::V) -> Self::V {
        // SAFETY: the caller's promise is the one that the formula asks for.
        unsafe { activation::sigmoid::<Self>(scaled) }
    }
    /// Hyperbolic tangent of a scaled pre-activation.
    #[inline(always)]
    unsafe fn tanh(scaled: Self::V) -> Self::V {
        // SAFETY: the caller's promise is the one that the formula asks for.
        unsafe { activation::tanh::<Self>(scaled) }
    }
    /// One step of the cell from scaled pre-activations in the order i, f, g, o: `(h', c')`.
    #[inline(always)]
    unsafe fn cell(gates: [Self::V; 4], c: Self::V) -> (Self::V, Self::V) {
        // SAFETY: the caller's promise is the one that the formula asks for.
        unsafe { activation::cell::<Self>(gates, c) }
    }
    /// Asks for the cache line at `from`, which need not be valid.
    unsafe fn prefetch(from: *const f32);
}

/// Added to a float of at most 2^21 in magnitude it leaves that float, rounded, in the low bits of the sum.
pub(super) const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23

/// Writes trait methods that are one intrinsic each.
#[cfg(target_arch = "x86_64")]
macro_rules! intrinsics {
    ($register:ty: $($name:ident($($arg:ident),*) = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $register),*) -> $register {
            // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}
#[cfg(target_arch = "x86_64")]
use intrinsics;
