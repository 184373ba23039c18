//! Answers of `POST /predict` as they stand on the wire.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::parts::{Probabilities, SentenceAnswer, TrajectoryPoint, WordAnswer};
use super::request::{Form, Id, no_text};
use crate::error::Error;
use crate::predict::Label;
use crate::serve::api::huggingface;
use crate::serve::compute::request::ScoreResponse;
use crate::serve::problem::{Problem, ProblemBody, ProblemKind};

/// About what one answer takes, so that writing it grows nothing.
pub const ANSWER_BYTES: usize = 224;

/// What the service says of one text.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "label": "positive", "score": 0.97, "probabilities": {"negative": 0.03, "positive": 0.97}, "tokens": 6,
    "unknown_tokens": 0, "truncated": false, "model": "keras-imdb"
}))]
pub struct Answer<'a> {
    /// The text's, a string or a number; only where the request gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub id: Option<&'a Id<'static>>,
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

/// What the service says of several texts; [`ReportedAnswers`] describes it.
#[derive(Serialize)]
pub struct Answers<'a> {
    /// One for each text, in order.
    pub predictions: Vec<Answer<'a>>,
    /// The model that says so.
    pub model: &'a str,
}

/// What the service says of several texts.
// One shape for both: of two that differ by `failed` alone, some generated clients find that both fit.
#[derive(Serialize, ToSchema)]
#[schema(as = Answers)]
pub struct ReportedAnswers<'a> {
    /// One for each text, in order: an answer, or, with `"on_error": "report"` alone, a problem in its place.
    pub predictions: Vec<AnswerOrProblem<'a>>,
    /// How many are problems; only with `"on_error": "report"`.
    #[schema(required = false)]
    pub failed: usize,
    /// The model that says so.
    pub model: &'a str,
}

/// An answer, or why there is none.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant, reason = "nearly all are the large one")]
pub enum AnswerOrProblem<'a> {
    // No comments for the description: beside a `$ref` in a list they break generators.
    #[allow(missing_docs)]
    Answer(Answer<'a>),
    #[allow(missing_docs)]
    Problem(ItemProblem<'a>),
}

/// Why one text of several has no answer: a problem, and whose it is.
#[derive(Serialize, ToSchema)]
pub struct ItemProblem<'a> {
    /// The text's, a string or a number; only where the request gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = serde_json::Value, required = false)]
    pub id: Option<&'a Id<'static>>,
    /// Which line of a stream it was, counted from 1; only there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub line: Option<u64>,
    /// What kind of problem it is, for programs.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    pub kind: Cow<'a, str>,
    /// What kind of problem it is, for people.
    pub title: &'a str,
    /// The HTTP status that it would have by itself.
    pub status: u16,
    /// What was wrong and what to do about it.
    pub detail: Cow<'a, str>,
    /// Which of the texts it was, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub index: Option<usize>,
    /// The detail again, where clients of other protocols look for it.
    pub error: Cow<'a, str>,
}

impl<'a> ItemProblem<'a> {
    /// `problem` of the text that is called `id`, in `line` of a stream.
    pub fn new(problem: &'a Problem, id: Option<&'a Id<'static>>, line: Option<u64>) -> Self {
        let ProblemBody { kind, title, status, detail, index, error } = problem.body();
        Self { id, line, kind, title, status, detail, index, error }
    }
}

impl<'a> Answer<'a> {
    /// What `scored` says of the text whose prediction stands at `place`.
    pub fn new(scored: &'a ScoreResponse, place: usize, id: Option<&'a Id<'static>>) -> Self {
        let (prediction, details) = (&scored.predictions[place], scored.details.get(place));
        let verdict = scored.verdict(prediction);
        let words = details.and_then(|details| details.words.as_ref());
        let sentences = details.and_then(|details| details.sentences.as_ref());
        let trajectory = details.and_then(|details| details.trajectory.as_ref());
        Self {
            id,
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

/// The answer as JSON, in the form that was asked for.
pub fn to_json(scored: &ScoreResponse, form: Form) -> Vec<u8> {
    let mut json = Vec::with_capacity(ANSWER_BYTES * scored.predictions.len());
    let model = &*scored.loaded.name;
    let written = match form {
        Form::One(id) => serde_json::to_writer(&mut json, &Answer::new(scored, 0, id.as_ref())),
        Form::Many(ids) => {
            let places = 0..scored.predictions.len();
            let predictions = places.map(|place| Answer::new(scored, place, ids.get(place))).collect();
            serde_json::to_writer(&mut json, &Answers { predictions, model })
        }
        Form::Report(ids, strange) => {
            let problems: Vec<Problem> =
                scored.faults.iter().map(|(index, error)| problem(*index, error, &strange)).collect();
            let item = |(index, outcome)| match outcome {
                Ok(place) => AnswerOrProblem::Answer(Answer::new(scored, place, ids.get(index))),
                Err(fault) => {
                    AnswerOrProblem::Problem(ItemProblem::new(&problems[fault], ids.get(index), None))
                }
            };
            let predictions = scored.outcomes().enumerate().map(item).collect();
            serde_json::to_writer(&mut json, &ReportedAnswers { predictions, failed: problems.len(), model })
        }
        Form::Classes(reading) => return huggingface::to_json(scored, reading),
    };
    written.expect("an answer is plain data");
    json
}

/// The problem of text number `index`; those of `strange` are no texts at all.
fn problem(index: usize, error: &Error, strange: &[(usize, Cow<'static, str>)]) -> Problem {
    match strange.binary_search_by_key(&index, |(at, _)| *at) {
        Ok(at) => {
            let detail = format!("texts[{index}]: {}", no_text(&strange[at].1));
            Problem::new(ProblemKind::InvalidFields, detail).at(index)
        }
        Err(_) => Problem::of_text(error, index, Some("texts")),
    }
}
