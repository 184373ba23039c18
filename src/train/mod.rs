//! The offline trainer: data set, settings, fit loop, metrics, and what is saved beside the weights.
//!
//! A run reads from top to bottom in `run::train`: settings, reviews, split, vocabulary, initial weights, fit,
//! save. `fit::fit` is the loop; everything it needs later for other stages (soft targets, weights of examples,
//! another order) is data that it is given, not code inside it.

mod batch;
mod card;
mod checkpoint;
pub mod cli;
mod companions;
mod corpus;
mod download;
mod evaluate;
mod fit;
mod inspect;
mod language;
mod logistic;
mod metrics;
mod ngrams;
mod optimizer;
mod pairs;
mod progress;
mod random;
mod record;
mod reliability;
mod run;
mod sampled_softmax;
mod sampling;
mod score;
mod sentences;
mod settings;
mod split;
mod stack;
mod table;
mod variables;
mod vectors;
mod words;

pub use batch::{Scoring, score_file};
pub use corpus::{Class, Corpus, Review};
pub use download::{Source, cached};
pub use evaluate::{Evaluation, Part, evaluate};
pub use fit::{EpochRow, Example, Hooks, Position, Schedule, State, Task, fit};
pub use inspect::inspect;
pub use language::{LanguageJob, LanguageSettings};
pub use logistic::combine;
pub use metrics::{Bin, Metrics, bins, fit_temperature};
pub use ngrams::{NgramSettings, out_of_fold, train_ngrams};
pub use optimizer::{OptimizerConfig, Rule, StatefulOptimizer, binary_cross_entropy, clip_global_norm};
pub use pairs::{Behaviour, Expectation, Judged, Pair, behaviour, judge, load_pairs};
pub use record::{DataRecord, TrainingRecord};
pub use run::{Job, train};
pub use sampling::{Sampling, Step};
pub use score::{encode_all, logits};
pub use settings::{Keep, OptimizerKind, Overrides, Settings, Split};
pub use split::{Sides, film_position};
pub use stack::{Stack, stack, wide_part};
pub use table::{Format, Row, Table};
pub use variables::Variables;
pub use vectors::{VectorJob, VectorSettings, Vectors, load_vectors, save_vectors, train_vectors};
pub use words::count_vocabulary;
