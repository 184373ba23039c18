//! Forward for training, which keeps what the backward pass needs, and back-propagation through time.
//!
//! Sequences run in blocks of up to [`Simd::TILE_ROWS`], longest first. The block's steps lie one after the other in
//! *storage order*: step 0 of all rows, step 1 of the rows that have one, and so on.
//!
//! Going back from step t, with `dh` and `dc` the gradients of the state after the step (source: the cell's
//! equations differentiated by hand, as in any text on back-propagation through time):
//!
//! ```text
//! dc += dh o (1 - tanh(c)^2)      dzo = dh tanh(c) o (1 - o)
//! dzi = dc g i (1 - i)            dzf = dc c_prev f (1 - f)       dzg = dc i (1 - g^2)
//! dc_prev = dc f                  dh_prev = W_hh^T [dzi dzf dzg dzo]
//! ```

use super::super::layout::group_widths;
use super::super::simd::Simd;
use super::tile::{multiply_tile, with_rows};

/// What a block keeps of its forward run, in storage order.
#[derive(Debug)]
pub(in super::super) struct Kept<'a> {
    /// Gates i, f, g, o after activation, `gate_width` a step; the backward pass replaces them by the gradients of the
    /// pre-activations.
    pub gates: &'a mut [f32],
    /// Cell state before the step, `state_width` a step.
    pub cells: &'a mut [f32],
    /// tanh of the cell state after the step.
    pub tanhs: &'a mut [f32],
    /// Hidden state before the step.
    pub hiddens: &'a mut [f32],
}

/// A block's forward run.
#[derive(Debug)]
pub(in super::super) struct Forward<'a> {
    pub panels: usize,
    pub hidden: usize,
    /// Recurrent weights as `[panel][unit][4 lanes]`, scaled.
    pub weights: &'a [f32],
    /// Pre-activations from the input, `[row][gate_width]`, scaled.
    pub table: &'a [f32],
    /// Row of the table for each step, in storage order.
    pub rows: &'a [u32],
    /// Steps of each sequence, longest first.
    pub lengths: &'a [usize],
    /// State of each sequence, `state_width` floats; in and out.
    pub h: &'a mut [f32],
    pub c: &'a mut [f32],
    pub kept: Kept<'a>,
}

/// A block's backward pass.
#[derive(Debug)]
pub(in super::super) struct Backward<'a> {
    pub panels: usize,
    /// Recurrent weights as [`super::super::layout::Panels::pack_transposed`] packs them.
    pub weights: &'a [f32],
    pub lengths: &'a [usize],
    /// Gradient of the last state of each sequence on the way in, of its first state on the way out.
    pub dh: &'a mut [f32],
    pub dc: &'a mut [f32],
    /// Gradient of the hidden state after each step from outside, in storage order; empty where there is none.
    pub dh_steps: &'a [f32],
    /// Gradient of the cell state after each step from outside, in storage order; empty where there is none.
    pub dc_steps: &'a [f32],
    pub kept: Kept<'a>,
}

/// Runs a block forward.
///
/// # Safety
/// As [`Simd`]; the slices have the lengths that their docs give, `rows` lie within the table, `lengths` descend.
#[inline(always)]
pub(in super::super) unsafe fn forward<S: Simd>(task: &mut Forward<'_>) {
    // SAFETY: `at` steps of storage order lie before step `step`, in which the first `active` sequences take part.
    unsafe {
        let mut at = 0;
        let mut step = 0;
        for active in (1..=task.lengths.len()).rev() {
            while step < task.lengths[active - 1] {
                with_rows!(active, forward_step::<S>(task, at));
                at += active;
                step += 1;
            }
        }
    }
}

