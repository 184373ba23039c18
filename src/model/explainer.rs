//! The weights of a network as its explanation needs them.

use std::collections::BTreeMap;

use super::config::Config;
use super::weights::Array;
use crate::kernel::{InputGradient, Isa};
use crate::text::SPECIAL_WORDS;

/// What the way back needs besides what the engine has.
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
    /// `weight_ih` `[4 hidden, inputs]`; none for the first layer, whose rows are explained themselves.
    weight_ih: Vec<f32>,
}

impl Explainer {
    /// What `tensors` hold of it, `embedding` `[vocab_size, embedding_dim]` apart.
    pub(super) fn new(
        isa: Isa,
        config: &Config,
        embedding: &[f32],
        tensors: &BTreeMap<String, Array>,
    ) -> Self {
        let layers = (0..config.num_layers).map(|layer| {
            let tensor = |part: &str, suffix: &str| &tensors[&format!("lstm.{part}_l{layer}{suffix}")].data;
            let of = |suffix: &&str| Layer {
                gradient: InputGradient::new(isa, config.hidden_size, tensor("weight_hh", suffix)),
                weight_ih: if layer == 0 { Vec::new() } else { tensor("weight_ih", suffix).clone() },
            };
            ["", "_reverse"][..config.directions()].iter().map(of).collect()
        });
        Self { layers: layers.collect(), average: average_word(embedding, config.embedding_dim) }
    }
}

/// The mean vector of the words of a text, as far as their ranks tell: the word of rank r comes 1 / (r + 2.7) times as
/// often as the first (Zipf's law, with Mandelbrot's constant for English).
pub(super) fn average_word(embedding: &[f32], size: usize) -> Vec<f32> {
    let (mut mean, mut weights) = (vec![0.0f64; size], 0.0);
    for (rank, word) in embedding.chunks_exact(size).skip(SPECIAL_WORDS.len()).enumerate() {
        let weight = 1.0 / (rank as f64 + 2.7);
        weights += weight;
        mean.iter_mut().zip(word).for_each(|(mean, value)| *mean += weight * f64::from(*value));
    }
    mean.into_iter().map(|sum| if weights > 0.0 { (sum / weights) as f32 } else { 0.0 }).collect()
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
