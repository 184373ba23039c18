//! Reading a file of a model directory: bounded in size, and what is something else is named.

use std::fs;
use std::path::Path;

use crate::error::{Error, ModelFault, Result};

/// What other files than safetensors begin with.
const OTHER_FORMATS: [(&[u8], &str); 4] = [
    (b"PK\x03\x04", "a zip archive, as torch.save and Keras write"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras wrote"),
    (b"\x80\x02", "a Python pickle, as old versions of torch.save wrote"),
    (b"\x1f\x8b", "a gzip archive"),
];

/// The bytes of `path`, a plain file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Io`]; [`Error::Model`] for what is no plain file, larger, or a pointer of Git LFS.
pub(super) fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let fault = Error::model(path);
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        return Err(fault(ModelFault::NotAFile));
    }
    if metadata.len() > limit {
        return Err(fault(ModelFault::TooLarge { bytes: metadata.len(), limit }));
    }
    let bytes = fs::read(path).map_err(Error::io(path))?;
    if bytes.starts_with(b"version https://git-lfs") {
        return Err(fault(ModelFault::GitLfsPointer));
    }
    Ok(bytes)
}

/// Why `bytes` are no safetensors file, where `reason` is what the reader of that format says of them.
pub(super) fn not_safetensors(bytes: &[u8], reason: impl ToString) -> ModelFault {
    match OTHER_FORMATS.iter().find(|(start, _)| bytes.starts_with(start)) {
        Some((_, format)) => ModelFault::OtherFormat { format },
        None => ModelFault::NotSafetensors { reason: reason.to_string() },
    }
}
