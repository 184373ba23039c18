//! A model: its configuration, its weights on disk, the engine that runs it, and (feature `train`) the network in candle.

mod companions;
mod config;
mod direction;
mod directory;
mod embedding;
mod engine;
mod explain;
mod explainer;
mod float;
mod int8;
#[cfg(feature = "train")]
mod network;
mod ngrams;
mod opened;
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "the trainer writes with it"))]
mod output;
mod pages;
mod pooling;
mod read;
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "the trainer writes with it"))]
mod replace;
mod short_scale;
#[cfg_attr(not(feature = "train"), allow(dead_code, reason = "the trainer writes with it"))]
mod unfinished;
mod weights;

pub use companions::{
    BASELINE_FILE, Baseline, GOLDEN_FILE, Golden, GoldenReview, Histogram, PROBABILITY_BOUNDS, TOKEN_BOUNDS,
    TRAINING_FILE, load_companion,
};
pub use config::{Config, Padding, RecurrentPrecision};
pub use directory::{ModelFiles, load_directory, load_opened, save_directory};
pub(crate) use directory::{Parts, Words, load_packed};
pub use engine::Engine;
#[cfg(feature = "serve")]
pub(crate) use engine::gate_table_bytes;
#[cfg(feature = "train")]
pub use network::{Dropout, LstmLayer, Network, Ragged, Reading, max_mean_pool};
pub use ngrams::{
    LONGEST_NGRAM, NGRAM_ID_LIMIT, NGRAMS_FILE, Ngram, NgramTable, Scratch, pack_ngram, unpack_ngram,
};
#[cfg(feature = "train")]
pub(crate) use ngrams::{NgramIndex, each_gram, parts};
#[cfg(feature = "serve")]
pub(crate) use opened::fingerprint;
pub use opened::{Fingerprint, MODEL_FILES, OpenDirectory};
#[cfg_attr(not(feature = "train"), allow(unused_imports, reason = "the trainer writes with it"))]
pub(crate) use output::{CARD_MARK, DirectoryKind, Lock, OutputDirectory, model_of};
pub use pooling::Pooling;
#[cfg_attr(not(feature = "train"), allow(unused_imports, reason = "the trainer writes with it"))]
pub(crate) use replace::{NewFile, replace_directory, write_atomically};
pub use short_scale::ShortScale;
#[cfg(feature = "train")]
pub(crate) use unfinished::remove_unfinished;
pub use weights::{Array, FORMAT, Metadata, Precision, TensorSpec, layout};
#[cfg(feature = "train")]
pub(crate) use weights::{SUBJECTIVITY_BIAS, SUBJECTIVITY_WEIGHT};
#[cfg(feature = "train")]
pub(crate) use weights::{f32_bytes, f32_values};
