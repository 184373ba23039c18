//! What the service counts of one model.

use crate::predict::Label;
use crate::predict::Prediction;
use crate::serve::named::named;
use crate::serve::observe::exposition::{Counter, CounterSet, Histogram, metrics};

named! {
    /// What became of an attempt to reload a model directory.
    pub enum ReloadOutcome {
        /// The changed model is served now.
        Swapped = "swapped",
        /// The directory holds what is served.
        Unchanged = "unchanged",
        /// The directory cannot be served; the old model stays.
        Refused = "refused",
    }
}

const TOKENS: [f64; 10] = crate::model::TOKEN_BOUNDS;
const PROBABILITY: [f64; 9] = crate::model::PROBABILITY_BOUNDS;

metrics! {
    /// The figures of one model; they go on over swaps.
    pub struct ModelSeries {
        /// Predictions by label.
        predictions: CounterSet<Label> = CounterSet::new("label") => "imdb_sentiment_predictions_total",
        /// Probability that a review is positive.
        probability: Histogram = Histogram::new(&PROBABILITY) => "imdb_sentiment_probability",
        /// Tokens per review, dropped ones included.
        tokens: Histogram = Histogram::new(&TOKENS) => "imdb_sentiment_review_tokens",
        /// Words read.
        words: Counter => "imdb_sentiment_words_total",
        /// Words not in the vocabulary.
        unknown_words: Counter => "imdb_sentiment_unknown_words_total",
        /// Reviews longer than read.
        truncated: Counter => "imdb_sentiment_truncated_reviews_total",
        /// Tokens not read.
        dropped_tokens: Counter => "imdb_sentiment_dropped_tokens_total",
        /// Attempts to take up a changed directory.
        reloads: CounterSet<ReloadOutcome> = CounterSet::new("outcome") => "imdb_sentiment_model_reloads_total",
    }
}

impl ModelSeries {
    /// Counts one prediction that was answered with `label`.
    pub fn count(&self, prediction: &Prediction, label: Label) {
        let tokens = prediction.tokens + prediction.dropped_tokens;
        self.predictions.inc(label);
        self.probability.observe(prediction.probability as f64);
        self.tokens.observe(tokens as f64);
        // The start token is no word.
        self.words.add(tokens.saturating_sub(1) as u64);
        if prediction.unknown_tokens > 0 {
            self.unknown_words.add(prediction.unknown_tokens as u64);
        }
        if prediction.dropped_tokens > 0 {
            self.truncated.inc();
            self.dropped_tokens.add(prediction.dropped_tokens as u64);
        }
    }
}
