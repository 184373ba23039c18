//! Live traffic against the model's baseline: is what comes in still what the model was tried on?

use std::sync::{Mutex, PoisonError};

use crate::model::{Baseline, Histogram};
use crate::predict::Prediction;

/// The latest reviews' lengths, probabilities and unknown words, beside those of the baseline.
#[derive(Debug)]
pub struct Drift {
    baseline: Baseline,
    /// Reviews after which the older half is forgotten.
    window: u64,
    halves: Mutex<[Window; 2]>,
}

/// What is counted over one window.
#[derive(Clone, Debug)]
struct Window {
    reviews: u64,
    words: u64,
    unknown_words: u64,
    tokens: Histogram,
    probability: Histogram,
}

/// Live figures and their distance from the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Distance {
    /// Reviews that the live figures rest on.
    pub reviews: u64,
    /// Whether they are as many as the window holds: the index of a few reviews is large whatever they are like.
    pub is_full: bool,
    /// Population stability index of the tokens per review.
    pub tokens: f64,
    /// Population stability index of the probabilities.
    pub probability: f64,
    /// Unknown words divided by words, live.
    pub unknown_share: f64,
}

impl Drift {
    /// Compares the last `window` to `2 * window` reviews with `baseline`; the reason where that is unusable.
    ///
    /// # Errors
    /// When a histogram's bounds do not ascend or its counts do not fit them.
    pub fn new(baseline: Baseline, window: u64) -> Result<Self, String> {
        for (name, histogram) in [("tokens", &baseline.tokens), ("probability", &baseline.probability)] {
            let ascending = histogram.bounds.windows(2).all(|pair| pair[0] < pair[1]);
            // A bound becomes a label of a metric, so their number is bounded.
            if !ascending
                || histogram.counts.len() != histogram.bounds.len() + 1
                || histogram.bounds.len() > 100
            {
                return Err(format!("{name}: bounds must ascend, at most 100, and counts be one more"));
            }
        }
        let empty = Window {
            reviews: 0,
            words: 0,
            unknown_words: 0,
            tokens: Histogram::new(&baseline.tokens.bounds),
            probability: Histogram::new(&baseline.probability.bounds),
        };
        Ok(Self { baseline, window, halves: Mutex::new([empty.clone(), empty]) })
    }

    /// The baseline.
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// Counts one answer.
    pub fn observe(&self, predictions: &[Prediction]) {
        let mut halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        for prediction in predictions {
            let [now, before] = &mut *halves;
            let tokens = prediction.tokens + prediction.dropped_tokens;
            now.reviews += 1;
            // The start token is no word.
            now.words += tokens.saturating_sub(1) as u64;
            now.unknown_words += prediction.unknown_tokens as u64;
            now.tokens.observe(tokens as f64);
            now.probability.observe(prediction.probability as f64);
            if now.reviews >= self.window {
                std::mem::swap(now, before);
                now.clear();
            }
        }
    }

    /// How far the latest reviews are from the baseline.
    pub fn distance(&self) -> Distance {
        let halves = self.halves.lock().unwrap_or_else(PoisonError::into_inner);
        let [now, before] = &*halves;
        let sum = |a: &Histogram, b: &Histogram| -> Vec<u64> {
            a.counts.iter().zip(&b.counts).map(|(a, b)| a + b).collect()
        };
        let words = now.words + before.words;
        Distance {
            reviews: now.reviews + before.reviews,
            is_full: now.reviews + before.reviews >= self.window,
            tokens: stability_index(&self.baseline.tokens.counts, &sum(&now.tokens, &before.tokens)),
            probability: stability_index(
                &self.baseline.probability.counts,
                &sum(&now.probability, &before.probability),
            ),
            unknown_share: if words == 0 {
                0.0
            } else {
                (now.unknown_words + before.unknown_words) as f64 / words as f64
            },
        }
    }
}

impl Window {
    fn clear(&mut self) {
        (self.reviews, self.words, self.unknown_words) = (0, 0, 0);
        self.tokens.counts.fill(0);
        self.probability.counts.fill(0);
    }
}

/// The population stability index, `sum over bins of (q - p) ln(q / p)`, of live counts against expected ones.
///
/// Customary reading: under 0.1 nothing has changed, above 0.25 much has. Half a review is added to every bin, so
/// that an empty one gives a large number and not an infinite one; 0 before there are any live counts.
fn stability_index(expected: &[u64], live: &[u64]) -> f64 {
    if live.iter().sum::<u64>() == 0 {
        return 0.0;
    }
    let shares = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().map(|count| *count as f64 + 0.5).sum::<f64>();
        counts.iter().map(|count| (*count as f64 + 0.5) / total).collect()
    };
    shares(expected).iter().zip(shares(live)).map(|(p, q)| (q - p) * (q / p).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let histogram =
            |bounds: &[f64], counts: &[u64]| Histogram { bounds: bounds.into(), counts: counts.into() };
        Baseline {
            reviews: 1000,
            unknown_share: 0.1,
            tokens: histogram(&[100.0], &[500, 500]),
            probability: histogram(&[0.5], &[500, 500]),
        }
    }

    fn prediction(probability: f32, tokens: usize) -> Prediction {
        Prediction { logit: 0.0, probability, windows: vec![], tokens, unknown_tokens: 1, dropped_tokens: 0 }
    }

    #[test]
    fn like_traffic_is_near_and_unlike_traffic_far() {
        let drift = Drift::new(baseline(), 1000).unwrap();
        assert_eq!(drift.distance().probability, 0.0);
        for _ in 0..200 {
            drift.observe(&[prediction(0.2, 11), prediction(0.9, 201)]);
        }
        let near = drift.distance();
        assert!(near.probability < 0.01 && near.tokens < 0.01, "{near:?}");
        assert_eq!((near.reviews, near.unknown_share, near.is_full), (400, 2.0 / 210.0, false));
        for _ in 0..2000 {
            drift.observe(&[prediction(0.9, 11)]);
        }
        let far = drift.distance();
        assert!(far.probability > 0.25 && far.tokens > 0.25, "{far:?}");
        assert!(far.is_full && far.reviews <= 2000, "the older ones are forgotten");
    }

    #[test]
    fn a_baseline_that_does_not_fit_itself_is_refused() {
        let mut bad = baseline();
        bad.tokens.counts.pop();
        assert!(Drift::new(bad, 10).unwrap_err().contains("tokens"));
    }
}
