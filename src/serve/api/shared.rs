//! What the protocols have in common: from a body to an answer, and the errors that they share.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use utoipa::openapi::{Ref, RefOr, Response as DescribedResponse};
use utoipa::{IntoResponses, ToSchema};

use crate::predict::Truncate;
use crate::serve::compute::request::{ScoreRequest, ScoreResponse};
use crate::serve::compute::score::Scorer;
use crate::serve::http::body::BufferedBody;
use crate::serve::http::json;
use crate::serve::named::named;
use crate::serve::problem::{Problem, ProblemKind};

/// Bodies up to this many bytes are parsed on the HTTP thread: about 50 µs. Larger ones go to the compute threads.
const PARSE_INLINE_BYTES: usize = 64 * 1024;
/// Packed bodies up to this many bytes are unpacked on the HTTP thread: a thousand times as many bytes at most.
const UNPACK_INLINE_BYTES: usize = 256;
/// What a value of a body takes while it is read: lists double as they grow. Measured with `1,1,…` in the place of texts,
/// rows of one text, and outputs without a name.
const VALUE_BYTES: usize = 96;
/// Answers up to this many predictions are written on the HTTP thread.
const WRITE_INLINE: usize = 128;

/// Which model is asked, where the path says so.
#[derive(Debug, Default)]
pub struct Address {
    /// Its name.
    pub model: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// Reads a request out of `body`, scores its texts and writes the answer: each on the spot where it is little, on the
/// compute threads where it is much.
///
/// # Errors
/// Those of `read` and of [`Scorer::score`]; 500 where `read` or `write` panics on a compute thread.
pub async fn answer<Options, Answer>(
    scorer: &Scorer,
    body: BufferedBody,
    address: Address,
    read: impl for<'a> FnOnce(&'a [u8]) -> Result<(ScoreRequest<'a>, Options), Problem> + Send + 'static,
    write: impl FnOnce(&ScoreResponse, Options) -> Answer + Send + 'static,
) -> Result<Answer, Problem>
where
    Options: Send + 'static,
    Answer: Send + 'static,
{
    // A little that is packed may be much, but not more than a quarter of a millisecond's work.
    let body = match body.coding {
        Some(_) if body.bytes.len() > UNPACK_INLINE_BYTES => {
            on_compute_thread(scorer, move || body.unpack()).await??
        }
        _ => body.unpack()?,
    };
    let BufferedBody { bytes, mut charge, .. } = body;
    let (mut request, options) = if bytes.len() <= PARSE_INLINE_BYTES {
        read(&bytes)?
    } else {
        // Texts of its own are as much again. The charge goes along: the client may leave meanwhile.
        charge.add(bytes.len())?;
        let owned = {
            let bytes = bytes.clone();
            move || {
                // Very many values are more than the body that they stand in; what is left of them are the texts.
                let values = charge.another(json::values(&bytes).saturating_mul(VALUE_BYTES));
                let read = values
                    .and_then(|_held| read(&bytes).map(|(request, options)| (request.into_owned(), options)));
                (read, charge)
            }
        };
        let (outcome, back) = on_compute_thread(scorer, owned).await?;
        charge = back;
        outcome?
    };
    request.charge = Some(charge);
    if address.model.is_some() {
        request.model = address.model.map(Cow::Owned);
    }
    request.version = address.version.map(Cow::Owned);
    let scored = scorer.score(request).await?;
    if scored.predictions.len() <= WRITE_INLINE {
        return Ok(write(&scored, options));
    }
    on_compute_thread(scorer, move || write(&scored, options)).await
}

/// Runs on a compute thread what would hold an HTTP thread too long.
async fn on_compute_thread<T: Send + 'static>(
    scorer: &Scorer,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let outcome = scorer.pool().spawn(work).await;
    outcome.map_err(|_| Problem::new(ProblemKind::Internal, "the request could not be worked on"))
}

/// An answer of JSON text.
pub fn json_response(json: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(json));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The model that a path names.
pub type ModelPath = Result<Path<String>, PathRejection>;
/// The model and the version that a path names.
pub type VersionPath = Result<Path<(String, String)>, PathRejection>;

/// What stands in a path, decoded.
///
/// # Errors
/// 400 where it is not UTF-8.
pub fn path_text<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Problem> {
    let not_text = |_| Problem::new(ProblemKind::Malformed, "the path is not UTF-8 text");
    Ok(path.map_err(not_text)?.0)
}

