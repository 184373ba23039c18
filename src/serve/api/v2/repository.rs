//! The repository of models, as Triton's clients ask for it: what there is, loading, unloading.
//!
//! To load is to take up what changed in the model's directory, as SIGHUP does for all; an unloaded model takes no memory and
//! answers nothing until it is loaded again. Models that the server was not started with cannot be loaded.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::serve::api::shared::{BodyProblems, ForbiddenProblem, ModelPath, NamedModelProblem, path_text};
use crate::serve::app::{App, AppState};
use crate::serve::http::json::{self, Object};
use crate::serve::models::series::ReloadOutcome;
use crate::serve::models::{ANY_VERSION, ModelSlot};
use crate::serve::problem::{Problem, ProblemKind};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(index)).routes(routes!(load)).routes(routes!(unload))
}

/// A question about the repository.
#[derive(Default, Deserialize, ToSchema)]
struct IndexBody {
    /// Whether only models that take requests are listed.
    #[serde(default)]
    #[schema(required = false)]
    ready: bool,
}

/// A model of the repository.
#[derive(Serialize, ToSchema)]
struct IndexEntry {
    /// Its name.
    name: String,
    /// Its version, as /info gives it; 1 where it is unloaded.
    version: String,
    /// `READY` or `UNAVAILABLE`.
    state: &'static str,
    /// Why it is not ready.
    reason: String,
}

/// What is to be loaded or unloaded, and how.
#[derive(Default, Deserialize, ToSchema)]
struct LoadBody {
    /// None that changes the model is known.
    #[serde(default)]
    #[schema(value_type = HashMap<String, serde_json::Value>, required = false)]
    parameters: Option<Object<LoadParameters>>,
}

#[derive(Default, Deserialize)]
struct LoadParameters {
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
}

/// Nothing but that it is done.
#[derive(Serialize, ToSchema)]
struct Done {}

/// What models there are, and whether they take requests
#[utoipa::path(post, path = "/v2/repository/index", operation_id = "v2_repository_index", tag = "open inference protocol",
    request_body(content = Option<IndexBody>, content_type = "application/json"),
    responses((status = 200, description = "The models", body = Vec<IndexEntry>), BodyProblems))]
async fn index(
    State(app): State<AppState>,
    request: Request<Body>,
) -> Result<Json<Vec<IndexEntry>>, Problem> {
    let wanted: IndexBody = read(&app, request).await?;
    let entries = app.models().iter().map(entry);
    Ok(Json(entries.filter(|entry| !wanted.ready || entry.state == READY).collect()))
}

/// Takes up what changed in a model's directory, or a model that was unloaded
///
/// Only where the server has API keys or was started with `--repository-control` (403).
#[utoipa::path(post, path = "/v2/repository/models/{model}/load", operation_id = "v2_repository_load", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content = Option<LoadBody>, content_type = "application/json"),
    responses((status = 200, description = "It is served", body = Done), BodyProblems, NamedModelProblem,
        ForbiddenProblem))]
async fn load(
    State(app): State<AppState>,
    model: ModelPath,
    request: Request<Body>,
) -> Result<Json<Done>, Problem> {
    let slot = controlled(&app, model, request).await?;
    let reloading = app.clone();
    let outcome = tokio::task::spawn_blocking(move || {
        reloading.models().iter().nth(slot).map(ModelSlot::load_or_reload)
    });
    let failed = || Problem::new(ProblemKind::Internal, "loading it failed");
    let reload = outcome.await.map_err(|_| failed())?.ok_or_else(failed)?;
    match (reload.outcome, reload.reason) {
        (ReloadOutcome::Refused, reason) => {
            let detail = format!("refused, it stays as it was: {}", reason.unwrap_or_default());
            Err(Problem::new(ProblemKind::InvalidFields, detail))
        }
        _ => Ok(Json(Done {})),
    }
}

/// Takes a model out of service
///
/// It answers 503 from then on and takes no memory, until it is loaded again; SIGHUP and `--watch` leave it unloaded. Only
/// where the server has API keys or was started with `--repository-control` (403).
#[utoipa::path(post, path = "/v2/repository/models/{model}/unload", operation_id = "v2_repository_unload", tag = "open inference protocol",
    params(("model" = String, Path, description = "The model's name")),
    request_body(content = Option<LoadBody>, content_type = "application/json"),
    responses((status = 200, description = "It answers nothing any more", body = Done), BodyProblems, NamedModelProblem,
        ForbiddenProblem))]
async fn unload(
    State(app): State<AppState>,
    model: ModelPath,
    request: Request<Body>,
) -> Result<Json<Done>, Problem> {
    let slot = controlled(&app, model, request).await?;
    let end = Instant::now() + app.settings.request_timeout;
    while app.models().iter().nth(slot).is_some_and(|slot| !slot.unload()) {
        if Instant::now() >= end {
            return Err(Problem::new(ProblemKind::Internal, "an earlier load of it does not end"));
        }
        sleep(LOOK).await;
    }
    Ok(Json(Done {}))
}

const READY: &str = "READY";
/// How often it is looked whether a load has ended.
const LOOK: Duration = Duration::from_millis(20);

fn entry(slot: &ModelSlot) -> IndexEntry {
    let loaded = slot.current();
    let problem = slot.check_ready().err();
    IndexEntry {
        name: slot.name.to_string(),
        version: loaded.map_or_else(|| ANY_VERSION.into(), |loaded| loaded.version.clone()),
        state: if problem.is_none() { READY } else { "UNAVAILABLE" },
        reason: problem.map_or_else(String::new, |problem| problem.into_detail()),
    }
}

/// The place of the model that `request` is about, where its sender may change what is served.
async fn controlled(app: &App, model: ModelPath, request: Request<Body>) -> Result<usize, Problem> {
    let may = || {
        let model = path_text(model)?;
        if !app.settings.repository_control && !app.keys.are_asked_for() {
            let detail = "loading and unloading need API keys, or --repository-control";
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        let slot = app.scorer.slot(Some(&model))?;
        Ok(app.models().iter().position(|other| other.name == slot.name).unwrap_or_default())
    };
    match may() {
        Ok(place) => {
            let body: LoadBody = read(app, request).await?;
            let config = body.parameters.and_then(|Object(parameters)| parameters.config);
            match config {
                None => Ok(place),
                Some(_) => {
                    let detail = "parameters.config: a model's directory alone says how it is run";
                    Err(Problem::new(ProblemKind::InvalidFields, detail))
                }
            }
        }
        Err(problem) => {
            app.bodies.drain(request).await;
            Err(problem)
        }
    }
}

/// The body of `request`, which these clients leave out or leave empty.
async fn read<T: Default + for<'a> Deserialize<'a>>(app: &App, request: Request<Body>) -> Result<T, Problem> {
    let body = app.bodies.read(request).await?.unpack()?;
    if matches!(body.bytes.trim_ascii(), b"" | b"null") { Ok(T::default()) } else { json::read(&body.bytes) }
}
