//! `openapi.yaml`: generated from the handlers, so that it says what they do.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, ObjectBuilder, OpenApi as Description, PathItem, Ref, RefOr, ResponseBuilder,
    Type,
};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::shared::{KeyProblem, SharedResponse};
use crate::serve::app::{AppState, LazyText, Served};
use crate::serve::http::SharedPage;
use crate::serve::observe::routes::{DescribedRoute, Open};
use crate::serve::problem::{PROBLEM_JSON, ProblemBody};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "imdb-sentiment",
        description = "How positive is a film review? Every error is an RFC 9457 `application/problem+json` (the same as `application/json` under `/v2`); an \
            unknown path is 404, a wrong method 405 with `Allow`. Every answer of a path bears `x-request-id`. With keys \
            configured, every path but health and the pages for people needs `Authorization: Bearer KEY` (401).",
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "http://127.0.0.1:3000", description = "Where a server listens that is told nothing else")),
    tags(
        (name = "sentiment", description = "The service's own format"),
        (name = "hugging face", description = "Text classification as Hugging Face's clients ask for it"),
        (name = "open inference protocol", description = "Version 2, as Triton's and KServe's clients speak it"),
        (name = "openai", description = "Classification and models as vLLM and SGLang answer"),
        (name = "sagemaker", description = "What Amazon SageMaker asks of a container"),
        (name = "operation", description = "Health, figures, description"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&KeyScheme, &SharedResponses),
)]
struct Base;

/// The description without its routes.
pub fn base() -> Description {
    Base::openapi()
}

struct KeyScheme;

impl Modify for KeyScheme {
    fn modify(&self, openapi: &mut Description) {
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

struct SharedResponses;

impl Modify for SharedResponses {
    fn modify(&self, openapi: &mut Description) {
        let components: &mut Components = openapi.components.get_or_insert_default();
        for response in SharedResponse::ALL {
            let schema = Ref::from_schema_name("Problem");
            let content = ContentBuilder::new().schema(Some(schema)).build();
            // The same is called JSON under /v2.
            let mut described = ResponseBuilder::new()
                .description(response.meaning())
                .content(PROBLEM_JSON, content.clone())
                .content("application/json", content);
            if response == SharedResponse::Unavailable {
                let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build();
                let header = HeaderBuilder::new()
                    .schema(Some(seconds))
                    .description(Some("Seconds after which to try again"))
                    .build();
                described = described.header("Retry-After", header);
            }
            components.responses.insert(response.name().into(), described.build().into());
        }
    }
}

/// Adds to every answer of `description` the header that all of them bear.
pub fn add_request_id(description: &mut Description) {
    const NAME: &str = "x-request-id";
    let text = ObjectBuilder::new().schema_type(Type::String).build();
    let header = HeaderBuilder::new()
        .schema(Some(text))
        .description(Some("The request's, or one made for it: what log and spans call it by"))
        .build();
    let operations =
        description.paths.paths.values_mut().flat_map(|item| [&mut item.get, &mut item.post]).flatten();
    let of_operations = operations.flat_map(|operation| operation.responses.responses.values_mut());
    let shared = description.components.as_mut().into_iter().flat_map(|all| all.responses.values_mut());
    for response in of_operations.chain(shared) {
        if let RefOr::T(response) = response {
            response.headers.insert(NAME.into(), header.clone().into());
        }
    }
}

/// The paths of `description`, each with what the figures tell of it.
pub fn paths(description: &Description) -> Vec<DescribedRoute> {
    let open = [SecurityRequirement::default()];
    let is_open = |operation: &Operation| operation.security.as_deref() == Some(&open[..]);
    let open = |item: &PathItem| {
        let (get, post) = (item.get.as_ref().map(is_open), item.post.as_ref().map(is_open));
        Open { get: get.or(post).unwrap_or(false), others: post.or(get).unwrap_or(false) }
    };
    let statuses = |item: &PathItem| -> Vec<u16> {
        let operations = [&item.get, &item.post].into_iter().flatten();
        let statuses = operations.flat_map(|operation| operation.responses.responses.keys());
        statuses.filter_map(|status| status.parse().ok()).collect()
    };
    let route = |(path, item): (&String, &PathItem)| DescribedRoute {
        path: path.clone(),
        open: open(item),
        statuses: statuses(item),
    };
    description.paths.paths.iter().map(route).collect()
}

/// The text of `description`.
pub fn yaml(description: &Description) -> String {
    description.to_yaml().expect("the description is plain data")
}

/// The same as JSON.
pub fn json(description: &Description) -> String {
    description.to_json().expect("the description is plain data")
}

/// Its route, and its description.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openapi)).routes(routes!(openapi_json))
}

/// This description
#[utoipa::path(get, path = "/openapi.yaml", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = String, content_type = "application/yaml"),
        KeyProblem))]
async fn openapi(State(app): State<AppState>) -> Response {
    text_of(&app, "application/yaml", |served| &served.description)
}

/// This description as JSON
#[utoipa::path(get, path = "/openapi.json", tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = String, content_type = "application/json"),
        KeyProblem))]
async fn openapi_json(State(app): State<AppState>) -> Response {
    text_of(&app, "application/json", |served| &served.description_json)
}

/// The text at `place`, as `content_type`.
fn text_of(app: &AppState, content_type: &'static str, place: fn(&Served) -> &LazyText) -> Response {
    let text = app.served.get().map(|served| Bytes::clone(place(served))).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.extensions_mut().insert(SharedPage);
    response
}
