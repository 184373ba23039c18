//! Texts to ids and ids to logits, on every thread of the pool, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::error::Result;
use crate::model::{Array, Config, Metadata, ModelFiles, NgramTable};
use crate::predict::Predictor;
use crate::text::Vocabulary;
use crate::train::data::corpus::Review;
use crate::train::data::example::Example;
pub use crate::train::data::example::encode_all;
use crate::train::metrics::Metrics;

/// Reviews that one thread scores together.
const CHUNK: usize = 64;

/// The logits of reviews given as ids.
pub fn logits(predictor: &Predictor, reviews: &[&[u32]]) -> Vec<f32> {
    reviews.par_chunks(CHUNK).flat_map_iter(|chunk| predictor.logits(chunk)).collect()
}

/// The mean logit that the models of these directories give each text.
///
/// # Errors
/// Those of [`Predictor::load`].
pub fn mean_logits(models: &[PathBuf], texts: &[&str]) -> Result<Vec<f32>> {
    let models = models.iter().map(Predictor::load).collect::<Result<Vec<_>>>()?;
    Ok(mean_logits_of(&models, texts))
}

/// The mean logit that `models` give each text.
pub fn mean_logits_of(models: &[Predictor], texts: &[&str]) -> Vec<f32> {
    let mut means = vec![0f32; texts.len()];
    for predictor in models {
        let ids = encode_all(texts, predictor.config(), predictor.vocabulary());
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let logits = logits(predictor, &ids);
        means.iter_mut().zip(logits).for_each(|(mean, logit)| *mean += logit / models.len() as f32);
    }
    means
}

/// Labelled reviews as examples of weight 1.
pub fn examples(reviews: &[&Review], config: &Config, vocabulary: &Vocabulary) -> Vec<Example> {
    let texts: Vec<&str> = reviews.iter().map(|review| review.text.as_str()).collect();
    let ids = encode_all(&texts, config, vocabulary);
    let labelled = ids.into_iter().zip(reviews);
    labelled
        .filter_map(|(ids, review)| {
            Some(Example { ids, target: review.class.target()?, weight: 1.0, logit_offset: 0.0 })
        })
        .collect()
}

/// Figures of `predictor` on labelled examples.
pub fn measure(predictor: &Predictor, examples: &[Example]) -> Metrics {
    Metrics::of(&logits_of(predictor, examples), &targets_of(examples))
}

/// The logits of examples.
pub fn logits_of(predictor: &Predictor, examples: &[Example]) -> Vec<f32> {
    let ids: Vec<&[u32]> = examples.iter().map(|example| example.ids.as_slice()).collect();
    logits(predictor, &ids)
}

/// The targets of examples.
pub fn targets_of(examples: &[Example]) -> Vec<f32> {
    examples.iter().map(|example| example.target).collect()
}

/// A predictor from the parts of a model in training.
pub fn predictor(
    config: &Config,
    vocabulary: &Vocabulary,
    tensors: BTreeMap<String, Array>,
    ngrams: Option<NgramTable>,
) -> Predictor {
    Predictor::new(ModelFiles {
        name: "in training".into(),
        config: config.clone(),
        vocabulary: vocabulary.clone(),
        tensors,
        ngrams,
        metadata: Metadata::new(),
    })
}
