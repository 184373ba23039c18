//! The wide part beside a trained network: a table of n-grams, weighed against the network on held-out reviews.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Array, Config, NgramTable, Scratch};
use crate::train::data::example::Example;
use crate::train::ngrams::logistic::combine;
use crate::train::ngrams::{NgramSettings, train_ngrams};

/// Reviews that a gram must stand in where unlabelled reviews are learnt from too: they are three times as many.
const MIN_REVIEWS_WITH_SOFT: usize = 10;
/// What a teacher's opinion of a review counts beside a label.
const SOFT_WEIGHT: f32 = 0.3;
/// What a teacher's opinion of a stretch counts.
const JUDGED_WEIGHT: f32 = 0.1;
/// Stretches that the table is fitted to, at most: the fit's time grows with them.
const MAX_JUDGED: usize = 300_000;

/// Factor of the table's score beside that of the network's logit where the network learns with it from the start: what
/// fitting both gave students that learnt without it (.59 to 1.03 on held-out films).
pub const SHARE: f32 = 0.8;

/// How the two parts of a model are weighed: `lstm * (network) + ngrams * (table) + bias` is the logit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stack {
    /// Grams of the table.
    pub count: usize,
    /// Factor of the network's logit.
    pub lstm: f64,
    /// Factor of the table's score.
    pub ngrams: f64,
    /// What is added.
    pub bias: f64,
}

/// How much the rows of one's own count against what a table held before: measured on products that were not learnt from.
const INVERSE_REGULARIZATION_FROM: f64 = 5.0;
/// Rows that a gram must stand in where a table goes on from another.
const MIN_REVIEWS_FROM: usize = 2;

/// A table of at most `max_ngrams` grams trained on `examples`, of which the first `labelled` have labels and the
/// others a teacher's opinion, and on the first of the `judged` stretches; with `start` it goes on from that table.
///
/// # Errors
/// As [`train_ngrams`].
pub fn wide_part(
    examples: &[Example],
    labelled: usize,
    judged: &[Example],
    max_ngrams: usize,
    start: Option<&NgramTable>,
) -> Result<NgramTable> {
    let weighed = |weight: f32| move |example: &Example| Example { weight, ..example.clone() };
    let judged = judged[..judged.len().min(MAX_JUDGED)].iter().map(weighed(JUDGED_WEIGHT));
    let soft: Vec<Example> = examples[labelled..].iter().map(weighed(SOFT_WEIGHT)).chain(judged).collect();
    let all: Vec<&Example> = examples[..labelled].iter().chain(&soft).collect();
    let defaults = NgramSettings::default();
    let min_reviews = match (soft.is_empty(), start) {
        (true, None) => defaults.min_reviews,
        (true, Some(_)) => MIN_REVIEWS_FROM,
        (false, _) => MIN_REVIEWS_WITH_SOFT,
    };
    let inverse_regularization =
        if start.is_some() { INVERSE_REGULARIZATION_FROM } else { defaults.inverse_regularization };
    // What the start holds stays: rows of another field say nothing of most of it.
    let max_ngrams = start.map_or(max_ngrams, |start| max_ngrams.max(start.len()) + max_ngrams / 4);
    train_ngrams(&all, &NgramSettings { min_reviews, max_ngrams, inverse_regularization, ..defaults }, start)
}

/// Weighs the network, whose logits of the reviews `held_out` are `deep`, against `table`: the classifier in `tensors`
/// and the table are scaled so that their sum fits the labels best, and what is to be added goes into the classifier. With `share`, the table's factor is that share of
/// the network's.
///
/// # Errors
/// [`Error::Data`] when there is no held-out review or the factors cannot be held in 16 bits.
pub fn stack(
    deep: &[f32],
    table: &NgramTable,
    held_out: &[Example],
    share: Option<f32>,
    config: &Config,
    tensors: &mut BTreeMap<String, Array>,
) -> Result<(NgramTable, Stack)> {
    if held_out.is_empty() {
        return Err(Error::setting(
            "ngrams",
            "are weighed against the network on held-out reviews: there are none",
        ));
    }
    let mut scratch = Scratch::default();
    let mut score = |ids: &[u32]| config.ngram_share(ids.len()) * table.score(ids, &mut scratch);
    let wide: Vec<f32> = held_out.iter().map(|example| score(&example.ids)).collect();
    let targets: Vec<f32> = held_out.iter().map(|example| example.target).collect();
    let (lstm, ngrams, bias) = match share {
        None => combine(deep, &wide, &targets),
        Some(share) => {
            let sum: Vec<f32> = deep.iter().zip(&wide).map(|(deep, wide)| deep + share * wide).collect();
            let (factor, _, bias) = combine(&sum, &vec![0.0; sum.len()], &targets);
            (factor, share * factor, bias)
        }
    };
    for name in ["classifier.weight", "classifier.bias"] {
        if let Some(array) = tensors.get_mut(name) {
            array.data.iter_mut().for_each(|value| *value *= lstm);
        }
    }
    // Not the table's, of which less counts in a short text.
    if let Some(array) = tensors.get_mut("classifier.bias") {
        array.data.iter_mut().for_each(|value| *value += bias);
    }
    let scaled = table.scaled(ngrams).map_err(|reason| Error::Data(format!("n-grams: {reason}")))?;
    let rounded = |value: f32| (f64::from(value) * 1e6).round() / 1e6;
    let stack =
        Stack { count: table.len(), lstm: rounded(lstm), ngrams: rounded(ngrams), bias: rounded(bias) };
    Ok((scaled, stack))
}
