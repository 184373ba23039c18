//! What may be replaced, by whom, and what killed writers left.
//!
//! A directory that this crate writes is absent, empty, or one of its own kind with nothing else in it; anything else is
//! refused, for it is somebody's work. Links are followed, never replaced.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::unfinished;
use crate::error::{Error, Result};

/// The folder and the name of `directory`, links followed where it is there already.
pub(super) fn place(directory: &Path) -> Result<(PathBuf, String)> {
    let path = match fs::symlink_metadata(directory) {
        Ok(_) => fs::canonicalize(directory).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::invalid(directory, "is a link to nothing; it is not replaced"),
            _ => Error::io(directory)(e),
        })?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => directory.to_path_buf(),
        Err(e) => return Err(Error::io(directory)(e)),
    };
    let name = path.file_name().ok_or_else(|| Error::invalid(directory, "not the name of a directory"))?;
    let name = name.to_str().ok_or_else(|| Error::invalid(directory, "its name is not UTF-8"))?;
    Ok((folder_of(&path), name.to_string()))
}

/// The folder that `path` lies in.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// The directory of which `path` is a part, where that is a model directory and `path` one of its own files, there or not.
pub fn model_of(path: &Path) -> Option<PathBuf> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let (folder, kind) = (folder_of(&path), DirectoryKind::Model);
    let own = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| kind.owns(name));
    (own && kind.required().iter().all(|name| folder.join(name).is_file())).then_some(folder)
}

/// What a directory that this crate writes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectoryKind {
    /// A model: configuration, vocabulary, weights and what travels with them.
    Model,
    /// Word vectors, with the LSTM of a language model or without.
    Vectors,
}

impl DirectoryKind {
    /// The files without which a directory is none of this kind.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["config.json", "model.safetensors"],
            Self::Vectors => &["vectors.safetensors", "vocab.txt"],
        }
    }

    /// The files that belong to one state of such a directory and go when it is replaced.
    pub(super) fn own(self) -> &'static [&'static str] {
        match self {
            Self::Model => &[
                "config.json",
                "vocab.txt",
                "model.safetensors",
                "ngrams.safetensors",
                "training.json",
                "golden.json",
                "baseline.json",
                "README.md",
                "history.csv",
                "curve.svg",
                "calibration.svg",
            ],
            Self::Vectors => &["vectors.safetensors", "vocab.txt", ".vectors.partial"],
        }
    }

    /// Whether a file of that name goes when such a directory is replaced: one of its own, or half of one that a killed
    /// writer left.
    pub(super) fn owns(self, name: &str) -> bool {
        self.own().iter().any(|own| name == *own || left_by_the_dead(name, own).is_some())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Model => "model directory",
            Self::Vectors => "directory of word vectors",
        }
    }
}

/// Files of no state in particular, which stay where a directory is replaced.
const KEPT: [&str; 5] = ["LICENSE", "LICENSE.md", "LICENSE.txt", ".gitattributes", ".gitignore"];

/// The name of a model card in a model directory.
const CARD: &str = "README.md";
/// What stands in every card that the trainer wrote.
pub(crate) const CARD_MARK: &str = "| trainer | imdb-sentiment ";
/// A README beyond this size is no model card.
const CARD_LIMIT_BYTES: u64 = 1 << 20;

/// Whether a file in a directory that is to be replaced may be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strangers {
    /// The directory holds nothing else than its kind has.
    Refused,
    /// Plain files of another name stay where they are.
    Kept,
}

/// A directory that a command is going to write, looked at and locked before any other work is done.
#[derive(Debug)]
pub struct OutputDirectory {
    path: PathBuf,
    occupied: bool,
    _lock: Lock,
}

impl OutputDirectory {
    /// Claims `directory`: follows links, refuses what must not be replaced, creates the folder around it where there is
    /// none, locks out other writers until this value is dropped, and clears what killed writers left beside it.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming what lies there, or that another process writes it; [`Error::Io`] where the folder
    /// around it takes no file.
    pub fn claim(directory: &Path, kind: DirectoryKind) -> Result<Self> {
        let (parent, name) = place(directory)?;
        let path = parent.join(&name);
        replaceable(&path, kind, Strangers::Refused)?;
        fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
        let lock = Lock::take(&parent.join(format!(".{name}.lock")), &path)?;
        clear_leftovers(&parent, &name, &path, kind)?;
        // Looked at again: it may have been written until the lock was there.
        let occupied = replaceable(&path, kind, Strangers::Refused)?;
        Ok(Self { path, occupied, _lock: lock })
    }

    /// Where it lies, links followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was one of its kind when it was claimed.
    pub fn is_occupied(&self) -> bool {
        self.occupied
    }
}

/// Whether there is a directory of this kind at `path` (which is no link); refuses what must not be replaced.
pub(super) fn replaceable(path: &Path, kind: DirectoryKind, strangers: Strangers) -> Result<bool> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io(path)(e)),
    };
    let refuse =
        |reason: String| Error::invalid(path, format!("{reason}; choose another name, nothing was touched"));
    if !metadata.is_dir() {
        return Err(refuse(format!("is there already and no {}", kind.name())));
    }
    let folder = folder_of(path);
    if fs::metadata(&folder).map_err(Error::io(&folder))?.dev() != metadata.dev() {
        return Err(refuse("is a mount point, which cannot be replaced: name a folder inside it".into()));
    }
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let known = kind.owns(&name) || KEPT.contains(&name.as_str());
        let plain = entry.file_type().map_err(Error::io(path))?.is_file();
        if !plain || (!known && strangers == Strangers::Refused) {
            let name = name.escape_debug();
            return Err(refuse(format!("holds `{name}`, which is no part of a {}", kind.name())));
        }
        names.insert(name);
    }
    if names.is_empty() {
        return Ok(false);
    }
    if let Some(missing) = kind.required().iter().find(|name| !names.contains(**name)) {
        return Err(refuse(format!("is there already and no {}: it has no {missing}", kind.name())));
    }
    if kind == DirectoryKind::Model && names.contains(CARD) && !is_card(&path.join(CARD))? {
        return Err(refuse(format!("holds a {CARD} that is not the trainer's model card")));
    }
    Ok(true)
}

