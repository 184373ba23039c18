//! Requests and answers of `POST /predict` as they stand on the wire, and their schemas.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parts::{OffsetsIn, Probabilities, SentenceAnswer, TrajectoryPoint, WordAnswer};
use crate::predict::{Label, Offsets, Prediction, Truncate};
use crate::serve::api::shared::{Review, TruncateMode};
use crate::serve::compute::details::{Details, Wanted};
use crate::serve::compute::score::{ScoreRequest, ScoreResponse, check_abstain};
use crate::serve::http::json::{self, Text, not_null};
use crate::serve::problem::{Problem, ProblemKind};

/// The body of `POST /predict`; exactly one of `text` and `texts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictRequest<'a> {
    #[serde(borrow, default, deserialize_with = "not_null")]
    text: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "not_null")]
    texts: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(default)]
    truncate: Option<TruncateMode>,
    #[serde(default)]
    abstain: Option<f64>,
    #[serde(default)]
    explain: Option<bool>,
    #[serde(default)]
    sentences: Option<bool>,
    #[serde(default)]
    trajectory: Option<bool>,
    #[serde(default)]
    offsets: Option<OffsetsIn>,
}

/// Reads the body of a request: the question, and whether it is about a single text by itself.
///
/// # Errors
/// 400 where it is not JSON, 422 where its fields do not fit.
pub fn parse(bytes: &[u8]) -> Result<(ScoreRequest<'_>, bool), Problem> {
    let request: PredictRequest = json::read(bytes)?;
    let invalid = |detail: &'static str| Err(Problem::new(ProblemKind::InvalidFields, detail));
    let (texts, single) = match (request.text, request.texts) {
        (Some(text), None) => (vec![text.0], true),
        (None, Some(texts)) => (texts.into_iter().map(|text| text.0).collect(), false),
        (Some(_), Some(_)) => return invalid("give `text` or `texts`, not both"),
        (None, None) => return invalid("give `text`, a string, or `texts`, a list of strings"),
    };
    let question = ScoreRequest {
        model: request.model.map(|model| model.0),
        texts,
        single,
        truncate: request.truncate.map(Truncate::from).unwrap_or_default(),
        abstain: check_abstain(request.abstain)?,
        wanted: Wanted {
            words: request.explain.unwrap_or(false),
            sentences: request.sentences.unwrap_or(false),
            trajectory: request.trajectory.unwrap_or(false),
            offsets: request.offsets.map(Offsets::from).unwrap_or_default(),
        },
        ..ScoreRequest::default()
    };
    Ok((question, single))
}

/// What the service says of one text.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "label": "positive", "score": 0.97, "probabilities": {"negative": 0.03, "positive": 0.97}, "tokens": 6,
    "unknown_tokens": 0, "truncated": false, "model": "keras-imdb"
}))]
pub struct Answer<'a> {
    /// The more probable side, or `uncertain` where its score is below `abstain`.
    pub label: Label,
    /// Probability of the more probable side, 0.5 to 1.
    pub score: f32,
    /// Both sides; their sum is 1.
    pub probabilities: Probabilities,
    /// Tokens that the model read: the text's words and the start token.
    pub tokens: usize,
    /// Words that the model's vocabulary does not hold.
    pub unknown_tokens: usize,
    /// Whether the text was too long and part of it was not read.
    pub truncated: bool,
    /// Tokens that were not read; only where `truncated`.
    #[serde(skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub dropped_tokens: usize,
    /// Probability of `positive` in each window, in order; only where the text was read in several.
    #[serde(skip_serializing_if = "<[f32]>::is_empty")]
    #[schema(required = false)]
    pub windows: &'a [f32],
    /// What each word that was read adds to the logit, in order; only with `explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub words: Option<Vec<WordAnswer<'a>>>,
    /// Each sentence judged by itself, in order; only with `sentences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub sentences: Option<Vec<SentenceAnswer>>,
    /// Whether sentences with a score of at least .9 disagree; only with `sentences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub mixed: Option<bool>,
    /// What would be said if the text ended after each sentence (of more than 24, after 24 that lie evenly); only with
    /// `trajectory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub trajectory: Option<Vec<TrajectoryPoint>>,
    /// The model that says so.
    pub model: &'a str,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// What the service says of several texts.
