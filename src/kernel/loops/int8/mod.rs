//! Forward for inference in whole numbers: recurrent weights and hidden states of 8 bits, gates of 16.
//!
//! | what | unit | held in |
//! |---|---|---|
//! | recurrent weight of a gate | a power of two for each gate, its largest weight between 64 and 127 | 8 bits |
//! | hidden state in products | 1/128 | 8 bits |
//! | pre-activation of a tanh, up to 4; of a sigmoid, up to 10 | 1/8192; 1/3276.8 | 16 bits, saturated |
//! | tanh, sigmoid, hidden state | 1/32768 | 16 bits |
//! | cell state, up to 8 | 1/4096 | 16 bits, saturated |
//!
//! Sums of whole numbers are exact in any order, and no step rounds in a way that only some processors know: **a model
//! answers the same bits on every instruction set**, alone and in any batch.
//!
//! Units come in panels of [`PANEL`]. The eight *lines* of a panel, two for each gate, are 64 bytes for every four inputs:
//! four weights each for 16 units, those four of every eight units that a register holds before two are packed into one
//! ([`super::super::simd::words::Words`]). AMX reads the same bytes as tiles.

#[cfg(target_arch = "x86_64")]
pub(in super::super) mod amx;
#[cfg(target_arch = "x86_64")]
pub(in super::super) mod amx_projection;
mod cell;
pub(in super::super) mod input;
pub(in super::super) mod projection;
pub(in super::super) mod step;

use super::super::layout::Aligned;
#[cfg(test)]
pub(in super::super) use cell::{INPUT_SIGMOID, SIGMOID, TANH, Table};

/// Units of a panel: a register of words of the widest instruction set.
pub(in super::super) const PANEL: usize = 32;

/// Lines of a panel for every four inputs: two for each of the gates i, f, g, o.
pub(in super::super) const LINES: usize = 8;

/// Bytes of a line over 64 inputs.
pub(in super::super) const TILE_BYTES: usize = 1024;

/// What a pre-activation of 1, times its gate's scale, is.
pub(in super::super) const GATE_ONE: f32 = 4096.0;

/// What a cell state of 1 is.
pub(in super::super) const CELL_ONE: f32 = 4096.0;

/// What a hidden state of 1 is.
pub(in super::super) const STATE_ONE: f32 = 32768.0;

/// What pre-activations are multiplied by, in the order i, f, g, o: 16 bits reach to where a sigmoid (10) or a tanh (4) is
/// flat.
pub(in super::super) const GATE_SCALES: [f32; 4] = [0.8, 0.8, 2.0, 0.8];

/// Panels of a hidden size.
pub(in super::super) fn panels(hidden: usize) -> usize {
    hidden.div_ceil(PANEL)
}

/// Bytes of a row of hidden states: whole tiles of 64.
pub(in super::super) fn state_bytes(hidden: usize) -> usize {
    hidden.next_multiple_of(64)
}

/// Line (0 or 1 of a gate's two) of `unit` of its panel, and its place among the 16 units of the line.
pub(in super::super) fn place(unit: usize) -> (usize, usize) {
    let unit = unit % PANEL;
    (unit % 8 / 4, unit / 8 * 4 + unit % 4)
}

/// Where the pre-activation of `gate` and `unit` stands in a row of the table.
pub(in super::super) fn word_position(gate: usize, unit: usize) -> usize {
    (unit / PANEL * 4 + gate) * PANEL + unit % PANEL
}

/// A recurrent weight, packed.
#[derive(Clone, Debug)]
pub(in super::super) struct Weights {
    /// `[panel][64 inputs][LINES][four inputs][16 units][4]`: a line over 64 inputs is a kilobyte, which is a tile.
    pub lines: Aligned<i8>,
    /// What a sum begins with: half of what its shift takes away, less what the states' offset adds. `[panel][LINES][16]`.
    pub starts: Aligned<i32>,
    /// The same for products that read states with their sign.
    pub signed_starts: Aligned<i32>,
    /// By how many bits a sum is shifted to be a pre-activation. `[panel][LINES][16]`.
    pub shifts: Aligned<i32>,
}

