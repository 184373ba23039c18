//! What a text costs, measured on this machine when a model is loaded.

use std::time::{Duration, Instant};

use crate::predict::{Encoding, Predictor, Truncate};
use crate::text::SPECIAL_WORDS;

/// Times of a model on this machine; an estimate decides where a request is computed, never what it answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Nanoseconds to cut one byte of text into ids.
    pub ns_per_byte: f64,
    /// Nanoseconds of a run that do not depend on the length.
    pub ns_per_text: f64,
    /// Nanoseconds per token that is run.
    pub ns_per_token: f64,
    /// Tokens run at most in one window.
    max_length: usize,
}

/// Bytes of a word and its space in English prose: how many tokens a text not yet cut is taken to have.
pub const BYTES_PER_TOKEN: usize = 6;

/// Longest word of the vocabulary that is measured with.
const LONGEST_WORD_BYTES: usize = 64;

impl Cost {
    /// Measures `predictor` with made-up texts from its own vocabulary; takes some milliseconds.
    pub fn measure(predictor: &Predictor) -> Self {
        let max_length = predictor.config().max_length;
        let special = SPECIAL_WORDS.len() as u32;
        // Hundreds of them are put together, so a word of megabytes would take the memory.
        let words: Vec<&str> = (special..special + 64)
            .filter_map(|id| predictor.vocabulary().word(id))
            .filter(|word| word.len() <= LONGEST_WORD_BYTES)
            .collect();
        if words.is_empty() {
            // Nothing to measure with: every text is unknown words; assume what cannot be inline.
            return Self { ns_per_byte: 10.0, ns_per_text: 1e6, ns_per_token: 1e3, max_length };
        }
        let text_of = |count: usize| words.iter().cycle().take(count).copied().collect::<Vec<_>>().join(" ");
        let (short_words, long_words) = (4.min(max_length), 400.min(max_length));
        let long_text = text_of(long_words);
        let ns_per_byte =
            fastest(|| drop(predictor.encode(&long_text, Truncate::Tail))) / long_text.len() as f64;
        let run_time = |text: &str| match predictor.encode(text, Truncate::Tail) {
            Ok(encoding) => fastest(|| drop(predictor.run(std::slice::from_ref(&encoding)))),
            Err(_) => 1e6,
        };
        let (short, long) = (run_time(&text_of(short_words)), run_time(&long_text));
        let steps = long_words.saturating_sub(short_words).max(1) as f64;
        // With padding computed step by step a short text costs as much as a long one: then the slope is nothing
        // and the constant is everything, which is right.
        let ns_per_token = ((long - short) / steps).max(0.0);
        let ns_per_text = (short - ns_per_token * short_words as f64).max(0.0);
        Self { ns_per_byte, ns_per_text, ns_per_token, max_length }
    }

    /// A cost for tests: so many nanoseconds per token and nothing else.
    #[cfg(test)]
    pub fn per_token(ns_per_token: f64, max_length: usize) -> Self {
        Self { ns_per_byte: 1.0, ns_per_text: 0.0, ns_per_token, max_length }
    }

    /// Time to cut `bytes` of text into ids.
    pub fn encoding(&self, bytes: usize) -> Duration {
        nanoseconds(bytes as f64 * self.ns_per_byte)
    }

    /// Time to run `encoding`.
    pub fn running(&self, encoding: &Encoding) -> Duration {
        let tokens: usize = encoding.windows.iter().map(Vec::len).sum();
        nanoseconds(encoding.windows.len() as f64 * self.ns_per_text + tokens as f64 * self.ns_per_token)
    }

    /// Time to cut and run a text of `bytes`, as far as its length tells.
    pub fn of_text(&self, bytes: usize, truncate: Truncate) -> Duration {
        let tokens = bytes / BYTES_PER_TOKEN + 1;
        let (windows, tokens) = match truncate {
            // Windows overlap by half.
            Truncate::Windows if tokens > self.max_length => (2 * tokens / self.max_length, 2 * tokens),
            _ => (1, tokens.min(self.max_length)),
        };
        self.encoding(bytes)
            + nanoseconds(windows as f64 * self.ns_per_text + tokens as f64 * self.ns_per_token)
    }
}

fn nanoseconds(value: f64) -> Duration {
    Duration::from_nanos(value as u64)
}

/// The fastest of some runs in nanoseconds: what else the machine does can only make a run slower.
fn fastest(mut run: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for round in 0..20 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_nanos() as f64);
        // A slow model has shown what it costs after a few runs; the start must not wait for it: with more runs the estimate
        // for the default model falls by less than other work on the machine moves it.
        if round >= 2 && begin.elapsed() > Duration::from_millis(1) {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_costs_at_most_its_window_unless_it_is_read_in_many() {
        let cost = Cost::per_token(1000.0, 500);
        assert_eq!(cost.of_text(60_000, Truncate::Tail), Duration::from_micros(60 + 500));
        assert!(cost.of_text(60_000, Truncate::Windows) > Duration::from_millis(19));
    }
}
