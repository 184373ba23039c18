//! What an answer says of words and sentences, as it stands on the wire.

use serde::Serialize;
use utoipa::ToSchema;

use crate::predict::{Label, Offsets};
use crate::serve::compute::details::{Point, Sentence, Word};
use crate::serve::named::named;

named! {
    /// In what offsets count.
    #[schema(as = Offsets)]
    pub enum OffsetsIn {
        /// Bytes of UTF-8, as in Go and Rust.
        Utf8 = "utf8",
        /// Units of UTF-16, as in JavaScript, Java and C#.
        Utf16 = "utf16",
        /// Unicode code points, as in Python (default).
        Codepoints = "codepoints",
    }
}

impl From<OffsetsIn> for Offsets {
    fn from(offsets: OffsetsIn) -> Self {
        match offsets {
            OffsetsIn::Utf8 => Self::Utf8,
            OffsetsIn::Utf16 => Self::Utf16,
            OffsetsIn::Codepoints => Self::Codepoints,
        }
    }
}

/// Probabilities of both sides.
#[derive(Serialize, ToSchema)]
pub struct Probabilities {
    /// That the text is negative.
    pub negative: f32,
    /// That the text is positive.
    pub positive: f32,
}

/// A word or mark of the text as it was posted.
#[derive(Serialize, ToSchema)]
#[schema(as = Word)]
pub struct WordAnswer<'a> {
    /// Where it begins.
    #[schema(example = 12)]
    pub start: usize,
    /// Where it ends; what stands there is no part of it.
    #[schema(example = 23)]
    pub end: usize,
    /// What was posted there.
    #[schema(example = "beautifully")]
    pub text: &'a str,
    /// What it adds to the logit: above 0 it speaks for `positive`.
    #[schema(example = 0.31)]
    pub weight: f32,
    /// Whether the model's vocabulary holds it.
    pub known: bool,
}

impl<'a> WordAnswer<'a> {
    pub(super) fn new(word: &'a Word) -> Self {
        let Word { range, text, weight, known } = word;
        Self { start: range.start, end: range.end, text, weight: *weight, known: *known }
    }
}

/// A sentence, judged as if it stood alone.
#[derive(Serialize, ToSchema)]
#[schema(as = Sentence)]
pub struct SentenceAnswer {
    /// Where it begins.
    #[schema(example = 0)]
    pub start: usize,
    /// Where it ends; what stands there is no part of it.
    #[schema(example = 34)]
    pub end: usize,
    /// The more probable side, or `uncertain` where its score is below `abstain`.
    pub label: Label,
    /// Probability of the more probable side, 0.5 to 1.
    pub score: f32,
    /// Both sides; their sum is 1.
    pub probabilities: Probabilities,
}

impl SentenceAnswer {
    pub(super) fn new(sentence: &Sentence) -> Self {
        let verdict = sentence.verdict;
        Self {
            start: sentence.range.start,
            end: sentence.range.end,
            label: verdict.label,
            score: verdict.score,
            probabilities: Probabilities { negative: verdict.negative, positive: verdict.positive },
        }
    }
}

/// What would be said if the text ended here.
#[derive(Serialize, ToSchema)]
pub struct TrajectoryPoint {
    /// The end of a sentence.
    #[schema(example = 34)]
    pub end: usize,
    /// Probability of `positive`.
    pub positive: f32,
}

impl TrajectoryPoint {
    pub(super) fn new(point: &Point) -> Self {
        Self { end: point.end, positive: point.positive }
    }
}
