//! A model directory held open: its files as they lay there together at one moment.
//!
//! A directory may be swapped for another while it is read, all at once (as this crate writes one) or by a link in its
//! middle (as Kubernetes swaps a ConfigMap): what is read is the old model or the new one, never some files of each.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::companions::{BASELINE_FILE, COMPANION_LIMIT_BYTES, GOLDEN_FILE, TRAINING_FILE, parse_companion};
use super::ngrams::NGRAMS_FILE;
use super::read::{FromStart, read_whole};
use crate::error::{Error, ModelFault, Result};

/// Name of the weights file in a model directory.
pub(super) const WEIGHTS_FILE: &str = "model.safetensors";
/// Name of the configuration file in a model directory.
pub(super) const CONFIG_FILE: &str = "config.json";
/// Name of the vocabulary file in a model directory.
pub(super) const VOCABULARY_FILE: &str = "vocab.txt";

/// The files of a model directory whose change makes it another model.
pub const MODEL_FILES: [&str; 7] =
    [CONFIG_FILE, VOCABULARY_FILE, WEIGHTS_FILE, NGRAMS_FILE, GOLDEN_FILE, BASELINE_FILE, TRAINING_FILE];

/// What the files of a directory look like from outside: size, time of change and inode of each of [`MODEL_FILES`].
pub type Fingerprint = Vec<Option<(u64, SystemTime, u64)>>;

/// Times that a directory is opened anew where its files are swapped while they are being opened, which takes
/// microseconds; and the time in between.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// Times that a directory is read anew where its files are written while they are read.
const READINGS: usize = 3;

/// The files of a model directory, all of them opened before any is read.
#[derive(Debug)]
pub struct OpenDirectory {
    path: PathBuf,
    name: String,
    /// One for each of [`MODEL_FILES`].
    files: Vec<Opened>,
    fingerprint: Fingerprint,
}

/// One file, opened or not.
#[derive(Debug)]
enum Opened {
    File(File),
    Absent,
    /// A folder, a device, a pipe.
    NotAFile,
    /// By which fault of the system's.
    Unreadable(Errno),
}

impl OpenDirectory {
    /// Opens the files of the directory at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no directory; [`Error::Invalid`] where its files are swapped again and again meanwhile.
    pub fn open(path: &Path) -> Result<Self> {
        for _ in 0..TRIES {
            if let Some(opened) = Self::try_open(path).map_err(Error::io(path))? {
                return Ok(opened);
            }
            std::thread::sleep(PAUSE);
        }
        Err(Error::invalid(path, "its files are being swapped all the time; try again when that is over"))
    }

