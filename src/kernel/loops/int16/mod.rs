//! Forward for inference with recurrent weights in 16 bits, for processors that multiply such pairs in one instruction
//! (AVX-512 VNNI).
//!
//! A step waits for its weights, in whichever cache they lie: half the bytes are half the wait, and one instruction does
//! two products. A row of weights has a scale of its own; the hidden state, between -1 and 1, is rounded to 1/16384.
//! Sums of whole numbers are exact, so their order changes no bit. What is rounded away is less than what storing weights
//! as f16 rounds away: a row keeps 12 bits for a weight of average size. Beside that, tanh by the coarse table
//! (`simd/tanh_table`) costs no precision.

#[cfg(target_arch = "x86_64")]
mod block;
#[cfg(target_arch = "x86_64")]
mod cell;
#[cfg(target_arch = "x86_64")]
pub(in super::super) mod single;

use super::super::layout::{AlignedVec, Panels};
use super::infer::Layer;

/// What a hidden state of 1 is.
const ONE: f32 = 16384.0;

/// Pairs of inputs that are summed as whole numbers before the sum becomes a float.
const PAIRS_PER_SUM: usize = 16;

/// What the sizes of the weights of a chunk may add up to: times `ONE` this stays a 32-bit number, with room for the
/// rounding of each.
const LARGEST_SUM: f32 = 131_000.0;

/// The weights of two inputs for a register of units.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(in super::super) struct PairLine([[i16; 2]; 16]);

/// A recurrent weight, packed: lines `[panel][pair of inputs][4]` and for each gate what a sum is multiplied by.
#[derive(Clone, Debug)]
pub(in super::super) struct Weights {
    pub lines: Vec<PairLine>,
    /// `[panel][4 lanes]`.
    pub scales: AlignedVec,
}

impl Weights {
    /// Packs `weight_hh` `[4 hidden, hidden]`, scaled as `panels` has it.
    pub fn pack(panels: Panels, weight: &[f32]) -> Self {
        let (hidden, lanes, pairs) = (panels.hidden, panels.lanes, panels.state_width() / 2);
        let mut lines = vec![PairLine::default(); panels.count() * pairs * 4];
        let mut scales = AlignedVec::zeros(panels.gate_width());
        panels.for_each_row(|row, position, scale| {
            let values: Vec<f32> =
                weight[row * hidden..][..hidden].iter().map(|value| value * scale).collect();
            let sums = values
                .chunks(2 * PAIRS_PER_SUM)
                .map(|chunk| chunk.iter().map(|value| value.abs()).sum::<f32>());
            let unit = sums.fold(0.0, f32::max) / LARGEST_SUM;
            let largest = values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
            let unit = unit.max(largest / f32::from(i16::MAX));
            if unit == 0.0 {
                return;
            }
            scales[position] = unit / ONE;
            let (panel, gate, lane) =
                (position / (4 * lanes), position % (4 * lanes) / lanes, position % lanes);
            for (input, value) in values.iter().enumerate() {
                let line = &mut lines[(panel * pairs + input / 2) * 4 + gate];
                line.0[lane][input % 2] = (value / unit).round() as i16;
            }
        });
        Self { lines, scales }
    }
}

/// Rows that a tile computes at once where there are few panels: as many as leave all of a step in the scheduler.
pub(in super::super) const ROWS_OF_FEW_PANELS: usize = 3;

/// What all sequences share; `shared.weights` is not used.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(in super::super) struct QuantizedLayer {
    pub shared: Layer,
    pub lines: *const PairLine,
    pub scales: *const f32,
    /// [`PAIRS_PER_SUM`]; not known when this is compiled, or the compiler unrolls it into more sums than there are registers.
    pub chunk: usize,
}

impl QuantizedLayer {
    pub fn new(shared: Layer, weights: &Weights) -> Self {
        Self { shared, lines: weights.lines.as_ptr(), scales: weights.scales.as_ptr(), chunk: PAIRS_PER_SUM }
    }
}
