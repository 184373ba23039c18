//! Registers of whole numbers, for loops that compute with 8 and 16 bits: one file for each instruction set.
//!
//! Every operation has one exact result, so that what is made of them has the same bits on every instruction set; the few
//! that touch floats round once each, as IEEE 754 says, and none is contracted.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sse41;

#[cfg(target_arch = "x86_64")]
pub(in super::super) use avx2::{Avx2Vnni, Avx2Words};
#[cfg(target_arch = "x86_64")]
pub(in super::super) use avx512::{BesideAmx, Vnni};
#[cfg(target_arch = "aarch64")]
pub(in super::super) use neon::{NeonDotprod, NeonWords};
pub(in super::super) use portable::PortableWords;
#[cfg(target_arch = "x86_64")]
pub(in super::super) use sse41::Sse41Words;

/// One instruction set's view of a register of `LANES` 16-bit numbers, and of half as many of 32 bits.
///
/// A register of words is *packed* from two of 32 bits and *unpacked* into two in the order of the instruction: within
/// each 128 bits the first four words are the first register's. Register `d` of a pair thus holds, of every eight units,
/// the four from `4 d` on.
///
/// # Safety
/// Every method is to be called only on a processor that has the instruction set, and from code compiled for it.
/// Pointers are valid for as many numbers as the register has; no alignment is asked for.
pub(in super::super) trait Words: Copy + Send + Sync + 'static {
    /// `LANES` numbers of 16 bits.
    type W: Copy;
    /// `LANES / 2` numbers of 32 bits.
    type D: Copy;
    /// `LANES / 2` floats.
    type F: Copy;
    /// Numbers of 16 bits in a register.
    const LANES: usize;
    /// Sequences that a step takes at once: with eight sums each, as many as leave a weight and a state in registers, and
    /// at most 3.
    const ROWS: usize;
    /// What the hidden bytes are XORed with before they are stored: 0x80 where the product reads them without a sign, which
    /// adds 128 to each.
    const FLIP: u8;

    unsafe fn load_d(from: *const i32) -> Self::D;
    unsafe fn store_d(to: *mut i32, v: Self::D);
    unsafe fn splat_d(value: i32) -> Self::D;
    /// `acc += ` the products of four bytes each of `states`, as [`Words::FLIP`] leaves them, and `weights`.
    ///
    /// `weights` are between -127 and 127 and point to `2 * LANES` bytes.
    unsafe fn dot4(acc: Self::D, states: Self::D, weights: *const i8) -> Self::D;
    /// `acc += ` the products of two words each.
    unsafe fn dot2(acc: Self::D, a: Self::D, weights: *const i16) -> Self::D;
    /// Each number shifted right by its own count, 0 to 31; the sign moves in.
    unsafe fn shift_right_d(v: Self::D, counts: Self::D) -> Self::D;
    /// Two registers as one of words, saturated.
    unsafe fn pack(a: Self::D, b: Self::D) -> Self::W;
    /// `sums`, two registers, plus two words for each of their numbers.
    unsafe fn add_pairs(sums: [Self::D; 2], a: Self::W, b: Self::W) -> [Self::D; 2];

    unsafe fn load(from: *const i16) -> Self::W;
    unsafe fn store(to: *mut i16, v: Self::W);
    unsafe fn splat(value: i16) -> Self::W;
    unsafe fn add(a: Self::W, b: Self::W) -> Self::W;
    unsafe fn adds(a: Self::W, b: Self::W) -> Self::W;
    unsafe fn max(a: Self::W, b: Self::W) -> Self::W;
    /// `(a b + 2^14) / 2^15`, rounded down, of numbers that are not both -2^15.
    unsafe fn mul_round(a: Self::W, b: Self::W) -> Self::W;
    /// The low 16 bits of the product.
    unsafe fn mul_low(a: Self::W, b: Self::W) -> Self::W;
    /// Entries of tables of 32 numbers, by the low five bits of `indices`.
    unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: Self::W) -> [Self::W; N];
    /// The high byte of each word, XORed with [`Words::FLIP`].
    unsafe fn store_bytes(to: *mut u8, v: Self::W);

    unsafe fn load_f(from: *const f32) -> Self::F;
    unsafe fn splat_f(value: f32) -> Self::F;
    unsafe fn add_f(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul_f(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn to_float(v: Self::D) -> Self::F;
    /// Two registers of floats between -2^30 and 2^30 as words: rounded to the nearest, ties to even, and saturated.
    unsafe fn pack_floats(a: Self::F, b: Self::F) -> Self::W;
    /// As [`Words::pack_floats`] for floats of any size.
    #[inline(always)]
    unsafe fn pack_any_floats(a: Self::F, b: Self::F) -> Self::W {
        // SAFETY: the caller's promise.
        unsafe { Self::pack_floats(Self::clamp_f(a, 1e9), Self::clamp_f(b, 1e9)) }
    }
    /// Each float, or `limit` with its sign where it is larger.
    unsafe fn clamp_f(v: Self::F, limit: f32) -> Self::F;
    /// Asks for the cache line at `from`, which need not be valid.
    unsafe fn prefetch(from: *const u8);
}

/// Writes trait methods that are one intrinsic each.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! one_intrinsic {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $intrinsic:ident;)*) => {$(
        #[inline(always)]
        unsafe fn $name($($arg: $type),*) -> $result {
            // SAFETY: register-to-register arithmetic of an instruction set that the caller vouches for.
            unsafe { $intrinsic($($arg),*) }
        }
    )*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use one_intrinsic;