    /// The files of the directory at `path`; `None` where it, or one of them, was swapped in the middle.
    fn try_open(path: &Path) -> io::Result<Option<Self>> {
        // The name is that of the directory which is opened, whatever a link says later.
        let real = fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&real, flags | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            directory => File::from(directory?),
        };
        let files: Vec<Opened> = MODEL_FILES.iter().map(|name| open_in(&directory, name)).collect();
        // Looked at again, now that all are held: where each name still leads to what was opened, all of them lay there
        // together in between.
        let inode = |stat: Stat| (stat.st_dev, stat.st_ino);
        let same = |(name, file): (&&str, &Opened)| match (file, statat(&directory, *name, AtFlags::empty()))
        {
            (Opened::File(file), Ok(now)) => fstat(file).is_ok_and(|held| inode(held) == inode(now)),
            (Opened::File(_), Err(_)) | (Opened::Absent, Ok(_)) => false,
            _ => true,
        };
        if !MODEL_FILES.iter().zip(&files).all(same) {
            return Ok(None);
        }
        // A directory that is being removed has lost files that it had.
        match rustix::fs::stat(path) {
            Ok(now) if inode(now) == inode(fstat(&directory)?) => {}
            _ => return Ok(None),
        }
        let name = real.file_name().and_then(|name| name.to_str()).unwrap_or("model").to_string();
        let fingerprint = fingerprint_of(&files);
        Ok(Some(Self { path: path.to_path_buf(), name, files, fingerprint }))
    }

    /// What `read` makes of the directory at `path`, from files that nobody wrote meanwhile.
    ///
    /// # Errors
    /// As [`OpenDirectory::open`], and those of `read`; [`Error::Invalid`] where the files are written whenever they are
    /// read.
    pub fn read_whole<T>(path: &Path, read: impl Fn(&Self) -> Result<T>) -> Result<T> {
        for _ in 0..READINGS {
            let opened = Self::open(path)?;
            let outcome = read(&opened);
            if fingerprint_of(&opened.files) == opened.fingerprint {
                return outcome;
            }
        }
        Err(Error::invalid(path, "its files are being written; try again when that is done"))
    }

    /// The directory as it was named when it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory's own name, links followed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the files looked like when they were opened.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The bytes of the file `name`, one of [`MODEL_FILES`], at most `limit`.
    ///
    /// # Errors
    /// [`Error::Io`] also where there is none; [`Error::Model`] for what is no plain file, larger, or a pointer of Git LFS.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        match self.file(name)? {
            Some(file) => read_whole(&path, file, limit),
            None => Err(Error::io(&path)(Errno::NOENT.into())),
        }
    }

    /// The companion file `name`, one of [`MODEL_FILES`]; `None` where there is none.
    ///
    /// # Errors
    /// As [`load_companion`](super::load_companion).
    pub fn companion<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        let bytes = self.file(name)?.map(|file| read_whole(&path, file, COMPANION_LIMIT_BYTES));
        bytes.map(|bytes| parse_companion(&path, &bytes?)).transpose()
    }

    /// The SHA-256 over all of its files, hex: another content, another digest.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Model`] for what is no plain file.
    pub fn sha256(&self) -> Result<String> {
        let mut digest = Sha256::new();
        for name in MODEL_FILES {
            let path = self.path.join(name);
            let Some(file) = self.file(name)? else { continue };
            let size = file.metadata().map_err(Error::io(&path))?.len();
            // Name and length in front, so that no two directories give one stream of bytes.
            digest.update(format!("{name} {size}\n"));
            let (mut reader, mut piece) = (FromStart::new(file), vec![0; 64 * 1024]);
            loop {
                match reader.read(&mut piece).map_err(Error::io(&path))? {
                    0 => break,
                    count => digest.update(&piece[..count]),
                }
            }
        }
        Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The file `name`, if there is one.
    fn file(&self, name: &str) -> Result<Option<&File>> {
        let path = self.path.join(name);
        let at = MODEL_FILES.iter().position(|file| *file == name).expect("a file of a model directory");
        match &self.files[at] {
            Opened::File(file) => Ok(Some(file)),
            Opened::Absent => Ok(None),
            Opened::NotAFile => Err(Error::model(&path)(ModelFault::NotAFile)),
            Opened::Unreadable(errno) => Err(Error::io(&path)((*errno).into())),
        }
    }
}

/// What the files of the directory at `path` look like from outside now, none of them opened.
#[cfg(feature = "serve")]
pub fn fingerprint(path: &Path) -> Fingerprint {
    MODEL_FILES.iter().map(|name| look(&fs::metadata(path.join(name)).ok()?)).collect()
}

fn fingerprint_of(files: &[Opened]) -> Fingerprint {
    let of_file = |file: &Opened| match file {
        Opened::File(file) => look(&file.metadata().ok()?),
        _ => None,
    };
    files.iter().map(of_file).collect()
}

fn look(data: &Metadata) -> Option<(u64, SystemTime, u64)> {
    Some((data.len(), data.modified().ok()?, data.ino()))
}

/// Opens the plain file `name` in `directory`; does not wait for a pipe's other end.
fn open_in(directory: &File, name: &str) -> Opened {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let plain = |file: OwnedFd| {
        let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
        Ok(if kind == FileType::RegularFile { Opened::File(File::from(file)) } else { Opened::NotAFile })
    };
    match openat(directory, name, flags, Mode::empty()).and_then(plain) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => Opened::Absent,
        // What opening a socket says.
        Err(Errno::NXIO) => Opened::NotAFile,
        Err(errno) => Opened::Unreadable(errno),
    }
}
