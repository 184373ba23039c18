//! Sixteen sequences in step, with the products of AMX tiles (`tdpbssd`), for processors and kernels that allow them.
//!
//! A tile of states is 16 sequences of 64 bytes, one of weights a line of 16 units over 64 inputs as it stands in memory;
//! their product adds to a tile of 16 sequences by 16 units. The unit works beside the others: while the cells of one panel
//! are computed, it multiplies for the next.
//!
//! In assembly, for the intrinsics are not stable.

use std::arch::asm;

use super::super::super::simd::words::{BesideAmx, Words};
use super::{Cursor, LINES, Layer, TILE_BYTES, step};

/// Sequences of a tile.
pub(in super::super::super) const TILE_ROWS: usize = 16;

/// Sequences from which on tiles are faster than registers: a tile takes as long for few rows as for many.
pub(super) const LEAST_ROWS: usize = 4;

/// Numbers of a tile of sums.
pub(super) const TILE: usize = TILE_ROWS * 16;

/// Bytes of scratch: two rows of states for each of 16 sequences, and the sums of two panels.
pub(in super::super::super) fn scratch_bytes(state_bytes: usize) -> usize {
    2 * TILE_ROWS * state_bytes + 2 * LINES * TILE * 4
}

/// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
pub(super) struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

pub(super) static TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    columns: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Products of four lines over 64 inputs, of which a panel has several.
#[derive(Clone, Copy)]
struct Piece {
    /// 64 bytes of 16 rows, `stride` apart.
    states: *const u8,
    stride: usize,
    /// Four lines over the same inputs, one after the other.
    weights: *const i8,
    /// What the sums of 16 units each begin with, a line after the other, where they begin here, else null.
    starts: *const i32,
    /// Where they go where they end here, else null.
    sums: *mut i32,
}

impl Piece {
    /// # Safety
    /// The processor and the thread have tiles, configured as [`TILES`]; the pointers are valid for what they are said to
    /// be. `sums`, where not null, has room for four tiles.
    #[inline(always)]
    unsafe fn multiply(self) {
        // SAFETY: the caller's promise; no other code uses tiles, which thus hold the sums from piece to piece.
        unsafe {
            if !self.starts.is_null() {
                // Sixteen times the same row.
                asm!(
                    "tileloadd tmm0, [{starts} + {step}]",
                    "tileloadd tmm1, [{starts} + {step} + 64]",
                    "tileloadd tmm2, [{starts} + {step} + 128]",
                    "tileloadd tmm3, [{starts} + {step} + 192]",
                    starts = in(reg) self.starts,
                    step = in(reg) 0usize,
                    options(readonly, nostack, preserves_flags)
                );
            }
            asm!(
                "tileloadd tmm4, [{states} + {stride}]",
                "tileloadd tmm5, [{weights} + {step}]",
                "tdpbssd tmm0, tmm4, tmm5",
                "tileloadd tmm6, [{weights} + {step} + 1024]",
                "tdpbssd tmm1, tmm4, tmm6",
                "tileloadd tmm7, [{weights} + {step} + 2048]",
                "tdpbssd tmm2, tmm4, tmm7",
                "tileloadd tmm5, [{weights} + {step} + 3072]",
                "tdpbssd tmm3, tmm4, tmm5",
                states = in(reg) self.states,
                stride = in(reg) self.stride,
                weights = in(reg) self.weights,
                step = in(reg) 64usize,
                options(readonly, nostack, preserves_flags)
            );
            if !self.sums.is_null() {
                asm!(
                    "tilestored [{sums} + {step}], tmm0",
                    "tilestored [{sums} + {step} + 1024], tmm1",
                    "tilestored [{sums} + {step} + 2048], tmm2",
                    "tilestored [{sums} + {step} + 3072], tmm3",
                    sums = in(reg) self.sums,
                    step = in(reg) 64usize,
                    options(nostack, preserves_flags)
                );
            }
        }
    }
}

