//! Forward for inference: nothing is kept but the state, or every hidden state where the caller wants them.

use super::simd::Simd;

/// One sequence on its way through a layer, as raw parts that [`super::Recurrent::run`] has checked.
#[derive(Clone, Copy)]
pub(super) struct Lane {
    /// Row of the gate table for each step.
    pub rows: *const u32,
    /// Number of steps.
    pub steps: usize,
    /// The state, `state_width` floats each; in and out.
    pub h: *mut f32,
    pub c: *mut f32,
    /// Where the hidden state of position 0 goes, null where none is wanted.
    pub output: *mut f32,
    /// Floats from one position of the output to the next.
    pub stride: usize,
}

/// What all lanes share.
#[derive(Clone, Copy)]
pub(super) struct Layer {
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
    /// Pre-activations of the position `position` of `lane`, where the state is `width` floats wide.
    #[inline(always)]
    pub(super) unsafe fn input(&self, lane: &Lane, position: usize, width: usize) -> *const f32 {
        unsafe {
            let row = *lane.rows.add(position) as usize;
            let (table, row) =
                if row < self.split { (self.table[0], row) } else { (self.table[1], row - self.split) };
            table.add(row * 4 * width)
        }
    }
}

impl Lane {
    #[inline(always)]
    pub(super) unsafe fn position(&self, step: usize, reverse: bool) -> usize {
        if reverse { self.steps - 1 - step } else { step }
    }

