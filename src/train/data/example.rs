//! What the trainer learns from: a review as ids, with its target.

use rayon::prelude::*;

use crate::model::Config;
use crate::predict::encode_tail;
use crate::text::Vocabulary;

/// A review to learn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Start id first, at most `max_length`.
    pub ids: Vec<u32>,
    /// Probability that it is positive: 0 or 1 for a label, anything between for a teacher's opinion.
    pub target: f32,
    /// How much it counts beside the others of its batch; 1 by default.
    pub weight: f32,
    /// What the rest of the model will add to the network's logit, so that the network learns what is left; 0 by default.
    pub logit_offset: f32,
}

/// [`encode_tail`] for many texts.
pub fn encode_all(texts: &[&str], config: &Config, vocabulary: &Vocabulary) -> Vec<Vec<u32>> {
    texts.par_iter().map(|text| encode_tail(text, config, vocabulary)).collect()
}
