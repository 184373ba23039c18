//! Arrays of whole numbers, for every target.

use super::Words;

/// Arrays that the compiler turns into what the target offers.
#[derive(Clone, Copy)]
pub(in super::super::super) struct PortableWords;

const L: usize = 16;

#[inline(always)]
fn words(value: impl Fn(usize) -> i16) -> [i16; L] {
    std::array::from_fn(value)
}

#[inline(always)]
fn pair(value: impl Fn(usize, usize) -> i32) -> [[i32; L / 2]; 2] {
    [0, 1].map(|d| std::array::from_fn(|at| value(d, at)))
}

/// Where number `at` of register `d` of a pair stands among the words.
#[inline(always)]
fn place(d: usize, at: usize) -> usize {
    at / 4 * 8 + 4 * d + at % 4
}

/// Register and number of word `at`: the way back of [`place`].
#[inline(always)]
fn origin(at: usize) -> (usize, usize) {
    (at % 8 / 4, at / 8 * 4 + at % 4)
}

#[inline(always)]
fn saturate(value: i32) -> i16 {
    value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Added to a float of at most 2^22 in magnitude it rounds it to a whole number, ties to even.
const ROUND: f32 = 12_582_912.0;

impl Words for PortableWords {
    type W = [i16; L];
    type D = [i32; L / 2];
    type F = [f32; L / 2];
    const LANES: usize = L;
    const ROWS: usize = 1;
    const FLIP: u8 = 0;

    #[inline(always)]
    unsafe fn load_d(from: *const i32) -> Self::D {
        // SAFETY: the caller vouches for a register of numbers.
        unsafe { from.cast::<Self::D>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_d(to: *mut i32, v: Self::D) {
        // SAFETY: the caller vouches for a register of numbers.
        unsafe { to.cast::<Self::D>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn splat_d(value: i32) -> Self::D {
        [value; L / 2]
    }
    #[inline(always)]
    unsafe fn dot4(acc: Self::D, states: Self::D, weights: *const i8) -> Self::D {
        // SAFETY: the caller vouches for `2 L` bytes.
        let weights = unsafe { weights.cast::<[[i8; 4]; L / 2]>().read_unaligned() };
        std::array::from_fn(|at| {
            let states = states[at].to_ne_bytes();
            (0..4)
                .fold(acc[at], |sum, byte| sum + i32::from(states[byte] as i8) * i32::from(weights[at][byte]))
        })
    }
    #[inline(always)]
    unsafe fn dot2(acc: Self::D, a: Self::D, weights: *const i16) -> Self::D {
        // SAFETY: the caller vouches for `L` words.
        let weights = unsafe { weights.cast::<[[i16; 2]; L / 2]>().read_unaligned() };
        std::array::from_fn(|at| {
            let (low, high) = (a[at] as i16, (a[at] >> 16) as i16);
            acc[at] + i32::from(low) * i32::from(weights[at][0]) + i32::from(high) * i32::from(weights[at][1])
        })
    }
    #[inline(always)]
    unsafe fn shift_right_d(v: Self::D, counts: Self::D) -> Self::D {
        std::array::from_fn(|at| v[at] >> counts[at])
    }
    #[inline(always)]
    unsafe fn pack(a: Self::D, b: Self::D) -> Self::W {
        words(|at| {
            let (d, at) = origin(at);
            saturate([a, b][d][at])
        })
    }
    #[inline(always)]
    unsafe fn add_pairs(sums: [Self::D; 2], a: Self::W, b: Self::W) -> [Self::D; 2] {
        pair(|d, at| sums[d][at] + i32::from(a[place(d, at)]) + i32::from(b[place(d, at)]))
    }
    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self::W {
        // SAFETY: the caller vouches for a register of numbers.
        unsafe { from.cast::<Self::W>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut i16, v: Self::W) {
        // SAFETY: the caller vouches for a register of numbers.
        unsafe { to.cast::<Self::W>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn splat(value: i16) -> Self::W {
        [value; L]
    }
    #[inline(always)]
    unsafe fn add(a: Self::W, b: Self::W) -> Self::W {
        words(|at| a[at].wrapping_add(b[at]))
    }
    #[inline(always)]
    unsafe fn adds(a: Self::W, b: Self::W) -> Self::W {
        words(|at| a[at].saturating_add(b[at]))
    }
    #[inline(always)]
    unsafe fn max(a: Self::W, b: Self::W) -> Self::W {
        words(|at| a[at].max(b[at]))
    }
    #[inline(always)]
    unsafe fn mul_round(a: Self::W, b: Self::W) -> Self::W {
        words(|at| ((i32::from(a[at]) * i32::from(b[at]) + (1 << 14)) >> 15) as i16)
    }
    #[inline(always)]
    unsafe fn mul_low(a: Self::W, b: Self::W) -> Self::W {
        words(|at| a[at].wrapping_mul(b[at]))
    }
    #[inline(always)]
    unsafe fn look_up<const N: usize>(tables: &[[i16; 32]; N], indices: Self::W) -> [Self::W; N] {
        std::array::from_fn(|table| words(|at| tables[table][indices[at] as usize & 31]))
    }
    #[inline(always)]
    unsafe fn store_bytes(to: *mut u8, v: Self::W) {
        let bytes: [u8; L] = std::array::from_fn(|at| v[at].to_le_bytes()[1] ^ Self::FLIP);
        // SAFETY: the caller vouches for a register of bytes.
        unsafe { to.cast::<[u8; L]>().write_unaligned(bytes) }
    }
    #[inline(always)]
    unsafe fn load_f(from: *const f32) -> Self::F {
        // SAFETY: the caller vouches for a register of floats.
        unsafe { from.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn splat_f(value: f32) -> Self::F {
        [value; L / 2]
    }
    #[inline(always)]
    unsafe fn add_f(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|at| a[at] + b[at])
    }
    #[inline(always)]
    unsafe fn mul_f(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|at| a[at] * b[at])
    }
    #[inline(always)]
    unsafe fn to_float(v: Self::D) -> Self::F {
        v.map(|value| value as f32)
    }
    #[inline(always)]
    unsafe fn pack_floats(a: Self::F, b: Self::F) -> Self::W {
        words(|at| {
            let (d, at) = origin(at);
            // Kept within what rounds by addition; what lies outside saturates either way.
            let value = [a, b][d][at].clamp(-40_000.0, 40_000.0);
            saturate((value + ROUND).to_bits() as i32 - ROUND.to_bits() as i32)
        })
    }
    #[inline(always)]
    unsafe fn clamp_f(v: Self::F, limit: f32) -> Self::F {
        v.map(|value| value.clamp(-limit, limit))
    }
    #[inline(always)]
    unsafe fn prefetch(_from: *const u8) {}
}
