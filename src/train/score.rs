//! Texts to ids and ids to logits, on every thread of the pool, in order.

use rayon::prelude::*;

use crate::model::Config;
use crate::predict::{Encoding, Predictor};
use crate::text::{START_ID, Tokenizer, Vocabulary};

/// Reviews that one thread scores together.
const CHUNK: usize = 64;

/// The ids of `text` as [`Predictor::encode`] gives them with its default truncation (the last `max_length`); the
/// start id alone for a text without words.
pub fn encode(text: &str, config: &Config, vocabulary: &Vocabulary) -> Vec<u32> {
    let mut ids = vec![START_ID];
    Tokenizer::new(config.tokenizer).encode(text, vocabulary, &mut ids);
    ids.split_off(ids.len().saturating_sub(config.max_length))
}

/// [`encode`] for many texts.
pub fn encode_all(texts: &[&str], config: &Config, vocabulary: &Vocabulary) -> Vec<Vec<u32>> {
    texts.par_iter().map(|text| encode(text, config, vocabulary)).collect()
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
