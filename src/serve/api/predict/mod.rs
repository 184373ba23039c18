//! `POST /predict`: one text or many, or a stream of them, in the service's own format.

mod answer;
mod parts;
mod request;
mod schema;
mod stream;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::huggingface::Reading;
use super::shared::{Address, NamedModelProblem, ScoringProblems, json_response};
use super::{shared, tei};
use crate::serve::app::AppState;
use crate::serve::compute::request::ScoreRequest;
use crate::serve::http::body::is_lines;
use crate::serve::problem::Problem;

pub use self::schema::{PredictAnswer, PredictBody};

/// The route of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(predict))
}

/// Scores one text or many
///
/// Exactly one of `text` and `texts` must be given. A text longer than the model reads keeps its last tokens unless
/// `truncate` says otherwise. `explain`, `sentences` and `trajectory` say why: they count towards the limits of the queue,
/// each sentence and each point of a trajectory as one review, each window to explain as 12. All texts of one request are answered by the same version of the model, or none is.
///
/// With `content-type: application/x-ndjson` the body is a stream: an object with one `text` a line, an answer a line back
/// as they come, in order; a line that cannot be answered gets a problem with its `line`. Read answers while sending. A
/// last line that is a problem without a `line` says why the stream ends early: 503 while the server stops, 408 where nothing
/// came for `--idle-timeout`; lines behind the one that it names are not answered.
///
/// A body with `inputs` is read and answered as text-embeddings-inference does: `"a"` or `["a"]` gives a list of labels with
/// scores, `[["a"], ["b"]]` a list of such lists; `truncate`, `truncation_direction` and `raw_scores` are obeyed, and
/// `["a", "b"]`, a pair there, is refused.
#[utoipa::path(post, path = "/predict", tag = "sentiment",
    request_body(content = PredictBody, content_type = "application/json", examples(
        ("one text" = (value = json!({"text": "A gripping, beautifully shot film."}))),
        ("many texts" = (value = json!({"texts": ["Loved it.", "Dull from start to end."]}))),
        ("why" = (value = json!({"text": "Lovely to look at. Dull all the same.", "explain": true, "sentences": true}))),
        ("options" = (value = json!({"text": "It was fine.", "truncate": "windows", "abstain": 0.6}))),
        ("a problem in the place of a text" = (value = json!({"texts": ["Loved it.", ""], "ids": [7, 8], "on_error": "report"})))
    )),
    responses((status = 200, description = "The predictions", body = PredictAnswer), ScoringProblems,
        NamedModelProblem))]
async fn predict(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    respond(&app, request, tei::parse).await
}

/// Reads a body in another's format.
pub type ReadInputs = for<'a> fn(&'a [u8]) -> Result<(ScoreRequest<'a>, Reading), Problem>;

/// Answers a request in the service's own format, or a stream of them, or what `inputs` reads.
pub async fn respond(
    app: &AppState,
    request: Request<Body>,
    inputs: ReadInputs,
) -> Result<Response, Problem> {
    if is_lines(request.headers()) {
        return stream::answer(app, request).await;
    }
    let body = app.bodies.read_json(request).await?;
    let answered = shared::answer(
        &app.scorer,
        body,
        Address::default(),
        move |bytes| request::parse(bytes, inputs),
        answer::to_json,
    );
    answered.await.map(json_response)
}
