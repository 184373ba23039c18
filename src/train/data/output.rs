//! Where the answers of a command go: standard output, a pipe or device that is written as it is, or a file that is
//! written beside its place and put there once it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::{NewFile, model_of};

/// What tells one file from another, whatever its names: device and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId(u64, u64);

impl FileId {
    /// That of the regular file behind an open descriptor; `None` for a pipe, a device or a terminal.
    pub fn of(descriptor: impl AsFd) -> Option<Self> {
        let stat = rustix::fs::fstat(descriptor).ok()?;
        let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
        regular.then_some(Self(stat.st_dev as u64, stat.st_ino as u64))
    }

    /// That of the regular file at `path`, links followed.
    pub fn at(path: &Path) -> Option<Self> {
        File::open(path).ok().filter(|_| path.is_file()).and_then(Self::of)
    }
}

/// Refuses a file at `path` that is there and has something `against` it; what is no regular file is written as it is.
///
/// # Errors
/// [`Error::Invalid`] with what is said against it; [`Error::Io`].
pub fn check_ours(
    path: &Path,
    against: impl FnOnce(&mut File, u64) -> io::Result<Option<String>>,
) -> Result<()> {
    let Ok(mut file) = File::open(path) else { return Ok(()) };
    let metadata = file.metadata().map_err(Error::io(path))?;
    let against = match metadata.is_file() {
        true => against(&mut file, metadata.len()).map_err(Error::io(path))?,
        false => None,
    };
    match against {
        None => Ok(()),
        Some(against) => Err(Error::invalid(path, format!("is there already{against}; --force replaces it"))),
    }
}

/// Refuses a file `output` in a folder within the folder `data`, where it would be read as data, or replace some.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_file_outside(data: &Path, output: &Path) -> Result<()> {
    check_outside(data, output, |folder, data| folder.parent().is_some_and(|above| above.starts_with(data)))
}

/// Refuses a folder `output` within the folder `data`, where it would be one of the classes.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_folder_outside(data: &Path, output: &Path) -> Result<()> {
    check_outside(data, output, |folder, data| folder.starts_with(data))
}

fn check_outside(data: &Path, output: &Path, within: impl Fn(&Path, &Path) -> bool) -> Result<()> {
    // Behind links, and where it is not there yet, from the nearest folder that is.
    let place = fs::canonicalize(output).unwrap_or_else(|_| output.to_path_buf());
    let mut folders = place.ancestors().skip(1).map(|folder| match folder {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    });
    let folder = folders.find_map(|folder| fs::canonicalize(folder).ok());
    match (fs::canonicalize(data), folder) {
        (Ok(whole), Some(folder)) if whole.is_dir() && within(&folder, &whole) => {
            let reason = format!("lies within the data {}; nothing was touched", data.display());
            Err(Error::invalid(output, reason))
        }
        _ => Ok(()),
    }
}

/// An output that is being written.
pub enum Output<'o> {
    /// Standard output.
    Standard(&'o mut (dyn Write + Send)),
    /// A pipe or a device.
    Stream(BufWriter<File>),
    /// A file that is not there yet, or not yet this one.
    File(BufWriter<NewFile>),
}

/// The names under which a process may be told to write to its own standard output.
const STANDARD: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

impl<'o> Output<'o> {
    /// Opens `path`, or `standard` where it is `None` or names standard output.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the output is one of the files that are read, under whatever name, a directory, or a file of
    /// a model directory;
    /// [`Error::Io`].
    pub fn open(path: Option<&Path>, read: &[FileId], standard: &'o mut (dyn Write + Send)) -> Result<Self> {
        let reads = |id: Option<FileId>| id.is_some_and(|id| read.contains(&id));
        let same = |name: &Path| Error::invalid(name, "is the file that is read; nothing was touched");
        let path = path.filter(|path| !STANDARD.iter().any(|name| Path::new(name) == *path));
        let Some(path) = path else {
            // Appended to what is read, answers would be read and answered for ever.
            return match reads(FileId::of(io::stdout())) {
                true => Err(same(Path::new("standard output"))),
                false => Ok(Self::Standard(standard)),
            };
        };
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(Error::invalid(path, "is a directory")),
            Ok(metadata) if !metadata.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(Error::io(path))?;
                Ok(Self::Stream(BufWriter::new(file)))
            }
            _ if reads(FileId::at(path)) => Err(same(path)),
            _ => match model_of(path) {
                Some(model) => {
                    let reason = format!("is a part of the model {}; nothing was touched", model.display());
                    Err(Error::invalid(path, reason))
                }
                None => Ok(Self::File(BufWriter::new(NewFile::create(path)?))),
            },
        }
    }

    /// Flushes what somebody may be waiting for: standard output and pipes.
    ///
    /// # Errors
    /// As of the operating system.
    pub fn flush_standard(&mut self) -> io::Result<()> {
        match self {
            Self::File(_) => Ok(()),
            _ => self.flush(),
        }
    }

    /// Ends the output: a file is put in its place.
    ///
    /// # Errors
    /// As of the operating system.
    pub fn finish(mut self) -> Result<()> {
        self.flush().map_err(Error::io("the output"))?;
        match self {
            Self::File(file) => {
                file.into_inner().map_err(|e| Error::io("the output")(e.into_error()))?.persist()
            }
            _ => Ok(()),
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::Stream(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Stream(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}
