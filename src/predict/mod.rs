//! From text to probability: synchronous, without candle and without HTTP.

mod details;
mod explain;
mod offsets;
mod parts;

use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{
    Config, Engine, Metadata, ModelFiles, OpenDirectory, Parts, RecurrentPrecision, Words, load_packed,
};
use crate::text::{Counts, START_ID, Scheme, Tokenizer, Vocabulary};

pub use details::{Details, DetailsWanted, MAX_POINTS, disagree, trajectory_ends};
pub use explain::{ExplanationPlan, WordWeight};
pub use offsets::{OffsetTable, Offsets};

/// Name of the environment variable that forces the numbers in which the recurrence of every model computes: `f32` or
/// `int8`.
pub const RECURRENT_PRECISION_VARIABLE: &str = "IMDB_SENTIMENT_RECURRENT_PRECISION";

/// What to do with a text longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncate {
    /// Keep the last tokens, as in training.
    #[default]
    Tail,
    /// Keep the first tokens.
    Head,
    /// Read the whole text in overlapping windows and combine their logits.
    Windows,
    /// Refuse the text.
    Error,
}

/// What a text is said to be; its text is written here alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// A negative review.
    Negative,
    /// A positive review.
    Positive,
    /// Neither side is probable enough for the caller.
    Uncertain,
}

impl Label {
    /// Every label; each stands at its own number (`Label::ALL[label as usize] == label`).
    pub const ALL: [Self; 3] = [Self::Negative, Self::Positive, Self::Uncertain];

    /// The more probable side, where a text is positive with `probability`; positive at 0.5.
    pub fn of(probability: f32) -> Self {
        if probability >= 0.5 { Self::Positive } else { Self::Negative }
    }

    /// The label as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Negative => "negative",
            Self::Positive => "positive",
            Self::Uncertain => "uncertain",
        }
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A text as the model reads it, made by [`Predictor::encode`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    pub(crate) windows: Vec<Vec<u32>>,
    pub(crate) tokens: usize,
    pub(crate) unknown_tokens: usize,
    pub(crate) dropped_tokens: usize,
    /// Whether none of its words tells the model anything.
    pub(crate) nothing_known: bool,
}

impl Encoding {
    /// The ids to run, start id first in every window; one window unless [`Truncate::Windows`] made more.
    pub fn windows(&self) -> &[Vec<u32>] {
        &self.windows
    }

    /// Tokens that the model reads, the start token included (counted once, whatever the windows).
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Words of the text that the vocabulary does not hold, dropped ones included.
    pub fn unknown_tokens(&self) -> usize {
        self.unknown_tokens
    }

    /// Tokens that the model does not read because the text is too long.
    pub fn dropped_tokens(&self) -> usize {
        self.dropped_tokens
    }
}

/// What the model says of one text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prediction {
    /// Before the sigmoid, after the temperature.
    pub logit: f32,
    /// Probability that the text is positive, 0 to 1.
    pub probability: f32,
    /// One probability per window, in order; empty unless the text was read in more than one.
    pub windows: Vec<f32>,
    /// Tokens read, the start token included.
    pub tokens: usize,
    /// Words that the vocabulary does not hold.
    pub unknown_tokens: usize,
    /// Tokens not read because the text was too long.
    pub dropped_tokens: usize,
}

impl Prediction {
    /// The more probable side; [`Label::Uncertain`] for a text of which nothing is known.
    pub fn label(&self) -> Label {
        if self.logit == 0.0 { Label::Uncertain } else { Label::of(self.probability) }
    }

    /// Probability of [`Prediction::label`], 0.5 to 1.
    pub fn score(&self) -> f32 {
        self.probability.max(1.0 - self.probability)
    }

    /// The more probable side, or [`Label::Uncertain`] where its probability is below `least`.
    pub fn label_above(&self, least: f32) -> Label {
        if self.score() < least { Label::Uncertain } else { self.label() }
    }
}

/// A loaded model, ready to score texts from any number of threads.
#[derive(Debug)]
pub struct Predictor {
    name: String,
    config: Config,
    vocabulary: Vocabulary,
    metadata: Metadata,
    tokenizer: Tokenizer,
    engine: Engine,
}

