//! The routes, and what stands around them.

use axum::Router;

use super::api;
use super::app::{AppState, Served};
use super::middleware;
use super::observe::routes::Routes;
use super::problem::{Problem, ProblemKind};

/// The routes over `app`, with everything around them.
pub fn router(app: AppState) -> Router {
    let (router, description) = api::routes(!app.settings.no_page).split_for_parts();
    app.served.get_or_init(|| Served {
        routes: Routes::new(api::openapi::paths(&description)),
        description: api::openapi::yaml(&description),
        description_json: api::openapi::json(&description),
    });
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(app.clone(), middleware::layer));
    let router = match app.cors.clone() {
        Some(cors) => router.layer(cors),
        None => router,
    };
    router.with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "no such path; /openapi.yaml describes those that there are")
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        ProblemKind::MethodNotAllowed,
        "this path has no such method; `Allow` names those that it has",
    )
}
