//! Forward for inference: nothing is kept but the state, or every hidden state where the caller wants them.

use super::super::simd::Simd;
use super::tile::{multiply_tile, with_rows};

/// One sequence on its way through a layer, as raw parts that `Recurrent::run` has checked.
#[derive(Clone, Copy)]
pub(in super::super) struct SequenceCursor {
    /// Row of the gate table for each step.
    pub rows: *const u32,
    /// Number of steps.
    pub steps: usize,
    /// The state, `state_width` floats each; in and out.
    pub h: *mut f32,
    pub c: *mut f32,
    /// Where the hidden state of position 0 goes, null where none is wanted.
    pub output: *mut f32,
    /// F32Weights from one position of the output to the next.
    pub stride: usize,
}

/// What all sequences share.
#[derive(Clone, Copy)]
pub(in super::super) struct Layer {
    /// Recurrent weights as `[panel][unit][4 lanes]`, scaled; null where they are not floats.
    pub weights: *const f32,
    /// Pre-activations from the input, `[row][gate_width]`, scaled: rows under `split`, and those from it on.
    pub table: [*const f32; 2],
    pub split: usize,
    pub hidden: usize,
    pub panels: usize,
    /// Whether the last position is read first.
    pub reverse: bool,
}

impl Layer {
    /// Pre-activations of the position `position` of `cursor`, where the state is `width` floats wide.
    #[inline(always)]
    pub(in super::super) unsafe fn input(
        &self,
        cursor: &SequenceCursor,
        position: usize,
        width: usize,
    ) -> *const f32 {
        // SAFETY: `position` is one of the sequence, whose rows were checked to lie within the two parts of the table.
        unsafe {
            let row = *cursor.rows.add(position) as usize;
            let (table, row) =
                if row < self.split { (self.table[0], row) } else { (self.table[1], row - self.split) };
            table.add(row * 4 * width)
        }
    }
}

impl SequenceCursor {
    #[inline(always)]
    pub(in super::super) unsafe fn position(&self, step: usize, reverse: bool) -> usize {
        if reverse { self.steps - 1 - step } else { step }
    }

    #[inline(always)]
    pub(in super::super) unsafe fn write_output(&self, position: usize, h: *const f32, hidden: usize) {
        if !self.output.is_null() {
            // SAFETY: the output has `stride >= hidden` floats for every position.
            unsafe { std::ptr::copy_nonoverlapping(h, self.output.add(position * self.stride), hidden) }
        }
    }
}

/// One sequence through a layer of `P` panels, for layers whose weights stay in the first-level cache.
///
/// Latency decides here, so the order of a step is chosen for overlap: first every panel's products with the first
/// half of `h`, then, panel by panel, those with the second half (in two chains, to halve their latency) and at
/// once the panel's activations. While the last panel is at its activations, the next step's first products, which
/// need the first half alone, are under way.
///
/// # Safety
/// As [`Simd`]; `layer` and `cursor` describe valid memory, `scratch` has `2 * P * LANES` floats.
#[inline(always)]
pub(in super::super) unsafe fn run_single<S: Simd, const P: usize>(
    layer: Layer,
    cursor: SequenceCursor,
    scratch: *mut f32,
) {
    // SAFETY: weights, rows of the table and state are of `P` panels; the two halves of the scratch are the old and the
    // new hidden state.
    unsafe {
        let (l, width) = (S::LANES, P * S::LANES);
        let (mut h, mut next) = (scratch, scratch.add(width));
        std::ptr::copy_nonoverlapping(cursor.h, h, width);
        for step in 0..cursor.steps {
            let position = cursor.position(step, layer.reverse);
            let x = layer.input(&cursor, position, width);
            // Rows of a large table come from memory; which ones is known long before they are needed.
            let ahead = cursor.position((step + 2).min(cursor.steps - 1), layer.reverse);
            let ahead = layer.input(&cursor, ahead, width);
            let mut acc = [[S::splat(0.0); 4]; P];
            for p in 0..P {
                for g in 0..4 {
                    acc[p][g] = S::load(x.add((p * 4 + g) * l));
                    S::prefetch(ahead.add((p * 4 + g) * l));
                }
            }
            for k in 0..width / 2 {
                let h = S::splat(*h.add(k));
                for p in 0..P {
                    let w = layer.weights.add((p * width + k) * 4 * l);
                    for g in 0..4 {
                        acc[p][g] = S::fma(S::load(w.add(g * l)), h, acc[p][g]);
                    }
                }
            }
            // Written out, for a loop over panels would keep the sums in memory.
            let halves = (h as *const f32, next, cursor.c);
            if P > 0 {
                finish_panel::<S, P>(layer.weights, acc[0], 0, halves);
            }
            if P > 1 {
                finish_panel::<S, P>(layer.weights, acc[1], 1, halves);
            }
            if P > 2 {
                finish_panel::<S, P>(layer.weights, acc[2], 2, halves);
            }
            if P > 3 {
                finish_panel::<S, P>(layer.weights, acc[3], 3, halves);
            }
            std::mem::swap(&mut h, &mut next);
            cursor.write_output(position, h, layer.hidden);
        }
        std::ptr::copy_nonoverlapping(h, cursor.h, width);
    }
}

