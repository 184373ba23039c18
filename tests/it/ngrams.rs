//! The wide part in a model directory: saved, loaded, refused, and added to the logit.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use imdb_sentiment::Error;
use imdb_sentiment::model::{
    Array, Config, Metadata, NGRAMS_FILE, Ngram, NgramTable, Padding, Pooling, Precision, layout,
    load_directory, pack_ngram, save_directory,
};
use imdb_sentiment::predict::Predictor;
use imdb_sentiment::text::Vocabulary;

fn config(ngrams: bool) -> Config {
    Config {
        vocab_size: 7,
        embedding_dim: 2,
        hidden_size: 3,
        max_length: 6,
        padding: Padding::None,
        pooling: Pooling::MaxMean,
        temperature: 2.0,
        ngrams,
        ..Config::keras_imdb()
    }
}

fn table(words: &[u32]) -> NgramTable {
    let gram = |ids: &[u32], ratio, weight| Ngram { key: pack_ngram(ids).unwrap(), ratio, weight };
    NgramTable::new(&[gram(&[4], 3.0, 1.0), gram(words, 4.0, 2.0)], 0.5).unwrap()
}

fn save(directory: &Path, config: &Config, table: Option<&NgramTable>) -> Result<(), Error> {
    let vocabulary = Vocabulary::from_words(["good", "not", "film", "bad"]).unwrap();
    let tensors: BTreeMap<String, Array> = layout(config)
        .into_iter()
        .map(|spec| {
            let data = (0..spec.shape.iter().product()).map(|n: usize| (n % 7) as f32 * 0.1 - 0.3).collect();
            (spec.name, Array { shape: spec.shape, data })
        })
        .collect();
    let extra: Vec<(&str, Vec<u8>)> = table.iter().map(|table| (NGRAMS_FILE, table.to_bytes())).collect();
    save_directory(directory, config, &vocabulary, &tensors, &Metadata::new(), Precision::F32, &extra)
}

#[test]
fn the_score_is_added_before_the_temperature() {
    let home = tempfile::tempdir().unwrap();
    let (deep, wide) = (home.path().join("deep"), home.path().join("wide"));
    save(&deep, &config(false), None).unwrap();
    save(&wide, &config(true), Some(&table(&[4, 3]))).unwrap();
    assert!(!fs::read_to_string(deep.join("config.json")).unwrap().contains("ngrams"));
    assert_eq!(load_directory(&wide).unwrap().ngrams, Some(table(&[4, 3])));
    let logit =
        |directory: &Path, text: &str| Predictor::load(directory).unwrap().predict(text).unwrap().logit;
    for (text, score) in [
        ("good film", 0.5),
        ("not bad", 0.5 + 1.0),
        ("it is not good, not good", 0.5 + (3.0 + 8.0) / 5.0),
        // Two words are not read, so the gram at the front is not there.
        ("not good film film film film film", 0.5),
    ] {
        let gap = logit(&wide, text) - logit(&deep, text);
        assert!((gap - score / 2.0).abs() < 1e-5, "{text}: {gap}");
    }
}

#[test]
fn a_directory_whose_table_does_not_belong_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("wide");
    let fault = || load_directory(&directory).unwrap_err().to_string();
    save(&directory, &config(true), Some(&table(&[4, 3]))).unwrap();
    let file = directory.join(NGRAMS_FILE);
    let bytes = fs::read(&file).unwrap();

    fs::write(&file, table(&[3, 4]).to_bytes()).unwrap();
    assert!(fault().contains("made for another ngrams.safetensors"), "{}", fault());
    fs::remove_file(&file).unwrap();
    assert!(fault().contains("ngrams.safetensors: No such file"), "{}", fault());
    fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert!(!fault().contains('\n'), "{}", fault());

    save(&directory, &config(true), Some(&table(&[4, 7]))).unwrap();
    assert!(
        fault().contains("ngrams.safetensors: an n-gram with id 7, config.json says 7 words"),
        "{}",
        fault()
    );
}

#[test]
fn a_directory_holds_a_table_where_its_configuration_says_so_and_nowhere_else() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("wide");
    save(&directory, &config(true), Some(&table(&[4, 3]))).unwrap();
    let before = fs::read(directory.join("model.safetensors")).unwrap();
    for (flag, table) in [(true, None), (false, Some(&table(&[4, 3])))] {
        let fault = save(&directory, &config(flag), table).unwrap_err().to_string();
        assert!(fault.contains("`ngrams` is"), "{fault}");
    }
    assert_eq!(fs::read(directory.join("model.safetensors")).unwrap(), before);
    // Weights without a table leave none from the weights that they replace.
    save(&directory, &config(false), None).unwrap();
    assert!(!directory.join(NGRAMS_FILE).exists());
    assert_eq!(load_directory(&directory).unwrap().ngrams, None);
}

#[test]
fn a_vocabulary_too_large_for_a_table_is_refused() {
    let fault = Config { vocab_size: (1 << 20) + 1, ..config(true) }.check().unwrap_err();
    assert!(fault.contains("vocab_size (with ngrams)"), "{fault}");
    assert!(Config { vocab_size: (1 << 20) + 1, ..config(false) }.check().is_ok());
}