impl Predictor {
    /// Loads the model directory `directory` and checks it.
    ///
    /// Computes in the precision that the model was scored with, unless [`RECURRENT_PRECISION_VARIABLE`] names another.
    ///
    /// # Errors
    /// As [`load_directory`](crate::model::load_directory); [`Error::Setting`] where the variable names no precision.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        let forced = match std::env::var_os(RECURRENT_PRECISION_VARIABLE) {
            Some(name) if !name.is_empty() => Some(
                name.to_string_lossy()
                    .parse()
                    .map_err(|reason: String| Error::setting(RECURRENT_PRECISION_VARIABLE, reason))?,
            ),
            _ => None,
        };
        Self::load_in(directory, forced)
    }

    /// As [`Predictor::load`], in the precision `precision` where one is given.
    ///
    /// # Errors
    /// As [`load_directory`](crate::model::load_directory); [`Error::Setting`] where the model cannot run in that precision.
    pub fn load_in(directory: impl AsRef<Path>, precision: Option<RecurrentPrecision>) -> Result<Self> {
        OpenDirectory::read_whole(directory.as_ref(), |opened| Self::load_opened(opened, precision))
    }

    /// As [`Predictor::load_in`], of a directory that is open.
    ///
    /// # Errors
    /// As there.
    pub fn load_opened(opened: &OpenDirectory, precision: Option<RecurrentPrecision>) -> Result<Self> {
        let (parts, (config, engine)) = load_packed(opened, |config, embedding, tensors| {
            let mut config = config.clone();
            if let Some(precision) = precision {
                config.recurrent_precision = precision;
                config.check().map_err(|reason| Error::setting("recurrent precision", reason))?;
            }
            let engine = Engine::with_embedding(&config, embedding, tensors);
            Ok((config, engine))
        })?;
        let Parts { words: Words { vocabulary, ngrams }, metadata, .. } = parts;
        let (name, engine) = (opened.name().to_string(), engine.with_ngrams(ngrams));
        Ok(Self { tokenizer: Tokenizer::new(config.tokenizer), name, config, vocabulary, metadata, engine })
    }

    /// A predictor over checked model files.
    pub fn new(files: ModelFiles) -> Self {
        let ModelFiles { name, config, vocabulary, tensors, ngrams, metadata } = files;
        let engine = Engine::new(&config, tensors, ngrams);
        Self { tokenizer: Tokenizer::new(config.tokenizer), name, config, vocabulary, metadata, engine }
    }

    /// The model's name: that of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encodings that are worth running together.
    pub fn batch_rows(&self) -> usize {
        self.engine.batch_rows()
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The model's vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The strings that came with the weights.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Cuts `text` into ids, with what is too long treated as `truncate` says.
    ///
    /// # Errors
    /// [`Error::NoWords`] for a text without a word, [`Error::TooLong`] with [`Truncate::Error`].
    pub fn encode(&self, text: &str, truncate: Truncate) -> Result<Encoding> {
        let (mut ids, counts) = whole_ids(text, self.tokenizer, self.vocabulary());
        let (tokens, limit) = (ids.len(), self.config().max_length);
        if counts.words == 0 {
            return Err(Error::NoWords);
        }
        if tokens > limit && truncate == Truncate::Error {
            return Err(Error::TooLong { tokens, max_length: limit });
        }
        let dropped_tokens = if truncate == Truncate::Windows { 0 } else { tokens.saturating_sub(limit) };
        let windows = match truncate {
            Truncate::Windows => overlapping_windows(&ids, limit),
            Truncate::Head => vec![ids[..tokens - dropped_tokens].to_vec()],
            Truncate::Tail | Truncate::Error => {
                keep_tail(&mut ids, limit);
                vec![ids]
            }
        };
        Ok(Encoding {
            windows,
            tokens: tokens - dropped_tokens,
            unknown_tokens: counts.unknown,
            dropped_tokens,
            // Models of the older schemes answer as they always have.
            nothing_known: self.tokenizer.scheme() == Scheme::Typed && counts.known == 0,
        })
    }

    /// Scores encoded texts on the calling thread, computing together what can be; in order. Which texts come together
    /// changes no bit of any result.
    ///
    /// # Panics
    /// When an encoding is another model's and holds an id, or more of them, than this one reads.
    pub fn run(&self, encodings: &[Encoding]) -> Vec<Prediction> {
        let windows: Vec<&[u32]> = encodings.iter().flat_map(|e| &e.windows).map(Vec::as_slice).collect();
        let logits = self.engine.logits(&windows);
        let mut rest = logits.as_slice();
        encodings
            .iter()
            .map(|encoding| {
                let logits = rest.split_off(..encoding.windows.len()).unwrap_or_default();
                let known = |logit: f32| if encoding.nothing_known { 0.0 } else { logit };
                let logits: Vec<f32> = logits.iter().copied().map(known).collect();
                let logit = logits.iter().sum::<f32>() / logits.len() as f32;
                Prediction {
                    logit,
                    probability: sigmoid(logit),
                    windows: if logits.len() > 1 {
                        logits.iter().copied().map(sigmoid).collect()
                    } else {
                        Vec::new()
                    },
                    tokens: encoding.tokens,
                    unknown_tokens: encoding.unknown_tokens,
                    dropped_tokens: encoding.dropped_tokens,
                }
            })
            .collect()
    }

    /// The logit, after the temperature, of each review given as ids: the start id first, not padded, at least one and at
    /// most `max_length` long. As [`Predictor::run`] on the calling thread.
    ///
    /// # Panics
    /// When a review is empty, too long or holds an id that the vocabulary has not.
    pub fn logits(&self, reviews: &[&[u32]]) -> Vec<f32> {
        self.engine.logits(reviews)
    }

    /// What the classifier reads of each review, given as to [`Predictor::logits`]; at most [`Predictor::batch_rows`] of them.
    #[cfg(feature = "train")]
    pub(crate) fn features(&self, reviews: &[&[u32]]) -> Vec<Vec<f32>> {
        self.engine.features(reviews)
    }

    /// Scores one text, keeping its last tokens where it is too long.
    ///
    /// # Errors
    /// [`Error::NoWords`] for a text without a word.
    pub fn predict(&self, text: &str) -> Result<Prediction> {
        let encoding = self.encode(text, Truncate::Tail)?;
        Ok(self.run(std::slice::from_ref(&encoding)).remove(0))
    }
}