    #[inline(always)]
    pub(super) unsafe fn emit(&self, position: usize, h: *const f32, hidden: usize) {
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
/// As [`Simd`]; `layer` and `lane` describe valid memory, `scratch` has `2 * P * LANES` floats.
#[inline(always)]
pub(super) unsafe fn single<S: Simd, const P: usize>(layer: Layer, lane: Lane, scratch: *mut f32) {
    unsafe {
        let (l, width) = (S::LANES, P * S::LANES);
        let (mut h, mut next) = (scratch, scratch.add(width));
        std::ptr::copy_nonoverlapping(lane.h, h, width);
        for step in 0..lane.steps {
            let position = lane.position(step, layer.reverse);
            let x = layer.input(&lane, position, width);
            // Rows of a large table come from memory; which ones is known long before they are needed.
            let ahead = lane.position((step + 2).min(lane.steps - 1), layer.reverse);
            let ahead = layer.input(&lane, ahead, width);
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
            let halves = (h as *const f32, next, lane.c);
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
            lane.emit(position, h, layer.hidden);
        }
        std::ptr::copy_nonoverlapping(h, lane.h, width);
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
pub(super) trait Steps<S: Simd>: Copy {
    /// What all lanes share.
    fn layer(&self) -> &Layer;

    /// Floats of a row of hidden states: `panels * LANES`, and what else the products read.
    fn stride(&self) -> usize;

    /// Notes in `row` what the products read of its hidden states beside themselves: `h` are those of `panel`.
    ///
    /// # Safety
    /// As [`Simd`]; `row` has [`Steps::stride`] floats.
    unsafe fn note(&self, h: S::V, row: *mut f32, panel: usize);

    /// One step of the cell from scaled pre-activations in the order i, f, g, o: `(h', c')`.
    ///
    /// # Safety
    /// As [`Simd`].
    #[inline(always)]
    unsafe fn cell(&self, gates: [S::V; 4], c: S::V) -> (S::V, S::V) {
        unsafe { S::cell(gates, c) }
    }

    /// Adds the products of the weights of `panel` with the rows from `h` on to `sums`.
    ///
    /// # Safety
    /// As [`Simd`]; there are `R` rows of [`Steps::stride`] floats.
    unsafe fn multiply<const R: usize>(&self, sums: &mut [[S::V; 4]; R], panel: usize, h: *const f32);
}

/// Weights as floats.
#[derive(Clone, Copy)]
pub(super) struct Floats(Layer);

impl<S: Simd> Steps<S> for Floats {
    fn layer(&self) -> &Layer {
        &self.0
    }

    fn stride(&self) -> usize {
        self.0.panels * S::LANES
    }

    #[inline(always)]
    unsafe fn note(&self, _h: S::V, _row: *mut f32, _panel: usize) {}

    #[inline(always)]
    unsafe fn multiply<const R: usize>(&self, sums: &mut [[S::V; 4]; R], panel: usize, h: *const f32) {
        unsafe {
            let width = self.0.panels * S::LANES;
            let weights = self.0.weights.add(panel * width * 4 * S::LANES);
            multiply::<S, R, 4>(sums, weights, h, width, self.0.hidden);
        }
    }
}

/// Up to `S::TILE_ROWS` sequences in step, longest first, so that a weight read once serves them all; as the
/// shorter ones end, fewer go on.
///
/// # Safety
/// As [`single`]; `scratch` has `2 * lanes.len() * panels * LANES` floats.
#[inline(always)]
pub(super) unsafe fn block<S: Simd>(layer: Layer, lanes: &[Lane], scratch: *mut f32) {
    unsafe { block_of::<S, _>(Floats(layer), lanes, scratch) }
}

/// As [`block`], however the weights are held.
///
/// # Safety
/// As [`block`]; `scratch` has `2 * lanes.len() * steps.stride()` floats.
#[inline(always)]
pub(super) unsafe fn block_of<S: Simd, K: Steps<S>>(steps: K, lanes: &[Lane], scratch: *mut f32) {
    unsafe {
        let (width, stride) = (steps.layer().panels * S::LANES, steps.stride());
        let (mut h, mut next) = (scratch, scratch.add(lanes.len() * stride));
        for (row, lane) in lanes.iter().enumerate() {
            let row = h.add(row * stride);
            std::ptr::copy_nonoverlapping(lane.h, row, width);
            for panel in 0..steps.layer().panels {
                steps.note(S::load(row.add(panel * S::LANES)), row, panel);
            }
        }
        let mut step = 0;
        for active in (1..=lanes.len()).rev() {
            let end = lanes[active - 1].steps;
            while step < end {
                match active {
                    1 => block_step::<S, K, 1>(steps, lanes, step, h, next),
                    2 => block_step::<S, K, 2>(steps, lanes, step, h, next),
                    3 => block_step::<S, K, 3>(steps, lanes, step, h, next),
                    4 => block_step::<S, K, 4>(steps, lanes, step, h, next),
                    5 => block_step::<S, K, 5>(steps, lanes, step, h, next),
                    _ => block_step::<S, K, 6>(steps, lanes, step, h, next),
                }
                std::mem::swap(&mut h, &mut next);
                step += 1;
            }
            std::ptr::copy_nonoverlapping(h.add((active - 1) * stride), lanes[active - 1].h, width);
        }
    }
}

#[inline(always)]
unsafe fn block_step<S: Simd, K: Steps<S>, const R: usize>(
    steps: K,
    lanes: &[Lane],
    step: usize,
    h: *const f32,
    next: *mut f32,
) {
    unsafe {
        let (layer, l) = (steps.layer(), S::LANES);
        let mut x = [std::ptr::null::<f32>(); R];
        let mut position = [0; R];
        for r in 0..R {
            position[r] = lanes[r].position(step, layer.reverse);
            x[r] = layer.input(&lanes[r], position[r], layer.panels * l);
        }
        for panel in 0..layer.panels {
            let mut sums = [[S::splat(0.0); 4]; R];
            for r in 0..R {
                for g in 0..4 {
                    sums[r][g] = S::load(x[r].add((panel * 4 + g) * l));
                }
            }
            steps.multiply(&mut sums, panel, h);
            for r in 0..R {
                let c = lanes[r].c.add(panel * l);
                let (new_h, new_c) = steps.cell(sums[r], S::load(c));
                S::store(c, new_c);
                let row = next.add(r * steps.stride());
                S::store(row.add(panel * l), new_h);
                steps.note(new_h, row, panel);
            }
        }
        for r in 0..R {
            lanes[r].emit(position[r], next.add(r * steps.stride()), layer.hidden);
        }
    }
}

/// The matrix tile that everything is made of: `acc[r] += input[r] * weights` for `R` rows and `N` registers.
///
/// `weights` is `[depth][N * LANES]`, row `r` of the input starts at `input + r * stride`.
///
/// # Safety
/// As [`Simd`]; the pointers cover what is described.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const R: usize, const N: usize>(
    acc: &mut [[S::V; N]; R],
    weights: *const f32,
    input: *const f32,
    stride: usize,
    depth: usize,
) {
    unsafe {
        let mut w = weights;
        let mut sum = *acc;
        for k in 0..depth {
            let mut column = [S::splat(0.0); N];
            for n in 0..N {
                column[n] = S::load(w.add(n * S::LANES));
            }
            for r in 0..R {
                let value = S::splat(*input.add(r * stride + k));
                for n in 0..N {
                    sum[r][n] = S::fma(column[n], value, sum[r][n]);
                }
            }
            w = w.add(N * S::LANES);
        }
        *acc = sum;
    }
}

/// Rows of input times packed gate weights plus bias, into panels: `output[row] = bias + input[row] * weights`.
///
/// # Safety
/// As [`Simd`]; `weights` is `[panel][inputs][4 lanes]`, `bias` and each output row have `panels * 4 * LANES`
/// floats, each input row has `inputs` floats.
#[inline(always)]
pub(super) unsafe fn project<S: Simd>(
    weights: *const f32,
    bias: *const f32,
    inputs: usize,
    panels: usize,
    input: &[*const f32],
    output: *mut f32,
) {
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
                match rows {
                    1 => project_tile::<S, 1>(weights, bias, inputs, input, output, gates),
                    2 => project_tile::<S, 2>(weights, bias, inputs, input, output, gates),
                    3 => project_tile::<S, 3>(weights, bias, inputs, input, output, gates),
                    4 => project_tile::<S, 4>(weights, bias, inputs, input, output, gates),
                    5 => project_tile::<S, 5>(weights, bias, inputs, input, output, gates),
                    _ => project_tile::<S, 6>(weights, bias, inputs, input, output, gates),
                }
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
    unsafe {
        let l = S::LANES;
        let mut sum = [[S::splat(0.0); 4]; R];
        for row in &mut sum {
            for g in 0..4 {
                row[g] = S::load(bias.add(g * l));
            }
        }
        let mut w = weights;
        for k in 0..inputs {
            let mut column = [S::splat(0.0); 4];
            for g in 0..4 {
                column[g] = S::load(w.add(g * l));
            }
            for r in 0..R {
                let value = S::splat(*input.get_unchecked(r).add(k));
                for g in 0..4 {
                    sum[r][g] = S::fma(column[g], value, sum[r][g]);
                }
            }
            w = w.add(4 * l);
        }
        for r in 0..R {
            for g in 0..4 {
                S::store(output.add(r * gates + g * l), sum[r][g]);
            }
        }
    }
}
