//! The Open Inference Protocol, version 2, over HTTP (`tritonclient`, KServe), with the binary tensor extension.

mod repository;
mod schema;
mod statistics;
mod tensors;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::schema::{InferAnswer, InferBody, InferBytes};
use self::tensors::{InferRequest, InferResponse, Wanted};
use super::shared::{
    Address, KeyProblem, ModelPath, ModelProblems, NamedModelProblem, NotReadyProblem, ScoringProblems,
    VersionPath, answer, path_text,
};
use crate::serve::app::{App, AppState};
use crate::serve::compute::request::ScoreRequest;
use crate::serve::named::Named;
use crate::serve::problem::{Problem, ProblemKind};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(server))
        .routes(routes!(live))
        .routes(routes!(ready))
        .routes(routes!(model))
        .routes(routes!(model_version))
        .routes(routes!(model_ready))
        .routes(routes!(model_version_ready))
        .routes(routes!(infer))
        .routes(routes!(infer_version))
        .merge(statistics::routes())
        .merge(repository::routes())
}

/// The header that says how many bytes of the body are JSON; the rest are tensors.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The server, as the protocol describes one.
#[derive(Serialize, ToSchema)]
struct ServerMetadata {
    /// `imdb-sentiment`.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Extensions of the protocol.
    extensions: &'static [&'static str],
}

/// Whether the process answers.
#[derive(Serialize, ToSchema)]
struct Live {
    /// True.
    live: bool,
}

/// Whether requests should be sent here.
#[derive(Serialize, ToSchema)]
struct Ready {
    /// True.
    ready: bool,
}

/// Whether a model takes requests.
#[derive(Serialize, ToSchema)]
struct ModelReady {
    /// The model's name.
    name: String,
    /// True.
    ready: bool,
}

/// A model's inputs and outputs.
#[derive(Serialize, ToSchema)]
struct ModelMetadata {
    /// Its name.
    name: String,
    /// The version that is loaded.
    versions: Vec<String>,
    /// `imdb-sentiment`.
    platform: &'static str,
    /// The one input.
    inputs: Vec<TensorMetadata>,
    /// The outputs, in the order in which they are answered.
    outputs: Vec<TensorMetadata>,
}

/// One input or output of a model.
#[derive(Serialize, ToSchema)]
struct TensorMetadata {
    /// Its name.
    name: &'static str,
    /// Its type.
    datatype: &'static str,
    /// Its shape; -1 stands for the number of texts.
    shape: Vec<i64>,
}

/// The server's name, version and extensions
#[utoipa::path(get, path = "/v2", operation_id = "v2_server", tag = "open inference protocol",
    responses((status = 200, description = "The server", body = ServerMetadata),
        KeyProblem))]
async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        extensions: &[
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "parameters",
            "statistics",
        ],
    })
}

/// Whether the process answers
#[utoipa::path(get, path = "/v2/health/live", operation_id = "v2_live", tag = "open inference protocol", security(()),
    responses((status = 200, description = "It does", body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether requests should be sent here
#[utoipa::path(get, path = "/v2/health/ready", operation_id = "v2_ready", tag = "open inference protocol", security(()),
    responses((status = 200, description = "Ready", body = Ready),
        NotReadyProblem))]
async fn ready(State(app): State<AppState>) -> Result<Json<Ready>, Problem> {
    app.readiness()?;
    Ok(Json(Ready { ready: true }))
}

/// A model's inputs and outputs
#[utoipa::path(get, path = "/v2/models/{model}", operation_id = "v2_model", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "The model", body = ModelMetadata), ModelProblems,
        NotReadyProblem))]
async fn model(State(app): State<AppState>, model: ModelPath) -> Result<Json<ModelMetadata>, Problem> {
    describe(&app, &path_text(model)?, None)
}

/// A model's inputs and outputs, if it has that version
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}", operation_id = "v2_model_version", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name"), ("version" = String, Path, description = "Its version, as /info gives it, or 1")),
    responses((status = 200, description = "The model", body = ModelMetadata), ModelProblems,
        NotReadyProblem))]
async fn model_version(
    State(app): State<AppState>,
    path: VersionPath,
) -> Result<Json<ModelMetadata>, Problem> {
    let (model, version) = path_text(path)?;
    describe(&app, &model, Some(&version))
}

/// Whether a model takes requests
#[utoipa::path(get, path = "/v2/models/{model}/ready", operation_id = "v2_model_ready", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    responses((status = 200, description = "It does", body = ModelReady), ModelProblems,
        NotReadyProblem))]
async fn model_ready(State(app): State<AppState>, model: ModelPath) -> Result<Json<ModelReady>, Problem> {
    is_ready(&app, &path_text(model)?, None)
}

/// Whether a model takes requests, if it has that version
#[utoipa::path(get, path = "/v2/models/{model}/versions/{version}/ready", operation_id = "v2_model_version_ready", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name"), ("version" = String, Path, description = "Its version, as /info gives it, or 1")),
    responses((status = 200, description = "It does", body = ModelReady), ModelProblems,
        NotReadyProblem))]
