//! Text classification as Hugging Face's clients ask for it (`InferenceClient.text_classification`).

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::{ArrayBuilder, OneOfBuilder, Ref, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::{Address, NamedModelProblem, Review, ScoringProblems, answer, json_response, path_text};
use crate::predict::Label;
use crate::predict::{Prediction, Truncate};
use crate::serve::app::{App, AppState};
use crate::serve::compute::score::{ScoreRequest, ScoreResponse};
use crate::serve::http::json::{self, Object, Text, WholeNumber};
use crate::serve::named::{Named, named};
use crate::serve::problem::{Problem, ProblemKind};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(default_model)).routes(routes!(named_model))
}

/// The body; fields that other services know and this one does not are passed over, as their clients expect.
#[derive(Debug, Deserialize)]
struct ClassificationRequest<'a> {
    #[serde(borrow)]
    inputs: Inputs<'a>,
    #[serde(default)]
    parameters: Option<Object<Parameters>>,
    /// As text-embeddings-inference has it: false refuses what is too long.
    #[serde(default)]
    truncate: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`inputs` must be a string or a list of strings")]
enum Inputs<'a> {
    One(#[serde(borrow)] Text<'a>),
    Many(#[serde(borrow)] Vec<Text<'a>>),
}

#[derive(Debug, Default, Deserialize)]
struct Parameters {
    #[serde(default)]
    top_k: Option<WholeNumber>,
    #[serde(default)]
    function_to_apply: Option<String>,
}

/// One label and its probability.
#[derive(Serialize, ToSchema)]
pub struct Classification {
    /// `positive` or `negative`.
    #[schema(value_type = Label)]
    pub label: &'static str,
    /// Its probability.
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
    /// `sigmoid` and `softmax` mean the same here.
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
    }
}

/// Classifies one text or many with the default model
///
/// Answers one list of labels for each text, the most probable first.
#[utoipa::path(post, path = "/", tag = "hugging face", request_body = ClassificationBody,
    responses((status = 200, description = "One list for each text", body = Vec<Vec<Classification>>), ScoringProblems))]
async fn default_model(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    classify(&app, None, request).await.map_err(Problem::with_error)
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
    classify(&app, Some(model), request).await.map_err(Problem::with_error)
}

async fn classify(app: &App, model: Option<String>, request: Request<Body>) -> Result<Response, Problem> {
    let body = app.bodies.read_json(request).await?;
    let address = Address { model, version: None };
    answer(&app.scorer, body, address, parse, to_json).await.map(json_response)
}

fn parse(bytes: &[u8]) -> Result<(ScoreRequest<'_>, usize), Problem> {
    let request: ClassificationRequest = json::read(bytes)?;
    let parameters = request.parameters.map_or_else(Parameters::default, |parameters| parameters.0);
    if let Some(other) = parameters.function_to_apply
        && FunctionToApply::of_name(&other).is_none()
    {
        let detail = "function_to_apply: only `sigmoid` and `softmax` (which mean the same here) are known";
        return Err(Problem::new(ProblemKind::InvalidFields, detail));
    }
    let top_k = parameters.top_k.map_or(2, |WholeNumber(count)| usize::try_from(count).unwrap_or(usize::MAX));
    if top_k == 0 {
        return Err(Problem::new(ProblemKind::InvalidFields, "top_k must be at least 1"));
    }
    let (texts, single) = match request.inputs {
        Inputs::One(text) => (vec![text.0], true),
        Inputs::Many(texts) => (texts.into_iter().map(|text| text.0).collect(), false),
    };
    let truncate = if request.truncate == Some(false) { Truncate::Error } else { Truncate::Tail };
    Ok((ScoreRequest { texts, single, truncate, ..ScoreRequest::default() }, top_k))
}

fn to_json(scored: &ScoreResponse, top_k: usize) -> Vec<u8> {
    let lists: Vec<_> =
        scored.predictions.iter().map(|prediction| labels(scored, prediction, top_k)).collect();
    serde_json::to_vec(&lists).expect("labels are plain data")
}

fn labels(scored: &ScoreResponse, prediction: &Prediction, top_k: usize) -> Vec<Classification> {
    let verdict = scored.verdict(prediction);
    let mut labels = vec![
        Classification { label: Label::Positive.as_str(), score: verdict.positive },
        Classification { label: Label::Negative.as_str(), score: verdict.negative },
    ];
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels.truncate(top_k);
    labels
}
