//! `/classify`, `/v1/classify` and `/v1/models`, as vLLM and SGLang answer them.

use axum::Json;
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

use super::shared::{
    Address, KeyProblem, ModelProblems, NamedModelProblem, NotReadyProblem, Review, ScoringProblems, answer,
    json_response, path_text,
};
use crate::predict::Label;
use crate::serve::app::{App, AppState};
use crate::serve::compute::request::{ScoreRequest, ScoreResponse};
use crate::serve::http::json::{self, OneOr, OneOrMany, Text};
use crate::serve::http::trace::request_id;
use crate::serve::models::{LoadedModel, unix_seconds};
use crate::serve::problem::{Problem, ProblemKind};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(classify))
        .routes(routes!(classify_v1))
        .routes(routes!(models))
        .routes(routes!(model))
}

/// The body; fields that change nothing here (`user`, `priority`, …) are passed over.
#[derive(Debug, Deserialize)]
struct ClassifyRequest<'a> {
    #[serde(borrow, default)]
    input: Option<OneOrMany<'a>>,
    #[serde(borrow, default)]
    model: Option<Text<'a>>,
    #[serde(default)]
    truncate_prompt_tokens: Option<i64>,
    #[serde(default, alias = "use_activation", alias = "softmax")]
    activation: Option<bool>,
    #[serde(default)]
    messages: Option<IgnoredAny>,
    #[serde(default)]
    text: Option<IgnoredAny>,
}

/// A request as vLLM's and SGLang's clients send it.
#[derive(ToSchema)]
#[schema(example = json!({"input": "A gripping, beautifully shot film."}))]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ClassifyBody {
    /// One text or a list of texts.
    #[schema(schema_with = one_or_many, required)]
    input: (),
    /// Which model; the default one where it is absent.
    #[schema(nullable = false)]
    model: Option<String>,
    /// Only -1: as many tokens as the model reads.
    #[schema(minimum = -1, maximum = -1, nullable = false)]
    truncate_prompt_tokens: Option<i64>,
    /// false gives log-odds for probabilities.
    #[schema(nullable = false)]
    activation: Option<bool>,
}

/// One text or a list of them.
fn one_or_many() -> Schema {
    let review = || Ref::from_schema_name(Review::name());
    let list = ArrayBuilder::new().items(review()).min_items(Some(1)).max_items(Some(1024));
    OneOfBuilder::new().item(review()).item(list).build().into()
}

/// Classes of one text or many.
#[derive(Serialize, ToSchema)]
struct Classes {
    /// Of this answer.
    #[schema(example = "classify-9bf17f2847b046c7")]
    id: String,
    /// `list`.
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    /// The model that says so.
    model: String,
    /// One for each text, in order.
    data: Vec<Class>,
    /// What was read.
    usage: Usage,
}

/// The class of one text.
#[derive(Serialize, ToSchema)]
struct Class {
    /// Which text, counted from 0.
    index: usize,
    /// The more probable side.
    label: Label,
    /// Probabilities of `negative` and `positive`.
    probs: [f32; 2],
    /// 2.
    num_classes: usize,
}

/// Tokens of a request.
#[derive(Serialize, ToSchema)]
struct Usage {
    /// Tokens that the model read.
    prompt_tokens: usize,
    /// The same.
    total_tokens: usize,
    /// 0.
    completion_tokens: usize,
}

/// The models that are served.
#[derive(Serialize, ToSchema)]
struct ModelList {
    /// `list`.
    object: &'static str,
    /// The default model first.
    data: Vec<ModelCard>,
}

/// A model.
#[derive(Serialize, ToSchema)]
struct ModelCard {
    /// By which it is called.
    id: String,
    /// `model`.
    object: &'static str,
    /// When it was loaded, seconds since 1970.
    created: u64,
    /// `imdb-sentiment`.
    owned_by: &'static str,
    /// Its version: changes with its files.
    root: String,
    /// Most tokens that it reads.
    max_model_len: usize,
}

/// Classifies one text or many, as vLLM does
///
/// The label is always one of two: the server's `--abstain` is not obeyed here.
#[utoipa::path(post, path = "/classify", tag = "openai", request_body = ClassifyBody,
    responses((status = 200, description = "One class for each text", body = Classes), ScoringProblems,
        NamedModelProblem))]
