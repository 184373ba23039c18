//! `/info`: what is served.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::KeyProblem;
use crate::model::{Config, RecurrentPrecision};
use crate::predict::Label;
use crate::serve::app::{App, AppState};
use crate::serve::http::SharedPage;
use crate::serve::models::{ModelSlot, Reload, SelfTest, unix_seconds};

/// The route of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(info))
}

/// What is served.
#[derive(Serialize, ToSchema)]
pub struct Info {
    /// The server's version.
    #[schema(example = "0.1.0")]
    pub version: &'static str,
    /// The default model's name.
    #[schema(example = "keras-imdb")]
    pub model: String,
    /// The default model's name again, as text-embeddings-inference's clients look for it.
    pub model_id: String,
    /// The default model's version; empty while it is unloaded.
    pub model_sha: String,
    /// The server's commit, which is not known to it: null.
    #[schema(value_type = Option<String>)]
    pub sha: (),
    /// The image's name, which is not known to it: null.
    #[schema(value_type = Option<String>)]
    pub docker_label: (),
    /// In what numbers the default model's recurrence computes: `float32` or `int8`; empty while it is unloaded.
    #[schema(example = "int8")]
    pub model_dtype: &'static str,
    /// What kind of model it is, and its labels.
    pub model_type: ModelType,
    /// Most tokens of a text that the default model reads.
    pub max_input_length: usize,
    /// Most texts of one request.
    pub max_client_batch_size: usize,
    /// Most requests that may wait or be in work.
    pub max_concurrent_requests: usize,
    /// Most tokens that may wait or be in work.
    pub max_batch_tokens: usize,
    /// Most texts that are computed together.
    pub max_batch_requests: usize,
    /// Threads that cut texts into tokens.
    pub tokenization_workers: usize,
    /// Whether longer texts are cut where a request says nothing of it.
    pub auto_truncate: bool,
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Every model that is loaded, the default first.
    pub models: Vec<ModelInfo>,
    /// The limits that a client should know.
    pub limits: Limits,
}

/// What kind of model it is.
#[derive(Serialize, ToSchema)]
pub struct ModelType {
    /// A classifier's labels.
    pub classifier: ClassifierModel,
}

/// Labels and their places.
#[derive(Serialize, ToSchema)]
pub struct ClassifierModel {
    /// The label of each place.
    pub id2label: BTreeMap<String, Label>,
    /// The place of each label.
    pub label2id: BTreeMap<String, usize>,
}

/// One model.
#[derive(Serialize, ToSchema)]
pub struct ModelInfo {
    /// By which it is called.
    pub name: String,
    /// Changes with the files.
    #[schema(example = "0f1e2d3c4b5a")]
    pub version: String,
    /// When it was loaded, seconds since 1970.
    pub loaded_at: u64,
    /// Network and tokenizer.
    #[schema(value_type = HashMap<String, serde_json::Value>)]
    pub config: Config,
    /// The strings that came with the weights.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Settings, epochs and results of the training, where the directory has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = HashMap<String, serde_json::Value>, required = false)]
    pub training: Option<serde_json::Value>,
    /// How the golden reviews came out.
    pub self_test: SelfTest,
    /// The latest attempt to take up a changed directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, required = false)]
    pub last_reload: Option<Reload>,
    /// What it costs on this machine.
    pub cost: CostInfo,
    /// How far the latest reviews are from the baseline, where there is one, once `--drift-window` of them are there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, required = false)]
    pub drift: Option<DriftInfo>,
}

/// Measured when the model was loaded.
#[derive(Serialize, ToSchema)]
pub struct CostInfo {
    /// Nanoseconds to cut one byte of text.
    pub ns_per_byte: f64,
    /// Nanoseconds per text.
    pub ns_per_text: f64,
    /// Nanoseconds per token.
    pub ns_per_token: f64,
}

/// Distances from the baseline.
#[derive(Serialize, ToSchema)]
pub struct DriftInfo {
    /// Reviews that they rest on.
    pub reviews: u64,
    /// Population stability index of the probabilities.
    pub probability: f64,
    /// Population stability index of the tokens per review.
    pub tokens: f64,
    /// Share of unknown words in the latest reviews.
    pub unknown_share: f64,
    /// Share of unknown words in the baseline.
    pub baseline_unknown_share: f64,
}

