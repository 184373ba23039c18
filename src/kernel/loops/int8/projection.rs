//! Rows of input times packed gate weights plus bias, in whole numbers of 16 bits.

use super::super::super::layout::Aligned;
use super::super::super::simd::words::Words;
use super::{GATE_ONE, GATE_SCALES, LINES, PANEL, panels, place};

/// The largest number of an input row.
const LARGEST_INPUT: f32 = 8191.0;

/// What the sizes of a gate's weights may add up to: times [`LARGEST_INPUT`] this stays a 32-bit number, with room for the
/// rounding of each of up to 4,096 weights.
const LARGEST_SUM: f32 = 258_000.0;

/// An input weight and bias, packed.
#[derive(Clone, Debug)]
pub(in super::super::super) struct Weights {
    /// `[panel][two inputs][LINES][16 units][2]`.
    pub lines: Aligned<i16>,
    /// What a sum times the row's unit is multiplied by. `[panel][LINES][16]`.
    pub units: Aligned<f32>,
    pub bias: Aligned<f32>,
}

impl Weights {
    /// Packs `weight_ih` `[4 hidden, inputs]` and `bias` `[4 hidden]`.
    pub fn pack(hidden: usize, inputs: usize, weight: &[f32], bias: &[f32]) -> Self {
        let (panels, pairs) = (panels(hidden), inputs.div_ceil(2));
        let mut lines = Aligned::zeros(panels * pairs * LINES * 32);
        let mut units = Aligned::zeros(panels * LINES * 16);
        let mut packed_bias = Aligned::zeros(panels * LINES * 16);
        for gate in 0..4 {
            let scale = GATE_SCALES[gate];
            for unit in 0..hidden {
                let row = &weight[(gate * hidden + unit) * inputs..][..inputs];
                let (half, at) = place(unit);
                let (panel, line) = (unit / PANEL, gate * 2 + half);
                let position = (panel * LINES + line) * 16 + at;
                packed_bias[position] = bias[gate * hidden + unit] * scale * GATE_ONE;
                let sum: f64 = row.iter().map(|weight| f64::from(weight.abs())).sum();
                let largest = row.iter().fold(0.0f32, |most, weight| most.max(weight.abs()));
                let one = (sum as f32 / LARGEST_SUM).max(largest / 32767.0);
                if one == 0.0 {
                    continue;
                }
                units[position] = one * scale * GATE_ONE;
                for (input, weight) in row.iter().enumerate() {
                    let place = ((panel * pairs + input / 2) * LINES + line) * 32 + at * 2 + input % 2;
                    lines[place] = (weight / one).round().clamp(-32767.0, 32767.0) as i16;
                }
            }
        }
        Self { lines, units, bias: packed_bias }
    }
}

/// Writes `row` in 16 bits to `to` and returns what 1 of them is; numbers that are none become 0.
pub(in super::super::super) fn quantize_input(row: &[f32], to: &mut [i16]) -> f32 {
    let larger = |most: f32, value: f32| if value.abs() > most { value.abs() } else { most };
    // Sixteen maxima side by side, so that one need not wait for the other.
    let mut most = [0.0f32; 16];
    let chunks = row.chunks_exact(16);
    let rest = chunks.remainder().iter().fold(0.0, |most, &value| larger(most, value));
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = larger(*most, value);
        }
    }
    let one = most.into_iter().fold(rest, larger) / LARGEST_INPUT;
    let factor = if one.is_normal() { 1.0 / one } else { 0.0 };
    // As `round` does, half away from zero, but without a call for each number: adding the largest float under one half
    // and cutting off gives the same below 2^23.
    const ALMOST_HALF: f32 = 0.5f32.next_down();
    for (to, value) in to.iter_mut().zip(row) {
        let scaled = (value * factor).clamp(-LARGEST_INPUT, LARGEST_INPUT);
        *to = (scaled + ALMOST_HALF.copysign(scaled)) as i32 as i16;
    }
    one
}

/// Rows that a tile computes at once: with eight sums each, as many as leave a weight and an input in registers.
const TILE_ROWS: usize = 3;

/// What there is to project, as raw parts that `Int8Projection::run` has checked.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Task {
    pub lines: *const i16,
    pub units: *const f32,
    pub bias: *const f32,
    pub panels: usize,
    pub pairs: usize,
    /// Rows of `2 * pairs` words, and what 1 is in each.
    pub input: *const i16,
    pub ones: *const f32,
    pub rows: usize,
    /// `[rows][panels][4][PANEL]`.
    pub output: *mut i16,
}

/// Rows of the gate table from rows of input.
///
/// # Safety
/// As [`Words`]; the pointers are valid for what [`Task`] says.
#[inline(always)]
pub(in super::super::super) unsafe fn run<S: Words>(task: Task) {
    // SAFETY: each tile takes rows `row..row + rows` and one register of units of a panel.
    unsafe {
        for panel in 0..task.panels {
            for part in (0..PANEL).step_by(S::LANES) {
                let mut row = 0;
                while row < task.rows {
                    let rows = (task.rows - row).min(TILE_ROWS);
                    match rows {
                        1 => tile::<S, 1>(&task, panel, part, row),
                        2 => tile::<S, 2>(&task, panel, part, row),
                        _ => tile::<S, TILE_ROWS>(&task, panel, part, row),
                    }
                    row += rows;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn tile<S: Words, const R: usize>(task: &Task, panel: usize, part: usize, row: usize) {
    // SAFETY: called for `R` rows that are left; lines are 32 words, of which a register takes `LANES` from `part` on.
    unsafe {
        let lines = task.lines.add(panel * task.pairs * LINES * 32 + part);
        let mut sums = [[S::splat_d(0); LINES]; R];
        for pair in 0..task.pairs {
            let mut input = [S::splat_d(0); R];
            for r in 0..R {
                let from = task.input.add(((row + r) * task.pairs + pair) * 2);
                input[r] = S::splat_d(from.cast::<i32>().read_unaligned());
            }
            for line in 0..LINES {
                let weights = lines.add((pair * LINES + line) * 32);
                for r in 0..R {
                    sums[r][line] = S::dot2(sums[r][line], input[r], weights);
                }
            }
        }
        for r in 0..R {
            let one = S::splat_f(*task.ones.add(row + r));
            let output = task.output.add(((row + r) * task.panels + panel) * 4 * PANEL + part);
            for gate in 0..4 {
                let mut parts = [one; 2];
                for d in 0..2 {
                    let place = (panel * LINES + 2 * gate + d) * 16 + part / 2;
                    let scaled =
                        S::mul_f(S::to_float(sums[r][2 * gate + d]), S::load_f(task.units.add(place)));
                    parts[d] = S::add_f(S::mul_f(scaled, one), S::load_f(task.bias.add(place)));
                }
                S::store(output.add(gate * PANEL), S::pack_any_floats(parts[0], parts[1]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_rounded_half_away_from_zero() {
        // A row whose largest number makes one of them 1: halves, their neighbours, and what is no number.
        let mut row = vec![LARGEST_INPUT, 0.0, -0.0, f32::NAN];
        for half in [0.5f32, 1.5, 2.5, 100.5, 4095.5, 8190.5] {
            row.extend(
                [half, half.next_up(), half.next_down()].into_iter().flat_map(|value| [value, -value]),
            );
        }
        let mut words = vec![1i16; row.len()];
        assert_eq!(quantize_input(&row, &mut words), 1.0);
        let expected: Vec<i16> = row.iter().map(|value| value.round() as i16).collect();
        assert_eq!(words, expected);
    }
}
