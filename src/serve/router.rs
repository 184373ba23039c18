//! The routes, and what stands around them.

use axum::Router;

use super::api;
use super::app::{AppState, Served};
use super::middleware;
use super::observe::routes::Routes;
use super::problem::{Problem, ProblemKind};

/// The routes over `app`, with everything around them.
pub fn router(app: AppState) -> Router {
    around(api::routes(!app.settings.no_page).into(), app)
}

/// `router` with what stands around every route.
fn around(router: Router<AppState>, app: AppState) -> Router {
    app.served.get_or_init(|| {
        let description = api::routes(!app.settings.no_page).into_openapi();
        let routes = Routes::new(api::openapi::paths(&description), app.keys.are_asked_for());
        let description_json = api::openapi::json(&description).into();
        Served { routes, description: api::openapi::yaml(&description).into(), description_json }
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

/// The routes of health, and of the figures where `metrics` says so, for a listener of their own.
pub fn side_router(app: AppState, metrics: bool) -> Router {
    let router = Router::from(api::side_routes(metrics));
    around(router, app)
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
