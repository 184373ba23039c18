//! Parts of HTTP that know nothing of what is served.
//!
//! | file | what is in it |
//! |---|---|
//! | `body` | reading a body within the limits of size, time and memory |
//! | `packed`, `unpacker` | bodies that come packed, whole or piece by piece |
//! | `lines` | lines of a body, some at a time |
//! | `json`, `discreet`, `fault` | reading JSON strictly, and repeating nothing long; what is said of what is none |
//! | `auth` | API keys and browsers' origins |
//! | `tls` | certificate and key, which can be replaced |
//! | `trace` | `x-request-id` and `traceparent` |

pub mod auth;
pub mod body;
mod discreet;
mod fault;
pub mod json;
pub mod lines;
pub mod packed;
pub mod tls;
pub mod trace;
pub mod unpacker;

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::serve::problem::ProblemType;

/// The media type of a stream of JSON objects, one a line.
pub const NDJSON: &str = "application/x-ndjson";

/// Its other names.
pub const LINES: [&str; 6] = [
    NDJSON,
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
];

/// Marks an answer whose bytes are made while its client takes them; what has come of it so far, for the log.
#[derive(Clone, Debug, Default)]
pub struct Streamed(Arc<StreamFigures>);

#[derive(Debug, Default)]
struct StreamFigures {
    texts: AtomicUsize,
    bytes: AtomicU64,
    problem: OnceLock<ProblemType>,
}

impl Streamed {
    /// Notes that so many more texts are asked for.
    pub fn note_texts(&self, count: usize) {
        self.0.texts.fetch_add(count, Relaxed);
    }

    /// Notes that so many more bytes have come.
    pub fn note_bytes(&self, count: usize) {
        self.0.bytes.fetch_add(count as u64, Relaxed);
    }

    /// Notes why the stream ends early.
    pub fn note_problem(&self, problem: ProblemType) {
        let _ = self.0.problem.set(problem);
    }

    /// Texts that were asked for, bytes that have come, and why it ended early if it did.
    pub fn figures(&self) -> (usize, u64, Option<ProblemType>) {
        let StreamFigures { texts, bytes, problem } = &*self.0;
        (texts.load(Relaxed), bytes.load(Relaxed), problem.get().copied())
    }
}

/// What keeps a request open: whoever answers it bit by bit keeps this until the end.
#[derive(Clone)]
pub struct KeptOpen {
    _until_dropped: Arc<dyn Send + Sync>,
}

impl KeptOpen {
    /// Keeps `guards`.
    pub fn new(guards: impl Send + Sync + 'static) -> Self {
        Self { _until_dropped: Arc::new(guards) }
    }
}

/// Marks an answer whose bytes are shared by all who ask for it.
#[derive(Clone, Copy, Debug)]
pub struct SharedPage;

/// Most bytes of a file of keys or certificates.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a small plain file holds: a pipe would hold whoever opens it for ever, a device might never end.
///
/// # Errors
/// [`Error::Io`] and [`Error::Invalid`].
pub fn read_small(path: &Path) -> Result<Vec<u8>> {
    let data = std::fs::metadata(path).map_err(Error::io(path))?;
    if !data.is_file() {
        return Err(Error::invalid(path, "not a plain file"));
    }
    if data.len() > MAX_FILE_BYTES {
        return Err(Error::invalid(path, format!("{} bytes, at most {MAX_FILE_BYTES} are read", data.len())));
    }
    std::fs::read(path).map_err(Error::io(path))
}
