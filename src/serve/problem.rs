//! Errors as RFC 9457 problem details: one enum from fault to status.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;

/// Media type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The last part of a problem's URN, kept with the answer that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemType(pub &'static str);

/// How bodies may be packed, as `accept-encoding` says it.
pub const ACCEPTED_ENCODINGS: &str = "gzip, deflate, zstd";

/// What was wrong with a request, or why the server cannot answer it now.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: Cow<'static, str>,
    index: Option<usize>,
}

/// The kinds of problem; each has one status, one title and one URN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// The body is not JSON, or the address is not text.
    Malformed,
    /// No key, or not one of ours.
    Unauthorized,
    /// What is asked for is not for clients to do here.
    Forbidden,
    /// No such path.
    NotFound,
    /// No such model.
    UnknownModel,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// No form of the answer is one that the client takes.
    NotAcceptable,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The body or the number of texts is over the limit.
    TooLarge,
    /// The body is not declared as JSON.
    UnsupportedMediaType,
    /// The body is packed in a way that is not known.
    UnsupportedEncoding,
    /// The JSON has the wrong fields or values.
    InvalidFields,
    /// A text without a word.
    NoWords,
    /// A text longer than asked for or allowed.
    TextTooLong,
    /// The server's fault.
    Internal,
    /// Too much is waiting already.
    Overloaded,
    /// The deadline passed before the answer was there.
    DeadlineExceeded,
    /// Loading, draining, or the model failed its self-test.
    NotReady,
}

impl ProblemKind {
    /// Its status.
    pub fn status(self) -> StatusCode {
        self.status_urn_title().0
    }

    /// What is kept with an answer that tells of it.
    pub fn problem_type(self) -> ProblemType {
        ProblemType(self.status_urn_title().1)
    }

    fn status_urn_title(self) -> (StatusCode, &'static str, &'static str) {
        use ProblemKind::*;
        match self {
            Malformed => (StatusCode::BAD_REQUEST, "malformed", "The request cannot be read"),
            Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "An API key is needed"),
            Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed here"),
            NotFound => (StatusCode::NOT_FOUND, "not-found", "No such path"),
            UnknownModel => (StatusCode::NOT_FOUND, "unknown-model", "No such model"),
            MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Wrong method"),
            NotAcceptable => {
                (StatusCode::NOT_ACCEPTABLE, "not-acceptable", "No form of the answer is accepted")
            }
            BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body did not arrive in time"),
            TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large"),
            UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be JSON")
            }
            UnsupportedEncoding => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-encoding",
                "The body's encoding is not known",
            ),
            InvalidFields => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-fields", "The fields do not fit"),
            NoWords => (StatusCode::UNPROCESSABLE_ENTITY, "no-words", "A text has no word"),
            TextTooLong => (StatusCode::UNPROCESSABLE_ENTITY, "text-too-long", "A text is too long"),
            Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed"),
            Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "The server is busy"),
            DeadlineExceeded => {
                (StatusCode::SERVICE_UNAVAILABLE, "deadline-exceeded", "The answer took too long")
            }
            NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not-ready", "The server is not ready"),
        }
    }
}

/// The body of an error answer (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem, example = json!({
    "type": "urn:imdb-sentiment:problem:no-words", "title": "A text has no word", "status": 422,
    "detail": "texts[1]: the text has no word", "index": 1, "error": "texts[1]: the text has no word"
}))]
pub struct ProblemBody<'a> {
    /// What kind of problem it is, for programs.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    pub kind: Cow<'a, str>,
    /// What kind of problem it is, for people.
    pub title: &'a str,
    /// The HTTP status again.
    pub status: u16,
    /// What was wrong this time and what to do about it.
    pub detail: Cow<'a, str>,
    /// Which of the texts it was, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub index: Option<usize>,
    /// The detail again, where clients of other protocols look for it.
    pub error: Cow<'a, str>,
}

impl Problem {
    /// A problem of `kind` with `detail` for the person who must act.
    pub fn new(kind: ProblemKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), index: None }
    }

    /// The same, about text number `index`.
    pub fn at(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What was wrong.
    #[cfg(test)]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Its JSON.
    pub fn body(&self) -> ProblemBody<'_> {
        let (status, urn, title) = self.kind.status_urn_title();
        let detail = shown(&self.detail);
        ProblemBody {
            kind: format!("urn:imdb-sentiment:problem:{urn}").into(),
            title,
            status: status.as_u16(),
            detail: detail.clone(),
            index: self.index,
            error: detail,
        }
    }

    /// What was wrong, short and printable.
    pub fn into_detail(self) -> String {
        shown(&self.detail).into_owned()
    }

    /// A fault of text number `index` of the field `list`; of the only text where there is none.
    pub fn of_text(error: &Error, index: usize, list: Option<&str>) -> Self {
        let kind = match error {
            Error::NoWords => ProblemKind::NoWords,
            Error::TooLong { .. } => ProblemKind::TextTooLong,
            _ => ProblemKind::Internal,
        };
        match list {
            None => Self::new(kind, error.to_string()),
            Some(list) => Self::new(kind, format!("{list}[{index}]: {error}")).at(index),
        }
    }
}

/// Most characters of a detail: it is made of our own words and of short names.
const MAX_DETAIL: usize = 600;

/// `name` as a client wrote it, where it is short and plain enough to be one; never a part of a text.
pub fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/;= ".contains(&byte);
    let words = name.split(' ').count();
    if !name.is_empty() && name.len() <= 40 && words <= 2 && name.bytes().all(plain) {
        format!("`{name}`")
    } else {
        "(a name that is not repeated here)".into()
    }
}

/// `detail` without control characters, and cut short.
fn shown(detail: &str) -> Cow<'_, str> {
    if detail.len() <= MAX_DETAIL && !detail.contains(char::is_control) {
        return detail.into();
    }
    let mut shown: String =
        detail.chars().take(MAX_DETAIL).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if detail.chars().nth(MAX_DETAIL).is_some() {
        shown.push('…');
    }
    shown.into()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, urn, _) = self.kind.status_urn_title();
        let body = self.body();
        let body = serde_json::to_vec(&body).expect("a problem is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.extensions_mut().insert(ProblemType(urn));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        match self.kind {
            ProblemKind::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ProblemKind::UnsupportedEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_ENCODINGS));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detail_is_short_and_printable() {
        assert_eq!(super::shown("plain"), "plain");
        assert_eq!(super::shown("a\u{1b}[2J\nb"), "a\u{fffd}[2J\u{fffd}b");
        assert!(super::shown(&"\u{1}".repeat(1_000_000)).chars().count() <= MAX_DETAIL + 1);
    }
}
