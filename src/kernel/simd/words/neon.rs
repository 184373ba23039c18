//! NEON, which every 64-bit Arm processor has: 8 words at a time; with DOTPROD four products of bytes in one instruction.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Words, one_intrinsic};

/// Registers of 8 words.
#[derive(Clone, Copy)]
pub(in super::super::super) struct NeonWords;

/// As [`NeonWords`], with the products of DOTPROD (Armv8.2).
#[derive(Clone, Copy)]
pub(in super::super::super) struct NeonDotprod;

/// What both have in common; the rows that they take at once and the product of bytes differ.
macro_rules! words_of_8 {
    ($name:ident, $rows:literal, { $($product:tt)* }) => {
        impl Words for $name {
            type W = int16x8_t;
            type D = int32x4_t;
            type F = float32x4_t;
            const LANES: usize = 8;
            const ROWS: usize = $rows;
            const FLIP: u8 = 0;

            $($product)*

            one_intrinsic! {
                splat_d(value: i32) -> int32x4_t = vdupq_n_s32;
                splat(value: i16) -> int16x8_t = vdupq_n_s16;
                add(a: int16x8_t, b: int16x8_t) -> int16x8_t = vaddq_s16;
                adds(a: int16x8_t, b: int16x8_t) -> int16x8_t = vqaddq_s16;
                max(a: int16x8_t, b: int16x8_t) -> int16x8_t = vmaxq_s16;
                mul_round(a: int16x8_t, b: int16x8_t) -> int16x8_t = vqrdmulhq_s16;
                mul_low(a: int16x8_t, b: int16x8_t) -> int16x8_t = vmulq_s16;
                splat_f(value: f32) -> float32x4_t = vdupq_n_f32;
                add_f(a: float32x4_t, b: float32x4_t) -> float32x4_t = vaddq_f32;
                mul_f(a: float32x4_t, b: float32x4_t) -> float32x4_t = vmulq_f32;
                to_float(v: int32x4_t) -> float32x4_t = vcvtq_f32_s32;
            }

            #[inline(always)]
            unsafe fn load_d(from: *const i32) -> int32x4_t {
                // SAFETY: the caller vouches for a register of numbers at `from`.
                unsafe { vld1q_s32(from) }
            }
            #[inline(always)]
            unsafe fn store_d(to: *mut i32, v: int32x4_t) {
                // SAFETY: the caller vouches for room of a register at `to`.
                unsafe { vst1q_s32(to, v) }
            }
            #[inline(always)]
            unsafe fn dot2(acc: int32x4_t, a: int32x4_t, weights: *const i16) -> int32x4_t {
                // SAFETY: the caller vouches for `LANES` words.
                unsafe {
                    let (a, weights) = (vreinterpretq_s16_s32(a), vld1q_s16(weights));
                    let low = vmull_s16(vget_low_s16(a), vget_low_s16(weights));
                    vaddq_s32(acc, vpaddq_s32(low, vmull_high_s16(a, weights)))
                }
            }
            #[inline(always)]
            unsafe fn shift_right_d(v: int32x4_t, counts: int32x4_t) -> int32x4_t {
                // SAFETY: register-to-register arithmetic of every processor of this target.
                unsafe { vshlq_s32(v, vnegq_s32(counts)) }
            }
            #[inline(always)]
            unsafe fn pack(a: int32x4_t, b: int32x4_t) -> int16x8_t {
                // SAFETY: register-to-register arithmetic of every processor of this target.
                unsafe { vqmovn_high_s32(vqmovn_s32(a), b) }
            }
            #[inline(always)]
            unsafe fn add_pairs([low, high]: [int32x4_t; 2], a: int16x8_t, b: int16x8_t) -> [int32x4_t; 2] {
                // SAFETY: register-to-register arithmetic of every processor of this target.
                unsafe {
                    [
                        vaddw_s16(vaddw_s16(low, vget_low_s16(a)), vget_low_s16(b)),
                        vaddw_high_s16(vaddw_high_s16(high, a), b),
                    ]
                }
            }
            #[inline(always)]
            unsafe fn load(from: *const i16) -> int16x8_t {
                // SAFETY: the caller vouches for a register of numbers at `from`.
                unsafe { vld1q_s16(from) }
            }
            #[inline(always)]
            unsafe fn store(to: *mut i16, v: int16x8_t) {
                // SAFETY: the caller vouches for room of a register at `to`.
                unsafe { vst1q_s16(to, v) }
            }
            #[inline(always)]
            unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: int16x8_t) -> [int16x8_t; N] {
                // SAFETY: a table is the 64 bytes that one instruction looks up in.
                unsafe {
                    // Bytes 2 i and 2 i + 1 of a table.
                    let doubled = vmulq_s16(vandq_s16(indices, vdupq_n_s16(31)), vdupq_n_s16(0x0202));
                    let bytes = vreinterpretq_u8_s16(vaddq_s16(doubled, vdupq_n_s16(0x0100)));
                    let mut found = [indices; N];
                    for table in 0..N {
                        let entries = vld1q_u8_x4(tables[table].as_ptr().cast());
                        found[table] = vreinterpretq_s16_u8(vqtbl4q_u8(entries, bytes));
                    }
                    found
                }
            }
            #[inline(always)]
            unsafe fn store_bytes(to: *mut u8, v: int16x8_t) {
                // SAFETY: the caller vouches for room of 8 bytes at `to`.
                unsafe { vst1_u8(to, vreinterpret_u8_s8(vshrn_n_s16::<8>(v))) }
            }
            #[inline(always)]
            unsafe fn load_f(from: *const f32) -> float32x4_t {
                // SAFETY: the caller vouches for a register of floats at `from`.
                unsafe { vld1q_f32(from) }
            }
            #[inline(always)]
            unsafe fn pack_floats(a: float32x4_t, b: float32x4_t) -> int16x8_t {
                // SAFETY: register-to-register arithmetic of every processor of this target.
                unsafe { Self::pack(vcvtnq_s32_f32(a), vcvtnq_s32_f32(b)) }
            }
            #[inline(always)]
            unsafe fn clamp_f(v: float32x4_t, limit: f32) -> float32x4_t {
                // SAFETY: register-to-register arithmetic of every processor of this target.
                unsafe { vmaxnmq_f32(vminnmq_f32(v, vdupq_n_f32(limit)), vdupq_n_f32(-limit)) }
            }
            #[inline(always)]
            unsafe fn prefetch(from: *const u8) {
                // SAFETY: a prefetch reads nothing that a program sees, so that any address will do.
                unsafe { asm!("prfm pldl1keep, [{}]", in(reg) from, options(nostack, readonly, preserves_flags)) }
            }
        }
    };
}

words_of_8!(NeonWords, 2, {
    #[inline(always)]
    unsafe fn dot4(acc: int32x4_t, states: int32x4_t, weights: *const i8) -> int32x4_t {
        // SAFETY: the caller vouches for `2 LANES` bytes.
        unsafe {
            let (states, weights) = (vreinterpretq_s8_s32(states), vld1q_s8(weights));
            let low = vmull_s8(vget_low_s8(states), vget_low_s8(weights));
            // Two products have 16 bits: no weight is -128.
            vpadalq_s16(acc, vpaddq_s16(low, vmull_high_s8(states, weights)))
        }
    }
});

words_of_8!(NeonDotprod, 3, {
    #[inline(always)]
    unsafe fn dot4(acc: int32x4_t, states: int32x4_t, weights: *const i8) -> int32x4_t {
        let mut acc = acc;
        // SAFETY: the caller vouches for DOTPROD and for `2 LANES` bytes. The intrinsic is not stable yet.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {acc:v}.4s, {states:v}.16b, {weights:v}.16b",
                acc = inout(vreg) acc,
                states = in(vreg) states,
                weights = in(vreg) vld1q_s8(weights),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        acc
    }
});
