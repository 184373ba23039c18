//! What clients can ask: one file or folder for each protocol, with its routes and their description.
//!
//! | file | what is in it |
//! |---|---|
//! | `predict/` | `POST /predict`, the service's own format; streams |
//! | `tei` | `POST /predict` as the clients of text-embeddings-inference ask |
//! | `huggingface` | `POST /` and `/models/{model}`, as Hugging Face's clients ask |
//! | `v2/` | the Open Inference Protocol, as Triton's and KServe's clients ask |
//! | `openai` | `/classify`, `/v1/…`, as vLLM and SGLang answer |
//! | `sagemaker` | `/ping` and `/invocations` |
//! | `shared` | what these have in common |
//! | `health`, `operations`, `metrics` | whether the server is well; what it serves; its figures |
//! | `page`, `docs` | `GET /` and `GET /docs`, for people |
//! | `openapi` | the description of all of them |

#[cfg(feature = "docs")]
mod docs;
mod health;
mod huggingface;
mod metrics;
mod openai;
pub mod openapi;
mod operations;
mod page;
mod predict;
mod sagemaker;
mod shared;
mod tei;
mod v2;

use utoipa_axum::router::OpenApiRouter;

use super::app::AppState;

/// Every route, with its description: the one list that the router, the description, the figures and the contract
/// test are made of. The pages for people are among them where `with_pages` says so.
pub fn routes(with_pages: bool) -> OpenApiRouter<AppState> {
    let pages = match with_pages {
        #[cfg(feature = "docs")]
        true => page::routes().merge(docs::routes()),
        #[cfg(not(feature = "docs"))]
        true => page::routes(),
        false => health::root_routes(),
    };
    let mut routes = OpenApiRouter::with_openapi(openapi::base())
        .merge(pages)
        .merge(predict::routes())
        .merge(huggingface::routes())
        .merge(v2::routes())
        .merge(openai::routes())
        .merge(sagemaker::routes())
        .merge(health::routes())
        .merge(operations::routes())
        .merge(metrics::routes())
        .merge(openapi::routes());
    openapi::add_request_id(routes.get_openapi_mut());
    routes
}

/// The routes of health, and of the figures where `metrics` says so.
pub fn side_routes(metrics: bool) -> OpenApiRouter<AppState> {
    let health = health::routes();
    if metrics { health.merge(metrics::routes()) } else { health }
}

/// The description of every route.
pub fn description() -> utoipa::openapi::OpenApi {
    routes(true).into_openapi()
}

/// The text of `openapi.yaml`.
pub fn openapi_yaml() -> String {
    openapi::yaml(&description())
}
