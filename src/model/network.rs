//! The network in candle: embedding, LSTM, pooling, classifier; training and evaluation go through it.

use candle_core::{Device, IndexOp, Tensor};
use candle_nn::VarBuilder;

use super::config::{Config, Padding};
use crate::error::Result;

/// The network of one [`Config`], its weights held by the `VarBuilder` it was made from.
#[derive(Clone, Debug)]
pub struct Network {
    config: Config,
    embedding: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias: Tensor,
    classifier_weight: Tensor,
    classifier_bias: Tensor,
}

impl Network {
    /// Takes the tensors of [`super::layout`] from `weights`.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen.
    pub fn new(config: &Config, weights: VarBuilder) -> Result<Self> {
        let (embedding, hidden) = (config.embedding_dim, config.hidden_size);
        Ok(Self {
            config: config.clone(),
            embedding: weights.get((config.vocab_size, embedding), "embedding.weight")?,
            weight_ih: weights.get((4 * hidden, embedding), "lstm.weight_ih_l0")?,
            weight_hh: weights.get((4 * hidden, hidden), "lstm.weight_hh_l0")?,
            bias: weights.get(4 * hidden, "lstm.bias_ih_l0")?,
            classifier_weight: weights.get((1, config.feature_dim()), "classifier.weight")?,
            classifier_bias: weights.get(1, "classifier.bias")?,
        })
    }

    /// The logits, shape `[reviews.len()]`, of reviews given as ids (start id included, not padded, at most
    /// `max_length` long).
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn forward(&self, reviews: &[&[u32]]) -> Result<Tensor> {
        let (batch, hidden) = (reviews.len(), self.config.hidden_size);
        let steps = match self.config.padding {
            Padding::Pre => self.config.max_length,
            Padding::None => unimplemented!("carried by the fused LSTM"),
        };
        let mut ids = vec![0u32; batch * steps];
        for (row, review) in ids.chunks_exact_mut(steps).zip(reviews) {
            row[steps - review.len()..].copy_from_slice(review);
        }
        let ids = Tensor::from_vec(ids, (batch, steps), &Device::Cpu)?;
        let mut h = Tensor::zeros((batch, hidden), candle_core::DType::F32, &Device::Cpu)?;
        let mut c = h.clone();
        for step in 0..steps {
            let x = self.embedding.index_select(&ids.i((.., step))?.contiguous()?, 0)?;
            let gates = (x.matmul(&self.weight_ih.t()?)? + h.matmul(&self.weight_hh.t()?)?)?
                .broadcast_add(&self.bias)?;
            let gate = |index: usize| gates.narrow(1, index * hidden, hidden);
            let (i, f) = (candle_nn::ops::sigmoid(&gate(0)?)?, candle_nn::ops::sigmoid(&gate(1)?)?);
            let (g, o) = (gate(2)?.tanh()?, candle_nn::ops::sigmoid(&gate(3)?)?);
            c = ((f * c)? + (i * g)?)?;
            h = (o * c.tanh()?)?;
        }
        Ok(h.matmul(&self.classifier_weight.t()?)?.broadcast_add(&self.classifier_bias)?.squeeze(1)?)
    }
}
