//! `POST /predict`: one text or many, in the service's own format.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoResponses, ToSchema};

use crate::predict::{Prediction, Truncate};
use crate::serve::compute::score::{Question, Scored, check_abstain, score};
use crate::serve::http::body;
use crate::serve::http::json::{self, Text, present};
use crate::serve::problem::{Kind, Problem, ProblemBody};
use crate::serve::{App, AppState};

/// Bodies up to this many bytes are parsed on the HTTP thread: about 50 µs. Larger ones go to the compute threads.
pub const PARSE_INLINE_BYTES: usize = 64 * 1024;
/// Answers up to this many predictions are written on the HTTP thread.
pub const WRITE_INLINE: usize = 128;

/// The body of `POST /predict`; exactly one of `text` and `texts`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictRequest<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    text: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    texts: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(default)]
    truncate: Option<Truncate>,
    #[serde(default)]
    abstain: Option<f64>,
}

impl<'a> PredictRequest<'a> {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400 where it is not JSON, 422 where its fields do not fit.
    pub fn parse(bytes: &'a [u8]) -> Result<Question<'a>, Problem> {
        let request: Self = json::read(bytes)?;
        let invalid = |detail: &'static str| Err(Problem::new(Kind::InvalidFields, detail));
        let (texts, single) = match (request.text, request.texts) {
            (Some(text), None) => (vec![text.0], true),
            (None, Some(texts)) => (texts.into_iter().map(|text| text.0).collect(), false),
            (Some(_), Some(_)) => return invalid("give `text` or `texts`, not both"),
            (None, None) => return invalid("give `text`, a string, or `texts`, a list of strings"),
        };
        Ok(Question {
            model: request.model.map(|model| model.0),
            texts,
            single,
            truncate: request.truncate.unwrap_or_default(),
            abstain: check_abstain(request.abstain)?,
            ..Question::default()
        })
    }
}

/// What the service says of one text.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "label": "positive", "score": 0.97, "probabilities": {"negative": 0.03, "positive": 0.97}, "tokens": 6,
    "unknown_tokens": 0, "truncated": false, "model": "keras-imdb"
}))]
pub struct Answer<'a> {
    /// The more probable side, or `uncertain` where its score is below `abstain`.
    #[schema(value_type = Label)]
    pub label: &'static str,
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
    /// The model that says so.
    pub model: &'a str,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

/// A label.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum Label {
    /// More probably negative.
    Negative,
    /// More probably positive.
    Positive,
    /// Not sure enough to say.
    Uncertain,
}

/// Probabilities of both sides.
#[derive(Serialize, ToSchema)]
pub struct Probabilities {
    /// That the text is negative.
    pub negative: f32,
    /// That the text is positive.
    pub positive: f32,
}

/// What the service says of several texts.
#[derive(Serialize, ToSchema)]
pub struct Answers<'a> {
    /// One for each text, in order.
    pub predictions: Vec<Answer<'a>>,
    /// The model that says so.
    pub model: &'a str,
}

impl Scored {
    fn answer<'a>(&'a self, prediction: &'a Prediction) -> Answer<'a> {
        let verdict = self.verdict(prediction);
        Answer {
            label: verdict.label_name(),
            score: verdict.score,
            probabilities: Probabilities { negative: verdict.negative, positive: verdict.positive },
            tokens: prediction.tokens,
            unknown_tokens: prediction.unknown_tokens,
            truncated: prediction.dropped_tokens > 0,
            dropped_tokens: prediction.dropped_tokens,
            windows: &prediction.windows,
            model: &self.loaded.name,
        }
    }

    fn to_json(&self, single: bool) -> Vec<u8> {
        // About what one answer takes, so that writing it grows nothing.
        let mut json = Vec::with_capacity(224 * self.predictions.len());
        let written = match &self.predictions[..] {
            [prediction] if single => serde_json::to_writer(&mut json, &self.answer(prediction)),
            all => {
                let predictions = all.iter().map(|prediction| self.answer(prediction)).collect();
                serde_json::to_writer(&mut json, &Answers { predictions, model: &self.loaded.name })
            }
        };
        written.expect("an answer is plain data");
        json
    }
}

