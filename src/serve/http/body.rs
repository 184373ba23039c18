//! Reading a request's body within the limits of size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderValue, Request, Version, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::serve::observe::telemetry::{ShedReason, Telemetry};
use crate::serve::problem::{Problem, ProblemKind};
use crate::serve::settings::{PERMIT_BYTES, Settings};

/// Bodies up to this size need no permit: what they hold is bounded by the connections. Not with HTTP/2, of whose
/// connections each has many streams.
const FREE_BYTES: usize = 64 * PERMIT_BYTES;

/// How much of a body that is too large is read and thrown away, so that a client which sends all before it reads
/// gets the answer and not a reset connection.
const DRAIN_BYTES: usize = 32 * 1024 * 1024;

/// A body in memory, and its place among all that are.
#[derive(Debug)]
pub struct BufferedBody {
    /// The bytes.
    pub bytes: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Reads bodies, all of which share one room in memory.
#[derive(Debug)]
pub struct BodyReader {
    /// Room for bodies, in units of [`PERMIT_BYTES`].
    room: Arc<Semaphore>,
    telemetry: Arc<Telemetry>,
    max_bytes: usize,
    timeout: Duration,
}

impl BodyReader {
    /// A reader within the limits that `settings` give.
    pub fn new(settings: &Settings, telemetry: Arc<Telemetry>) -> Self {
        Self {
            room: Arc::new(Semaphore::new(settings.max_buffered_bytes / PERMIT_BYTES)),
            telemetry,
            max_bytes: settings.max_body_bytes,
            timeout: settings.body_timeout,
        }
    }

    /// Reads the body of a request that must say it is JSON.
    ///
    /// # Errors
    /// 415 where it does not; otherwise as [`BodyReader::read`].
    pub async fn read_json(&self, request: Request<Body>) -> Result<BufferedBody, Problem> {
        if !is_json(request.headers()) {
            let detail = match request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str()) {
                Some(Ok(other)) => format!("content-type is `{other}`, it must be application/json"),
                _ => "content-type is missing, it must be application/json".into(),
            };
            self.drain(request.into_body()).await;
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        self.read(request).await
    }

    /// Reads a body whatever its media type.
    ///
    /// # Errors
    /// 413 over the limit, 408 where it is too slow, 503 where too much is held, 400 where it breaks off, 415 where it
    /// is compressed.
    pub async fn read(&self, request: Request<Body>) -> Result<BufferedBody, Problem> {
        let plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        if request.headers().get(header::CONTENT_ENCODING).is_some_and(|value| !plain(value)) {
            self.drain(request.into_body()).await;
            return Err(Problem::new(
                ProblemKind::UnsupportedMediaType,
                "the body is compressed; send it as it is",
            ));
        }
        let free_bytes = if request.version() == Version::HTTP_2 { 0 } else { FREE_BYTES };
        let mut body = request.into_body();
        let reading = async {
            let outcome = self.collect(&mut body, free_bytes).await;
            if outcome.is_err() {
                discard(&mut body).await;
            }
            outcome
        };
        match tokio::time::timeout(self.timeout, reading).await {
            Ok(result) => result,
            Err(_) => {
                let detail = format!("the body did not arrive within {:?}", self.timeout);
                Err(Problem::new(ProblemKind::BodyTimeout, detail))
            }
        }
    }

    /// Reads and throws away a body that is not wanted, within the time for bodies, so that a client which sends all
    /// before it reads gets its answer.
    pub async fn drain(&self, mut body: Body) {
        let _ = tokio::time::timeout(self.timeout, discard(&mut body)).await;
    }

    async fn collect(&self, body: &mut Body, free_bytes: usize) -> Result<BufferedBody, Problem> {
        let limit = self.max_bytes;
        let hint = body.size_hint();
        if hint.lower() > limit as u64 {
            return Err(too_large(limit));
        }
        let mut held = 0;
        let mut permit: Option<OwnedSemaphorePermit> = None;
        let mut hold = |total: usize| {
            let wanted = total / PERMIT_BYTES;
            if wanted <= held.max(free_bytes / PERMIT_BYTES) {
                return Ok(());
            }
            match self.room.clone().try_acquire_many_owned((wanted - held) as u32) {
                Ok(more) => {
                    held = wanted;
                    match &mut permit {
                        Some(permit) => permit.merge(more),
                        None => permit = Some(more),
                    }
                    Ok(())
                }
                Err(_) => {
                    self.telemetry.shed.inc(ShedReason::Overload);
                    let detail = "too many bytes of other requests are being held; come back later";
                    Err(Problem::new(ProblemKind::Overloaded, detail))
                }
            }
        };
        hold(hint.lower() as usize)?;
        let broken = |_| Problem::new(ProblemKind::Malformed, "the body broke off or its framing is wrong");
        let Some(first) = next(body).await.map_err(broken)? else {
            return Ok(BufferedBody { bytes: Bytes::new(), _permit: permit });
        };
        if first.len() > limit {
            return Err(too_large(limit));
        }
        // Nearly every body comes in one piece, which needs no copy.
        let Some(second) = next(body).await.map_err(broken)? else {
            return Ok(BufferedBody { bytes: first, _permit: permit });
        };
        let mut all = Vec::with_capacity((hint.lower() as usize).max(first.len() + second.len()));
        all.extend_from_slice(&first);
        let mut piece = Some(second);
        while let Some(bytes) = piece {
            if all.len() + bytes.len() > limit {
                return Err(too_large(limit));
            }
            hold(all.len() + bytes.len())?;
            all.extend_from_slice(&bytes);
            piece = next(body).await.map_err(broken)?;
        }
        Ok(BufferedBody { bytes: all.into(), _permit: permit })
    }
}

/// The next piece of data; trailers are passed over.
async fn next(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("the body is larger than {limit} bytes; send fewer texts at once"),
    )
}

async fn discard(body: &mut Body) {
    let mut read = 0;
    while let Ok(Some(bytes)) = next(body).await {
        read += bytes.len();
        if read > DRAIN_BYTES {
            break;
        }
    }
}

/// Whether the headers declare JSON: `application/json` or `application/…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return true;
    }
    let essence = essence.to_ascii_lowercase();
    essence.starts_with("application/") && essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognised_with_parameters_and_suffix() {
        let declares = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(declares("application/json"));
        assert!(declares("Application/JSON; charset=utf-8"));
        assert!(declares("application/problem+json"));
        assert!(!declares("text/plain"));
        assert!(!declares("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
