//! The LSTM cell in 16 bits.

use super::super::super::simd::words::Words;

/// tanh of a number in units of 1/4096 as a number in units of 1/32768, off by at most 8.2 units (2.5e-4).
///
/// 32 intervals of 1/4, in each a polynomial of degree 2 in the distance from its middle, which is 1 at its ends; rows are
/// the powers. Printed by `tools/int8_tanh_table.py`.
#[rustfmt::skip]
pub(in super::super::super) static TANH: [[i16; 32]; 3] = [
    [4076, 11742, 18173, 23065, 26519, 28830, 30322, 31262, 31846, 32205, 32426, 32560, 32642, 32691, 32722, 32740, 32751, 32758, 32762, 32764, 32765, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767, 32767],
    [4016, 3561, 2835, 2071, 1419, 930, 592, 370, 229, 140, 86, 52, 32, 19, 12, 7, 4, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [-60, -158, -196, -180, -143, -102, -69, -44, -27, -16, -11, -6, -4, -2, -2, -1, -1, -1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
];

/// tanh, as [`TANH`] has it.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
pub(super) unsafe fn tanh<S: Words>(x: S::W) -> S::W {
    // SAFETY: the caller vouches for the instruction set; an index is the top five bits of 15.
    unsafe {
        let size = S::max(x, S::subs(S::splat(0), x));
        let [c0, c1, c2] = S::look_up(&TANH, S::shift_right::<10>(size));
        let from_middle = S::xor(S::shift_left::<6>(size), S::splat(i16::MIN));
        let slope = S::add(c1, S::mul_round(from_middle, c2));
        S::with_sign(S::add(c0, S::mul_round(from_middle, slope)), x)
    }
}

/// The high half of a float of 2^7, whose low half counts in 2^-16.
const FORGET: (i16, f32) = (0x4300, 128.0);

/// The high half of a float of 2^20, whose low half counts in eighths.
const INPUT: (i16, f32) = (0x4980, 1_048_576.0);

/// One step of the cell from pre-activations in the order i, f, g, o and the cell state in the order of the lines.
///
/// # Safety
/// As [`Words`]; the cell state is smaller than 2^30.
#[inline(always)]
pub(super) unsafe fn cell<S: Words>([i, f, g, o]: [S::W; 4], c: [S::F; 2]) -> (S::W, [S::F; 2]) {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let one_half = S::splat(1 << 14);
        let (i, f, g, o) = (tanh::<S>(i), tanh::<S>(f), tanh::<S>(g), tanh::<S>(o));
        let input = S::mul_round(S::add(S::halve::<1>(i), one_half), g);
        // Words become floats as the low halves of ones that are known, which are then taken away: 32,768 more than a word
        // has no sign. The forget gate lies between 0 and 65,535 of 65,536.
        let no_sign = S::splat(i16::MIN);
        let forget = S::floats(S::xor(f, no_sign), FORGET.0);
        let input = S::floats(S::xor(input, no_sign), INPUT.0);
        let (forget_offset, input_offset) = (S::splat_f(-FORGET.1), S::splat_f(-INPUT.1 - 4096.0));
        let mut next = c;
        for d in 0..2 {
            let kept = S::mul_f(S::add_f(forget[d], forget_offset), c[d]);
            next[d] = S::add_f(kept, S::add_f(input[d], input_offset));
        }
        let reach = tanh::<S>(S::pack_floats(next[0], next[1]));
        let h = S::mul_round(S::add(S::halve::<1>(o), one_half), reach);
        (h, next)
    }
}

/// The hidden state in 8 bits, units of 1/128.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
pub(super) unsafe fn to_8_bits<S: Words>(h: S::W) -> S::W {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { S::halve::<8>(S::adds(h, S::splat(128))) }
}
