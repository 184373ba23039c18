#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| imdb_sentiment_fuzz::review_file(data));
