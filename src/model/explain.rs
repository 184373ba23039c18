//! What each id of a review adds to its logit.
//!
//! The network's part is an integrated gradient (Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep
//! Networks"). With `z` the row of gates that the first layer reads at a position and `z0` that of an average word, it is
//!
//! `(z - z0) . integral over a from 0 to 1 of dlogit/dz at z0 + a (z - z0)`, summed over the directions.
//!
//! Rows of gates are linear in the word's vector, so this is the integrated gradient of the vectors themselves; weights
//! and way back need no more than the rows. All positions move together, from a text of average words to the text. The
//! integral is taken in one place, [`PLACE`]. The part of the grams is exact ([`NgramTable::contributions`](super::NgramTable::contributions)).
//!
//! What it is worth: `cargo bench --bench explain`. On 100 reviews one place at .5, .7 and 1 moved the probability by .458,
//! .472 and .474, two by Gauss and Legendre's rule by .515, leaving out one word after the other by .509; two cost half as much
//! again as one.

use super::config::Padding;
use super::engine::Engine;
use super::explainer::Layer;
use super::pooling::Pooling;
use super::short_scale::ShortScale;
use crate::kernel::{AlignedVec, BufferPool, InputPass};

/// The place on the way from average words to the text.
const PLACE: f32 = 0.7;

/// What a thread keeps of an explanation's buffers: those of a review of twice the average length.
const KEPT_BYTES: usize = 8 << 20;

thread_local! {
    /// A thread's buffers: fresh zeroed memory for each review would cost a sixth of its time.
    static BUFFERS: BufferPool = const { BufferPool::new() };
}

/// What was made of one layer in one direction.
struct Ran<'a> {
    explained: &'a Layer,
    pass: InputPass<'a>,
    /// Whether the last position was read first.
    reverse: bool,
}

impl Engine {
    /// What each id of a review adds to its logit, after the temperature: network and grams together. The ids are as
    /// [`Engine::logits`] takes them. Their sum is about the logit less that of as many average words without a gram.
    ///
    /// Takes some eight times as long as the logit in 8 bits, since it is in floats.
    ///
    /// # Panics
    /// As [`Engine::logits`].
    pub fn contributions(&self, ids: &[u32]) -> Vec<f32> {
        let (mut sums, _) = BUFFERS.with(|buffers| {
            let made = self.network_contributions(ids, PLACE, buffers);
            buffers.keep_at_most(KEPT_BYTES);
            made
        });
        if let Some(table) = &self.ngrams {
            let counts = self.config.ngram_share(ids.len());
            sums.iter_mut().zip(table.contributions(ids)).for_each(|(sum, share)| *sum += counts * share);
        }
        // What makes short texts surer makes their parts so alike.
        let total = sums.iter().sum::<f32>() / self.config.temperature;
        let short = ShortScale { bias: 0.0, ..self.config.short_texts };
        let told = short.apply(total, ids.len(), self.opinion_of(ids));
        let scale = if total == 0.0 { 1.0 } else { told / total } / self.config.temperature;
        sums.iter_mut().for_each(|sum| *sum *= scale);
        sums
    }

    /// The network's part, before the temperature, by the gradient in `place`; and its logit there, without the grams.
    fn network_contributions(&self, ids: &[u32], place: f32, buffers: &BufferPool) -> (Vec<f32>, f32) {
        let steps = ids.len();
        assert!((1..=self.config.max_length).contains(&steps), "length of a review");
        let rows: Vec<(AlignedVec, AlignedVec)> =
            (0..self.config.directions()).map(|side| self.first_rows(side, ids, place, buffers)).collect();
        let (passes, states) = self.run_kept(&rows, steps, buffers);
        let (mut gradient, logit) = self.pooled_gradient(&states, steps);
        buffers.give([states]);

        let mut sums = vec![0.0; steps];
        for (depth, passes) in passes.into_iter().enumerate().rev() {
            let mut below = vec![0.0; if depth > 0 { gradient.len() } else { 0 }];
            for (side, Ran { explained, pass, reverse }) in passes.into_iter().enumerate() {
                let gates = explained.gradient.gate_width();
                let outside = self.of_side(&gradient, side, steps, reverse, buffers);
                let back = pass.backward(&outside, buffers);
                buffers.give([outside]);
                for (step, back) in back.chunks_exact(gates).enumerate() {
                    let position = position(step, steps, reverse);
                    if depth > 0 {
                        let width = gradient.len() / steps;
                        explained.to_input(back, &mut below[position * width..][..width], width);
                    } else {
                        // The row is as far from that of an average word as the place is on the way.
                        let (average, table) = &rows[side];
                        let row = &table[step * gates..][..gates];
                        sums[position] += explained.gradient.product(average, row, back) / place;
                    }
                }
                buffers.give([back]);
            }
            gradient = below;
        }
        buffers.give(rows.into_iter().flat_map(|(average, table)| [average, table]));
        (sums, logit)
    }

