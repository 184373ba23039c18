//! Text classification as Hugging Face's clients ask for it (`InferenceClient.text_classification`).

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::Response;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{ArrayBuilder, OneOfBuilder, Ref, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::{Address, NamedModelProblem, Review, ScoringProblems, answer, json_response, path_text};
use crate::predict::Label;
use crate::predict::{Prediction, Truncate};
use crate::serve::app::{App, AppState};
use crate::serve::compute::request::{ScoreRequest, ScoreResponse};
use crate::serve::http::json::{self, Object, OneOrMany, WholeNumber};
use crate::serve::named::named;
use crate::serve::problem::{Problem, ProblemKind};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(default_model)).routes(routes!(named_model))
}

/// The body; fields that other services know and this one does not are passed over, as their clients expect.
#[derive(Debug, Deserialize)]
struct ClassificationRequest<'a> {
    #[serde(borrow)]
    inputs: OneOrMany<'a>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
    /// As text-embeddings-inference has it: false refuses what is too long.
    #[serde(default)]
    truncate: Option<bool>,
    #[serde(default)]
    truncation_direction: Option<TruncationDirection>,
    #[serde(default)]
    raw_scores: Option<bool>,
}

named! {
    /// Which end of a text is cut off, where it is too long.
    pub enum TruncationDirection {
        /// Its beginning: the last tokens stay, as in training (default).
        Left = "Left",
        /// Its end: the first tokens stay.
        Right = "Right",
    }
}

/// How long texts are read, as text-embeddings-inference's clients say it.
pub fn truncate(truncate: Option<bool>, direction: Option<TruncationDirection>) -> Truncate {
    match (truncate, direction) {
        (Some(false), _) => Truncate::Error,
        (_, Some(TruncationDirection::Right)) => Truncate::Head,
        _ => Truncate::Tail,
    }
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    top_k: Option<WholeNumber>,
    #[serde(default)]
    function_to_apply: Option<FunctionToApply>,
    /// Of zero-shot classification, another task.
    #[serde(default)]
    candidate_labels: Option<IgnoredAny>,
}

/// How labels and scores are given.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// How many labels of each text, the most probable ones first.
    pub top_k: usize,
    /// Whether scores are the log-odds and not the probabilities.
    pub raw: bool,
    /// Whether there is one text by itself, whose labels are not in a list of lists.
    pub bare: bool,
}

/// One label and its probability.
#[derive(Serialize, ToSchema)]
pub struct Classification {
    /// `positive` or `negative`.
    #[schema(value_type = Label)]
    pub label: &'static str,
    /// Its probability; where raw scores are asked for, its log-odds, of which the sigmoid is the probability.
    #[schema(example = 0.97)]
    pub score: f32,
}

/// A request as Hugging Face's clients send it.
#[derive(ToSchema)]
#[schema(example = json!({"inputs": "A gripping, beautifully shot film."}))]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ClassificationBody {
    /// One text or a list of texts (a list is never read as a pair).
    #[schema(schema_with = one_or_many, required)]
    inputs: (),
    /// Options.
    #[schema(nullable = false)]
    parameters: Option<ClassificationParameters>,
    /// false refuses what is longer than the model reads (422).
    #[schema(nullable = false)]
    truncate: Option<bool>,
    /// Which end of a text is cut off, where it is too long.
    #[schema(nullable = false)]
    truncation_direction: Option<TruncationDirection>,
    /// Gives log-odds for probabilities.
    #[schema(nullable = false)]
    raw_scores: Option<bool>,
}

/// One text or a list of them.
fn one_or_many() -> Schema {
    let review = || Ref::from_schema_name(Review::name());
    let list = ArrayBuilder::new().items(review()).min_items(Some(1)).max_items(Some(1024));
    OneOfBuilder::new().item(review()).item(list).build().into()
}

/// Options of a classification.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ClassificationParameters {
    /// How many labels to give, the most probable first.
    #[schema(minimum = 1, nullable = false)]
    top_k: Option<usize>,
    /// `sigmoid` and `softmax` mean the same here, `none` gives log-odds.
    #[schema(nullable = false)]
    function_to_apply: Option<FunctionToApply>,
}

