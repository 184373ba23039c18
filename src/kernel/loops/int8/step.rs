//! A few sequences in step, with the products of a register at a time.

use super::super::super::simd::words::Words;
use super::{Cursor, LINES, Layer, PANEL, STATE_ONE, TILE_BYTES, cell};

/// Up to [`Words::ROWS`] sequences, longest first; as the shorter ones end, fewer go on.
///
/// # Safety
/// As [`Words`]; layer and cursors describe valid memory, `scratch` has `2 * cursors.len() * 4 * quads` bytes, which start
/// at a 64-byte border.
#[inline(always)]
pub(in super::super::super) unsafe fn run<S: Words>(layer: Layer, cursors: &[Cursor], scratch: *mut u8) {
    // SAFETY: the two halves of the scratch are the old and the new states in 8 bits, a row for each sequence; sequences
    // stand longest first, so that the first `active` have a step `step`.
    unsafe {
        let stride = 4 * layer.quads;
        let (mut now, mut next) = (scratch, scratch.add(cursors.len() * stride));
        for (row, cursor) in cursors.iter().enumerate() {
            start::<S>(&layer, cursor, now.add(row * stride));
            // What pads a row to a whole tile is multiplied by zeros.
            std::ptr::copy_nonoverlapping(now.add(row * stride), next.add(row * stride), stride);
        }
        let mut step = 0;
        for active in (1..=cursors.len()).rev() {
            while step < cursors[active - 1].steps {
                match active {
                    1 => step_of::<S, 1>(&layer, cursors, step, now, next),
                    2 => step_of::<S, 2>(&layer, cursors, step, now, next),
                    _ => step_of::<S, 3>(&layer, cursors, step, now, next),
                }
                std::mem::swap(&mut now, &mut next);
                step += 1;
            }
        }
    }
}

/// Writes the hidden state of a sequence as bytes.
///
/// # Safety
/// As [`run`].
#[inline(always)]
pub(super) unsafe fn start<S: Words>(layer: &Layer, cursor: &Cursor, bytes: *mut u8) {
    // SAFETY: states and bytes are of whole panels.
    unsafe {
        for unit in (0..layer.panels * PANEL).step_by(S::LANES) {
            S::store_bytes(bytes.add(unit), cell::round_to_high_byte::<S>(S::load(cursor.h.add(unit))));
        }
    }
}

#[inline(always)]
unsafe fn step_of<S: Words, const R: usize>(
    layer: &Layer,
    cursors: &[Cursor],
    step: usize,
    now: *const u8,
    next: *mut u8,
) {
    // SAFETY: all `R` sequences have a step `step`; a panel has `quads` times `LINES` lines of 64 bytes, of which a
    // register takes `2 * LANES` from `part` on.
    unsafe {
        let stride = 4 * layer.quads;
        let mut x = [std::ptr::null::<i16>(); R];
        for r in 0..R {
            x[r] = layer.input(&cursors[r], step);
            let ahead = layer.input(&cursors[r], (step + 2).min(cursors[r].steps - 1));
            for line in 0..layer.panels * 4 {
                S::prefetch(ahead.add(line * PANEL).cast());
            }
        }
        // There and back again: the weights that the last step read last are in the first-level cache still. States are
        // read from the other end, so that those which the last step wrote last are waited for last.
        let there = step.is_multiple_of(2);
        for at in 0..layer.panels {
            let panel = if there { at } else { layer.panels - 1 - at };
            for part in (0..PANEL).step_by(S::LANES) {
                let lines = layer.lines.add(panel * layer.quads * LINES * 64 + 2 * part);
                let starts = layer.starts.add(panel * LINES * 16 + part / 2);
                let mut sums = [[S::splat_d(0); LINES]; R];
                multiply::<S, R>(&mut sums, lines, starts, now, layer.quads, there);
                let mut rows = [Row { x: std::ptr::null(), bytes: next, last: false }; R];
                for r in 0..R {
                    let last = step + 1 == cursors[r].steps;
                    rows[r] = Row { x: x[r], bytes: next.add(r * stride), last };
                }
                finish::<S, R>(layer, cursors, step, (panel, part), sums, rows);
            }
        }
    }
}

