//! `GET /`: the page for people who would rather look.
//!
//! One document with its style and scripts in it, out of the files of `page/`. It asks this server and nobody else, which
//! its Content-Security-Policy holds it to: the style and the scripts run because their digests are named there.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::serve::app::AppState;
use crate::serve::http::SharedPage;

const SHELL: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/style.css");
const SCRIPTS: [(&str, &str); 3] = [
    ("/* core */", include_str!("page/core.js")),
    ("/* review */", include_str!("page/review.js")),
    ("/* files */", include_str!("page/files.js")),
];

/// A page of the service and the policy that goes with it.
pub struct Page {
    /// The document.
    pub html: String,
    /// Its Content-Security-Policy.
    pub policy: HeaderValue,
}

impl Page {
    /// The page as an answer, shared by all clients.
    pub fn response(&'static self) -> Response {
        let mut response = Response::new(Body::from(self.html.as_str()));
        response.extensions_mut().insert(SharedPage);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let mut html = SHELL.replace("/* style */", STYLE);
    if cfg!(feature = "docs") {
        html = html.replace("href=\"openapi.yaml\"", "href=\"docs\"");
    }
    let mut scripts = Vec::new();
    for (mark, script) in SCRIPTS {
        html = html.replace(mark, script);
        scripts.push(digest_source(script));
    }
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        scripts.join(" "),
        digest_source(STYLE)
    );
    Page { html, policy: policy.parse().expect("digests are ASCII") }
});

/// What names `text` in a policy: its digest.
pub fn digest_source(text: &str) -> String {
    use sha2::{Digest, Sha256};
    format!("'sha256-{}'", BASE64.encode(Sha256::digest(text.as_bytes())))
}

/// The route of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(page))
}

/// A page that shows what the model says and why
///
/// It needs no key itself and asks for one where the server has keys. `--no-page` turns it off.
#[utoipa::path(get, path = "/", tag = "operation", security(()),
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
async fn page() -> Response {
    PAGE.response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_small_document() {
        let Page { html, policy } = &*PAGE;
        assert!(html.len() < 100_000, "{}", html.len());
        for (mark, script) in SCRIPTS {
            assert!(!html.contains(mark) && html.contains(script));
            assert!(!script.contains("</script") && !script.contains("innerHTML"));
        }
        assert!(html.contains(STYLE) && !html.contains("/* style */"));
        // Nothing runs or is fetched but by the policy.
        for outside in ["src=", "@import", "url(http", "onclick=", "style=\""] {
            assert!(!html.contains(outside), "{outside}");
        }
        let policy = policy.to_str().unwrap();
        assert!(policy.matches("'sha256-").count() == 4 && !policy.contains("unsafe"), "{policy}");
    }
}
