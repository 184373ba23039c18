//! Any text: tokens are cut at character borders, in order, and their ids are the vocabulary's.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

use imdb_sentiment::predict::Predictor;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static PREDICTOR: Predictor = Predictor::load(&properties::reference_model()).unwrap();
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    PREDICTOR.with(|predictor| properties::tokenizer(&text, predictor.vocabulary()));
});
