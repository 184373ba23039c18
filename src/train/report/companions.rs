//! What the trainer puts beside the weights: golden reviews for the server's self-test, the baseline for drift.

use rayon::prelude::*;

use crate::error::Result;
use crate::kernel::INT8_ARITHMETIC;
use crate::model::{
    Baseline, Golden, GoldenReview, Histogram, PROBABILITY_BOUNDS, RecurrentPrecision, TOKEN_BOUNDS,
};
use crate::predict::{Predictor, Truncate};

/// How far a probability may lie from the recorded one on another instruction set.
const TOLERANCE: f32 = 1e-4;

/// Made-up reviews, short and long, clear and mixed, with markup, capitals and words that no vocabulary holds.
const REVIEWS: [&str; 12] = [
    "A gripping, beautifully shot film.",
    "I want those two hours of my life back.",
    "Not good at all, and hardly a masterpiece.",
    "It could not be better: funny, warm and wise from the first scene to the last.",
    "The plot makes no sense,<br /><br />the acting is wooden and the jokes are older than the cast.",
    "An uneven start, but the second half more than makes up for it.",
    "Lovely music wasted on a dull story.",
    "GREAT!!! Loved it. 10/10",
    "Avoid.",
    "Zxqv wrbl kjhgf, said the robot, and for once the audience agreed.",
    "My grandmother fell asleep, my brother left, and I stayed only for the popcorn; the worst evening of the year.",
    "Everyone in the cast seems to be having fun, and so did we. The dialogue sparkles, the camera never sits still \
     without a reason, and the ending earns its tears honestly. I would see it again tomorrow.",
];

/// The golden reviews with what `predictor` says of them.
///
/// # Errors
/// As [`Predictor::predict`].
pub fn golden(predictor: &Predictor) -> Result<Golden> {
    let review = |text: &&str| {
        let probability = predictor.predict(text)?.probability;
        Ok(GoldenReview { text: text.to_string(), probability })
    };
    let int8 = predictor.config().recurrent_precision == RecurrentPrecision::Int8;
    Ok(Golden {
        tolerance: TOLERANCE,
        arithmetic: int8.then_some(INT8_ARITHMETIC),
        reviews: REVIEWS.iter().map(review).collect::<Result<_>>()?,
    })
}

/// What `texts` look like to `predictor`; `None` where there are none. Texts without a word are left out.
pub fn baseline(predictor: &Predictor, texts: &[String]) -> Option<Baseline> {
    let seen: Vec<(usize, usize, f32)> = texts
        .par_iter()
        .filter_map(|text| {
            let encoding = predictor.encode(text, Truncate::Tail).ok()?;
            let probability = predictor.run(std::slice::from_ref(&encoding)).first()?.probability;
            Some((encoding.tokens + encoding.dropped_tokens, encoding.unknown_tokens, probability))
        })
        .collect();
    if seen.is_empty() {
        return None;
    }
    let mut baseline = Baseline {
        reviews: seen.len() as u64,
        unknown_share: 0.0,
        tokens: Histogram::new(&TOKEN_BOUNDS),
        probability: Histogram::new(&PROBABILITY_BOUNDS),
    };
    let (mut words, mut unknown) = (0, 0);
    for (tokens, unknown_tokens, probability) in seen {
        // The start token is no word.
        words += tokens - 1;
        unknown += unknown_tokens;
        baseline.tokens.observe(tokens as f64);
        baseline.probability.observe(f64::from(probability));
    }
    baseline.unknown_share = unknown as f64 / words as f64;
    Some(baseline)
}