async fn classify(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    answer_classes(&app, request).await
}

/// Classifies one text or many, as SGLang does
#[utoipa::path(post, path = "/v1/classify", operation_id = "v1_classify", tag = "openai", request_body = ClassifyBody,
    responses((status = 200, description = "One class for each text", body = Classes), ScoringProblems,
        NamedModelProblem))]
async fn classify_v1(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    answer_classes(&app, request).await
}

/// The models that are served, as OpenAI's clients ask for them
#[utoipa::path(get, path = "/v1/models", operation_id = "v1_models", tag = "openai",
    responses((status = 200, description = "The models", body = ModelList), KeyProblem))]
async fn models(State(app): State<AppState>) -> Json<ModelList> {
    let data = app.models().iter().filter_map(|slot| Some(card(&*slot.current()?))).collect();
    Json(ModelList { object: "list", data })
}

/// One of the models that are served
#[utoipa::path(get, path = "/v1/models/{model}", operation_id = "v1_model", tag = "openai",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The model", body = ModelCard), ModelProblems, NotReadyProblem))]
async fn model(
    State(app): State<AppState>,
    model: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelCard>, Problem> {
    Ok(Json(card(&*app.scorer.slot(Some(&path_text(model)?))?.loaded()?)))
}

fn card(loaded: &LoadedModel) -> ModelCard {
    ModelCard {
        id: loaded.name.to_string(),
        object: "model",
        created: unix_seconds(loaded.loaded_at),
        owned_by: env!("CARGO_PKG_NAME"),
        root: loaded.version.clone(),
        max_model_len: loaded.predictor.config().max_length,
    }
}

async fn answer_classes(app: &App, request: Request<Body>) -> Result<Response, Problem> {
    let id = format!("classify-{}", request_id(request.headers()).to_str().unwrap_or_default());
    let body = app.bodies.read_json(request).await?;
    let write = move |scored: &ScoreResponse, raw: bool| {
        serde_json::to_vec(&classes(scored, id, raw)).expect("classes are plain data")
    };
    answer(&app.scorer, body, Address::default(), parse, write).await.map(json_response)
}

/// The question, and whether log-odds are asked for.
fn parse(bytes: &[u8]) -> Result<(ScoreRequest<'_>, bool), Problem> {
    let request: ClassifyRequest = json::read(bytes)?;
    let refused = |detail: &'static str| Err(Problem::new(ProblemKind::InvalidFields, detail));
    if request.messages.is_some() {
        return refused("messages: the model reads texts, no conversations; give `input`");
    }
    if request.text.is_some() {
        return refused("text: texts are given as `input`, a string or a list of strings");
    }
    if request.truncate_prompt_tokens.is_some_and(|tokens| tokens != -1) {
        return refused("truncate_prompt_tokens: only -1 is known, as many as the model reads");
    }
    let (texts, list) = match request.input {
        None => return refused("give `input`, a string or a list of strings"),
        Some(OneOr::One(text)) => (vec![text.0], None),
        Some(OneOr::Many(texts)) => (texts.into_iter().map(|text| text.0).collect(), Some("input")),
    };
    let model = request.model.map(|model| model.0);
    let question = ScoreRequest { model, texts, list, ..ScoreRequest::default() };
    Ok((question, request.activation == Some(false)))
}

fn classes(scored: &ScoreResponse, id: String, raw: bool) -> Classes {
    let class = |(index, prediction): (usize, &crate::predict::Prediction)| Class {
        index,
        label: Label::of(prediction.probability),
        probs: match raw {
            true => [-prediction.logit, prediction.logit],
            false => [1.0 - prediction.probability, prediction.probability],
        },
        num_classes: 2,
    };
    let prompt_tokens = scored.predictions.iter().map(|prediction| prediction.tokens).sum();
    Classes {
        id,
        object: "list",
        created: unix_seconds(std::time::SystemTime::now()),
        model: scored.loaded.name.to_string(),
        data: scored.predictions.iter().enumerate().map(class).collect(),
        usage: Usage { prompt_tokens, total_tokens: prompt_tokens, completion_tokens: 0 },
    }
}