#[inline(always)]
unsafe fn forward_step<S: Simd, const R: usize>(task: &mut Forward<'_>, at: usize) {
    // SAFETY: the kept slices have a row for each step in storage order, of which `at..at + R` are this one's; states have
    // `R` rows and the weights `panels` panels, all in whole registers.
    unsafe {
        let l = S::LANES;
        let width = task.panels * l;
        let (h, c) = (task.h.as_mut_ptr(), task.c.as_mut_ptr());
        let kept_h = task.kept.hiddens.as_mut_ptr().add(at * width);
        let kept_c = task.kept.cells.as_mut_ptr().add(at * width);
        let kept_t = task.kept.tanhs.as_mut_ptr().add(at * width);
        let kept_g = task.kept.gates.as_mut_ptr().add(at * 4 * width);
        std::ptr::copy_nonoverlapping(h, kept_h, R * width);
        let mut x = [std::ptr::null::<f32>(); R];
        for r in 0..R {
            x[r] = task.table.as_ptr().add(*task.rows.get_unchecked(at + r) as usize * 4 * width);
        }
        for p in 0..task.panels {
            let mut acc = [[S::splat(0.0); 4]; R];
            for r in 0..R {
                for g in 0..4 {
                    acc[r][g] = S::load(x[r].add((p * 4 + g) * l));
                }
            }
            // The copy in `kept` is the old state, so the new one may go where the old one was.
            let weights = task.weights.as_ptr().add(p * width * 4 * l);
            multiply_tile::<S, R, 4>(&mut acc, weights, 4 * l, task.hidden, |r, k| kept_h.add(r * width + k));
            for r in 0..R {
                let [i, f, g, o] = acc[r];
                let (i, f) = (S::sigmoid(i), S::sigmoid(f));
                let (g, o) = (S::tanh(g), S::sigmoid(o));
                let cell = c.add(r * width + p * l);
                let old = S::load(cell);
                let new = S::fma(f, old, S::mul(i, g));
                let t = S::tanh(S::mul(new, S::splat(S::TANH_SCALE)));
                let gates = kept_g.add(r * 4 * width + p * 4 * l);
                for (n, gate) in [i, f, g, o].into_iter().enumerate() {
                    S::store(gates.add(n * l), gate);
                }
                S::store(kept_c.add(r * width + p * l), old);
                S::store(kept_t.add(r * width + p * l), t);
                S::store(cell, new);
                S::store(h.add(r * width + p * l), S::mul(o, t));
            }
        }
    }
}

/// Runs a block backwards.
///
/// # Safety
/// As [`forward`].
#[inline(always)]
pub(in super::super) unsafe fn backward<S: Simd>(task: &mut Backward<'_>) {
    // SAFETY: as for `forward`, from the last step to the first.
    unsafe {
        let mut at: usize = task.lengths.iter().sum();
        let mut step = task.lengths.first().copied().unwrap_or(0);
        for active in 1..=task.lengths.len() {
            // With so many rows from here down to where the next sequence joins.
            let end = task.lengths.get(active).copied().unwrap_or(0);
            while step > end {
                step -= 1;
                at -= active;
                with_rows!(active, backward_step::<S>(task, at));
            }
        }
    }
}

/// Gradients of a state below this are taken as zero: hundreds of steps back they shrink to subnormal floats, which cost
/// the processor a hundred times a normal one's time, and no sum that an optimizer sees would show them.
const FLUSH_TO_ZERO: f32 = 1e-24;

#[inline(always)]
unsafe fn backward_step<S: Simd, const R: usize>(task: &mut Backward<'_>, at: usize) {
    // SAFETY: as for `forward_step`; gradients from outside are empty or have a row for each step, and the weights come in
    // the groups that `group_widths` names.
    unsafe {
        let l = S::LANES;
        let width = task.panels * l;
        let one = S::splat(1.0);
        let (dh, dc) = (task.dh.as_mut_ptr(), task.dc.as_mut_ptr());
        let dz = task.kept.gates.as_mut_ptr().add(at * 4 * width);
        for r in 0..R {
            for p in 0..task.panels {
                let unit = r * width + p * l;
                let mut dh_here = S::load(dh.add(unit));
                let mut dc_here = S::load(dc.add(unit));
                if !task.dh_steps.is_empty() {
                    dh_here = S::add(dh_here, S::load(task.dh_steps.as_ptr().add(at * width + unit)));
                }
                if !task.dc_steps.is_empty() {
                    dc_here = S::add(dc_here, S::load(task.dc_steps.as_ptr().add(at * width + unit)));
                }
                let (dh_here, mut dc_here) =
                    (S::flush_below(dh_here, FLUSH_TO_ZERO), S::flush_below(dc_here, FLUSH_TO_ZERO));
                let gates = dz.add(r * 4 * width + p * 4 * l);
                let (i, f) = (S::load(gates), S::load(gates.add(l)));
                let (g, o) = (S::load(gates.add(2 * l)), S::load(gates.add(3 * l)));
                let t = S::load(task.kept.tanhs.as_ptr().add(at * width + unit));
                let old = S::load(task.kept.cells.as_ptr().add(at * width + unit));
                let dho = S::mul(dh_here, o);
                dc_here = S::add(dc_here, S::mul(dho, S::sub(one, S::mul(t, t))));
                S::store(gates, S::mul(S::mul(dc_here, g), S::mul(i, S::sub(one, i))));
                S::store(gates.add(l), S::mul(S::mul(dc_here, old), S::mul(f, S::sub(one, f))));
                S::store(gates.add(2 * l), S::mul(S::mul(dc_here, i), S::sub(one, S::mul(g, g))));
                S::store(gates.add(3 * l), S::mul(S::mul(dho, t), S::sub(one, o)));
                S::store(dc.add(unit), S::mul(dc_here, f));
            }
        }
        let gates = 4 * width;
        let mut first = 0;
        let mut weights = task.weights.as_ptr();
        for group in group_widths(task.panels) {
            let dh = dh.add(first * l);
            match group {
                4 => backward_tile::<S, R, 4>(weights, dz, gates, dh, width),
                2 => backward_tile::<S, R, 2>(weights, dz, gates, dh, width),
                _ => backward_tile::<S, R, 1>(weights, dz, gates, dh, width),
            }
            weights = weights.add(gates * group * l);
            first += group;
        }
    }
}

