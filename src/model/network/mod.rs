//! The network in candle: embedding, LSTM, pooling, classifier; training goes through it.

mod lstm;
mod pooling;
mod storage;

use std::sync::Arc;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use rand::Rng;

use super::config::{Config, Padding};
use super::pooling::Pooling;
use crate::error::{Error, Result};
use crate::text::PADDING_ID;

pub use lstm::{LstmLayer, Ragged};
pub use pooling::max_mean_pool;

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::TensorOperation(error.into())
    }
}

/// Shares of what a training step leaves out, 0 to below 1; what stays is scaled up to keep the expectation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// Of the words of a batch: such a word is zero wherever the batch holds it.
    pub words: f32,
    /// Of the components of a word's vector, the same ones wherever the batch holds the word.
    pub embedding: f32,
    /// Of what the classifier reads.
    pub features: f32,
}

/// Where training disturbs the network.
enum Place {
    /// The vectors of the different words of a batch, `[words, E]`.
    Words,
    /// What the classifier reads, `[batch, D]`.
    Features,
}

/// `input` with a share of its values, or of its rows, set to zero.
fn drop_out(input: &Tensor, share: f32, rows: bool, rng: &mut impl Rng) -> Result<Tensor> {
    if share == 0.0 {
        return Ok(input.clone());
    }
    let (height, width) = input.dims2()?;
    let shape = (height, if rows { 1 } else { width });
    // 16 random bits a value are plenty for a share, and four values come from one draw.
    let threshold = (share * 65_536.0) as u16;
    let kept = 1.0 / (1.0 - share);
    let mut bits = 0u64;
    let mask: Vec<f32> = (0..shape.0 * shape.1)
        .map(|at| {
            bits = if at % 4 == 0 { rng.random() } else { bits >> 16 };
            if (bits as u16) < threshold { 0.0 } else { kept }
        })
        .collect();
    Ok(input.broadcast_mul(&Tensor::from_vec(mask, shape, &Device::Cpu)?)?)
}

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
        self.run(reviews, &mut |input, _| Ok(input))
    }

    /// As [`Network::forward`], with the noise of training drawn from `rng`.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn forward_training(
        &self,
        reviews: &[&[u32]],
        dropout: &Dropout,
        rng: &mut impl Rng,
    ) -> Result<Tensor> {
        self.run(reviews, &mut |input, place| match place {
            Place::Words => {
                let input = drop_out(&input, dropout.words, true, rng)?;
                drop_out(&input, dropout.embedding, false, rng)
            }
            Place::Features => drop_out(&input, dropout.features, false, rng),
        })
    }

    fn run(
        &self,
        reviews: &[&[u32]],
        disturb: &mut dyn FnMut(Tensor, Place) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (words, mut ragged) = self.unique_words(reviews);
        let count = words.len();
        let words = Tensor::from_vec(words, count, &Device::Cpu)?;
        let mut input = disturb(self.embedding.index_select(&words, 0)?, Place::Words)?;
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
        let features = disturb(features, Place::Features)?;
        Ok(features.matmul(&self.classifier_weight.t()?)?.broadcast_add(&self.classifier_bias)?.squeeze(1)?)
    }

    /// What a network of one layer makes of `reviews` before pooling: for a language model.
    ///
    /// # Errors
    /// [`Error::Setting`] for a model that reads padding or has several layers; when a tensor operation fails.
    pub fn read(&self, reviews: &[&[u32]]) -> Result<Reading> {
        if self.config.padding != Padding::None || self.layers.len() != 1 {
            return Err(Error::setting("model", "a language model has one layer and no padding"));
        }
        let (words, ragged) = self.unique_words(reviews);
        let count = words.len();
        let vectors = self.embedding.index_select(&Tensor::from_vec(words, count, &Device::Cpu)?, 0)?;
        let states = self.layers[0]
            .iter()
            .map(|layer| layer.forward(&vectors, &ragged, true))
            .collect::<Result<_>>()?;
        Ok(Reading { vectors, rows: ragged.sequences, states })
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

/// A batch as a layer has read it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The vectors of the batch's different words, `[words, E]`.
    pub vectors: Tensor,
    /// For each review the rows of `vectors` that it reads.
    pub rows: Arc<Vec<Vec<u32>>>,
    /// For each direction the states after every position, reviews end to end in reading order of the text,
    /// `[positions, H]`.
    pub states: Vec<Tensor>,
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn dropout_leaves_out_its_share_and_keeps_the_mean() {
        let input = Tensor::ones((200, 50), candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for rows in [false, true] {
            let out = drop_out(&input, 0.25, rows, &mut rng).unwrap().to_vec2::<f32>().unwrap();
            let zeros = out.concat().iter().filter(|value| **value == 0.0).count() as f32 / 10_000.0;
            assert!((zeros - 0.25).abs() < if rows { 0.1 } else { 0.02 }, "{zeros}");
            assert!(out.concat().iter().all(|value| *value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
            if rows {
                assert!(out.iter().all(|row| row.iter().all(|value| *value == row[0])));
            }
        }
        assert_eq!(drop_out(&input, 0.0, false, &mut rng).unwrap().to_vec2::<f32>().unwrap()[3][7], 1.0);
    }

    /// A vocabulary whose gate table is kept in part: frequent words, rare ones and both in one text.
    #[test]
    fn the_engine_gives_the_network_s_logits_for_frequent_and_rare_words() {
        let config = Config {
            vocab_size: 20_000,
            embedding_dim: 4,
            hidden_size: 128,
            bidirectional: true,
            pooling: Pooling::MaxMean,
            padding: Padding::None,
            max_length: 50,
            ..Config::keras_imdb()
        };
        let variables = crate::train::Variables::initial(&config, 1).unwrap();
        let network = Network::new(&config, 1, variables.builder()).unwrap();
        let engine = super::super::Engine::new(&config, variables.to_arrays().unwrap(), None);
        let reviews: [&[u32]; 4] =
            [&[1, 5, 4095], &[1, 4096, 19_999, 4096], &[19_998], &[1, 4095, 4096, 7, 12_345]];
        let expected = network.forward(&reviews).unwrap().to_vec1::<f32>().unwrap();
        let found = engine.logits(&reviews);
        assert!(expected.iter().zip(&found).all(|(e, f)| (e - f).abs() < 1e-5), "{expected:?} {found:?}");
        let alone: Vec<f32> = reviews.iter().flat_map(|review| engine.logits(&[review])).collect();
        assert_eq!(alone, found);
    }
}
