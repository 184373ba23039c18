//! One sequence through a layer of few panels, whose weights stay in the first-level cache.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::super::simd::{Avx512, Simd};
use super::super::infer::SequenceCursor;
use super::{PAIRS_PER_SUM, QuantizedLayer, cell};

const L: usize = Avx512::LANES;

/// The text that multiplies pair `$k` after the pointers, broadcast once, by its four lines of each panel.
macro_rules! pair {
    ($k:literal $(, [$w:literal $i:literal $f:literal $g:literal $o:literal])+) => {
        concat!(
            "vpbroadcastd {v}, dword ptr [{h} + 4*", $k, "]\n",
            $(
                "vpdpwssd {", $i, "}, {v}, zmmword ptr [{", $w, "} + 256*", $k, "]\n",
                "vpdpwssd {", $f, "}, {v}, zmmword ptr [{", $w, "} + 256*", $k, " + 64]\n",
                "vpdpwssd {", $g, "}, {v}, zmmword ptr [{", $w, "} + 256*", $k, " + 128]\n",
                "vpdpwssd {", $o, "}, {v}, zmmword ptr [{", $w, "} + 256*", $k, " + 192]\n",
            )+
        )
    };
}

/// Adds to the sums of a panel the products of four pairs of states from `h` on with their lines from `lines` on.
///
/// In assembly for the reason that `block.rs` gives, and so that a weight comes straight from memory.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn four_pairs(sums: &mut [__m512i; 4], lines: *const __m512i, h: *const i32) {
    let [mut i, mut f, mut g, mut o] = *sums;
    // SAFETY: the caller vouches for four pairs at both pointers; nothing is written.
    unsafe {
        asm!(
            pair!(0, ["w" "i" "f" "g" "o"]),
            pair!(1, ["w" "i" "f" "g" "o"]),
            pair!(2, ["w" "i" "f" "g" "o"]),
            pair!(3, ["w" "i" "f" "g" "o"]),
            i = inout(zmm_reg) i, f = inout(zmm_reg) f, g = inout(zmm_reg) g, o = inout(zmm_reg) o,
            v = out(zmm_reg) _, w = in(reg) lines, h = in(reg) h,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    *sums = [i, f, g, o];
}

/// As [`four_pairs`] for two panels.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn four_pairs_of_two(sums: &mut [[__m512i; 4]; 2], lines: [*const __m512i; 2], h: *const i32) {
    let [[mut i, mut f, mut g, mut o], [mut i2, mut f2, mut g2, mut o2]] = *sums;
    // SAFETY: as for `four_pairs`.
    unsafe {
        asm!(
            pair!(0, ["w" "i" "f" "g" "o"], ["w2" "i2" "f2" "g2" "o2"]),
            pair!(1, ["w" "i" "f" "g" "o"], ["w2" "i2" "f2" "g2" "o2"]),
            pair!(2, ["w" "i" "f" "g" "o"], ["w2" "i2" "f2" "g2" "o2"]),
            pair!(3, ["w" "i" "f" "g" "o"], ["w2" "i2" "f2" "g2" "o2"]),
            i = inout(zmm_reg) i, f = inout(zmm_reg) f, g = inout(zmm_reg) g, o = inout(zmm_reg) o,
            i2 = inout(zmm_reg) i2, f2 = inout(zmm_reg) f2, g2 = inout(zmm_reg) g2, o2 = inout(zmm_reg) o2,
            v = out(zmm_reg) _, w = in(reg) lines[0], w2 = in(reg) lines[1], h = in(reg) h,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    *sums = [[i, f, g, o], [i2, f2, g2, o2]];
}

/// As [`super::super::infer::run_single`] for weights in 16 bits: two panels at a time, so that a state is broadcast once
/// for both.
///
/// # Safety
/// As there; `scratch` has `P * LANES` floats.
#[inline(always)]
pub unsafe fn run_single<const P: usize>(layer: QuantizedLayer, cursor: SequenceCursor, scratch: *mut f32) {
    // SAFETY: lines, scales, rows of the table and state are of `P` panels; the two halves of the scratch, `P * L / 2` pairs
    // of 16 bits each, are the old and the new hidden state.
    unsafe {
        let width = P * L;
        let (mut now, mut next) = (scratch.cast::<i32>(), scratch.add(width / 2).cast::<i32>());
        let (mut h, mut c) = ([_mm512_setzero_ps(); P], [_mm512_setzero_ps(); P]);
        for p in 0..P {
            (h[p], c[p]) = (Avx512::load(cursor.h.add(p * L)), Avx512::load(cursor.c.add(p * L)));
            store_16_bits(h[p], now, p);
        }
        for step in 0..cursor.steps {
            let position = cursor.position(step, layer.shared.reverse);
            let x = layer.shared.input(&cursor, position, width);
            // Rows of a large table come from memory; which ones is known long before they are needed.
            let ahead = cursor.position((step + 2).min(cursor.steps - 1), layer.shared.reverse);
            let ahead = layer.shared.input(&cursor, ahead, width);
            for line in 0..P * 4 {
                Avx512::prefetch(ahead.add(line * L));
            }
            // Written out, for a loop over panels would keep the states in memory.
            if P > 1 {
                let [first, second] = gates::<P, 2>(&layer, 0, x, now);
                (h[0], c[0]) = cell::cell(first, c[0]);
                store_16_bits(h[0], next, 0);
                (h[1], c[1]) = cell::cell(second, c[1]);
                store_16_bits(h[1], next, 1);
            }
            if P > 3 {
                let [first, second] = gates::<P, 2>(&layer, 2, x, now);
                (h[2], c[2]) = cell::cell(first, c[2]);
                store_16_bits(h[2], next, 2);
                (h[3], c[3]) = cell::cell(second, c[3]);
                store_16_bits(h[3], next, 3);
            }
            if P % 2 == 1 {
                let [last] = gates::<P, 1>(&layer, P - 1, x, now);
                (h[P - 1], c[P - 1]) = cell::cell(last, c[P - 1]);
                store_16_bits(h[P - 1], next, P - 1);
            }
            std::mem::swap(&mut now, &mut next);
            if !cursor.output.is_null() || step + 1 == cursor.steps {
                for p in 0..P {
                    Avx512::store(cursor.h.add(p * L), h[p]);
                }
                cursor.write_output(position, cursor.h, layer.shared.hidden);
            }
        }
        for p in 0..P {
            Avx512::store(cursor.c.add(p * L), c[p]);
        }
    }
}

#[inline(always)]
unsafe fn store_16_bits(h: __m512, states: *mut i32, p: usize) {
    // SAFETY: there are half as many pairs as states.
    unsafe { _mm256_storeu_si256(states.add(p * L / 2).cast(), cell::round_to_16_bits(h)) }
}

/// The scaled pre-activations of `N` of `P` panels, one or two, from `panel` on.
#[inline(always)]
unsafe fn gates<const P: usize, const N: usize>(
    layer: &QuantizedLayer,
    panel: usize,
    x: *const f32,
    states: *const i32,
) -> [[__m512; 4]; N] {
    // SAFETY: `panel + N` panels of lines and scales, a row of the table at `x`, and `P * L / 2` pairs at `states`; their
    // number is a multiple of four.
    unsafe {
        let pairs = P * L / 2;
        let add = |sums: &mut [[__m512i; 4]; N], pair: usize| {
            let lines = |n: usize| layer.lines.add(((panel + n) * pairs + pair) * 4).cast::<__m512i>();
            let mut both = [[_mm512_setzero_si512(); 4]; 2];
            both[..N].copy_from_slice(sums);
            match N {
                1 => four_pairs(&mut both[0], lines(0), states.add(pair)),
                _ => four_pairs_of_two(&mut both, [lines(0), lines(1)], states.add(pair)),
            }
            sums.copy_from_slice(&both[..N]);
        };
        let mut gates = [[_mm512_setzero_ps(); 4]; N];
        for n in 0..N {
            for g in 0..4 {
                gates[n][g] = Avx512::load(x.add(((panel + n) * 4 + g) * L));
            }
        }
        for chunk in (0..pairs).step_by(PAIRS_PER_SUM) {
            let end = pairs.min(chunk + PAIRS_PER_SUM);
            // The states that came last in a chain of their own, to shorten the wait for them.
            let (mut most, mut last) = ([[_mm512_setzero_si512(); 4]; N], [[_mm512_setzero_si512(); 4]; N]);
            for pair in (chunk..end - 4).step_by(4) {
                add(&mut most, pair);
            }
            add(&mut last, end - 4);
            for n in 0..N {
                for g in 0..4 {
                    let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(most[n][g], last[n][g]));
                    let scale = Avx512::load(layer.scales.add(((panel + n) * 4 + g) * L));
                    gates[n][g] = Avx512::fma(sum, scale, gates[n][g]);
                }
            }
        }
        gates
    }
}