/// `dh[r] = dz[r] * weights` for one group of `N` panels.
#[inline(always)]
unsafe fn backward_tile<S: Simd, const R: usize, const N: usize>(
    weights: *const f32,
    dz: *const f32,
    gates: usize,
    dh: *mut f32,
    width: usize,
) {
    // SAFETY: called with the pointers of `backward_step`: `R` rows of gates, and `N` panels of weights and of `dh`.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; R];
        multiply_tile::<S, R, N>(&mut acc, weights, N * S::LANES, gates, |r, k| dz.add(r * gates + k));
        for r in 0..R {
            for n in 0..N {
                S::store(dh.add(r * width + n * S::LANES), acc[r][n]);
            }
        }
    }
}

/// Steps whose gates and hidden states are added up before the next tile's turn: as many as leave a panel's gates in
/// the first-level cache.
const STEPS_AT_ONCE: usize = 64;

/// The gradient of the recurrent weight, `[panel][unit][4 lanes]` as the weight is packed: the outer products of the
/// hidden state with the gates' gradients, added to `sum` over all steps.
///
/// # Safety
/// As [`Simd`]; `dz` has `4 * panels * LANES` floats a step, `h` a quarter of that, and `sum` is their product.
#[inline(always)]
pub(in super::super) unsafe fn outer_products<S: Simd>(
    panels: usize,
    dz: &[f32],
    h: &[f32],
    sum: &mut [f32],
) {
    // SAFETY: `steps` rows of gates and of hidden states; a tile takes units `unit..unit + rows` of one panel of `sum`.
    unsafe {
        let (width, gates) = (panels * S::LANES, 4 * panels * S::LANES);
        let steps = h.len() / width;
        for from in (0..steps).step_by(STEPS_AT_ONCE) {
            let count = STEPS_AT_ONCE.min(steps - from);
            let (dz, h) = (dz.as_ptr().add(from * gates), h.as_ptr().add(from * width));
            for panel in 0..panels {
                let dz = dz.add(panel * 4 * S::LANES);
                let mut unit = 0;
                while unit < width {
                    let rows = (width - unit).min(S::TILE_ROWS);
                    let sum = sum.as_mut_ptr().add((panel * width + unit) * 4 * S::LANES);
                    with_rows!(rows, outer_tile::<S>(count, dz, gates, h.add(unit), width, sum));
                    unit += rows;
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn outer_tile<S: Simd, const R: usize>(
    count: usize,
    dz: *const f32,
    gates: usize,
    h: *const f32,
    width: usize,
    sum: *mut f32,
) {
    // SAFETY: called with the pointers of `outer_products`: `count` steps and `R` units.
    unsafe {
        let mut acc = [[S::splat(0.0); 4]; R];
        for r in 0..R {
            for g in 0..4 {
                acc[r][g] = S::load(sum.add((r * 4 + g) * S::LANES));
            }
        }
        multiply_tile::<S, R, 4>(&mut acc, dz, gates, count, |r, step| h.add(step * width + r));
        for r in 0..R {
            for g in 0..4 {
                S::store(sum.add((r * 4 + g) * S::LANES), acc[r][g]);
            }
        }
    }
}