/// The ids of `text` as [`Predictor::encode`] gives them with [`Truncate::Tail`]; the start id alone for a text without
/// words.
pub fn encode_tail(text: &str, config: &Config, vocabulary: &Vocabulary) -> Vec<u32> {
    let (mut ids, _) = whole_ids(text, Tokenizer::new(config.tokenizer), vocabulary);
    keep_tail(&mut ids, config.max_length);
    ids
}

/// All ids of `text`, start id first.
fn whole_ids(text: &str, tokenizer: Tokenizer, vocabulary: &Vocabulary) -> (Vec<u32>, Counts) {
    // Words of English reviews take five to six bytes with what separates them.
    let mut ids = Vec::with_capacity(text.len() / 5 + 8);
    ids.push(START_ID);
    let counts = tokenizer.encode(text, vocabulary, &mut ids);
    (ids, counts)
}

fn keep_tail(ids: &mut Vec<u32>, limit: usize) {
    ids.drain(..ids.len().saturating_sub(limit));
}

/// Cuts `ids` (start id first) into windows of at most `limit` ids that overlap by half, each beginning with the
/// start id; the last ends with the text.
fn overlapping_windows(ids: &[u32], limit: usize) -> Vec<Vec<u32>> {
    if ids.len() <= limit || limit < 2 {
        return vec![ids[ids.len().saturating_sub(limit)..].to_vec()];
    }
    let (words, room) = (&ids[1..], limit - 1);
    let stride = (room / 2).max(1);
    let last = words.len() - room;
    (0..last)
        .step_by(stride)
        .chain([last])
        .map(|from| std::iter::once(START_ID).chain(words[from..from + room].iter().copied()).collect())
        .collect()
}

/// `1 / (1 + e^-x)`: from a logit to a probability.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