#[derive(Serialize, ToSchema)]
pub struct Answers<'a> {
    /// One for each text, in order.
    pub predictions: Vec<Answer<'a>>,
    /// The model that says so.
    pub model: &'a str,
}

impl<'a> Answer<'a> {
    fn new(scored: &'a ScoreResponse, prediction: &'a Prediction, details: Option<&'a Details>) -> Self {
        let verdict = scored.verdict(prediction);
        let words = details.and_then(|details| details.words.as_ref());
        let sentences = details.and_then(|details| details.sentences.as_ref());
        let trajectory = details.and_then(|details| details.trajectory.as_ref());
        Self {
            label: verdict.label,
            score: verdict.score,
            probabilities: Probabilities { negative: verdict.negative, positive: verdict.positive },
            tokens: prediction.tokens,
            unknown_tokens: prediction.unknown_tokens,
            truncated: prediction.dropped_tokens > 0,
            dropped_tokens: prediction.dropped_tokens,
            windows: &prediction.windows,
            words: words.map(|words| words.iter().map(WordAnswer::new).collect()),
            sentences: sentences.map(|sentences| sentences.iter().map(SentenceAnswer::new).collect()),
            mixed: details.and_then(|details| details.mixed),
            trajectory: trajectory.map(|points| points.iter().map(TrajectoryPoint::new).collect()),
            model: &scored.loaded.name,
        }
    }
}

/// The answer as JSON: one, where there is a `single` text by itself, or many.
pub fn to_json(scored: &ScoreResponse, single: bool) -> Vec<u8> {
    // About what one answer takes, so that writing it grows nothing.
    let mut json = Vec::with_capacity(224 * scored.predictions.len());
    let written = match &scored.predictions[..] {
        [prediction] if single => {
            serde_json::to_writer(&mut json, &Answer::new(scored, prediction, scored.details.first()))
        }
        all => {
            let answer = |(at, prediction)| Answer::new(scored, prediction, scored.details.get(at));
            let predictions = all.iter().enumerate().map(answer).collect();
            serde_json::to_writer(&mut json, &Answers { predictions, model: &scored.loaded.name })
        }
    };
    written.expect("an answer is plain data");
    json
}

/// The schema of a request: two shapes, of which it must have one.
#[derive(ToSchema)]
#[schema(as = PredictRequest)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub enum PredictBody {
    // No comments for the description: beside a `$ref` in a list they break generators.
    One(OneText),
    Many(ManyTexts),
}

/// One text.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(deny_unknown_fields)]
pub struct OneText {
    /// The review.
    #[schema(value_type = Review)]
    text: String,
    /// Which model; the default one where it is absent.
    #[schema(nullable = false)]
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    #[schema(nullable = false)]
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0, nullable = false)]
    abstain: Option<f32>,
    /// Adds `words`: what each word does.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Adds `sentences` and `mixed`: each sentence judged by itself.
    #[schema(nullable = false)]
    sentences: Option<bool>,
    /// Adds `trajectory`: what would be said if the text ended after each sentence.
    #[schema(nullable = false)]
    trajectory: Option<bool>,
    /// In what `start` and `end` count; code points where it is absent.
    #[schema(nullable = false)]
    offsets: Option<OffsetsIn>,
}

/// Many texts.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(deny_unknown_fields)]
pub struct ManyTexts {
    /// The reviews.
    #[schema(value_type = Vec<Review>, min_items = 1, max_items = 1024)]
    texts: Vec<String>,
    /// Which model; the default one where it is absent.
    #[schema(nullable = false)]
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    #[schema(nullable = false)]
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0, nullable = false)]
    abstain: Option<f32>,
    /// Adds `words`: what each word does.
    #[schema(nullable = false)]
    explain: Option<bool>,
    /// Adds `sentences` and `mixed`: each sentence judged by itself.
    #[schema(nullable = false)]
    sentences: Option<bool>,
    /// Adds `trajectory`: what would be said if the text ended after each sentence.
    #[schema(nullable = false)]
    trajectory: Option<bool>,
    /// In what `start` and `end` count; code points where it is absent.
    #[schema(nullable = false)]
    offsets: Option<OffsetsIn>,
}

/// The schema of an answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub enum PredictAnswer {
    One(Answer<'static>),
    Many(Answers<'static>),
}
