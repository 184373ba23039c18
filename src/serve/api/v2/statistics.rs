//! The configuration and the figures of a model, as Triton's clients ask for them (`perf_analyzer` among them).

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tensors::{INPUT, Output};
use crate::serve::api::shared::{KeyProblem, ModelPath, ModelProblems, VersionPath, path_text};
use crate::serve::app::{App, AppState};
use crate::serve::models::tally::Tally;
use crate::serve::models::{ANY_VERSION, ModelSlot};
use crate::serve::named::Named;
use crate::serve::problem::Problem;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(models))
        .routes(routes!(config))
        .routes(routes!(config_version))
        .routes(routes!(statistics))
        .routes(routes!(model_statistics))
        .routes(routes!(model_statistics_version))
}

/// The names of the models.
#[derive(Serialize, ToSchema)]
struct ModelNames {
    /// The default model first.
    models: Vec<String>,
}

/// How a model is run.
#[derive(Serialize, ToSchema)]
struct ModelConfig {
    /// Its name.
    name: String,
    /// `imdb-sentiment`.
    platform: &'static str,
    /// `imdb-sentiment`.
    backend: &'static str,
    /// 0: the number of texts is a side of the tensors like any other.
    max_batch_size: u64,
    /// The one input.
    input: Vec<TensorConfig>,
    /// The outputs.
    output: Vec<TensorConfig>,
}

/// An input or output of a model.
#[derive(Serialize, ToSchema)]
struct TensorConfig {
    /// Its name.
    name: &'static str,
    /// Its type.
    #[schema(example = "TYPE_STRING")]
    data_type: &'static str,
    /// Its shape; -1 stands for the number of texts.
    dims: Vec<i64>,
}

/// The figures of models.
#[derive(Serialize, ToSchema)]
struct Statistics {
    /// One for each model.
    model_stats: Vec<ModelStatistics>,
}

/// The figures of one model since the server started; requests of every protocol count.
#[derive(Serialize, ToSchema)]
struct ModelStatistics {
    /// Its name.
    name: String,
    /// 1: whatever is loaded.
    version: &'static str,
    /// When it was last asked, in milliseconds since 1970; 0 where it never was.
    last_inference: u64,
    /// Texts that were scored.
    inference_count: u64,
    /// Requests for which they were.
    execution_count: u64,
    /// Where the time went.
    inference_stats: Durations,
    /// None: texts of several requests are scored together.
    #[schema(value_type = Vec<HashMap<String, serde_json::Value>>)]
    batch_stats: [(); 0],
}

/// Where the time of a model's requests went. What this server does not tell apart is 0.
#[derive(Default, Serialize, ToSchema)]
struct Durations {
    /// Requests that were answered, from their body to their answer.
    success: Duration,
    /// Requests that were not.
    fail: Duration,
    /// Not told apart: 0.
    queue: Duration,
    /// Not told apart: 0.
    compute_input: Duration,
    /// The same as `success`.
    compute_infer: Duration,
    /// Not told apart: 0.
    compute_output: Duration,
    /// There is no cache: 0.
    cache_hit: Duration,
    /// There is no cache: 0.
    cache_miss: Duration,
}

/// How often, and for how long together.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
struct Duration {
    /// How often.
    count: u64,
    /// Nanoseconds.
    ns: u64,
}

/// The names of the models
#[utoipa::path(get, path = "/v2/models", operation_id = "v2_models", tag = "open inference protocol",
    responses((status = 200, description = "Their names", body = ModelNames), KeyProblem))]
async fn models(State(app): State<AppState>) -> Json<ModelNames> {
    Json(ModelNames { models: app.models().iter().map(|slot| slot.name.to_string()).collect() })
}

/// How a model is run
#[utoipa::path(get, path = "/v2/models/{model}/config", operation_id = "v2_model_config", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Its configuration", body = ModelConfig), ModelProblems))]
async fn config(State(app): State<AppState>, model: ModelPath) -> Result<Json<ModelConfig>, Problem> {
    find(&app, &path_text(model)?, None).map(configuration)
}