async fn model_version_ready(
    State(app): State<AppState>,
    path: VersionPath,
) -> Result<Json<ModelReady>, Problem> {
    let (model, version) = path_text(path)?;
    is_ready(&app, &model, Some(&version))
}

/// Scores texts
///
/// One input named `text` of type BYTES, in JSON or as binary data. Outputs are those that the schema of
/// `outputs` lists; all of them where none is asked for.
/// `parameters` may hold `truncate` and `abstain` as in `POST /predict`.
#[utoipa::path(post, path = "/v2/models/{model}/infer", operation_id = "v2_infer", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content = InferBody, content_type = "application/json"),
    responses((status = 200, description = "The outputs; where some are wanted as binary data, the JSON has \
            `inference-header-content-length` bytes and they follow it",
            content((InferAnswer = "application/json"), (InferBytes = "application/octet-stream"))),
        ScoringProblems, NamedModelProblem))]
async fn infer(
    State(app): State<AppState>,
    model: ModelPath,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let model = path_text(model)?;
    infer_model(&app, model, None, request).await
}

/// Scores texts, if the model has that version
#[utoipa::path(post, path = "/v2/models/{model}/versions/{version}/infer", operation_id = "v2_infer_version", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name"), ("version" = String, Path, description = "Its version, as /info gives it, or 1")),
    request_body(content = InferBody, content_type = "application/json"),
    responses((status = 200, description = "The outputs; where some are wanted as binary data, the JSON has \
            `inference-header-content-length` bytes and they follow it",
            content((InferAnswer = "application/json"), (InferBytes = "application/octet-stream"))),
        ScoringProblems, NamedModelProblem))]
async fn infer_version(
    State(app): State<AppState>,
    path: VersionPath,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let (model, version) = path_text(path)?;
    infer_model(&app, model, Some(version), request).await
}

fn describe(app: &App, model: &str, version: Option<&str>) -> Result<Json<ModelMetadata>, Problem> {
    let loaded = app.scorer.slot(Some(model))?.loaded()?;
    loaded.check_version(version)?;
    let outputs = tensors::Output::ALL.iter();
    let outputs = outputs.map(|output| TensorMetadata {
        name: output.name(),
        datatype: output.datatype(),
        shape: output.shape(-1),
    });
    Ok(Json(ModelMetadata {
        name: loaded.name.to_string(),
        versions: vec![loaded.version.clone()],
        platform: env!("CARGO_PKG_NAME"),
        inputs: vec![TensorMetadata { name: tensors::INPUT, datatype: "BYTES", shape: vec![-1] }],
        outputs: outputs.collect(),
    }))
}

fn is_ready(app: &App, model: &str, version: Option<&str>) -> Result<Json<ModelReady>, Problem> {
    let check = || {
        let slot = app.scorer.slot(Some(model))?;
        slot.check_version(version)?;
        app.check_serving()?;
        slot.check_ready()
    };
    check()?;
    Ok(Json(ModelReady { name: model.to_string(), ready: true }))
}

async fn infer_model(
    app: &App,
    model: String,
    version: Option<String>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    // The name comes first: a client that asks for another model should not be told of its tensors.
    let known = app.scorer.slot(Some(&model)).and_then(|slot| slot.check_version(version.as_deref()));
    let header_length = match known.and_then(|()| header_length(&request)) {
        Ok(length) => length,
        Err(problem) => {
            app.bodies.drain(request).await;
            return Err(problem);
        }
    };
    let body = app.bodies.read(request).await?;
    let address = Address { model: Some(model), version };
    let InferResponse { json, tensors } =
        answer(&app.scorer, body, address, move |bytes| parse(bytes, header_length), InferResponse::new)
            .await?;
    let json_length = json.len();
    let binary = !tensors.is_empty();
    let mut response = [json, tensors].concat().into_response();
    let headers = response.headers_mut();
    if binary {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(HEADER_LENGTH, json_length.into());
    } else {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(response)
}

fn header_length(request: &Request<Body>) -> Result<Option<usize>, Problem> {
    let Some(value) = request.headers().get(HEADER_LENGTH) else { return Ok(None) };
    match value.to_str().ok().and_then(|text| text.parse().ok()) {
        Some(length) => Ok(Some(length)),
        None => Err(Problem::new(ProblemKind::Malformed, "inference-header-content-length is not a number")),
    }
}

fn parse(bytes: &[u8], header_length: Option<usize>) -> Result<(ScoreRequest<'_>, Wanted), Problem> {
    let (json, tensors) = match header_length {
        None => (bytes, &[][..]),
        Some(length) => bytes.split_at_checked(length).ok_or_else(|| {
            let detail =
                format!("inference-header-content-length is {length}, the body has {} bytes", bytes.len());
            Problem::new(ProblemKind::Malformed, detail)
        })?,
    };
    InferRequest::parse(json, tensors)
}
