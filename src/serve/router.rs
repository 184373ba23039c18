//! The routes, and what stands around them.

use axum::Router;
use axum::http::Uri;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use utoipa::openapi::OpenApi;

use super::api;
use super::app::{AppState, LazyText, Served};
use super::http::NDJSON;
use super::middleware;
use super::observe::routes::Routes;
use super::problem::{Problem, ProblemKind};

/// Bytes from which on an answer is packed where its client takes that: one packet less is worth some microseconds.
const MIN_PACKED_BYTES: u16 = 1024;

/// The routes over `app`, with everything around them.
pub fn router(app: AppState) -> Router {
    around(api::routes(!app.settings.no_page).into(), app)
}

/// `router` with what stands around every route.
fn around(router: Router<AppState>, app: AppState) -> Router {
    app.served.get_or_init(|| {
        let description = api::routes(!app.settings.no_page).into_openapi();
        let routes = Routes::new(api::openapi::paths(&description), app.keys.are_asked_for());
        let page = !app.settings.no_page;
        let text = |write: fn(&OpenApi) -> String| {
            LazyText::new(Box::new(move || write(&api::routes(page).into_openapi()).into()))
        };
        Served { routes, description: text(api::openapi::yaml), description_json: text(api::openapi::json) }
    });
    let router = router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(packing())
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

/// Packs answers as their clients ask; a stream's lines leave as they are made.
fn packing() -> CompressionLayer<impl Predicate> {
    let predicate = SizeAbove::new(MIN_PACKED_BYTES.into()).and(NotForContentType::const_new(NDJSON));
    // The network is seldom so slow that the last tenth is worth twice the time.
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(predicate)
}

/// Takes the slashes off the end of a path: `/predict/` is `/predict`.
pub fn trim_slashes(uri: &mut Uri) {
    let path = uri.path();
    if !path.ends_with('/') || path.len() == 1 {
        return;
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    };
    let path = uri.query().map_or(path.to_string(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    if let Ok(trimmed) = Uri::from_parts(parts) {
        *uri = trimmed;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_at_the_end_of_a_path_are_none() {
        let trimmed = |uri: &str| {
            let mut uri = uri.parse().unwrap();
            trim_slashes(&mut uri);
            uri.to_string()
        };
        for (uri, expected) in [
            ("/predict/", "/predict"),
            ("/predict//?a=/", "/predict?a=/"),
            ("http://host/v2/", "http://host/v2"),
            ("/", "/"),
            ("//", "/"),
            ("/predict", "/predict"),
            ("*", "*"),
        ] {
            assert_eq!(trimmed(uri), expected, "{uri}");
        }
    }
}
