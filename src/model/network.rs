//! The network in candle: embedding, LSTM, pooling, classifier; training goes through it.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;

use super::config::{Config, Padding, Pooling};
use super::lstm::{LstmLayer, Ragged, max_mean_pool};
use crate::error::Result;
use crate::text::PADDING_ID;

/// The network of one [`Config`], its weights held by the `VarBuilder` it was made from.
#[derive(Clone, Debug)]
pub struct Network {
    config: Config,
    embedding: Tensor,
    /// For each layer its directions.
    layers: Vec<Vec<LstmLayer>>,
    classifier_weight: Tensor,
    classifier_bias: Tensor,
}

impl Network {
    /// Takes the tensors of [`super::layout`] from `weights`; computes on `threads` threads.
    ///
    /// # Errors
    /// When a tensor is missing or misshapen.
    pub fn new(config: &Config, threads: usize, weights: VarBuilder) -> Result<Self> {
        let (hidden, directions) = (config.hidden_size, config.directions());
        let layers = (0..config.num_layers)
            .map(|layer| {
                let input = if layer == 0 { config.embedding_dim } else { directions * hidden };
                [false, true][..directions]
                    .iter()
                    .map(|&reverse| {
                        LstmLayer::new(input, hidden, layer, reverse, threads, weights.pp("lstm"))
                    })
                    .collect()
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            config: config.clone(),
            embedding: weights.get((config.vocab_size, config.embedding_dim), "embedding.weight")?,
            layers,
            classifier_weight: weights.get((1, config.feature_dim()), "classifier.weight")?,
            classifier_bias: weights.get(1, "classifier.bias")?,
        })
    }

    /// The logits, shape `[reviews.len()]`, before the temperature, of reviews given as ids (start id included, not
    /// padded, at least one and at most `max_length` long).
    ///
    /// Padding in front costs nothing: all reviews of a batch share one run over it.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn forward(&self, reviews: &[&[u32]]) -> Result<Tensor> {
        let (words, mut ragged) = self.unique_words(reviews);
        let count = words.len();
        let words = Tensor::from_vec(words, count, &Device::Cpu)?;
        let mut input = self.embedding.index_select(&words, 0)?;
        let lengths: Vec<usize> = reviews.iter().map(|review| review.len()).collect();
        for (depth, directions) in self.layers.iter().enumerate() {
            let all = depth + 1 < self.layers.len() || self.config.pooling != Pooling::Last;
            let states: Vec<Tensor> =
                directions.iter().map(|layer| layer.forward(&input, &ragged, all)).collect::<Result<_>>()?;
            input = Tensor::cat(&states, 1)?;
            ragged = Ragged::end_to_end(lengths.iter().copied());
        }
        let features = match self.config.pooling {
            Pooling::Last => input,
            Pooling::MaxMean => max_mean_pool(&input, &lengths)?,
        };
        Ok(features.matmul(&self.classifier_weight.t()?)?.broadcast_add(&self.classifier_bias)?.squeeze(1)?)
    }

    /// The different words of a batch, and its reviews as positions among them: each word is projected once.
    fn unique_words(&self, reviews: &[&[u32]]) -> (Vec<u32>, Ragged) {
        const NONE: u32 = u32::MAX;
        let mut place = vec![NONE; self.config.vocab_size];
        let mut words = Vec::new();
        let mut place_of = |id: u32| {
            let place = &mut place[id as usize];
            if *place == NONE {
                *place = words.len() as u32;
                words.push(id);
            }
            *place
        };
        let prefix = (self.config.padding == Padding::Pre).then(|| {
            let lengths = reviews.iter().map(|review| self.config.max_length - review.len()).collect();
            (place_of(PADDING_ID), Arc::new(lengths))
        });
        let sequences =
            reviews.iter().map(|review| review.iter().map(|&id| place_of(id)).collect()).collect();
        (words, Ragged { sequences: Arc::new(sequences), prefix })
    }
}
