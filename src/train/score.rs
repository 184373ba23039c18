//! Texts to ids and ids to logits, on every thread of the pool, in order.

use rayon::prelude::*;

use crate::model::Config;
use crate::predict::{Encoding, Predictor, encode_tail};
use crate::text::Vocabulary;

/// Reviews that one thread scores together.
const CHUNK: usize = 64;

/// [`encode_tail`] for many texts.
pub fn encode_all(texts: &[&str], config: &Config, vocabulary: &Vocabulary) -> Vec<Vec<u32>> {
    texts.par_iter().map(|text| encode_tail(text, config, vocabulary)).collect()
}

/// The logits of reviews given as ids.
pub fn logits(predictor: &Predictor, reviews: &[&[u32]]) -> Vec<f32> {
    let score = |chunk: &[&[u32]]| -> Vec<f32> {
        let encoding = |ids: &&[u32]| Encoding {
            windows: vec![ids.to_vec()],
            tokens: ids.len(),
            unknown_tokens: 0,
            dropped_tokens: 0,
        };
        let encodings: Vec<Encoding> = chunk.iter().map(encoding).collect();
        predictor.run(&encodings).into_iter().map(|prediction| prediction.logit).collect()
    };
    reviews.par_chunks(CHUNK).flat_map_iter(score).collect()
}
