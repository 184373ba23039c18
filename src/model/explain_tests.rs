use std::collections::BTreeMap;

use super::*;
use crate::model::embedding::Embedding;
use crate::model::explainer::average_word;
use crate::model::{Array, Config, Ngram, NgramTable, layout, pack_ngram};
use crate::text::Scheme;

/// A made-up model, its weights from a plain generator.
fn tensors(config: &Config, scale: f32) -> BTreeMap<String, Array> {
    let mut state = 7u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale
    };
    let of = |shape: Vec<usize>, draw: &mut dyn FnMut() -> f32| {
        let data = (0..shape.iter().product()).map(|_| draw()).collect();
        Array { shape, data }
    };
    layout(config).into_iter().map(|spec| (spec.name, of(spec.shape, &mut draw))).collect()
}

fn configs() -> Vec<Config> {
    let small = Config {
        tokenizer: Scheme::Words,
        vocab_size: 40,
        embedding_dim: 12,
        hidden_size: 20,
        bidirectional: true,
        pooling: Pooling::MaxMean,
        max_length: 30,
        padding: Padding::None,
        temperature: 1.3,
        ..Config::keras_imdb()
    };
    let deep = Config { num_layers: 2, pooling: Pooling::Last, ..small.clone() };
    let padded =
        Config { bidirectional: false, pooling: Pooling::Last, padding: Padding::Pre, ..small.clone() };
    vec![small, deep, padded]
}

const IDS: [u32; 9] = [1, 17, 4, 2, 33, 9, 39, 5, 21];

#[test]
fn contributions_add_up_to_what_the_text_is_above_average_words() {
    let buffers = BufferPool::new();
    for config in configs() {
        let engine = Engine::new(&config, tensors(&config, 0.6), None);
        // The integral by many places, one at a time.
        let places = 400;
        let mut total = 0.0f64;
        for place in 0..places {
            let at = (place as f32 + 0.5) / places as f32;
            let (sums, _) = engine.network_contributions(&IDS, at, &buffers);
            total += sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() / f64::from(places);
        }
        let logits = [0.0, 1.0].map(|place| engine.network_contributions(&IDS, place, &buffers).1);
        let gap = f64::from(logits[1] - logits[0]);
        assert!(gap.abs() > 0.003, "{config:?}: nothing to explain");
        // Where the highest state changes place the integrand has a corner.
        assert!((total - gap).abs() < 0.01 * gap.abs() + 2e-3, "{config:?}: {total} of {gap}");
        // The float logit is the engine's, but for weights in 16 bits.
        let logit = engine.logits(&[&IDS])[0] * config.temperature;
        assert!((logits[1] - logit).abs() < 5e-3, "{config:?}: {} of {logit}", logits[1]);
        // One place comes near.
        let one: f32 = engine.contributions(&IDS).iter().sum::<f32>() * config.temperature;
        assert!((f64::from(one) - gap).abs() < 0.25 * gap.abs() + 0.05, "{config:?}: {one} of {gap}");
    }
}

#[test]
fn each_position_gets_what_its_own_word_does() {
    let buffers = BufferPool::new();
    for config in configs() {
        let (size, step) = (config.embedding_dim, 0.01);
        let moved = |id: u32, by: f32| {
            let mut tensors = tensors(&config, 0.6);
            let embedding = &mut tensors.get_mut("embedding.weight").unwrap().data;
            let average = average_word(&Embedding::new(size, embedding.clone()));
            for (value, average) in embedding[id as usize * size..][..size].iter_mut().zip(average) {
                *value += by * (*value - average);
            }
            let (_, logit) = Engine::new(&config, tensors, None).network_contributions(&IDS, 1.0, &buffers);
            logit
        };
        let engine = Engine::new(&config, tensors(&config, 0.6), None);
        let (sums, _) = engine.network_contributions(&IDS, 1.0, &buffers);
        for (position, &id) in IDS.iter().enumerate() {
            let slope = (moved(id, step) - moved(id, -step)) / (2.0 * step);
            let sum = sums[position];
            assert!(
                (slope - sum).abs() < 0.03 * slope.abs() + 3e-3,
                "{config:?}, {position}: {sum}, moving it gives {slope}"
            );
        }
    }
}

