//! `GET /docs`: the description of the API as a page on which each request can be tried.
//!
//! Swagger UI out of its crate, with a document and a start of our own: it shows the server that it came from, asks for a
//! key where there are keys, and fetches nothing from elsewhere, which its Content-Security-Policy holds it to.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::Config;

use super::page::{Page, digest_source};
use crate::serve::app::AppState;
use crate::serve::http::SharedPage;

const SHELL: &str = include_str!("docs/index.html");
const STYLE: &str = include_str!("docs/style.css");
const START: &str = include_str!("docs/start.js");

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = SHELL.replace("/* style */", STYLE).replace("/* start */", START);
    // Pictures: those that Swagger UI's style holds. A file that was answered is offered as a `blob:`.
    let policy = format!(
        "default-src 'none'; script-src 'self' {}; style-src 'self' {}; connect-src 'self'; img-src data: blob:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest_source(START),
        digest_source(STYLE)
    );
    Page { html, policy: policy.parse().expect("digests are ASCII") }
});

/// The routes of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(docs)).routes(routes!(docs_script)).routes(routes!(docs_style))
}

/// This description as a page on which each request can be tried
///
/// It needs no key itself and asks for one where the server has keys. `--no-page` turns it off.
#[utoipa::path(get, path = "/docs", tag = "operation", security(()),
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
async fn docs() -> Response {
    PAGE.response()
}

/// The script of `/docs`, packed
#[utoipa::path(get, path = "/docs/swagger-ui-bundle.js", tag = "operation", security(()),
    responses((status = 200, description = "Swagger UI", body = String, content_type = "text/javascript")))]
async fn docs_script() -> Response {
    part("swagger-ui-bundle.js")
}

/// The style of `/docs`, packed
#[utoipa::path(get, path = "/docs/swagger-ui.css", tag = "operation", security(()),
    responses((status = 200, description = "Swagger UI", body = String, content_type = "text/css")))]
async fn docs_style() -> Response {
    part("swagger-ui.css")
}

/// A file of Swagger UI as the crate holds it: packed, which every browser takes.
fn part(name: &str) -> Response {
    let file = utoipa_swagger_ui::serve(name, Arc::new(Config::default())).ok().flatten();
    let file = file.expect("the crate holds the two files that its own page names");
    let bytes = match file.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let mut response = Response::new(Body::from(bytes));
    response.extensions_mut().insert(SharedPage);
    let headers = response.headers_mut();
    if file.gzpipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Ok(kind) = file.content_type.parse() {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_runs_what_its_policy_names() {
        let Page { html, policy } = &*PAGE;
        assert!(html.contains(START) && html.contains(STYLE));
        for elsewhere in ["http:", "https:", "//cdn", "innerHTML", "onclick="] {
            assert!(!html.contains(elsewhere), "{elsewhere}");
        }
        let policy = policy.to_str().unwrap();
        assert!(policy.matches("'sha256-").count() == 2 && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn the_crate_holds_the_files_packed_and_small() {
        for name in ["swagger-ui-bundle.js", "swagger-ui.css"] {
            let response = part(name);
            assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip", "{name}");
            assert!(axum::body::HttpBody::size_hint(response.body()).upper().unwrap() < 1 << 20, "{name}");
        }
    }
}