    /// Of the first layer's gates the row of an average word, and the table `[ids.len(), gate_width]` in the order in which
    /// the layer reads: of each id, the row in `place` on the way to its own.
    fn first_rows(
        &self,
        side: usize,
        ids: &[u32],
        place: f32,
        buffers: &BufferPool,
    ) -> (AlignedVec, AlignedVec) {
        let network = self.float();
        let projection = &network.layers[0][side].projection;
        let gradient = &network.explainer.layers[0][side].gradient;
        let gates = projection.gate_width();
        let mut average = buffers.take(gates);
        projection.run([network.explainer.average.as_slice()], &mut average);
        let order: Vec<u32> = (0..ids.len()).map(|step| ids[position(step, ids.len(), side == 1)]).collect();
        let mut table = buffers.take(ids.len() * gates);
        // What no table has is computed, all at once: those rows share the weights.
        let mut fresh = Vec::new();
        for (step, (&id, row)) in order.iter().zip(table.chunks_exact_mut(gates)).enumerate() {
            if let Some(words) = self.gate_words(side, id) {
                gradient.row_from_words(words, row);
            } else if (id as usize) < network.kept {
                row.copy_from_slice(&network.tables[side][id as usize * gates..][..gates]);
            } else {
                fresh.push(step);
            }
        }
        let vectors = self.embedding.vectors(fresh.iter().map(|&step| order[step]));
        let mut computed = buffers.take(fresh.len() * gates);
        projection.run(vectors.chunks_exact(self.config.embedding_dim), &mut computed);
        for (&step, row) in fresh.iter().zip(computed.chunks_exact(gates)) {
            table[step * gates..][..gates].copy_from_slice(row);
        }
        for row in table.chunks_exact_mut(gates) {
            row.iter_mut()
                .zip(average.iter())
                .for_each(|(to, average)| *to = average + place * (*to - average));
        }
        buffers.give([computed]);
        (average, table)
    }

    /// Runs all layers over the `rows` of [`Engine::first_rows`]; their passes, and the last layer's states `[steps,
    /// directions * hidden]`.
    fn run_kept(
        &self,
        rows: &[(AlignedVec, AlignedVec)],
        steps: usize,
        buffers: &BufferPool,
    ) -> (Vec<Vec<Ran<'_>>>, AlignedVec) {
        let hidden = self.config.hidden_size;
        let width = self.config.directions() * hidden;
        let network = self.float();
        let start = match self.config.padding {
            Padding::Pre => &network.starts[self.config.max_length - steps],
            Padding::None => &network.starts[0],
        };
        let (mut passes, mut input) = (Vec::new(), AlignedVec::new());
        for (depth, (layer, explained)) in network.layers.iter().zip(&network.explainer.layers).enumerate() {
            let mut output = buffers.take(steps * width);
            let mut ran = Vec::new();
            for (side, (direction, explained)) in layer.iter().zip(explained).enumerate() {
                let (gradient, reverse) = (&explained.gradient, side == 1);
                let pass = if depth == 0 {
                    gradient.forward(&rows[side].1, start, buffers)
                } else {
                    let mut table = buffers.take(steps * gradient.gate_width());
                    let row = |step| &input[position(step, steps, reverse) * width..][..width];
                    direction.projection.run((0..steps).map(row), &mut table);
                    let pass = gradient.forward(&table, start, buffers);
                    buffers.give([table]);
                    pass
                };
                for step in 0..steps {
                    let to = position(step, steps, reverse) * width + side * hidden;
                    output[to..to + hidden].copy_from_slice(pass.state(step));
                }
                ran.push(Ran { explained, pass, reverse });
            }
            passes.push(ran);
            buffers.give([std::mem::replace(&mut input, output)]);
        }
        (passes, input)
    }

    /// The gradient of one direction's states out of that of all, as [`InputPass::backward`] takes it.
    fn of_side(
        &self,
        gradient: &[f32],
        side: usize,
        steps: usize,
        reverse: bool,
        buffers: &BufferPool,
    ) -> AlignedVec {
        let (hidden, width) = (self.config.hidden_size, gradient.len() / steps);
        let padded = self.float().explainer.layers[0][side].gradient.state_width();
        let mut states = buffers.take(steps * padded);
        if padded > hidden {
            states.fill(0.0);
        }
        for (step, to) in states.chunks_exact_mut(padded).enumerate() {
            let from = position(step, steps, reverse) * width + side * hidden;
            to[..hidden].copy_from_slice(&gradient[from..from + hidden]);
        }
        states
    }

    /// The gradient of the logit, before the temperature, in `states` `[steps, width]` of the last layer; and that logit.
    fn pooled_gradient(&self, states: &[f32], steps: usize) -> (Vec<f32>, f32) {
        let (hidden, width) = (self.config.hidden_size, states.len() / steps);
        let mut gradient = vec![0.0; states.len()];
        let mut logit = self.classifier_bias;
        match self.config.pooling {
            Pooling::Last => {
                for (feature, &weight) in self.classifier_weight.iter().enumerate() {
                    let last = if feature < hidden { steps - 1 } else { 0 };
                    gradient[last * width + feature] += weight;
                    logit += weight * states[last * width + feature];
                }
            }
            Pooling::MaxMean => {
                let (of_max, of_mean) = self.classifier_weight.split_at(width);
                let of_each: Vec<f32> = of_mean.iter().map(|weight| weight / steps as f32).collect();
                let (mut top, mut sums) = (vec![f32::NEG_INFINITY; width], vec![0.0; width]);
                let mut best = vec![0; width];
                let rows = states.chunks_exact(width).zip(gradient.chunks_exact_mut(width));
                for (position, (states, gradient)) in rows.enumerate() {
                    gradient.copy_from_slice(&of_each);
                    let units = top.iter_mut().zip(&mut best).zip(&mut sums);
                    for (((top, best), sum), &state) in units.zip(states) {
                        *sum += state;
                        // The first of several that are highest, as the engine has it.
                        (*top, *best) = if state > *top { (state, position) } else { (*top, *best) };
                    }
                }
                for (unit, best) in best.into_iter().enumerate() {
                    gradient[best * width + unit] += of_max[unit];
                    logit += of_max[unit] * top[unit] + of_each[unit] * sums[unit];
                }
            }
        }
        (gradient, logit)
    }
}

/// The position that a layer reads in its `step`-th step.
fn position(step: usize, steps: usize, reverse: bool) -> usize {
    if reverse { steps - 1 - step } else { step }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