named! {
    /// What turns a model's output into probabilities.
    pub enum FunctionToApply {
        /// As the model was trained.
        Sigmoid = "sigmoid",
        /// The same here.
        Softmax = "softmax",
        /// Nothing: log-odds.
        None = "none",
    }
}

/// Classifies one text or many with the default model
///
/// Answers one list of labels for each text, the most probable first. Both labels are always told of: the server's
/// `--abstain` is not obeyed here, for these clients know no `uncertain`.
#[utoipa::path(post, path = "/", tag = "hugging face", request_body = ClassificationBody,
    responses((status = 200, description = "One list for each text", body = Vec<Vec<Classification>>), ScoringProblems))]
async fn default_model(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    classify(&app, None, request).await
}

/// Classifies one text or many with the named model
#[utoipa::path(post, path = "/models/{model}", tag = "hugging face", request_body = ClassificationBody,
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "One list for each text", body = Vec<Vec<Classification>>), ScoringProblems,
        NamedModelProblem))]
async fn named_model(
    State(app): State<AppState>,
    model: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let model = path_text(model)?;
    classify(&app, Some(model), request).await
}

async fn classify(app: &App, model: Option<String>, request: Request<Body>) -> Result<Response, Problem> {
    let body = app.bodies.read_json(request).await?;
    let address = Address { model, version: None };
    answer(&app.scorer, body, address, parse, to_json).await.map(json_response)
}

/// Reads the body of a request.
///
/// # Errors
/// 400 where it is not JSON, 422 where its fields do not fit.
pub fn parse(bytes: &[u8]) -> Result<(ScoreRequest<'_>, Reading), Problem> {
    let request: ClassificationRequest = json::read(bytes)?;
    let parameters = request.parameters.map_or_else(Parameters::default, |parameters| parameters.0);
    let top_k = parameters.top_k.map_or(2, |WholeNumber(count)| usize::try_from(count).unwrap_or(usize::MAX));
    if top_k == 0 {
        return Err(Problem::new(ProblemKind::InvalidFields, "top_k must be at least 1"));
    }
    if parameters.candidate_labels.is_some() {
        let detail = "parameters.candidate_labels: the labels are the model's own, `positive` and `negative`";
        return Err(Problem::new(ProblemKind::InvalidFields, detail));
    }
    let (texts, list) = match request.inputs {
        OneOrMany::One(text) => (vec![text.0], None),
        OneOrMany::Many(texts) => (texts.into_iter().map(|text| text.0).collect(), Some("inputs")),
    };
    let raw =
        request.raw_scores.unwrap_or(false) || parameters.function_to_apply == Some(FunctionToApply::None);
    let truncate = truncate(request.truncate, request.truncation_direction);
    let question = ScoreRequest { texts, list, truncate, ..ScoreRequest::default() };
    Ok((question, Reading { top_k, raw, bare: false }))
}

/// The labels of every text as JSON.
pub fn to_json(scored: &ScoreResponse, reading: Reading) -> Vec<u8> {
    let mut lists: Vec<_> =
        scored.predictions.iter().map(|prediction| labels(scored, prediction, reading)).collect();
    let json = match lists.pop_if(|_| reading.bare) {
        Some(labels) => serde_json::to_vec(&labels),
        None => serde_json::to_vec(&lists),
    };
    json.expect("labels are plain data")
}

fn labels(scored: &ScoreResponse, prediction: &Prediction, reading: Reading) -> Vec<Classification> {
    let verdict = scored.verdict(prediction);
    let (positive, negative) = match reading.raw {
        true => (prediction.logit, -prediction.logit),
        false => (verdict.positive, verdict.negative),
    };
    let mut labels = vec![
        Classification { label: Label::Positive.as_str(), score: positive },
        Classification { label: Label::Negative.as_str(), score: negative },
    ];
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels.truncate(reading.top_k);
    labels
}
