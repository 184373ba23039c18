//! The presets: settings that were found to go together.

use super::Settings;
use super::choices::{ClassWeights, Keep, OptimizerKind, Split};
use crate::error::{Error, Result};
use crate::model::{Config, Padding, Pooling, Precision, RecurrentPrecision};
use crate::text::Scheme;

impl Settings {
    /// The settings of `preset`.
    ///
    /// # Errors
    /// [`Error::Setting`] when there is no such preset.
    pub fn preset(preset: &str) -> Result<Self> {
        match preset {
            "keras-imdb" => Ok(Self::keras_imdb()),
            "imdb" => Ok(Self::imdb()),
            _ => Err(Error::setting(
                "preset",
                format!("`{preset}` is unknown; there are `imdb` and `keras-imdb`"),
            )),
        }
    }

    /// The model that is shipped as the default; `models/imdb/README.md` says what led here.
    pub(super) fn imdb() -> Self {
        Self {
            preset: "imdb".into(),
            tokenizer: Scheme::Typed,
            vocab_size: 30_000,
            embedding_dim: 128,
            hidden_size: 128,
            bidirectional: true,
            pooling: Pooling::MaxMean,
            max_length: 1500,
            padding: Padding::None,
            split: Split::Film,
            final_share: 0.2,
            validation_share: 0.12,
            epochs: 5,
            batch_size: 64,
            bucketed: true,
            crop: 400,
            short_crops: 0.25,
            opinion_share: 0.5,
            sentences: 0.0,
            dropout_words: 0.05,
            dropout_embedding: 0.2,
            dropout_features: 0.5,
            optimizer: OptimizerKind::Adam,
            learning_rate_end: 0.05,
            beta2: 0.98,
            clip_norm: 1.0,
            ngrams: 150_000,
            ngram_tokens: 40.0,
            keep: Keep::Last,
            calibrate: true,
            precision: Precision::F16,
            recurrent_precision: RecurrentPrecision::Int8,
            ..Self::keras_imdb()
        }
    }

    fn keras_imdb() -> Self {
        let config = Config::keras_imdb();
        Self {
            preset: "keras-imdb".into(),
            tokenizer: config.tokenizer,
            vocab_size: config.vocab_size,
            embedding_dim: config.embedding_dim,
            hidden_size: config.hidden_size,
            num_layers: config.num_layers,
            bidirectional: config.bidirectional,
            pooling: config.pooling,
            max_length: config.max_length,
            padding: config.padding,
            split: Split::Random,
            final_share: 0.0,
            validation_share: 0.2,
            // The seed with which Keras's `imdb.load_data` shuffles.
            split_seed: 113,
            seed: 1,
            threads: 0,
            epochs: 10,
            patience: 0,
            class_weights: ClassWeights::None,
            batch_size: 128,
            bucketed: false,
            crop: 0,
            short_crops: 0.0,
            opinion_scale: 1.0,
            opinion_share: 0.0,
            sentences: 0.0,
            dropout_words: 0.0,
            dropout_embedding: 0.0,
            dropout_features: 0.0,
            optimizer: OptimizerKind::RmsProp,
            learning_rate: 0.001,
            learning_rate_end: 1.0,
            rho: 0.9,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-7,
            epsilon_in_root: false,
            clip_norm: 0.0,
            ngrams: 0,
            ngram_tokens: 0.0,
            keep: Keep::Best,
            calibrate: false,
            precision: Precision::F32,
            recurrent_precision: RecurrentPrecision::F32,
        }
    }
}