/// Limits of a request.
#[derive(Serialize, ToSchema)]
pub struct Limits {
    /// Bytes of a body.
    pub max_body_bytes: usize,
    /// Texts in one request.
    pub max_texts: usize,
    /// Windows of one text.
    pub max_windows: usize,
    /// Seconds for an answer.
    pub request_timeout_seconds: f64,
    /// Score below which the label is `uncertain` by default.
    pub abstain: Option<f32>,
}

/// What is served: models, their results, limits
#[utoipa::path(get, path = "/info", tag = "operation",
    responses((status = 200, description = "What is served", body = Info), KeyProblem))]
async fn info(State(app): State<AppState>) -> Response {
    let page = app.info_page.get(|| serde_json::to_vec(&facts(&app)).expect("they are plain data").into());
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.extensions_mut().insert(SharedPage);
    response
}

fn facts(app: &App) -> Info {
    let settings = &app.settings;
    let slot = app.models().get(None);
    let model = slot.and_then(|slot| slot.current());
    let name = slot.map_or_else(String::new, |slot| slot.name.to_string());
    let longest = model.as_ref().map_or(0, |model| model.predictor.config().max_length);
    let labels = [Label::Negative, Label::Positive];
    Info {
        version: env!("CARGO_PKG_VERSION"),
        model: name.clone(),
        model_id: name,
        model_sha: model.as_ref().map_or_else(String::new, |model| model.version.clone()),
        sha: (),
        docker_label: (),
        model_dtype: model.as_ref().map_or("", |model| match model.predictor.config().recurrent_precision {
            RecurrentPrecision::F32 => "float32",
            RecurrentPrecision::Int8 => "int8",
        }),
        model_type: ModelType {
            classifier: ClassifierModel {
                id2label: labels.into_iter().map(|label| ((label as usize).to_string(), label)).collect(),
                label2id: labels.into_iter().map(|label| (label.to_string(), label as usize)).collect(),
            },
        },
        max_input_length: longest,
        max_client_batch_size: settings.max_texts,
        max_concurrent_requests: settings.max_pending_reviews,
        max_batch_tokens: settings.max_pending_reviews.saturating_mul(longest),
        max_batch_requests: model.as_ref().map_or(1, |model| model.predictor.batch_rows()),
        tokenization_workers: app.scorer.pool().threads(),
        auto_truncate: true,
        ready: app.readiness().is_ok(),
        uptime_seconds: app.started.elapsed().as_secs(),
        models: app.models().iter().filter_map(model_info).collect(),
        limits: Limits {
            max_body_bytes: settings.max_body_bytes,
            max_texts: settings.max_texts,
            max_windows: settings.max_windows,
            request_timeout_seconds: settings.request_timeout.as_secs_f64(),
            abstain: settings.abstain,
        },
    }
}

fn model_info(slot: &ModelSlot) -> Option<ModelInfo> {
    let loaded = slot.current()?;
    Some(ModelInfo {
        name: loaded.name.to_string(),
        version: loaded.version.clone(),
        loaded_at: unix_seconds(loaded.loaded_at),
        config: loaded.predictor.config().clone(),
        metadata: loaded.predictor.metadata().clone(),
        training: loaded.training.clone(),
        self_test: loaded.self_test.clone(),
        last_reload: slot.last_reload(),
        cost: CostInfo {
            ns_per_byte: loaded.cost.ns_per_byte,
            ns_per_text: loaded.cost.ns_per_text,
            ns_per_token: loaded.cost.ns_per_token,
        },
        drift: loaded.drift.as_ref().and_then(|drift| {
            let distance = drift.distance();
            distance.is_full.then(|| DriftInfo {
                reviews: distance.reviews,
                probability: distance.probability,
                tokens: distance.tokens,
                unknown_share: distance.unknown_share,
                baseline_unknown_share: drift.baseline().unknown_share,
            })
        }),
    })
}
