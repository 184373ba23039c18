//! The routes, and what stands around them.

use axum::Router;
use axum::routing::{get, post};

use super::api::{huggingface, operations, predict, v2};
use super::app::AppState;
use super::middleware;
use super::problem::{Kind, Problem};

/// The routes over `app`, with everything around them.
pub fn router(app: AppState) -> Router {
    let router = Router::new()
        .route("/predict", post(predict::predict))
        .route("/", post(huggingface::default_model))
        .route("/models/{model}", post(huggingface::named_model))
        .route("/health", get(operations::health))
        .route("/health/live", get(operations::live))
        .route("/health/ready", get(operations::ready))
        .route("/info", get(operations::info))
        .route("/metrics", get(operations::metrics))
        .route("/openapi.yaml", get(operations::openapi))
        .route("/v2", get(v2::server))
        .route("/v2/health/live", get(v2::live))
        .route("/v2/health/ready", get(v2::ready))
        .route("/v2/models/{model}", get(v2::model))
        .route("/v2/models/{model}/ready", get(v2::model_ready))
        .route("/v2/models/{model}/infer", post(v2::infer))
        .route("/v2/models/{model}/versions/{version}", get(v2::model_version))
        .route("/v2/models/{model}/versions/{version}/ready", get(v2::model_version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(v2::infer_version))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::around));
    let router = match app.cors.clone() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "no such path; /openapi.yaml describes those that there are")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "this path has no such method; `Allow` names those that it has")
}