#[test]
fn what_holds_no_opinion_is_explained_as_weaker() {
    let short = ShortScale { gain: 3.0, tokens: 1000.0, damping: 0.5, ..ShortScale::default() };
    let config = Config { short_texts: short, ..configs()[0].clone() };
    let told = |bias: Option<f32>| {
        let mut tensors = tensors(&config, 0.6);
        tensors.retain(|name, _| bias.is_some() || !name.starts_with("subjectivity."));
        tensors.entry("subjectivity.bias".into()).and_modify(|array| array.data[0] = bias.unwrap_or(0.0));
        let engine = Engine::new(&config, tensors, None);
        (engine.logits(&[&IDS])[0], engine.contributions(&IDS))
    };
    let (surely, unknown, hardly) = (told(Some(1e3)), told(None), told(Some(-1e3)));
    assert_eq!(surely, unknown);
    let factor = (0.5 + 0.5 * (1.0 - (-0.009f32).exp())) / (1.0 + 3.0 * (-0.009f32).exp());
    assert!((hardly.0 / surely.0 - factor).abs() < 1e-4, "{hardly:?} {surely:?}");
    for (weak, strong) in hardly.1.iter().zip(&surely.1) {
        assert!((weak - strong * factor).abs() < 1e-5);
    }
}

#[test]
fn grams_are_shared_out_exactly() {
    let gram = |ids: &[u32], ratio, weight| Ngram { key: pack_ngram(ids).unwrap(), ratio, weight };
    let grams =
        [gram(&[17], 1.0, 2.0), gram(&[17, 4], -0.5, 3.0), gram(&[9, 39, 5], 2.0, 1.5), gram(&[8], 9.0, 9.0)];
    let table = NgramTable::new(&grams, 0.25).unwrap();
    let score = |ids: &[u32]| table.score(ids, &mut Default::default());
    // 17 stands twice, 17 4 once: 2 is shared by two places, -1.5 by two ids, 3 by three.
    let ids = [1, 17, 4, 2, 17, 9, 39, 5];
    let root = (1.0f32 + 0.25 + 4.0).sqrt();
    let expected = [0.0, 1.0 - 0.75, -0.75, 0.0, 1.0, 1.0, 1.0, 1.0].map(|share: f32| share / root);
    let found = table.contributions(&ids);
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert!((found.iter().sum::<f32>() + table.bias() - score(&ids)).abs() < 1e-6);
    assert_eq!(table.contributions(&[1, 2, 3]), [0.0; 3]);
    let config = &configs()[0];
    let (with, without) = (Some(table.clone()), None);
    let [with, without] =
        [with, without].map(|table| Engine::new(config, tensors(config, 0.6), table).contributions(&ids));
    for ((with, without), share) in with.iter().zip(&without).zip(&found) {
        assert!((with - without - share / config.temperature).abs() < 1e-5);
    }
    // In a short text less of them counts, in the logit as in what makes it.
    let part = Config { ngram_tokens: 8.0, ..config.clone() };
    let engines = [None, Some(table.clone())].map(|table| Engine::new(&part, tensors(&part, 0.6), table));
    let [without, with] = [&engines[0], &engines[1]].map(|engine| engine.contributions(&ids));
    let counts = 1.0 - (-1.0f32).exp();
    for ((with, without), share) in with.iter().zip(&without).zip(&found) {
        assert!((with - without - counts * share / part.temperature).abs() < 1e-5);
    }
    let [without, with] = [&engines[0], &engines[1]].map(|engine| engine.logits(&[&ids])[0]);
    assert!((with - without - counts * score(&ids) / part.temperature).abs() < 1e-5);
}
