//! The offline trainer. What is where:
//!
//! | room | what lives there |
//! |---|---|
//! | `commands` | the command line; one file a sub-command, each of which reads from top to bottom |
//! | `data` | reviews: the public release, tables of one's own, the split, made-up sentences |
//! | `fit` | the loop that trains a network on examples, and what a step is made of |
//! | `pretrain` | word vectors and the language model, which need no labels |
//! | `ngrams` | the table of n-grams: its training, and its weight beside the network's |
//! | `calibration` | how sure a model sounds of short texts |
//! | `report` | record, card and pictures of a model, and the files for the server's self-test |
//! | `stage`, `interrupt` | what a stage has around its loop: claimed output, checkpoint, threads; Ctrl-C |
//! | `trained` | a network between its training and its directory: n-grams, temperature, figures |
//! | `settings`, `metrics`, `score`, `random`, `progress` | what all of these stand on |
//!
//! `fit::epochs` is the loop of every stage that trains a network, classifier and language model: what one of them needs
//! and another does not (soft targets, weights of examples, another order) is what it is given, not code inside it.

mod calibration;
pub mod commands;
mod data;
mod fit;
mod interrupt;
mod metrics;
mod ngrams;
mod pretrain;
mod progress;
mod random;
mod report;
mod score;
mod settings;
mod stage;
mod trained;

pub use data::download::{Source, cached};
pub use interrupt::{EXIT_CODE, Interrupt};
// What `benches/peer_side.rs` measures beside its peers.
pub use data::corpus::{Corpus, Review};
// The one reader of review files, which `fuzz/` tries.
pub use data::reader::{Fields, Format, ReadArgs, Reader, Row, read_file};
pub use fit::loss::binary_cross_entropy;
pub use fit::optimizer::{OptimizerConfig, Rule, StatefulOptimizer};
pub use fit::variables::Variables;
