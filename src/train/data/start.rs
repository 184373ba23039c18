//! What a network starts from: nothing, word vectors, or a model.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rand::Rng;

use crate::error::{Error, Result};
use crate::model::{
    Array, Config, NgramTable, SUBJECTIVITY_BIAS, SUBJECTIVITY_WEIGHT, ShortScale, load_directory,
};
use crate::text::{Scheme, Tokenizer, Vocabulary};
use crate::train::random::{Stream, stream_rng};

/// A word of one's own texts joins the vocabulary of a model when it stands in so many of them.
const MIN_TEXTS: usize = 3;
/// Words that join it at most.
const MAX_WORDS: usize = 5_000;

/// A model to start from, ready to be trained on.
#[derive(Clone, Debug)]
pub struct InitModel {
    /// Its name, for the card.
    pub name: String,
    /// Its configuration; the temperature is in the weights.
    pub config: Config,
    /// Its vocabulary, extended.
    pub vocabulary: Vocabulary,
    /// Words that were added.
    pub added: usize,
    /// Its tensors.
    pub tensors: BTreeMap<String, Array>,
    /// Its table of n-grams, the temperature in its weights.
    pub ngrams: Option<NgramTable>,
}

/// Loads the model in `directory` and extends its vocabulary by the words that stand in several of `texts` and that it has
/// not; their vectors start small, drawn by `seed`. What its n-grams are worth in another field is fitted from where they are.
///
/// # Errors
/// As [`load_directory`].
pub fn init_model(directory: &Path, texts: &[&str], seed: u64) -> Result<InitModel> {
    let files = load_directory(directory)?;
    let (mut config, mut tensors) = (files.config, files.tensors);
    let words = new_words(texts, &config, &files.vocabulary);
    let mut vocabulary = files.vocabulary;
    if !words.is_empty() {
        let text = vocabulary.to_text();
        let joined = text.trim_end_matches('\n').to_string() + "\n" + &words.join("\n") + "\n";
        vocabulary = Vocabulary::from_text(&joined)?;
        let embedding =
            tensors.get_mut("embedding.weight").ok_or_else(|| Error::Data("no embedding".into()))?;
        let mut rng = stream_rng(seed, Stream::Weights, 1);
        let spread = deviation(&embedding.data);
        let more = words.len() * config.embedding_dim;
        embedding.data.extend((0..more).map(|_| rng.random_range(-spread..=spread)));
        embedding.shape[0] = vocabulary.len();
        config.vocab_size = vocabulary.len();
    }
    // The temperature goes into what it divides, so that training goes on from the probabilities that the model gives.
    let factor = 1.0 / config.temperature;
    for name in ["classifier.weight", "classifier.bias"] {
        tensors
            .get_mut(name)
            .into_iter()
            .flat_map(|array| &mut array.data)
            .for_each(|value| *value *= factor);
    }
    if let Some(bias) = tensors.get_mut("classifier.bias").and_then(|array| array.data.first_mut()) {
        *bias += config.bias;
    }
    let ngrams = files.ngrams.map(|table| table.scaled(factor)).transpose();
    let ngrams = ngrams.map_err(|reason| Error::Data(format!("n-grams: {reason}")))?;
    (config.temperature, config.bias) = (1.0, 0.0);
    config.short_texts = ShortScale::default();
    // It belongs to that scale, and nothing would train it.
    tensors.retain(|name, _| ![SUBJECTIVITY_WEIGHT, SUBJECTIVITY_BIAS].contains(&name.as_str()));
    Ok(InitModel { name: files.name, config, vocabulary, added: words.len(), tensors, ngrams })
}

fn deviation(values: &[f32]) -> f32 {
    let square =
        values.iter().map(|value| f64::from(value * value)).sum::<f64>() / values.len().max(1) as f64;
    (square.sqrt() as f32).max(1e-3)
}

/// Words that stand in several texts and are not in the vocabulary, the most frequent first.
fn new_words(texts: &[&str], config: &Config, vocabulary: &Vocabulary) -> Vec<String> {
    // It reads unknown words by their parts.
    if config.tokenizer == Scheme::Typed {
        return Vec::new();
    }
    let tokenizer = Tokenizer::new(config.tokenizer);
    let mut counts: HashMap<String, usize> = HashMap::new();
    for text in texts {
        let mut words: Vec<String> = Vec::new();
        tokenizer.for_each(text, |token| {
            if vocabulary.id(token.word).is_none() {
                words.push(token.word.to_string());
            }
        });
        words.sort_unstable();
        words.dedup();
        words.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
    }
    let mut counts: Vec<(String, usize)> =
        counts.into_iter().filter(|(word, count)| *count >= MIN_TEXTS && !word.ends_with('\r')).collect();
    counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.into_iter().take(MAX_WORDS).map(|(word, _)| word).collect()
}
