//! Models of the scheme `typed`: what they say of a text of which nothing is known, and of short ones.

use std::path::Path;

use crate::common::write_full_model;
use imdb_sentiment::Error;
use imdb_sentiment::model::{Config, NGRAMS_FILE, Precision, load_directory, save_directory};
use imdb_sentiment::predict::{Label, Predictor, Truncate};
use imdb_sentiment::text::Scheme;

/// A small model whose configuration `change` has changed.
fn model(directory: &Path, change: impl Fn(&mut Config)) -> Predictor {
    write_full_model(directory, 1);
    let mut files = load_directory(directory).unwrap();
    change(&mut files.config);
    let table = [(NGRAMS_FILE, files.ngrams.as_ref().unwrap().to_bytes())];
    let (config, words) = (&files.config, &files.vocabulary);
    save_directory(directory, config, words, &files.tensors, &files.metadata, Precision::F32, &table)
        .unwrap();
    Predictor::load(directory).unwrap()
}

#[test]
fn one_half_is_said_of_a_text_of_which_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let typed = model(folder.path(), |config| config.tokenizer = Scheme::Typed);
    for text in ["qwxz", "映画 zxcv!", "$19.99", "1994, @anna", "zxcv ".repeat(40).as_str()] {
        for truncate in [Truncate::Tail, Truncate::Windows] {
            let encoding = typed.encode(text, truncate).unwrap();
            let prediction = typed.run(&[encoding]).remove(0);
            assert_eq!((prediction.probability, prediction.label()), (0.5, Label::Uncertain), "{text}");
            assert_eq!(prediction.label_above(0.5), Label::Uncertain, "{text}");
        }
    }
    let known = typed.predict("a good qwxz").unwrap();
    assert!(known.probability != 0.5 && known.label() != Label::Uncertain);
    for text in ["", " \u{feff}\u{200b} ", "?! ...", "** -- **"] {
        assert!(matches!(typed.predict(text), Err(Error::NoWords)), "{text:?}");
    }
    // Neighbours of such a text are answered as alone.
    let encode = |text: &str| typed.encode(text, Truncate::Tail).unwrap();
    let together = typed.run(&[encode("qwxz"), encode("a good qwxz")]);
    assert_eq!(together[1], known);
}

#[test]
fn older_schemes_answer_unknown_words_as_they_always_have() {
    let folder = tempfile::tempdir().unwrap();
    let words = model(folder.path(), |_| {});
    let prediction = words.predict("qwxz zxcv").unwrap();
    assert!(prediction.probability != 0.5 && prediction.label() != Label::Uncertain);
}
