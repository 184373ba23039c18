//! `POST /predict`: one text or many, in the service's own format.

mod parts;
mod wire;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::wire::{PredictAnswer, PredictBody};
use super::shared::{Address, NamedModelProblem, ScoringProblems, answer, json_response};
use crate::serve::app::AppState;
use crate::serve::problem::Problem;

/// The route of this file.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(predict))
}

/// Scores one text or many
///
/// Exactly one of `text` and `texts` must be given. A text longer than the model reads keeps its last tokens unless
/// `truncate` says otherwise. `explain`, `sentences` and `trajectory` say why: they count towards the limits of the queue,
/// each sentence and each point of a trajectory as one review, each window to explain as 8. All texts of one request are answered by the same version of the model, or none is.
#[utoipa::path(post, path = "/predict", tag = "sentiment",
    request_body(content = PredictBody, content_type = "application/json", examples(
        ("one text" = (value = json!({"text": "A gripping, beautifully shot film."}))),
        ("many texts" = (value = json!({"texts": ["Loved it.", "Dull from start to end."]}))),
        ("why" = (value = json!({"text": "Lovely to look at. Dull all the same.", "explain": true, "sentences": true}))),
        ("options" = (value = json!({"text": "It was fine.", "truncate": "windows", "abstain": 0.6})))
    )),
    responses((status = 200, description = "The predictions", body = PredictAnswer), ScoringProblems,
        NamedModelProblem))]
async fn predict(State(app): State<AppState>, request: Request<Body>) -> Result<Response, Problem> {
    let body = app.bodies.read_json(request).await?;
    answer(&app.scorer, body, Address::default(), wire::parse, wire::to_json).await.map(json_response)
}