/// Adds the second half of `h` to the sums of panel `p` and takes it through the cell into `next` and `c`.
#[inline(always)]
unsafe fn finish_panel<S: Simd, const P: usize>(
    weights: *const f32,
    sums: [S::V; 4],
    p: usize,
    (h, next, c): (*const f32, *mut f32, *mut f32),
) {
    // SAFETY: called with the pointers of `run_single`, for a panel `p < P`.
    unsafe {
        let (l, width) = (S::LANES, P * S::LANES);
        let mut even = sums;
        let mut odd = [S::splat(0.0); 4];
        for k in (width / 2..width).step_by(2) {
            let (h0, h1) = (S::splat(*h.add(k)), S::splat(*h.add(k + 1)));
            let w = weights.add((p * width + k) * 4 * l);
            for g in 0..4 {
                even[g] = S::fma(S::load(w.add(g * l)), h0, even[g]);
                odd[g] = S::fma(S::load(w.add((4 + g) * l)), h1, odd[g]);
            }
        }
        for g in 0..4 {
            even[g] = S::add(even[g], odd[g]);
        }
        let (new_h, new_c) = S::cell(even, S::load(c.add(p * l)));
        S::store(c.add(p * l), new_c);
        S::store(next.add(p * l), new_h);
    }
}

/// How the recurrent weights of a layer are held, and with them how a step multiplies by them.
pub(in super::super) trait RecurrentProduct<S: Simd>: Copy {
    /// What all sequences share.
    fn layer(&self) -> &Layer;

    /// Floats of a row of hidden states: `panels * LANES`, and what else the products read.
    fn stride(&self) -> usize;

    /// Stores in `row` the form of the hidden states `h` of `panel` that the products read, where that is another one.
    ///
    /// # Safety
    /// As [`Simd`]; `row` has [`RecurrentProduct::stride`] floats.
    unsafe fn store_hidden(&self, h: S::V, row: *mut f32, panel: usize);

    /// One step of the cell from scaled pre-activations in the order i, f, g, o: `(h', c')`.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn cell(&self, gates: [S::V; 4], c: S::V) -> (S::V, S::V) {
        // SAFETY: the caller vouches for the instruction set.
        unsafe { S::cell(gates, c) }
    }

    /// Adds the products of the weights of `panel` with the rows from `h` on to `sums`.
    ///
    /// # Safety
    /// As [`Simd`]; there are `R` rows of [`RecurrentProduct::stride`] floats.
    unsafe fn multiply<const R: usize>(&self, sums: &mut [[S::V; 4]; R], panel: usize, h: *const f32);
}

/// Weights as floats.
#[derive(Clone, Copy)]
pub(in super::super) struct F32Weights(Layer);

impl<S: Simd> RecurrentProduct<S> for F32Weights {
    fn layer(&self) -> &Layer {
        &self.0
    }

    fn stride(&self) -> usize {
        self.0.panels * S::LANES
    }

    #[inline(always)]
    unsafe fn store_hidden(&self, _h: S::V, _row: *mut f32, _panel: usize) {}

    #[inline(always)]
    unsafe fn multiply<const R: usize>(&self, sums: &mut [[S::V; 4]; R], panel: usize, h: *const f32) {
        // SAFETY: the weights are `panels` times `[unit][4 LANES]`, and each of the `R` rows is `panels * LANES` floats.
        unsafe {
            let width = self.0.panels * S::LANES;
            let weights = self.0.weights.add(panel * width * 4 * S::LANES);
            let step = 4 * S::LANES;
            multiply_tile::<S, R, 4>(sums, weights, step, self.0.hidden, |r, k| h.add(r * width + k));
        }
    }
}

/// Up to `S::TILE_ROWS` sequences in step, longest first, so that a weight read once serves them all; as the
/// shorter ones end, fewer go on.
///
/// # Safety
/// As [`run_single`]; `scratch` has `2 * cursors.len() * panels * LANES` floats.
#[inline(always)]
pub(in super::super) unsafe fn run_block<S: Simd>(
    layer: Layer,
    cursors: &[SequenceCursor],
    scratch: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe { run_block_of::<S, _>(F32Weights(layer), cursors, scratch) }
}

