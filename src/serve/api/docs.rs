//! `GET /docs`: the description of the API as a page on which each request can be tried.
//!
//! Swagger UI out of its crate, with a document and a start of our own: it shows the server that it came from, asks for a
//! key where there are keys, and fetches nothing from elsewhere, which its Content-Security-Policy holds it to.

use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use rawzip::{CompressionMethod, ZipArchive};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

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
    static SCRIPT: LazyLock<Bytes> = LazyLock::new(|| packed("swagger-ui-bundle.js"));
    part(&SCRIPT, "text/javascript; charset=utf-8")
}

/// The style of `/docs`, packed
#[utoipa::path(get, path = "/docs/swagger-ui.css", tag = "operation", security(()),
    responses((status = 200, description = "Swagger UI", body = String, content_type = "text/css")))]
async fn docs_style() -> Response {
    static STYLE: LazyLock<Bytes> = LazyLock::new(|| packed("swagger-ui.css"));
    part(&STYLE, "text/css; charset=utf-8")
}

/// A file of Swagger UI, packed, which every browser takes.
fn part(file: &Bytes, kind: &'static str) -> Response {
    let mut response = Response::new(Body::from(file.clone()));
    response.extensions_mut().insert(SharedPage);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

/// A file of the archive's folder `dist` as gzip. The archive holds it deflated, to which gzip (RFC 1952) adds ten bytes in
/// front, checksum and length behind: it is neither unpacked nor packed.
fn packed(name: &str) -> Bytes {
    let archive = ZipArchive::from_slice(SWAGGER_UI_VENDORED).expect("the crate's archive is whole");
    let path = format!("/dist/{name}");
    let entry = archive
        .entries()
        .filter_map(Result::ok)
        .find(|entry| entry.file_path().as_bytes().ends_with(path.as_bytes()))
        .filter(|entry| entry.compression_method() == CompressionMethod::DEFLATE)
        .expect("the crate holds the two files that its own page names");
    let deflated = archive.get_entry(entry.wayfinder()).expect("the crate's archive is whole").data();
    // Magic number, method deflate, no flags, no time, no hints, of no system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    file.extend(deflated);
    file.extend(entry.crc32().to_le_bytes());
    // The length is kept modulo 2³², as RFC 1952 has it.
    file.extend((entry.uncompressed_size_hint() as u32).to_le_bytes());
    file.into()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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
        for (name, inside) in [("swagger-ui-bundle.js", "SwaggerUIBundle"), ("swagger-ui.css", ".swagger-ui")]
        {
            let file = packed(name);
            assert!(file.len() < 1 << 20, "{name}: {}", file.len());
            // The reader compares checksum and length.
            let mut text = String::new();
            flate2::read::GzDecoder::new(&file[..]).read_to_string(&mut text).unwrap();
            assert!(text.contains(inside), "{name}");
        }
    }
}