fn is_card(path: &Path) -> Result<bool> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(CARD_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    let marked = String::from_utf8_lossy(&bytes).lines().any(|line| line.starts_with(CARD_MARK));
    Ok(bytes.len() as u64 <= CARD_LIMIT_BYTES && marked)
}

/// An advisory lock on a file that is there as long as it is held.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Locks out other writers of `directory`, links followed. There is no lock where there is no directory, or the folder
    /// around it takes no files: nobody can replace it then.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn of(directory: &Path) -> Result<Option<Self>> {
        if !directory.is_dir() {
            return Ok(None);
        }
        let (parent, name) = place(directory)?;
        let lock = parent.join(format!(".{name}.lock"));
        match Self::take(&lock, &parent.join(&name)) {
            Err(Error::Io { source, .. })
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                Ok(None)
            }
            lock => lock.map(Some),
        }
    }

    /// Takes the lock on the file `path`, for whoever writes `locked`.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming `locked` where another process holds it, [`Error::Io`].
    pub fn take(path: &Path, locked: &Path) -> Result<Self> {
        loop {
            let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path);
            let mut file = file.map_err(Error::io(path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.take(20).read_to_string(&mut holder);
                    let holder = if holder.is_empty() { String::new() } else { format!(" {holder}") };
                    return Err(Error::invalid(locked, format!("another process{holder} is writing it")));
                }
                // A file system without locks: then there is none.
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
                Err(TryLockError::Error(e)) => return Err(Error::io(path)(e)),
            }
            // The last holder may have removed the file between opening and locking it.
            let same = |now: fs::Metadata| file.metadata().is_ok_and(|held| held.ino() == now.ino());
            if fs::metadata(path).is_ok_and(same) {
                let written =
                    file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
                let lock = Self { path: path.to_path_buf(), _file: file };
                unfinished::note(path);
                return written.map(|()| lock).map_err(Error::io(path));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still held, so that nobody else's is removed.
        let _ = fs::remove_file(&self.path);
        unfinished::forget(&self.path);
    }
}

/// Clears what killed writers of `path` left in `folder`. Where one was killed between two renames, the old directory
/// gets its name back.
fn clear_leftovers(folder: &Path, name: &str, path: &Path, kind: DirectoryKind) -> Result<()> {
    for (left, ending) in leftovers(folder, name)? {
        let metadata = fs::symlink_metadata(&left).map_err(Error::io(&left))?;
        if metadata.is_dir() && replaceable(&left, kind, Strangers::Refused).is_ok() {
            if ending == "old" && !path.exists() {
                fs::rename(&left, path).map_err(Error::io(&left))?;
            } else {
                fs::remove_dir_all(&left).map_err(Error::io(&left))?;
            }
        } else if metadata.is_dir()
            && ending == "partial"
            && fs::read_dir(&left).is_ok_and(|dir| half_written(dir, kind))
        {
            fs::remove_dir_all(&left).map_err(Error::io(&left))?;
        }
    }
    let checkpoint = format!("{name}.checkpoint");
    remove_partial_files(folder, &checkpoint)
}

fn half_written(directory: fs::ReadDir, kind: DirectoryKind) -> bool {
    directory.flatten().all(|entry| {
        let own = entry.file_name().to_str().is_some_and(|name| kind.owns(name) || KEPT.contains(&name));
        own && entry.file_type().is_ok_and(|kind| kind.is_file())
    })
}

/// Removes files that killed writers of the file `name` left in `folder`.
pub(super) fn remove_partial_files(folder: &Path, name: &str) -> Result<()> {
    for (left, _) in leftovers(folder, name)? {
        if fs::symlink_metadata(&left).is_ok_and(|metadata| metadata.is_file()) {
            fs::remove_file(&left).map_err(Error::io(&left))?;
        }
    }
    Ok(())
}

/// What writers of `name` that are no more left in `folder`, with its ending.
fn leftovers(folder: &Path, name: &str) -> Result<Vec<(PathBuf, String)>> {
    let mut left = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        if let Some(ending) = left_by_the_dead(&file_name, name) {
            left.push((entry.path(), ending.to_string()));
        }
    }
    Ok(left)
}

/// The ending of `file_name` where it is what a writer of `name` left that is no more.
fn left_by_the_dead<'f>(file_name: &'f str, name: &str) -> Option<&'f str> {
    let rest = file_name.strip_prefix('.')?.strip_prefix(name)?.strip_prefix('.')?;
    let (process, ending @ ("partial" | "old")) = rest.split_once('.')? else { return None };
    let process = rustix::process::Pid::from_raw(process.parse().ok()?)?;
    // Whoever holds the lock may clear what a process of its own number left, in another container perhaps.
    let dead = process == rustix::process::getpid()
        || rustix::process::test_kill_process(process) == Err(rustix::io::Errno::SRCH);
    dead.then_some(ending)
}