/// Up to [`TILE_ROWS`] sequences, longest first. Returns how many steps were done: all of those in which at least
/// [`LEAST_ROWS`] sequences take part.
///
/// # Safety
/// As [`step::run`] with the processor's AMX besides, which the system has allowed this process to use; `scratch` has
/// [`scratch_bytes`] zeros.
#[inline(always)]
pub(in super::super::super) unsafe fn run(layer: Layer, cursors: &[Cursor], scratch: *mut u8) -> usize {
    let steps = cursors.get(LEAST_ROWS - 1).map_or(0, |cursor| cursor.steps);
    if steps == 0 {
        return 0;
    }
    // SAFETY: the scratch is two times 16 rows of states, then sums of two panels. Sequences stand longest first.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &TILES, options(readonly, nostack, preserves_flags));
        let stride = 4 * layer.quads;
        let (mut now, mut next) = (scratch, scratch.add(TILE_ROWS * stride));
        let sums = scratch.add(2 * TILE_ROWS * stride).cast::<i32>();
        for (row, cursor) in cursors.iter().enumerate() {
            step::start::<BesideAmx>(&layer, cursor, now.add(row * stride));
        }
        let mut active = cursors.len();
        for step in 0..steps {
            while cursors[active - 1].steps <= step {
                active -= 1;
            }
            one_step(&layer, &cursors[..active], (step, steps), now, next, sums);
            std::mem::swap(&mut now, &mut next);
        }
        asm!("tilerelease", options(nomem, nostack, preserves_flags));
    }
    steps
}

/// Step `step` of `steps` that are done here.
#[inline(always)]
unsafe fn one_step(
    layer: &Layer,
    cursors: &[Cursor],
    (step, steps): (usize, usize),
    now: *const u8,
    next: *mut u8,
    sums: *mut i32,
) {
    // SAFETY: as for `run`; a panel has two times `tiles` pieces, and every other panel the same sums.
    unsafe {
        let stride = 4 * layer.quads;
        let tiles = layer.quads / 16;
        let pieces = 2 * tiles;
        let piece = |panel: usize, at: usize| {
            let (half, tile) = (at / tiles, at % tiles);
            Piece {
                states: now.add(64 * tile),
                stride,
                weights: layer.lines.add(((panel * tiles + tile) * LINES + 4 * half) * TILE_BYTES),
                starts: match tile {
                    0 => layer.signed_starts.add((panel * LINES + 4 * half) * 16),
                    _ => std::ptr::null(),
                },
                sums: if tile + 1 == tiles {
                    sums.add((panel % 2 * LINES + half * 4) * TILE)
                } else {
                    std::ptr::null_mut()
                },
            }
        };
        let mut x = [std::ptr::null::<i16>(); TILE_ROWS];
        for (x, cursor) in x.iter_mut().zip(cursors) {
            *x = layer.input(cursor, step);
        }
        for at in 0..pieces {
            piece(0, at).multiply();
        }
        for panel in 0..layer.panels {
            let of_panel = sums.add(panel % 2 * LINES * TILE);
            let mut done = 0;
            for (row, cursor) in cursors.iter().enumerate() {
                // The next panel's pieces, spread evenly over this one's rows.
                while panel + 1 < layer.panels && done * cursors.len() <= row * pieces && done < pieces {
                    piece(panel + 1, done).multiply();
                    done += 1;
                }
                // Rows of a large table come from memory; which ones is known long before they are needed.
                if step + 1 < cursor.steps {
                    let ahead = layer.input(cursor, step + 1).add(panel * 4 * super::PANEL);
                    for line in 0..4 {
                        BesideAmx::prefetch(ahead.add(line * super::PANEL).cast());
                    }
                }
                let mut row_sums = [BesideAmx::splat_d(0); LINES];
                for line in 0..LINES {
                    row_sums[line] = BesideAmx::load_d(of_panel.add(line * TILE + row * 16));
                }
                step::finish::<BesideAmx>(
                    layer,
                    cursor,
                    step,
                    (panel, 0),
                    row_sums,
                    x[row],
                    next.add(row * stride),
                    step + 1 == cursor.steps.min(steps),
                );
            }
            while panel + 1 < layer.panels && done < pieces {
                piece(panel + 1, done).multiply();
                done += 1;
            }
        }
    }
}
