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
    /// A file of a model directory does not belong to a model that can be used.
    #[error("{path}: {fault}")]
    Model {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        fault: ModelFault,
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

/// What can be wrong with a file of a model directory. Names and values that come from the file are cut short and made
/// printable when they are written out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFault {
    /// A folder, a device or a pipe lies where a file belongs.
    #[error("not a plain file")]
    NotAFile,
    /// The file is larger than any such file of the model that the configuration describes.
    #[error("{bytes} bytes, at most {limit} belong there")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// The largest size that is read.
        limit: u64,
    },
    /// The file is Git LFS's placeholder for what was not fetched.
    #[error("a Git LFS pointer, not the file itself: fetch it with `git lfs pull`")]
    GitLfsPointer,
    /// The weights are in another format.
    #[error(
        "{format}, not safetensors: write the state dict with `safetensors.torch.save_file`, or convert a Keras model \
             with tools/keras_to_safetensors.py"
    )]
    OtherFormat {
        /// The format that the file begins like.
        format: &'static str,
    },
    /// The file is no safetensors file, or a damaged one.
    #[error("not a safetensors file: {}", printable(reason))]
    NotSafetensors {
        /// What does not fit the format.
        reason: String,
    },
    /// `config.json` cannot be read, or a field has a value that cannot be used.
    #[error("{}", printable(reason))]
    Config {
        /// The field and what is wrong with it.
        reason: String,
    },
    /// `vocab.txt` is no vocabulary.
    #[error("{}", printable(reason))]
    Vocabulary {
        /// The line and what is wrong with it.
        reason: String,
    },
    /// The vocabulary has another length than the configuration says.
    #[error("{words} words, config.json says {vocab_size}")]
    VocabularySize {
        /// Words of `vocab.txt`.
        words: usize,
        /// Words by `config.json`.
        vocab_size: usize,
    },
    /// The weights were made for another file than the one that lies beside them.
    #[error("made for another {file}: its SHA-256 is {found}, the weights name {}", printable(expected))]
    Digest {
        /// The file beside the weights.
        file: &'static str,
        /// Its digest, in hex.
        found: String,
        /// The digest that the weights name.
        expected: String,
    },
    /// A tensor of the model is not in the file.
    #[error("tensor `{tensor}`: missing")]
    MissingTensor {
        /// The tensor's name.
        tensor: String,
    },
    /// A tensor of the model is in the file under a longer name.
    #[error(
        "tensor `{tensor}`: missing, but there is `{}`: take the prefix off every name of the state dict \
             (torch.nn.DataParallel and torch.compile put one in front)",
        printable(found)
    )]
    PrefixedTensor {
        /// The tensor's name.
        tensor: String,
        /// The name in the file.
        found: String,
    },
    /// The file holds a tensor that the model has not.
    #[error("tensor `{}`: the model described by config.json has no such tensor", printable(tensor))]
    UnknownTensor {
        /// The name in the file.
        tensor: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("tensor `{tensor}`: shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape of the model's tensor.
        expected: Vec<usize>,
    },
    /// A tensor has numbers of a type that is not read.
    #[error("tensor `{tensor}`: type {found}, expected {expected}")]
    Type {
        /// The tensor's name.
        tensor: String,
        /// The type in the file.
        found: String,
        /// The types that are read.
        expected: &'static str,
    },
    /// A weight is not a number, or so large that sums could leave the range of floats.
    #[error("tensor `{tensor}`: value {index} is {value}, beyond 1e6 either way")]
    Value {
        /// The tensor's name.
        tensor: String,
        /// Place of the value, row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A trained weight could not be read back once it is stored.
    #[error("tensor `{tensor}`: value {index} is {value}: the training has diverged")]
    Diverged {
        /// The tensor's name.
        tensor: String,
        /// Place of the value, row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The table of n-grams has keys or values that cannot be used.
    #[error("{}", printable(reason))]
    Ngrams {
        /// The entry and what is wrong with it.
        reason: String,
    },
    /// The table of n-grams names a word that the vocabulary has not.
    #[error("an n-gram with id {id}, config.json says {vocab_size} words")]
    NgramId {
        /// The highest id in the table.
        id: u32,
        /// Words by `config.json`.
        vocab_size: usize,
    },
}

/// `text` without control characters and, beyond two hundred characters, cut short: for what comes from a file or a client
/// and goes to a terminal or a log.
pub(crate) fn printable(text: &str) -> String {
    const LIMIT: usize = 200;
    let mut out = String::new();
    for (at, character) in text.chars().enumerate() {
        if at == LIMIT {
            out.push('…');
            break;
        }
        // Not only controls: signs that turn the direction of a line are escaped as well.
        match character.is_control() || !character.is_ascii() && character.escape_debug().count() > 1 {
            true => out.extend(character.escape_debug()),
            false => out.push(character),
        }
    }
    out
}

impl Error {
    /// An [`Error::Io`] at `path`, for use with `map_err`.
    pub fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Error::Io { source: with_user(&path, source), path }
    }

    /// An [`Error::Invalid`] at `path`.
    pub fn invalid(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Error::Invalid { path: path.as_ref().to_path_buf(), reason: reason.into() }
    }

    /// An [`Error::Model`] at `path`, for use with `map_err`.
    pub(crate) fn model(path: impl AsRef<Path>) -> impl Fn(ModelFault) -> Self {
        let path = path.as_ref().to_path_buf();
        move |fault| Error::Model { path: path.clone(), fault }
    }

    /// An [`Error::Setting`] for the setting `name`.
    pub fn setting(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Setting { name: name.into(), reason: reason.into() }
    }
}

/// `source`, and where it is a lack of permission, whose: in a container, files often belong to somebody else.
#[cfg(unix)]
fn with_user(path: &Path, source: std::io::Error) -> std::io::Error {
    use std::io::ErrorKind::PermissionDenied;
    use std::os::unix::fs::MetadataExt;
    if source.kind() != PermissionDenied {
        return source;
    }
    // The folder of a process belongs to the user that it acts for.
    let Ok(user) = std::fs::metadata("/proc/self").map(|folder| folder.uid()) else { return source };
    let owned = match path.metadata() {
        Ok(file) => format!("it belongs to user {}, mode {:o}", file.uid(), file.mode() & 0o7777),
        Err(_) => "a folder above it is closed to that user".into(),
    };
    std::io::Error::new(PermissionDenied, format!("permission denied for user {user}: {owned}"))
}

#[cfg(not(unix))]
fn with_user(_: &Path, source: std::io::Error) -> std::io::Error {
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_reaches_no_terminal_raw_or_at_length() {
        let fault = ModelFault::UnknownTensor { tensor: "\u{1b}[31mred\n\u{202e}".into() };
        let line = fault.to_string();
        assert!(line.contains("\\u{1b}[31mred\\n\\u{202e}") && !line.contains('\u{1b}'), "{line}");
        assert_eq!(printable(&"é".repeat(5000)), "é".repeat(200) + "…");
        assert_eq!(printable("it's \"fine\""), "it's \"fine\"");
    }
}
