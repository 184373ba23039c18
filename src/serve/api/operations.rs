//! Health, `/info`, `/metrics`: what the service says of itself.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::Config;
use crate::serve::AppState;
use crate::serve::models::{Reload, SelfTest, Slot, unix_seconds};
use crate::serve::observe::exposition::Exposition;
use crate::serve::observe::process;
use crate::serve::problem::{Kind, Problem, ProblemBody};

/// The body of a health answer.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    pub status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// Whether the process answers
///
/// It says nothing of the models: a server that fails this one should be restarted.
#[utoipa::path(get, path = "/health/live", tag = "operation", security(()),
    responses((status = 200, description = "It does", body = Health)))]
pub async fn live() -> Response {
    OK.into_response()
}

/// Whether requests should be sent here
///
/// Not while the server shuts down, nor while a model fails its self-test.
#[utoipa::path(get, path = "/health/ready", tag = "operation", security(()),
    responses((status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn ready(State(app): State<AppState>) -> Result<Response, Problem> {
    let not = |detail: String| {
        Err(Problem::new(Kind::NotReady, detail).retry_after(app.settings.retry_after_seconds))
    };
    if app.is_draining() {
        return not("the server is shutting down".into());
    }
    if let Some(slot) = app.models.iter().find(|slot| !slot.passed()) {
        return not(format!("model `{}` failed its self-test; see /info", slot.name));
    }
    Ok(OK.into_response())
}

/// Whether requests should be sent here, as `/health/ready`
#[utoipa::path(get, path = "/health", tag = "operation", security(()),
    responses((status = 200, description = "Ready", body = Health),
        (status = 503, description = "Not now", body = ProblemBody, content_type = "application/problem+json")))]
pub async fn health(app: State<AppState>) -> Result<Response, Problem> {
    ready(app).await
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
    /// Whether requests should be sent here.
    pub ready: bool,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// Every model, the default first.
    pub models: Vec<ModelInfo>,
    /// The limits that a client should know.
    pub limits: Limits,
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
    #[schema(value_type = Object)]
    pub config: Config,
    /// The strings that came with the weights.
    pub metadata: std::collections::BTreeMap<String, String>,
    /// Settings, epochs and results of the training, where the directory has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, required = false)]
    pub training: Option<serde_json::Value>,
    /// How the golden reviews came out.
    pub self_test: SelfTest,
    /// The latest attempt to take up a changed directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reload: Option<Reload>,
    /// What it costs on this machine.
    pub cost: CostInfo,
    /// How far the latest reviews are from the baseline, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    responses((status = 200, description = "What is served", body = Info),
        (status = 401, description = "An API key is needed (only where the server has keys)", body = ProblemBody,
            content_type = "application/problem+json")))]
pub async fn info(State(app): State<AppState>) -> Json<Info> {
    let settings = &app.settings;
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        model: app.models.get(None).map_or_else(String::new, |slot| slot.name.to_string()),
        ready: app.is_ready(),
        uptime_seconds: app.started.elapsed().as_secs(),
        models: app.models.iter().map(model_info).collect(),
        limits: Limits {
            max_body_bytes: settings.max_body_bytes,
            max_texts: settings.max_texts,
            max_windows: settings.max_windows,
            request_timeout_seconds: settings.request_timeout.as_secs_f64(),
            abstain: settings.abstain,
        },
    })
}

fn model_info(slot: &Slot) -> ModelInfo {
    let loaded = slot.current();
    ModelInfo {
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
        drift: loaded.drift.as_ref().map(|drift| {
            let distance = drift.distance();
            DriftInfo {
                reviews: distance.reviews,
                probability: distance.probability,
                tokens: distance.tokens,
                unknown_share: distance.unknown_share,
                baseline_unknown_share: drift.baseline().unknown_share,
            }
        }),
    }
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String, content_type = "text/plain"),
        (status = 401, description = "An API key is needed (only where the server has keys)", body = ProblemBody,
            content_type = "application/problem+json")))]
pub async fn metrics(State(app): State<AppState>) -> Response {
    let mut text = Exposition::default();
    app.telemetry.write(&mut text, &app.models);
    let g = "gauge";
    text.single("imdb_sentiment_pending_reviews", g, "Reviews waiting and in work.", app.pool.pending());
    text.single("imdb_sentiment_queue_depth", g, "Requests waiting for a compute thread.", app.pool.depth());
    text.single("imdb_sentiment_ready", g, "1 when requests should be sent here.", u8::from(app.is_ready()));
    text.metric("imdb_sentiment_build_info", g, "The server's version; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    process::write(&mut text);
    let mut response = text.finish().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// This description
#[utoipa::path(get, path = "/openapi.yaml", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/yaml"),
        (status = 401, description = "An API key is needed (only where the server has keys)", body = ProblemBody,
            content_type = "application/problem+json")))]
pub async fn openapi() -> Response {
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(super::openapi::yaml);
    let mut response = TEXT.as_str().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    response
}
