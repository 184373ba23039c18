//! `/ping` and `/invocations`: what Amazon SageMaker asks of a container.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::health::{self, Health};
use super::huggingface;
use super::predict::{self, PredictAnswer, PredictBody};
use super::shared::{NamedModelProblem, NotReadyProblem, ScoringProblems};
use crate::serve::app::AppState;
use crate::serve::problem::Problem;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(ping)).routes(routes!(invocations))
}

/// Whether requests should be sent here, as `/health/ready`
#[utoipa::path(get, path = "/ping", tag = "sagemaker", security(()),
    responses((status = 200, description = "Ready", body = Health), NotReadyProblem))]
async fn ping(app: State<AppState>) -> Result<Json<Health>, Problem> {
    health::ready(app).await
}

/// Scores one text or many, as `POST /predict`
///
/// A body with `inputs` is read and answered as Hugging Face's containers do: as by `POST /`. Streams are
/// `application/jsonlines` here.
#[utoipa::path(post, path = "/invocations", tag = "sagemaker",
    request_body(content = PredictBody, content_type = "application/json"),
    responses((status = 200, description = "The predictions", body = PredictAnswer), ScoringProblems,
        NamedModelProblem))]
async fn invocations(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    predict::respond(&app, request, huggingface::parse).await
}
