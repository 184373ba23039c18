//! Health: whether the process lives, and whether requests should be sent here.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::NotReadyProblem;
use crate::serve::app::AppState;
use crate::serve::problem::Problem;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(live)).routes(routes!(ready)).routes(routes!(health))
}

/// What `GET /` answers where there is no page: many a health checker asks there.
pub fn root_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(root))
}

/// The body of a health answer.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    #[schema(example = "ok")]
    status: &'static str,
}

const OK: Json<Health> = Json(Health { status: "ok" });

/// Whether the process answers
///
/// It says nothing of the models: a server that fails this one should be restarted.
#[utoipa::path(get, path = "/health/live", tag = "operation", security(()),
    responses((status = 200, description = "It does", body = Health)))]
async fn live() -> Json<Health> {
    OK
}

/// Whether requests should be sent here
///
/// Not while the server shuts down, nor while a model fails its self-test. A model that was unloaded by request does not count.
#[utoipa::path(get, path = "/health/ready", tag = "operation", security(()),
    responses((status = 200, description = "Ready", body = Health), NotReadyProblem))]
pub async fn ready(State(app): State<AppState>) -> Result<Json<Health>, Problem> {
    app.readiness().map(|()| OK)
}

/// Whether requests should be sent here, as `/health/ready`
#[utoipa::path(get, path = "/health", tag = "operation", security(()),
    responses((status = 200, description = "Ready", body = Health), NotReadyProblem))]
async fn health(app: State<AppState>) -> Result<Json<Health>, Problem> {
    ready(app).await
}

/// Whether requests should be sent here, as `/health/ready`
#[utoipa::path(get, path = "/", tag = "operation", security(()),
    responses((status = 200, description = "Ready", body = Health), NotReadyProblem))]
async fn root(app: State<AppState>) -> Result<Json<Health>, Problem> {
    ready(app).await
}