impl Weights {
    /// Packs `weight_hh` `[4 hidden, hidden]`, for products that read states with `offset` added.
    pub fn pack(hidden: usize, weight: &[f32], offset: i32) -> Self {
        let (panels, quads) = (panels(hidden), state_bytes(hidden) / 4);
        let mut lines = Aligned::zeros(panels * quads * LINES * 64);
        let mut starts = Aligned::zeros(panels * LINES * 16);
        let mut signed_starts = Aligned::zeros(panels * LINES * 16);
        let mut shifts = Aligned::zeros(panels * LINES * 16);
        for gate in 0..4 {
            for unit in 0..hidden {
                let row = &weight[(gate * hidden + unit) * hidden..][..hidden];
                let (half, at) = place(unit);
                let (panel, line) = (unit / PANEL, gate * 2 + half);
                let (quantized, shift) = quantize_row(row, GATE_SCALES[gate]);
                let sum: i32 = quantized.iter().map(|&weight| i32::from(weight)).sum();
                for (input, &weight) in quantized.iter().enumerate() {
                    let tile = (panel * quads / 16 + input / 64) * LINES + line;
                    lines[tile * TILE_BYTES + input % 64 / 4 * 64 + at * 4 + input % 4] = weight;
                }
                let position = (panel * LINES + line) * 16 + at;
                signed_starts[position] = (1 << shift) >> 1;
                starts[position] = signed_starts[position] - offset * sum;
                shifts[position] = shift;
            }
        }
        Self { lines, starts, signed_starts, shifts }
    }
}

/// A gate's weights times `scale` in 8 bits, and the shift that turns a sum of products with states into a pre-activation.
pub(in super::super) fn quantize_row(row: &[f32], scale: f32) -> (Vec<i8>, i32) {
    let largest = row.iter().fold(0.0f32, |most, weight| most.max((weight * scale).abs()));
    // A sum is `weights * 2^(shift + 5) * states * 2^7`, a pre-activation `* 2^12`.
    let unit = |shift: i32| f64::from(1u32 << shift) * 32.0;
    // Scaled weights of 4 and more are cut: beside one of them, a gate hangs on little else.
    let fits = |shift: &i32| f64::from(largest) * unit(*shift) < 127.5;
    let shift = (0..=24).rev().find(fits).unwrap_or(0);
    let quantized = row
        .iter()
        .map(|&weight| (f64::from(weight * scale) * unit(shift)).round().clamp(-127.0, 127.0) as i8);
    (quantized.collect(), shift)
}

/// What all sequences share.
#[derive(Clone, Copy)]
pub(in super::super) struct Layer {
    /// As [`Weights`] holds them.
    pub lines: *const i8,
    pub starts: *const i32,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for AMX alone"))]
    pub signed_starts: *const i32,
    pub shifts: *const i32,
    /// Pre-activations from the input, `[row][panel][gate][PANEL]`: rows under `split`, and those from it on.
    pub table: [*const i16; 2],
    pub split: usize,
    pub hidden: usize,
    pub panels: usize,
    /// Four inputs each.
    pub quads: usize,
    /// Whether the last position is read first.
    pub reverse: bool,
}

/// One sequence on its way through a layer, as raw parts that `Int8Recurrent::run` has checked.
#[derive(Clone, Copy)]
pub(in super::super) struct Cursor {
    /// Row of the gate table for each step.
    pub rows: *const u32,
    /// Number of steps.
    pub steps: usize,
    /// Hidden state, `panels * PANEL` words; in and out. A pool's sums take it up every second step.
    pub h: *mut i16,
    /// Cell state, `panels * PANEL` words; in and out.
    pub c: *mut i16,
    /// Largest hidden state so far and sum of all, `panels * PANEL` each (sums in the order of the lines); null where
    /// nobody asks.
    pub max: *mut i16,
    pub sum: *mut i32,
    /// Where the hidden state of position 0 goes, null where none is wanted.
    pub output: *mut f32,
    /// Floats from one position of the output to the next.
    pub stride: usize,
}

impl Layer {
    /// Pre-activations of step `step` of `cursor`.
    ///
    /// # Safety
    /// The sequence has such a step.
    #[inline(always)]
    unsafe fn input(&self, cursor: &Cursor, step: usize) -> *const i16 {
        // SAFETY: rows were checked to lie within the two parts of the table.
        unsafe {
            let row = *cursor.rows.add(self.position(cursor, step)) as usize;
            let (table, row) =
                if row < self.split { (self.table[0], row) } else { (self.table[1], row - self.split) };
            table.add(row * self.panels * 4 * PANEL)
        }
    }

    /// The rest of a sequence after its first `steps` steps.
    ///
    /// # Safety
    /// There are as many.
    #[inline(always)]
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for AMX alone"))]
    pub unsafe fn after(&self, cursor: Cursor, steps: usize) -> Cursor {
        let mut rest = Cursor { steps: cursor.steps - steps, ..cursor };
        if !self.reverse {
            rest.rows = rest.rows.wrapping_add(steps);
            rest.output =
                rest.output.wrapping_add(if rest.output.is_null() { 0 } else { steps * rest.stride });
        }
        rest
    }

    /// The position that step `step` reads.
    #[inline(always)]
    fn position(&self, cursor: &Cursor, step: usize) -> usize {
        if self.reverse { cursor.steps - 1 - step } else { step }
    }
}