/// A review: at least one word, which is what the pattern asks for (a letter or digit, or a character beyond ASCII).
#[derive(ToSchema)]
#[schema(
    pattern = r"^[\s\S]*[^\u0000-/:-@\[-`{-\u00a0\u2018-\u201f\s]",
    example = "A gripping, beautifully shot film."
)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct Review(String);

named! {
    /// What to do with a text longer than the model reads.
    pub enum TruncateMode {
        /// Keep the last tokens, as in training (default).
        Tail = "tail",
        /// Keep the first tokens.
        Head = "head",
        /// Read all of it in overlapping windows and combine them.
        Windows = "windows",
        /// Refuse it (422).
        Error = "error",
    }
}

impl From<TruncateMode> for Truncate {
    fn from(mode: TruncateMode) -> Self {
        match mode {
            TruncateMode::Tail => Self::Tail,
            TruncateMode::Head => Self::Head,
            TruncateMode::Windows => Self::Windows,
            TruncateMode::Error => Self::Error,
        }
    }
}

/// An error answer that several routes share; the description holds each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedResponse {
    /// 400.
    Malformed,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    UnknownModel,
    /// 408.
    BodyTimeout,
    /// 413.
    TooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 422.
    InvalidFields,
    /// 503.
    Unavailable,
}

impl SharedResponse {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::UnknownModel,
        Self::BodyTimeout,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidFields,
        Self::Unavailable,
    ];

    /// Status, name among the description's components, and what it means.
    fn status_name_meaning(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Malformed => (
                "400",
                "Malformed",
                "The body is not JSON in UTF-8, not packed as it says, or the path is not UTF-8 text",
            ),
            Self::Unauthorized => {
                ("401", "Unauthorized", "An API key is needed (only where the server has keys)")
            }
            Self::Forbidden => ("403", "Forbidden", "The server lets nobody do this"),
            Self::UnknownModel => ("404", "UnknownModel", "No such model or version"),
            Self::BodyTimeout => ("408", "BodyTimeout", "The body did not arrive in time"),
            Self::TooLarge => ("413", "TooLarge", "The body or the number of texts is over the limit"),
            Self::UnsupportedMediaType => (
                "415",
                "UnsupportedMediaType",
                "The content type is not JSON, or `content-encoding` is none of those in `Accept-Encoding`",
            ),
            Self::InvalidFields => {
                ("422", "InvalidFields", "The fields do not fit, a text has no word, or a text is too long")
            }
            Self::Unavailable => {
                ("503", "Unavailable", "Busy, too slow or not ready: try again after `Retry-After` seconds")
            }
        }
    }

    /// Its name among the description's components.
    pub fn name(self) -> &'static str {
        self.status_name_meaning().1
    }

    /// What it means.
    pub fn meaning(self) -> &'static str {
        self.status_name_meaning().2
    }
}

/// Declares a set of shared error answers that a route may give.
macro_rules! shared_responses {
    ($($(#[$doc:meta])* $Set:ident: $($Response:ident),+;)+) => { $(
        $(#[$doc])*
        pub struct $Set;

        impl IntoResponses for $Set {
            fn responses() -> BTreeMap<String, RefOr<DescribedResponse>> {
                let all = [$(SharedResponse::$Response),+].map(SharedResponse::status_name_meaning);
                all.map(|(status, name, _)| (status.into(), Ref::from_response_name(name).into())).into()
            }
        }
    )+ };
}

shared_responses! {
    /// What every route but health may answer instead.
    KeyProblem: Unauthorized;
    /// What a route that tells of health may answer instead.
    NotReadyProblem: Unavailable;
    /// What a route that changes what is served may answer instead.
    ForbiddenProblem: Forbidden;
    /// What a route that reads a body and scores nothing may answer instead.
    BodyProblems: Malformed, Unauthorized, BodyTimeout, TooLarge, UnsupportedMediaType, InvalidFields;
    /// What a route on which a model is named may answer besides.
    NamedModelProblem: UnknownModel;
    /// What a route about one model may answer instead.
    ModelProblems: Malformed, Unauthorized, UnknownModel;
    /// What every route that scores texts may answer instead.
    ScoringProblems: Malformed, Unauthorized, BodyTimeout, TooLarge, UnsupportedMediaType, InvalidFields, Unavailable;
}
