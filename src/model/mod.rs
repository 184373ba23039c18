//! A model: its configuration, its weights on disk, and the network in candle.

mod companions;
mod config;
mod engine;
mod lstm;
mod network;
mod ngrams;
mod weights;

pub use companions::{
    BASELINE_FILE, Baseline, GOLDEN_FILE, Golden, GoldenReview, Histogram, PROBABILITY_BOUNDS, TOKEN_BOUNDS,
    TRAINING_FILE, load_companion,
};
pub use config::{Config, Padding, Pooling};
pub use engine::{Engine, GROUP};
pub use lstm::{LstmLayer, Ragged, max_mean_pool};
pub use network::{Dropout, Network, Reading};
pub use ngrams::{
    LONGEST_NGRAM, NGRAM_ID_LIMIT, NGRAMS_FILE, Ngram, NgramTable, Scratch, pack_ngram, unpack_ngram,
};
pub(crate) use ngrams::{NgramIndex, each_gram, parts};
pub use weights::{
    Array, FORMAT, Metadata, ModelFiles, Precision, TensorSpec, layout, load_directory, save_directory,
};
