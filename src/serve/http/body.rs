//! Reading a request's body within the limits of size, time and memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, Request, Version, header};
use http_body_util::BodyExt;

use super::LINES;
use super::packed::Coding;
use crate::serve::budget::{Budget, Charge, Client};
use crate::serve::problem::{Problem, ProblemKind, quoted};
use crate::serve::settings::Settings;

/// How much of a body that is too large is read and thrown away, so that a client which sends all before it reads
/// gets the answer and not a reset connection.
const DRAIN_BYTES: usize = 32 * 1024 * 1024;
/// Between two pieces of what is read to be thrown away, from a client that ought to read first.
const BREATH: Duration = Duration::from_millis(20);

/// A body in memory, and its place among all that is held.
#[derive(Debug)]
pub struct BufferedBody {
    /// The bytes, as they came.
    pub bytes: Bytes,
    /// What they cost.
    pub charge: Charge,
    /// How they are packed, where they are.
    pub coding: Option<Coding>,
    /// Most bytes that they may be.
    pub limit: usize,
}

impl BufferedBody {
    /// The bytes, unpacked where they were packed.
    ///
    /// # Errors
    /// As [`Coding::unpack`].
    pub fn unpack(mut self) -> Result<Self, Problem> {
        let Some(coding) = self.coding.take() else { return Ok(self) };
        let bytes = coding.unpack(&self.bytes, self.limit, &mut self.charge)?;
        Ok(Self { bytes: bytes.into(), ..self })
    }
}

/// Reads bodies within the limits of size, time and memory.
#[derive(Debug)]
pub struct BodyReader {
    budget: Arc<Budget>,
    max_bytes: usize,
    timeout: Duration,
}

impl BodyReader {
    /// A reader within the limits that `settings` give.
    pub fn new(settings: &Settings, budget: Arc<Budget>) -> Self {
        Self { budget, max_bytes: settings.max_body_bytes, timeout: settings.body_timeout }
    }

    /// Reads the body of a request that must say it is JSON.
    ///
    /// # Errors
    /// 415 where it does not; otherwise as [`BodyReader::read`].
    pub async fn read_json(&self, request: Request<Body>) -> Result<BufferedBody, Problem> {
        if !is_json(request.headers()) {
            let detail = match request.headers().get(header::CONTENT_TYPE).map(|value| value.to_str()) {
                Some(Ok(other)) if !other.is_empty() => {
                    format!("content-type is {}, it must be application/json", quoted(other))
                }
                _ => "content-type is missing, it must be application/json".into(),
            };
            self.drain(request).await;
            return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
        }
        self.read(request).await
    }

    /// Reads a body whatever its media type.
    ///
    /// # Errors
    /// 413 over the limit, 408 where it is too slow, 503 where too much is held, 400 where it breaks off, 415 where it
    /// is packed in a way that is not known.
    pub async fn read(&self, request: Request<Body>) -> Result<BufferedBody, Problem> {
        let coding = match Coding::of(request.headers()) {
            Ok(coding) => coding,
            Err(problem) => {
                self.drain(request).await;
                return Err(problem);
            }
        };
        // What a client says that it will send is no more than a hint; charged is what has come.
        if request.body().size_hint().lower() > self.max_bytes as u64 {
            self.drain(request).await;
            return Err(too_large(self.max_bytes));
        }
        let client = request.extensions().get::<Arc<Client>>().cloned().unwrap_or_default();
        let mut body = request.into_body();
        let reading = async {
            // A connection that owes its body is one that can give way to another.
            let _waiting = client.wait();
            let outcome = self.collect(&mut body, &client).await;
            if outcome.is_err() {
                discard(&mut body).await;
            }
            outcome
        };
        match tokio::time::timeout(self.timeout, reading).await {
            Ok(result) => result.map(|body| BufferedBody { coding, ..body }),
            Err(_) => Err(self.too_slow()),
        }
    }

