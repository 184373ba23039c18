//! Reading a file of a model directory: bounded in size, and what is something else is named.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
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
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Err(Error::model(path)(ModelFault::NotAFile));
    }
    read_whole(path, &File::open(path).map_err(Error::io(path))?, limit)
}

/// The bytes of `file`, which was opened at `path`: at most `limit`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Model`] for a larger file, and for a pointer of Git LFS.
pub(super) fn read_whole(path: &Path, file: &File, limit: u64) -> Result<Vec<u8>> {
    let fault = Error::model(path);
    let size = file.metadata().map_err(Error::io(path))?.len();
    let mut bytes = Vec::new();
    if size <= limit {
        bytes.reserve_exact(size as usize);
        // One more than may be: it may have grown.
        FromStart::new(file).take(limit + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    let size = size.max(bytes.len() as u64);
    if size > limit {
        return Err(fault(ModelFault::TooLarge { bytes: size, limit }));
    }
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

/// Reads a file from its start, however far others have read it.
pub(super) struct FromStart<'f> {
    file: &'f File,
    at: u64,
}

impl<'f> FromStart<'f> {
    pub fn new(file: &'f File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FromStart<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