/// Scores one text or many
///
/// Exactly one of `text` and `texts` must be given. A text longer than the model reads keeps its last tokens unless
/// `truncate` says otherwise. All texts of one request are answered by the same version of the model, or none is.
#[utoipa::path(post, path = "/predict", tag = "sentiment",
    request_body(content = PredictBody, content_type = "application/json", examples(
        ("one text" = (value = json!({"text": "A gripping, beautifully shot film."}))),
        ("many texts" = (value = json!({"texts": ["Loved it.", "Dull from start to end."]}))),
        ("options" = (value = json!({"text": "It was fine.", "truncate": "windows", "abstain": 0.6})))
    )),
    responses((status = 200, description = "The predictions", body = PredictAnswer), ScoringProblems,
        NamedModelProblems))]
pub async fn predict(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    let held = body::read_json(&app, request).await?;
    let question = if held.bytes.len() <= PARSE_INLINE_BYTES {
        PredictRequest::parse(&held.bytes)?
    } else {
        let bytes = held.bytes.clone();
        on_compute_thread(&app, move || PredictRequest::parse(&bytes).map(Question::into_owned)).await??
    };
    let single = question.single;
    let scored = score(&app, question).await?;
    let json = if scored.predictions.len() <= WRITE_INLINE {
        scored.to_json(single)
    } else {
        on_compute_thread(&app, move || scored.to_json(single)).await?
    };
    Ok(json_response(json))
}

/// Runs on a compute thread what would hold an HTTP thread too long.
///
/// # Errors
/// 500 where `work` panics.
pub async fn on_compute_thread<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    app.pool.spawn(work).await.map_err(|_| Problem::new(Kind::Internal, "the request could not be worked on"))
}

/// An answer of JSON text.
pub fn json_response(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Question<'_> {
    /// The same, with texts of its own.
    pub fn into_owned(self) -> Question<'static> {
        Question {
            model: self.model.map(|model| Cow::Owned(model.into_owned())),
            version: self.version.map(|version| Cow::Owned(version.into_owned())),
            texts: self.texts.into_iter().map(|text| Cow::Owned(text.into_owned())).collect(),
            single: self.single,
            truncate: self.truncate,
            abstain: self.abstain,
        }
    }
}

/// The schema of a request: two shapes, of which it must have one.
#[derive(ToSchema)]
#[schema(as = PredictRequest)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub enum PredictBody {
    /// One text.
    One(OneText),
    /// Many texts.
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
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0)]
    abstain: Option<f32>,
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
    model: Option<String>,
    /// What to do with a text longer than the model reads.
    truncate: Option<TruncateMode>,
    /// The score below which the label is `uncertain`, 0.5 to 1.
    #[schema(minimum = 0.5, maximum = 1.0)]
    abstain: Option<f32>,
}

/// A review: at least one word, which is what the pattern asks for (a letter or digit, or a character beyond ASCII).
#[derive(ToSchema)]
#[schema(
    pattern = r"[^\u0000-/:-@\[-`{-\u00a0\u2018-\u201f\s]",
    example = "A gripping, beautifully shot film."
)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct Review(String);

/// What to do with a text longer than the model reads.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum TruncateMode {
    /// Keep the last tokens, as in training (default).
    Tail,
    /// Keep the first tokens.
    Head,
    /// Read all of it in overlapping windows and combine them.
    Windows,
    /// Refuse it (422).
    Error,
}

/// The schema of an answer.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
#[serde(untagged)]
pub enum PredictAnswer {
    /// To `text`.
    One(Answer<'static>),
    /// To `texts`.
    Many(Answers<'static>),
}

/// What a route on which a model can be named may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only its schema is used")]
pub enum NamedModelProblems {
    /// No such model
    #[response(status = 404, content_type = "application/problem+json")]
    UnknownModel(#[to_schema] ProblemBody<'static>),
}

/// What every route that scores texts may answer instead.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only its schema is used")]
pub enum ScoringProblems {
    /// The body is not JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] ProblemBody<'static>),
    /// An API key is needed (only where the server has keys)
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(#[to_schema] ProblemBody<'static>),
    /// The body did not arrive in time
    #[response(status = 408, content_type = "application/problem+json")]
    BodyTimeout(#[to_schema] ProblemBody<'static>),
    /// The body or the number of texts is over the limit
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody<'static>),
    /// The content type is not JSON
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(#[to_schema] ProblemBody<'static>),
    /// The fields do not fit, a text has no word, or a text is too long
    #[response(status = 422, content_type = "application/problem+json")]
    InvalidFields(#[to_schema] ProblemBody<'static>),
    /// Busy, too slow or not ready: try again after `Retry-After` seconds
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(#[to_schema] ProblemBody<'static>),
}
