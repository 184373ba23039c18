//! `openapi.yaml`: generated from the handlers, so that it says what they do.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{huggingface, operations, predict, v2};
use crate::serve::problem;

/// The description of everything that the router answers.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "imdb-sentiment",
        description = "How positive is a film review? Every error is an RFC 9457 `application/problem+json`; an \
            unknown path is 404, a wrong method 405 with `Allow`. Every answer of a path bears `x-request-id`. With keys \
            configured, every path but health needs `Authorization: Bearer KEY` (401).",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = "sentiment", description = "The service's own format"),
        (name = "hugging face", description = "Text classification as Hugging Face's clients ask for it"),
        (name = "open inference protocol", description = "Version 2, as Triton's and KServe's clients speak it"),
        (name = "operation", description = "Health, figures, description"),
    ),
    paths(
        predict::predict,
        huggingface::default_model, huggingface::named_model,
        operations::health, operations::live, operations::ready, operations::info, operations::metrics, operations::openapi,
        v2::server, v2::live, v2::ready, v2::model, v2::model_version, v2::model_ready, v2::model_version_ready,
        v2::infer, v2::infer_version,
    ),
    components(schemas(problem::ProblemBody)),
    modifiers(&Keys),
)]
pub struct Description;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("One of the server's API keys; only where it has some"))
            .build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
        openapi.security =
            Some(vec![SecurityRequirement::default(), SecurityRequirement::new("key", Vec::<String>::new())]);
    }
}

/// The text of `openapi.yaml`.
pub fn yaml() -> String {
    Description::openapi().to_yaml().expect("the description is plain data")
}
