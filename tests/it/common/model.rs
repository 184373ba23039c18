//! Small models with random weights.

use std::collections::BTreeMap;
use std::path::Path;

use imdb_sentiment::model::{
    Array, BASELINE_FILE, Baseline, Config, GOLDEN_FILE, Golden, GoldenReview, Histogram, Metadata,
    NGRAMS_FILE, Ngram, NgramTable, Padding, Pooling, Precision, RecurrentPrecision, TRAINING_FILE, layout,
    pack_ngram, save_directory,
};
use imdb_sentiment::predict::Predictor;
use imdb_sentiment::text::{Scheme, Vocabulary};

/// Words of the small models.
const WORDS: &str = "the a and of film good bad great awful plot acting not very story fine dull";

/// Writes a small model with random weights under `seed` into `directory`, golden reviews included.
pub fn write_model(directory: &Path, seed: u32, hidden_size: usize) {
    write(directory, seed, small(hidden_size), &[]);
}

/// As [`write_model`], computing in 8 bits.
pub fn write_rounded_model(directory: &Path, seed: u32, hidden_size: usize) {
    let config = Config { recurrent_precision: RecurrentPrecision::Int8, ..small(hidden_size) };
    write(directory, seed, config, &[]);
}

fn small(hidden_size: usize) -> Config {
    Config {
        embedding_dim: 8,
        hidden_size,
        max_length: 12,
        padding: Padding::Pre,
        pooling: Pooling::Last,
        ..Config::keras_imdb()
    }
}

/// Writes a small model with every part and every file that a model directory can have.
pub fn write_full_model(directory: &Path, seed: u32) {
    let config = Config {
        tokenizer: Scheme::Words,
        embedding_dim: 4,
        hidden_size: 5,
        num_layers: 2,
        bidirectional: true,
        max_length: 12,
        padding: Padding::None,
        pooling: Pooling::MaxMean,
        temperature: 1.5,
        ngrams: true,
        ..Config::keras_imdb()
    };
    let gram = |ids: &[u32], weight| Ngram { key: pack_ngram(ids).unwrap(), ratio: 1.5, weight };
    let table = NgramTable::new(&[gram(&[8], 0.5), gram(&[14, 8], -1.0), gram(&[3, 8, 7], 0.25)], 0.1);
    let histogram = |bounds: &[f64]| Histogram { bounds: bounds.to_vec(), counts: vec![5; bounds.len() + 1] };
    let baseline = Baseline {
        reviews: 15,
        unknown_share: 0.1,
        tokens: histogram(&[10.0, 25.0]),
        probability: histogram(&[0.25, 0.75]),
    };
    let files = [
        (NGRAMS_FILE, table.unwrap().to_bytes()),
        (BASELINE_FILE, serde_json::to_vec(&baseline).unwrap()),
        (TRAINING_FILE, br#"{"command": "made up", "epochs": [{"epoch": 1, "loss": 0.5}]}"#.to_vec()),
    ];
    write(directory, seed, config, &files);
}

fn write(directory: &Path, seed: u32, config: Config, extra: &[(&str, Vec<u8>)]) {
    let vocabulary = Vocabulary::from_words(WORDS.split(' ')).unwrap();
    let config = Config { vocab_size: vocabulary.len(), ..config };
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 * 2.0 - 1.0
    };
    let tensors: BTreeMap<String, Array> = layout(&config)
        .into_iter()
        .filter(|spec| !spec.optional)
        .map(|spec| {
            let data = (0..spec.shape.iter().product::<usize>()).map(|_| number()).collect();
            (spec.name, Array { shape: spec.shape, data })
        })
        .collect();
    let save = |extra: &[(&str, Vec<u8>)]| {
        save_directory(directory, &config, &vocabulary, &tensors, &Metadata::new(), Precision::F32, extra)
            .unwrap();
    };
    save(extra);
    let predictor = Predictor::load(directory).unwrap();
    let reviews = ["a good film", "awful acting and a dull plot"].map(|text| GoldenReview {
        text: text.into(),
        probability: predictor.predict(text).unwrap().probability,
    });
    let golden = Golden { tolerance: 1e-4, arithmetic: None, reviews: reviews.to_vec() };
    save(&[extra, &[(GOLDEN_FILE, serde_json::to_vec(&golden).unwrap())]].concat());
}
