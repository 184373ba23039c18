//! Rows of input times packed gate weights plus bias, in whole numbers of 16 bits.

use super::super::super::layout::Aligned;
use super::super::super::simd::words::Words;
use super::{GATE_ONE, GATE_SCALES, LINES, PANEL, TILE_BYTES, panels, place};

/// What the sizes of a gate's weights may add up to: times [`super::input::LARGEST_INPUT`] this stays a 32-bit number, with room for the
/// rounding of each of up to 4,096 weights.
const LARGEST_SUM: f32 = 258_000.0;

/// An input weight and bias, packed.
#[derive(Clone, Debug)]
pub(in super::super::super) struct Weights {
    /// `[panel][two inputs][LINES][16 units][2]`.
    pub lines: Aligned<i16>,
    /// For tiles the same weights as bytes, high and low: `[panel][LINES][64 inputs][high, low][four inputs][16 units][4]`;
    /// empty where there are no tiles.
    pub bytes: Aligned<u8>,
    /// What a sum times the row's unit is multiplied by. `[panel][LINES][16]`.
    pub units: Aligned<f32>,
    pub bias: Aligned<f32>,
}

impl Weights {
    /// Packs `weight_ih` `[4 hidden, inputs]` and `bias` `[4 hidden]`, for `tiles` too.
    pub fn pack(hidden: usize, inputs: usize, weight: &[f32], bias: &[f32], tiles: bool) -> Self {
        let (panels, pairs, depth) = (panels(hidden), inputs.div_ceil(2), inputs.div_ceil(64));
        let mut lines = Aligned::zeros(panels * pairs * LINES * 32);
        let mut bytes = Aligned::zeros(if tiles { panels * LINES * depth * 2 * TILE_BYTES } else { 0 });
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
                    if tiles {
                        let [low, high] = lines[place].to_le_bytes();
                        let tile = ((panel * LINES + line) * depth + input / 64) * 2 * TILE_BYTES;
                        let place = tile + input % 64 / 4 * 64 + at * 4 + input % 4;
                        (bytes[place], bytes[place + TILE_BYTES]) = (high, low);
                    }
                }
            }
        }
        Self { lines, bytes, units, bias: packed_bias }
    }
}

/// Rows that a tile computes at once: with eight sums each, as many as leave a weight and an input in registers.
const TILE_ROWS: usize = 3;

/// What there is to project, as raw parts that `Int8Projection::run` has checked.
#[derive(Clone, Copy)]
pub(in super::super::super) struct Task {
    pub lines: *const i16,
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "for AMX alone"))]
    pub bytes: *const u8,
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

/// Rows of the gate table from rows of input, from row `first` on.
///
/// # Safety
/// As [`Words`]; the pointers are valid for what [`Task`] says.
#[inline(always)]
pub(in super::super::super) unsafe fn run<S: Words>(task: Task, first: usize) {
    // SAFETY: each tile takes rows `row..row + rows` and one register of units of a panel.
    unsafe {
        for panel in 0..task.panels {
            for part in (0..PANEL).step_by(S::LANES) {
                let mut row = first;
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
            for gate in 0..4 {
                finish::<S>(task, row + r, (panel, part), gate, [sums[r][2 * gate], sums[r][2 * gate + 1]]);
            }
        }
    }
}

/// Writes the pre-activations of a gate out of the sums of its two lines.
///
/// # Safety
/// As [`run`], for a row, a panel and a part of it that there are.
#[inline(always)]
pub(super) unsafe fn finish<S: Words>(
    task: &Task,
    row: usize,
    (panel, part): (usize, usize),
    gate: usize,
    sums: [S::D; 2],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let one = S::splat_f(*task.ones.add(row));
        let mut parts = [one; 2];
        for d in 0..2 {
            let place = (panel * LINES + 2 * gate + d) * 16 + part / 2;
            let scaled = S::mul_f(S::to_float(sums[d]), S::load_f(task.units.add(place)));
            parts[d] = S::add_f(S::mul_f(scaled, one), S::load_f(task.bias.add(place)));
        }
        let output = task.output.add(((row * task.panels + panel) * 4 + gate) * PANEL + part);
        S::store(output, S::pack_any_floats(parts[0], parts[1]));
    }
}