    /// Reads and throws away a body that is not wanted, within the time for bodies, so that a client which sends all
    /// before it reads gets its answer. One that asks first (`Expect: 100-continue`) is answered at once, and sends nothing.
    pub async fn drain(&self, request: Request<Body>) {
        if request.headers().get(header::EXPECT).is_some_and(|expected| {
            request.version() == Version::HTTP_11 && expected.as_bytes().eq_ignore_ascii_case(b"100-continue")
        }) {
            return;
        }
        let client = request.extensions().get::<Arc<Client>>().cloned().unwrap_or_default();
        let _waiting = client.wait();
        let mut body = request.into_body();
        let _ = tokio::time::timeout(self.timeout, discard(&mut body)).await;
    }

    /// The same of the rest of a body, for a client that has not seen yet that its answer is over, a piece now and then: one that does everything in
    /// turns (asyncio) goes on sending for as long as its socket takes it, and reads nothing meanwhile.
    pub async fn drain_slowly(&self, mut body: Body) {
        let drained = async {
            while let Ok(Some(_)) = next_piece(&mut body).await {
                tokio::time::sleep(BREATH).await
            }
        };
        let _ = tokio::time::timeout(self.timeout, drained).await;
    }

    /// The first piece of a stream.
    ///
    /// # Errors
    /// 408 where none comes in time, 400 where there is none.
    pub async fn first_piece(&self, body: &mut Body) -> Result<Bytes, Problem> {
        let malformed = |detail| Problem::new(ProblemKind::Malformed, detail);
        match tokio::time::timeout(self.timeout, next_piece(body)).await {
            Ok(Ok(Some(first))) => Ok(first),
            Ok(Ok(None)) => Err(malformed("the body is empty, it must have a JSON object a line")),
            Ok(Err(_)) => Err(malformed(BROKEN)),
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> Problem {
        let detail = format!("the body did not arrive within {:?}", self.timeout);
        Problem::new(ProblemKind::BodyTimeout, detail)
    }

    async fn collect(&self, body: &mut Body, client: &Arc<Client>) -> Result<BufferedBody, Problem> {
        let limit = self.max_bytes;
        let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
        let mut charge = self.budget.charge(client, 0)?;
        let whole = |bytes, charge| BufferedBody { bytes, charge, coding: None, limit };
        let broken = |_| Problem::new(ProblemKind::Malformed, BROKEN);
        let Some(first) = next_piece(body).await.map_err(broken)? else {
            return Ok(whole(Bytes::new(), charge));
        };
        if first.len() > limit {
            return Err(too_large(limit));
        }
        charge.add(first.len())?;
        // Nearly every body comes in one piece, which needs no copy.
        let Some(second) = next_piece(body).await.map_err(broken)? else {
            return Ok(whole(first, charge));
        };
        let mut charged = first.len();
        let mut all = Vec::new();
        all.extend_from_slice(&first);
        let mut piece = Some(second);
        while let Some(bytes) = piece {
            let needed = all.len() + bytes.len();
            if needed > limit {
                return Err(too_large(limit));
            }
            if all.capacity() < needed {
                // Twice what has come: the rest that is announced may never come.
                let most = if announced >= needed { announced } else { limit };
                let capacity = most.min(2 * needed);
                charge.add(capacity.saturating_sub(charged))?;
                charged = charged.max(capacity);
                all.reserve_exact(capacity - all.len());
            }
            all.extend_from_slice(&bytes);
            piece = next_piece(body).await.map_err(broken)?;
        }
        Ok(whole(all.into(), charge))
    }
}

/// What is said of a body that cannot be read to its end.
pub const BROKEN: &str = "the body broke off or its framing is wrong";

/// The next piece of data; trailers are passed over.
pub async fn next_piece(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
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
    while let Ok(Some(bytes)) = next_piece(body).await {
        read += bytes.len();
        if read > DRAIN_BYTES {
            break;
        }
    }
}

/// Whether the headers declare JSON: `application/json` or `application/…+json`, with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = media_type(headers) else { return false };
    kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json")
}

/// Whether the headers declare JSON objects, one a line, with any parameters.
pub fn is_lines(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| LINES.contains(&&*kind))
}

/// The media type that the headers declare, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
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
