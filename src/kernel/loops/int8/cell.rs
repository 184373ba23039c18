//! The LSTM cell in 16 bits.

use super::super::super::simd::words::Words;

/// A function on 31 intervals of its argument, whose numbers lie at the low five bits of -15 to 15: in each a polynomial of
/// degree 2 in the distance from its middle, which is 1/2 at its ends; rows are the powers.
///
/// Printed by `tools/int8_activations.py`.
pub(in super::super::super) type Table = [[i16; 32]; 3];

/// tanh of a number in units of 1/8192 as a number in units of 1/32768, off by at most 6.8 units (2.1e-4).
#[rustfmt::skip]
pub(in super::super::super) static TANH: Table = [
    [0, 8536, 15988, 21759, 25828, 28510, 30202, 31237, 31861, 32233, 32453, 32583, 32659, 32704, 32731, 32746, 0, -32746, -32731, -32704, -32659, -32583, -32453, -32233, -31861, -31237, -30202, -28510, -25828, -21759, -15988, -8537],
    [4350, 4058, 3325, 2446, 1661, 1068, 662, 402, 241, 143, 84, 50, 29, 17, 10, 5, 0, 5, 10, 17, 29, 50, 84, 143, 241, 402, 662, 1068, 1661, 2446, 3325, 4059],
    [0, -139, -215, -215, -174, -123, -82, -50, -30, -19, -11, -7, -3, -2, -2, -2, 0, 2, 2, 2, 3, 7, 11, 19, 30, 50, 82, 123, 174, 215, 215, 140],
];

/// The sigmoid of a number in units of 1/3276.8 as a number in units of 1/32768, off by at most 6.7 units (2.1e-4).
#[rustfmt::skip]
pub(in super::super::super) static SIGMOID: Table = [
    [16384, 21651, 25932, 28862, 30639, 31639, 32179, 32463, 32611, 32687, 32726, 32746, 32757, 32762, 32765, 32766, 0, 2, 3, 6, 11, 22, 42, 81, 157, 305, 589, 1129, 2129, 3906, 6836, 11117],
    [2712, 2437, 1803, 1153, 669, 368, 195, 102, 53, 27, 14, 7, 4, 2, 1, -1, 0, -1, 1, 2, 4, 7, 14, 27, 53, 102, 195, 367, 669, 1153, 1803, 2437],
    [0, -129, -173, -146, -96, -56, -32, -17, -9, -4, -2, 0, -1, 0, 0, -1, 0, 1, 0, 0, 1, 0, 2, 4, 9, 17, 32, 56, 96, 146, 173, 129],
];

/// The same in units of the cell state, off by at most 2 units (4.8e-4).
#[rustfmt::skip]
pub(in super::super::super) static INPUT_SIGMOID: Table = [
    [2048, 2706, 3241, 3608, 3830, 3955, 4022, 4058, 4076, 4086, 4091, 4093, 4094, 4095, 4096, 4096, 0, 0, 0, 1, 1, 3, 5, 10, 20, 38, 74, 141, 266, 488, 855, 1389],
    [339, 304, 225, 144, 84, 46, 24, 13, 7, 3, 2, 1, 0, 0, 0, -1, 0, -1, 0, 0, 0, 1, 2, 3, 7, 13, 24, 46, 84, 144, 225, 305],
    [0, -15, -21, -18, -12, -7, -3, -2, -1, -1, 0, 0, 1, 0, 0, -1, 0, 1, 0, 0, 0, 0, 0, 1, 1, 2, 3, 7, 12, 18, 21, 17],
];

/// `table` at `x` of `R` sequences.
///
/// An interval is 1/15 of 2^15: the high half of `15 x`, rounded, tells which, and the low half of `30 x` is the distance
/// from its middle, which takes neither a shift nor a sign apart.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
unsafe fn activation<S: Words, const R: usize>(table: &Table, x: [S::W; R]) -> [S::W; R] {
    let mut y = x;
    // A loop, not a closure: that would be a function without the instruction set.
    for r in 0..R {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let [c0, c1, c2] = S::look_up(table, S::mul_round(x[r], S::splat(15)));
            let distance = S::mul_low(x[r], S::splat(30));
            let slope = S::add(c1, S::mul_round(distance, c2));
            y[r] = S::add(c0, S::mul_round(distance, slope));
        }
    }
    y
}

/// `a[r] b[r]`.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
unsafe fn mul_round<S: Words, const R: usize>(a: [S::W; R], b: [S::W; R]) -> [S::W; R] {
    let mut product = a;
    for r in 0..R {
        // SAFETY: the caller vouches for the instruction set.
        product[r] = unsafe { S::mul_round(a[r], b[r]) };
    }
    product
}

/// One step of the cells of `R` sequences from pre-activations in the order i, f, g, o and the cell states: the hidden
/// states and the new ones of the cells.
///
/// A cell is a chain of instructions that wait for each other; those of other sequences go in between.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
pub(super) unsafe fn cells<S: Words, const R: usize>(
    [i, f, g, o]: [[S::W; R]; 4],
    c: [S::W; R],
) -> [[S::W; R]; 2] {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let (i, g) = (activation::<S, R>(&INPUT_SIGMOID, i), activation::<S, R>(&TANH, g));
        let input = mul_round::<S, R>(i, g);
        let mut next = mul_round::<S, R>(activation::<S, R>(&SIGMOID, f), c);
        let mut argument = next;
        for r in 0..R {
            next[r] = S::adds(next[r], input[r]);
            // The argument of tanh counts in halves of the cell state's unit.
            argument[r] = S::adds(next[r], next[r]);
        }
        let o = activation::<S, R>(&SIGMOID, o);
        [mul_round::<S, R>(o, activation::<S, R>(&TANH, argument)), next]
    }
}

/// The hidden state with its high byte in units of 1/128, rounded to the nearest.
///
/// # Safety
/// As [`Words`].
#[inline(always)]
pub(super) unsafe fn round_to_high_byte<S: Words>(h: S::W) -> S::W {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { S::adds(h, S::splat(128)) }
}
