//! The crate's one error type; every variant carries the facts that a person needs to act.

use std::path::{Path, PathBuf};

/// A result whose error is [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong, from reading a file to scoring a text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write `path`.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder concerned.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file was read, but what it holds is not what belongs there.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it, in words.
        reason: String,
    },
    /// A tensor is missing, misshapen, of another type or holds a value that is not a number.
    #[error("{path}: tensor `{tensor}`: {reason}")]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it, in words.
        reason: String,
    },
    /// A setting has a value that cannot be used.
    #[error("setting `{name}`: {reason}")]
    Setting {
        /// The setting's name as the user wrote it.
        name: String,
        /// What is wrong with it, in words.
        reason: String,
    },
    /// The data set or an input file cannot be used.
    #[error("{0}")]
    Data(String),
    /// A transfer over the network failed.
    #[error("{url}: {reason}")]
    Download {
        /// The address asked for.
        url: String,
        /// What happened, in words.
        reason: String,
    },
    /// A text without a single word.
    #[error("the text has no word")]
    NoWords,
    /// A text longer than the model reads, where the caller asked for no truncation.
    #[error("the text has {tokens} tokens, the model reads at most {max_length}")]
    TooLong {
        /// Tokens of the text, the start token included.
        tokens: usize,
        /// Tokens that the model reads at most.
        max_length: usize,
    },
    /// Training was stopped by the user.
    #[error("interrupted")]
    Interrupted,
    /// A tensor operation failed; the framework's own error.
    #[error("tensor operation: {0}")]
    TensorOperation(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An [`Error::Io`] at `path`, for use with `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { path, source }
    }

    /// An [`Error::Invalid`] at `path`.
    pub fn invalid(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Error::Invalid { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Setting`] for the setting `name`.
    pub fn setting(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Setting { name: name.into(), reason: reason.into() }
    }
}
