//! The weights of a network as its explanation needs them.

use std::collections::BTreeMap;

use super::config::Config;
use super::direction::for_each_direction;
use super::embedding::Embedding;
use super::weights::Array;
use crate::kernel::{InputGradient, Isa};
use crate::text::SPECIAL_WORDS;

/// What the way back needs besides what the network has.
#[derive(Debug)]
pub(super) struct Explainer {
    /// For each layer its directions.
    pub(super) layers: Vec<Vec<Layer>>,
    /// The vector of an average word.
    pub(super) average: Vec<f32>,
}

#[derive(Debug)]
pub(super) struct Layer {
    pub(super) gradient: InputGradient,
    /// `weight_ih` `[4 hidden, inputs]`; of the first layer, whose rows are explained themselves, there is none.
    weight_ih: Vec<f32>,
}

impl Explainer {
    /// What `tensors` hold of it, and `embedding`, which has the vectors of all words.
    pub(super) fn new(
        isa: Isa,
        config: &Config,
        embedding: &Embedding,
        tensors: &BTreeMap<String, Array>,
    ) -> Self {
        let layers = for_each_direction(config, tensors, |direction| Layer {
            gradient: InputGradient::new(isa, config.hidden_size, direction.weight_hh),
            weight_ih: if direction.layer == 0 { Vec::new() } else { direction.weight_ih.to_vec() },
        });
        Self { layers, average: average_word(embedding) }
    }
}

/// The mean vector of the words of a text, as far as their ranks tell: the word of rank r comes 1 / (r + 2.7) times as
/// often as the first (Zipf's law, with Mandelbrot's constant for English).
pub(super) fn average_word(embedding: &Embedding) -> Vec<f32> {
    embedding.weighted_mean(SPECIAL_WORDS.len(), |rank| 1.0 / (rank as f64 + 2.7))
}

impl Layer {
    /// Adds to `input` `[lanes, width]` what goes back into it from the gates' gradient `[lanes, gate_width]`.
    pub(super) fn to_input(&self, gradient: &[f32], input: &mut [f32], width: usize) {
        let rows = gradient.chunks_exact(self.gradient.gate_width());
        for (row, input) in rows.zip(input.chunks_exact_mut(width)) {
            for (value, weights) in self.gradient.in_order(row).iter().zip(self.weight_ih.chunks_exact(width))
            {
                input.iter_mut().zip(weights).for_each(|(to, weight)| *to += value * weight);
            }
        }
    }
}