/// How a model is run, if it has that version
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/config", operation_id = "v2_model_version_config", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name"), ("version" = String, Path, description = "Its version, as /info gives it, or 1")),
    responses((status = 200, description = "Its configuration", body = ModelConfig), ModelProblems))]
async fn config_version(
    State(app): State<AppState>,
    path: VersionPath,
) -> Result<Json<ModelConfig>, Problem> {
    let (model, version) = path_text(path)?;
    find(&app, &model, Some(&version)).map(configuration)
}

/// The figures of all models
#[utoipa::path(get, path = "/v2/models/stats", operation_id = "v2_statistics", tag = "open inference protocol",
    responses((status = 200, description = "Their figures", body = Statistics), KeyProblem))]
async fn statistics(State(app): State<AppState>) -> Json<Statistics> {
    Json(Statistics { model_stats: app.models().iter().map(figures).collect() })
}

/// The figures of a model
#[utoipa::path(get, path = "/v2/models/{model}/stats", operation_id = "v2_model_statistics", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "Its figures", body = Statistics), ModelProblems))]
async fn model_statistics(
    State(app): State<AppState>,
    model: ModelPath,
) -> Result<Json<Statistics>, Problem> {
    let slot = find(&app, &path_text(model)?, None)?;
    Ok(Json(Statistics { model_stats: vec![figures(slot)] }))
}

/// The figures of a model, if it has that version
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/stats", operation_id = "v2_model_version_statistics", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name"), ("version" = String, Path, description = "Its version, as /info gives it, or 1")),
    responses((status = 200, description = "Its figures", body = Statistics), ModelProblems))]
async fn model_statistics_version(
    State(app): State<AppState>,
    path: VersionPath,
) -> Result<Json<Statistics>, Problem> {
    let (model, version) = path_text(path)?;
    let slot = find(&app, &model, Some(&version))?;
    Ok(Json(Statistics { model_stats: vec![figures(slot)] }))
}

fn find<'a>(app: &'a App, model: &str, version: Option<&str>) -> Result<&'a ModelSlot, Problem> {
    let slot = app.scorer.slot(Some(model))?;
    slot.check_version(version)?;
    Ok(slot)
}

fn configuration(slot: &ModelSlot) -> Json<ModelConfig> {
    let output = |output: &Output| TensorConfig {
        name: output.name(),
        data_type: match output.datatype() {
            "BYTES" => "TYPE_STRING",
            "FP32" => "TYPE_FP32",
            "INT32" => "TYPE_INT32",
            _ => "TYPE_BOOL",
        },
        dims: output.shape(-1),
    };
    Json(ModelConfig {
        name: slot.name.to_string(),
        platform: env!("CARGO_PKG_NAME"),
        backend: env!("CARGO_PKG_NAME"),
        max_batch_size: 0,
        input: vec![TensorConfig { name: INPUT, data_type: "TYPE_STRING", dims: vec![-1] }],
        output: Output::ALL.iter().map(output).collect(),
    })
}

fn figures(slot: &ModelSlot) -> ModelStatistics {
    let duration = |tally: &Tally| Duration { count: tally.requests(), ns: tally.nanoseconds() };
    let answered = duration(&slot.answered);
    // Every request passes every stage, and `perf_analyzer` takes a model whose queue nothing passes for one that is not
    // asked. Times are not told apart: all of it is computing.
    let passed = Duration { count: answered.count, ns: 0 };
    ModelStatistics {
        name: slot.name.to_string(),
        version: ANY_VERSION,
        last_inference: slot.answered.last_ms(),
        inference_count: slot.answered.texts(),
        execution_count: answered.count,
        inference_stats: Durations {
            success: answered,
            fail: duration(&slot.refused),
            queue: passed,
            compute_input: passed,
            compute_infer: answered,
            compute_output: passed,
            ..Durations::default()
        },
        batch_stats: [],
    }
}