/// `sums` become the starts plus the products of the lines of a register of units with `R` rows of states; with `back` the
/// last states are read first.
///
/// # Safety
/// As [`Words`]; lines and rows have so many `quads`.
#[inline(always)]
unsafe fn multiply<S: Words, const R: usize>(
    sums: &mut [[S::D; LINES]; R],
    lines: *const i8,
    starts: *const i32,
    states: *const u8,
    quads: usize,
    back: bool,
) {
    // SAFETY: the caller's promise; lines are 64 bytes and their starts 16 numbers apart.
    unsafe {
        // A copy, which the compiler keeps in registers.
        let mut acc = [[S::splat_d(0); LINES]; R];
        for line in 0..LINES {
            let start = S::load_d(starts.add(line * 16));
            for r in 0..R {
                acc[r][line] = start;
            }
        }
        let tiles = quads / 16;
        let (first, forth) = if back { (15, -1) } else { (0, 1) };
        for at in 0..tiles {
            let tile = if back { tiles - 1 - at } else { at };
            let (lines, states) = (lines.add(tile * LINES * TILE_BYTES), states.add(tile * 64));
            for at in 0..16 {
                let quad = (first + forth * at) as usize;
                let mut values = [S::splat_d(0); R];
                for r in 0..R {
                    let from = states.add((r * quads + quad) * 4);
                    values[r] = S::splat_d(from.cast::<i32>().read_unaligned());
                }
                for line in 0..LINES {
                    let weights = lines.add(line * TILE_BYTES + quad * 64);
                    for r in 0..R {
                        acc[r][line] = S::dot4(acc[r][line], values[r], weights);
                    }
                }
            }
        }
        *sums = acc;
    }
}

/// A sequence's part in a step.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// The row of the table.
    pub x: *const i16,
    /// The row of states of the next step.
    pub bytes: *mut u8,
    /// Whether the hidden state is to be in the cursor, and in the sums of a pool, afterwards.
    pub last: bool,
}

/// Takes the sums of a register of units of the first `R` sequences through the cells, and writes what they want of the new
/// states.
///
/// # Safety
/// As [`run`]; all `R` sequences have a step `step`, and `rows` are theirs.
#[inline(always)]
pub(super) unsafe fn finish<S: Words, const R: usize>(
    layer: &Layer,
    cursors: &[Cursor],
    step: usize,
    (panel, part): (usize, usize),
    sums: [[S::D; LINES]; R],
    rows: [Row; R],
) {
    // SAFETY: states, table and bytes are of `panels` panels, and `part + LANES` lies within a panel.
    unsafe {
        let unit = panel * PANEL + part;
        let mut gates = [[S::splat(0); R]; 4];
        for gate in 0..4 {
            for r in 0..R {
                let mut shifted = [S::splat_d(0); 2];
                for d in 0..2 {
                    let line = 2 * gate + d;
                    let counts = S::load_d(layer.shifts.add((panel * LINES + line) * 16 + part / 2));
                    shifted[d] = S::shift_right_d(sums[r][line], counts);
                }
                let input = S::load(rows[r].x.add((panel * 4 + gate) * PANEL + part));
                gates[gate][r] = S::adds(S::pack(shifted[0], shifted[1]), input);
            }
        }
        let mut c = [S::splat(0); R];
        for r in 0..R {
            c[r] = S::load(cursors[r].c.add(unit));
        }
        let [h, c] = cell::cells::<S, R>(gates, c);
        for r in 0..R {
            S::store(cursors[r].c.add(unit), c[r]);
            S::store_bytes(rows[r].bytes.add(unit), cell::round_to_high_byte::<S>(h[r]));
            keep::<S>(layer, &cursors[r], step, unit, h[r], rows[r].last);
        }
    }
}

/// Writes what a sequence wants of a register of new hidden states.
///
/// # Safety
/// As [`finish`], for units from `unit` on.
#[inline(always)]
unsafe fn keep<S: Words>(layer: &Layer, cursor: &Cursor, step: usize, unit: usize, h: S::W, last: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        if !cursor.max.is_null() {
            let max = cursor.max.add(unit);
            S::store(max, S::max(S::load(max), h));
            // Two states at a time cost as much as one.
            let odd = !step.is_multiple_of(2);
            if odd || last {
                let before = if odd { S::load(cursor.h.add(unit)) } else { S::splat(0) };
                let (low, high) = (cursor.sum.add(unit), cursor.sum.add(unit + S::LANES / 2));
                let [new_low, new_high] = S::add_pairs([S::load_d(low), S::load_d(high)], h, before);
                S::store_d(low, new_low);
                S::store_d(high, new_high);
            }
        }
        if last || !cursor.max.is_null() || !cursor.output.is_null() {
            S::store(cursor.h.add(unit), h);
        }
        if !cursor.output.is_null() && unit < layer.hidden {
            let units = S::LANES.min(layer.hidden - unit);
            let to = cursor.output.add(layer.position(cursor, step) * cursor.stride + unit);
            for at in 0..units {
                *to.add(at) = f32::from(*cursor.h.add(unit + at)) / STATE_ONE;
            }
        }
    }
}
