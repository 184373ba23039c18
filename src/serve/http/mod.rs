//! Parts of HTTP that know nothing of what is served.
//!
//! | file | what is in it |
//! |---|---|
//! | `body` | reading a body within the limits of size, time and memory |
//! | `json` | reading JSON strictly |
//! | `auth` | API keys and browsers' origins |
//! | `tls` | certificate and key, which can be replaced |
//! | `trace` | `x-request-id` and `traceparent` |

pub mod auth;
pub mod body;
pub mod json;
pub mod tls;
pub mod trace;

use std::path::Path;

use crate::error::{Error, Result};

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
