//! Sixteen rows of input at a time, with the products of AMX tiles.
//!
//! A tile multiplies bytes, and inputs and weights have two each: `(256 a + b)(256 c + d)` is `65536 ac + 256 (ad + bc) +
//! bd`, where the high bytes have a sign and the low ones none. The four sums of such products are exact, and so is what is
//! made of them, for it is the number of 32 bits that the other kernels get.

use std::arch::asm;
use std::arch::x86_64::{_mm512_add_epi32, _mm512_slli_epi32};

use super::super::super::simd::words::{BesideAmx, Words};
use super::amx::{LEAST_ROWS, TILE, TILE_ROWS, TILES};
use super::projection::{Task, finish};
use super::{LINES, TILE_BYTES};

/// Bytes of a row that a tile takes.
const DEPTH: usize = 64;

/// Most tiles over the inputs of a row: with more, registers do the work.
const MAX_DEPTH: usize = 8;

/// Sixteen rows as bytes, tile by tile over the inputs: 0 the high ones, 1 the low ones.
#[repr(C, align(64))]
struct Rows([[[[u8; DEPTH]; TILE_ROWS]; 2]; MAX_DEPTH]);

/// The four sums of a line, 16 rows by 16 units: of high bytes, of high by low, of low by high, of low ones.
#[repr(C, align(64))]
struct Sums([[i32; TILE]; 4]);

/// Rows of the gate table from rows of input, sixteen at a time; returns how many were done.
///
/// # Safety
/// As [`super::projection::run`], with the processor's AMX besides, which the system has allowed this process to use; the
/// weights were packed for tiles.
#[inline(always)]
pub(in super::super::super) unsafe fn run(task: Task) -> usize {
    let depth = (2 * task.pairs).div_ceil(DEPTH);
    if task.rows < LEAST_ROWS || depth > MAX_DEPTH {
        return 0;
    }
    // SAFETY: the caller's promise; a block's rows lie within the task's.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &TILES, options(readonly, nostack, preserves_flags));
        let mut rows = Rows([[[[0; DEPTH]; TILE_ROWS]; 2]; MAX_DEPTH]);
        let mut sums = [const { Sums([[0; TILE]; 4]) }; 4];
        let mut done = 0;
        while task.rows - done >= LEAST_ROWS {
            let count = (task.rows - done).min(TILE_ROWS);
            for row in 0..count {
                let mut words = task.input.add((done + row) * 2 * task.pairs);
                let mut left = 2 * task.pairs;
                for tile in 0..depth {
                    let mut inputs = [0i16; DEPTH];
                    std::ptr::copy_nonoverlapping(words, inputs.as_mut_ptr(), left.min(DEPTH));
                    for at in 0..DEPTH {
                        let [low, high] = inputs[at].to_le_bytes();
                        rows.0[tile][0][row][at] = high;
                        rows.0[tile][1][row][at] = low;
                    }
                    words = words.wrapping_add(DEPTH);
                    left = left.saturating_sub(DEPTH);
                }
            }
            block(&task, done, count, &rows, depth, &mut sums);
            done += count;
        }
        asm!("tilerelease", options(nomem, nostack, preserves_flags));
        done
    }
}

/// All units of `count` rows from `first` on. The unit of the tiles works beside the others: while one gate is finished, it
/// multiplies for the next.
#[inline(always)]
unsafe fn block(task: &Task, first: usize, count: usize, rows: &Rows, depth: usize, sums: &mut [Sums; 4]) {
    // SAFETY: the caller's promise; gate `at` of all panels has the lines `2 at` and `2 at + 1`, whose sums are kept in the
    // half of `sums` of its parity.
    unsafe {
        let gates = task.panels * LINES / 2;
        let multiply = |gate: usize, d: usize, sums: &mut [Sums; 4]| {
            line(
                task.bytes.add((2 * gate + d) * depth * 2 * TILE_BYTES),
                rows,
                depth,
                &mut sums[gate % 2 * 2 + d],
            );
        };
        multiply(0, 0, sums);
        multiply(0, 1, sums);
        for gate in 0..gates {
            for row in 0..count {
                // The next gate's two lines, at the first and at the middle row.
                if gate + 1 < gates && row == 0 {
                    multiply(gate + 1, 0, sums);
                }
                if gate + 1 < gates && row == count / 2 {
                    multiply(gate + 1, 1, sums);
                }
                let mut parts = [BesideAmx::splat_d(0); 2];
                for d in 0..2 {
                    // A loop, not a closure: that would be a function without the instruction set.
                    let mut four = [BesideAmx::splat_d(0); 4];
                    for at in 0..4 {
                        four[at] = BesideAmx::load_d(sums[gate % 2 * 2 + d].0[at].as_ptr().add(row * 16));
                    }
                    let [high, one, other, low] = four;
                    let middle = _mm512_slli_epi32::<8>(_mm512_add_epi32(one, other));
                    parts[d] = _mm512_add_epi32(_mm512_add_epi32(_mm512_slli_epi32::<16>(high), low), middle);
                }
                finish::<BesideAmx>(task, first + row, (gate / 4, 0), gate % 4, parts);
            }
        }
    }
}

/// The four sums of a line.
#[inline(always)]
unsafe fn line(weights: *const u8, rows: &Rows, depth: usize, sums: &mut Sums) {
    // SAFETY: the tiles are configured as [`TILES`]; weights are two tiles for each of `depth`, rows too, and the sums four.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nomem, nostack, preserves_flags)
        );
        for at in 0..depth {
            asm!(
                "tileloadd tmm4, [{rows} + {step}]",
                "tileloadd tmm6, [{weights} + {step}]",
                "tdpbssd tmm0, tmm4, tmm6",
                "tileloadd tmm7, [{weights} + {step} + 1024]",
                "tdpbsud tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{rows} + {step} + 1024]",
                "tdpbusd tmm2, tmm5, tmm6",
                "tdpbuud tmm3, tmm5, tmm7",
                rows = in(reg) rows.0[at].as_ptr(),
                weights = in(reg) weights.add(at * 2 * TILE_BYTES),
                step = in(reg) 64usize,
                options(readonly, nostack, preserves_flags)
            );
        }
        asm!(
            "tilestored [{sums} + {step}], tmm0",
            "tilestored [{sums} + {step} + 1024], tmm1",
            "tilestored [{sums} + {step} + 2048], tmm2",
            "tilestored [{sums} + {step} + 3072], tmm3",
            sums = in(reg) sums.0.as_mut_ptr(),
            step = in(reg) 64usize,
            options(nostack, preserves_flags)
        );
    }
}