/// As [`run_block`], however the weights are held.
///
/// # Safety
/// As [`run_block`]; `scratch` has `2 * cursors.len() * product.stride()` floats.
#[inline(always)]
pub(in super::super) unsafe fn run_block_of<S: Simd, K: RecurrentProduct<S>>(
    product: K,
    cursors: &[SequenceCursor],
    scratch: *mut f32,
) {
    // SAFETY: the scratch is two rows of `product.stride()` floats for each sequence, the old and the new hidden states;
    // sequences stand longest first, so that `active` of them have a step `step`.
    unsafe {
        let (width, stride) = (product.layer().panels * S::LANES, product.stride());
        let (mut h, mut next) = (scratch, scratch.add(cursors.len() * stride));
        for (row, cursor) in cursors.iter().enumerate() {
            let row = h.add(row * stride);
            std::ptr::copy_nonoverlapping(cursor.h, row, width);
            for panel in 0..product.layer().panels {
                product.store_hidden(S::load(row.add(panel * S::LANES)), row, panel);
            }
        }
        let mut step = 0;
        for active in (1..=cursors.len()).rev() {
            let end = cursors[active - 1].steps;
            while step < end {
                with_rows!(active, block_step::<S, K>(product, cursors, step, h, next));
                std::mem::swap(&mut h, &mut next);
                step += 1;
            }
            std::ptr::copy_nonoverlapping(h.add((active - 1) * stride), cursors[active - 1].h, width);
        }
    }
}

#[inline(always)]
unsafe fn block_step<S: Simd, K: RecurrentProduct<S>, const R: usize>(
    product: K,
    cursors: &[SequenceCursor],
    step: usize,
    h: *const f32,
    next: *mut f32,
) {
    // SAFETY: all `R` sequences have a step `step`; panels and rows are those that the table, the states and `h` and
    // `next` were made for.
    unsafe {
        let (layer, l) = (product.layer(), S::LANES);
        let mut x = [std::ptr::null::<f32>(); R];
        let mut position = [0; R];
        for r in 0..R {
            position[r] = cursors[r].position(step, layer.reverse);
            x[r] = layer.input(&cursors[r], position[r], layer.panels * l);
        }
        for panel in 0..layer.panels {
            let mut sums = [[S::splat(0.0); 4]; R];
            for r in 0..R {
                for g in 0..4 {
                    sums[r][g] = S::load(x[r].add((panel * 4 + g) * l));
                }
            }
            product.multiply(&mut sums, panel, h);
            for r in 0..R {
                let c = cursors[r].c.add(panel * l);
                let (new_h, new_c) = product.cell(sums[r], S::load(c));
                S::store(c, new_c);
                let row = next.add(r * product.stride());
                S::store(row.add(panel * l), new_h);
                product.store_hidden(new_h, row, panel);
            }
        }
        for r in 0..R {
            cursors[r].write_output(position[r], next.add(r * product.stride()), layer.hidden);
        }
    }
}

/// Rows of input times packed gate weights plus bias, into panels: `output[row] = bias + input[row] * weights`.
///
/// # Safety
/// As [`Simd`]; `weights` is `[panel][inputs][4 lanes]`, `bias` and each output row have `panels * 4 * LANES`
/// floats, each input row has `inputs` floats.
#[inline(always)]
pub(in super::super) unsafe fn project<S: Simd>(
    weights: *const f32,
    bias: *const f32,
    inputs: usize,
    panels: usize,
    input: &[*const f32],
    output: *mut f32,
) {
    // SAFETY: each tile takes rows `row..row + rows` of input and output and one panel of weights and bias.
    unsafe {
        let gates = panels * 4 * S::LANES;
        // Panels outermost: one panel of weights stays in the first-level cache while all rows pass by it.
        for p in 0..panels {
            let weights = weights.add(p * inputs * 4 * S::LANES);
            let bias = bias.add(p * 4 * S::LANES);
            let output = output.add(p * 4 * S::LANES);
            let mut row = 0;
            while row < input.len() {
                let rows = (input.len() - row).min(S::TILE_ROWS);
                let (input, output) = (&input[row..], output.add(row * gates));
                with_rows!(rows, project_tile::<S>(weights, bias, inputs, input, output, gates));
                row += rows;
            }
        }
    }
}

#[inline(always)]
unsafe fn project_tile<S: Simd, const R: usize>(
    weights: *const f32,
    bias: *const f32,
    inputs: usize,
    input: &[*const f32],
    output: *mut f32,
    gates: usize,
) {
    // SAFETY: called with the pointers of `project`, with `R` rows left in `input`.
    unsafe {
        let l = S::LANES;
        let mut sum = [[S::splat(0.0); 4]; R];
        for row in &mut sum {
            for g in 0..4 {
                row[g] = S::load(bias.add(g * l));
            }
        }
        multiply_tile::<S, R, 4>(&mut sum, weights, 4 * l, inputs, |r, k| input.get_unchecked(r).add(k));
        for r in 0..R {
            for g in 0..4 {
                S::store(output.add(r * gates + g * l), sum[r][g]);
            }
        }
    }
}
