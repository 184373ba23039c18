//! Files that travel with a model: golden reviews for the self-test, the baseline for drift, the training record.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::read::read_limited;
use crate::error::{Error, Result, printable};

/// Name of the [`Golden`] file in a model directory.
pub const GOLDEN_FILE: &str = "golden.json";
/// Name of the [`Baseline`] file in a model directory.
pub const BASELINE_FILE: &str = "baseline.json";
/// Name of the training record in a model directory: settings, one row per epoch, results.
pub const TRAINING_FILE: &str = "training.json";

/// Made-up reviews and the probabilities that the model must give them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// How far a probability may lie from the recorded one, 0.01 at most; instruction sets differ in the last bits.
    #[serde(deserialize_with = "small")]
    pub tolerance: f32,
    /// The arithmetic of 8 bits in which the probabilities were computed, where it was one; the first where the file says
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<u32>,
    /// The reviews.
    pub reviews: Vec<GoldenReview>,
}

/// The largest tolerance that still tells one model from another.
const LARGEST_TOLERANCE: f32 = 0.01;

/// A file beside the weights is smaller.
pub(super) const COMPANION_LIMIT_BYTES: u64 = 64 << 20;

/// Refuses a tolerance that would let any model pass.
fn small<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let tolerance = f32::deserialize(deserializer)?;
    match (0.0..=LARGEST_TOLERANCE).contains(&tolerance) {
        true => Ok(tolerance),
        false => Err(serde::de::Error::custom(format!(
            "tolerance is {tolerance}, it must lie between 0 and {LARGEST_TOLERANCE}"
        ))),
    }
}

/// One made-up review of a [`Golden`] file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenReview {
    /// The text.
    pub text: String,
    /// The probability that it is positive.
    pub probability: f32,
}

/// What the validation reviews looked like to the model; live traffic is compared with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Number of validation reviews.
    pub reviews: u64,
    /// Unknown words divided by words, 0 to 1.
    pub unknown_share: f64,
    /// Tokens per review, before truncation.
    pub tokens: Histogram,
    /// Probability that a review is positive.
    pub probability: Histogram,
}

/// Counts between bounds: `counts[i]` values were at most `bounds[i]` and above the bound before; the last count
/// is of the values above every bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Upper bounds, ascending.
    pub bounds: Vec<f64>,
    /// One more count than there are bounds.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// An empty histogram with these upper bounds, ascending.
    pub fn new(bounds: &[f64]) -> Self {
        Self { bounds: bounds.to_vec(), counts: vec![0; bounds.len() + 1] }
    }

    /// Counts `value`.
    pub fn observe(&mut self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += 1;
    }
}

/// Upper bounds for [`Baseline::tokens`].
pub const TOKEN_BOUNDS: [f64; 10] = [10.0, 25.0, 50.0, 100.0, 150.0, 200.0, 300.0, 500.0, 750.0, 1000.0];
/// Upper bounds for [`Baseline::probability`].
pub const PROBABILITY_BOUNDS: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Reads the companion file `name` of a model directory; `None` where there is none.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Invalid`] when it holds something else.
pub fn load_companion<T: DeserializeOwned>(directory: &Path, name: &str) -> Result<Option<T>> {
    let path = directory.join(name);
    match read_limited(&path, COMPANION_LIMIT_BYTES) {
        Ok(bytes) => parse_companion(&path, &bytes).map(Some),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// What `bytes`, those of the companion file `path`, hold.
pub(super) fn parse_companion<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|e| Error::invalid(path, printable(&e.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_counts_below_it() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        [0.5, 1.0, 1.5, 2.0, 2.5].into_iter().for_each(|value| histogram.observe(value));
        assert_eq!(histogram.counts, [2, 2, 1]);
    }
}
