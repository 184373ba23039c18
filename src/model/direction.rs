//! The tensors of the LSTM, layer by layer and direction by direction, as every form of the network takes them.

use std::collections::BTreeMap;

use super::config::Config;
use super::weights::Array;

/// The tensors of one direction of a layer, gate rows in the order i, f, g, o.
pub(super) struct DirectionTensors<'t> {
    /// Which layer it belongs to, from 0.
    pub layer: usize,
    /// Numbers that a step of it reads.
    pub inputs: usize,
    /// `[4 hidden, inputs]`
    pub weight_ih: &'t [f32],
    /// `[4 hidden, hidden]`
    pub weight_hh: &'t [f32],
    /// `[4 hidden]`: both biases together.
    pub bias: Vec<f32>,
}

/// For each layer what `make` makes of its directions.
///
/// # Panics
/// When a required tensor is missing.
pub(super) fn for_each_direction<T>(
    config: &Config,
    tensors: &BTreeMap<String, Array>,
    mut make: impl FnMut(DirectionTensors) -> T,
) -> Vec<Vec<T>> {
    let mut of = |layer: usize, suffix: &str| {
        let tensor = |part: &str| tensors.get(&format!("lstm.{part}_l{layer}{suffix}"));
        let required = |part: &str| tensor(part).expect("a required tensor").data.as_slice();
        let mut bias = required("bias_ih").to_vec();
        if let Some(second) = tensor("bias_hh") {
            bias.iter_mut().zip(&second.data).for_each(|(bias, second)| *bias += second);
        }
        let inputs = if layer == 0 { config.embedding_dim } else { config.directions() * config.hidden_size };
        make(DirectionTensors {
            layer,
            inputs,
            weight_ih: required("weight_ih"),
            weight_hh: required("weight_hh"),
            bias,
        })
    };
    let layers = 0..config.num_layers;
    layers.map(|layer| config.direction_suffixes().iter().map(|suffix| of(layer, suffix)).collect()).collect()
}
