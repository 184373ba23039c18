//! Writing a file or a directory in one step. What is being written lies beside its place as `.NAME.PROCESS.partial`
//! until it is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::output::{DirectoryKind, Strangers, folder_of, place, remove_partial_files, replaceable};
use super::unfinished;
use crate::error::{Error, Result};

/// Where something called `name` in `folder` is written before it is whole.
fn beside(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.{}.partial", std::process::id()))
}

/// A file that is written beside its place and put there once it is whole; dropped before that, it is gone.
#[derive(Debug)]
pub struct NewFile {
    place: PathBuf,
    beside: PathBuf,
    file: File,
}

impl NewFile {
    /// Begins a file that is to lie at `place`: links are followed, and what killed writers left is cleared.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder takes no file, [`Error::Invalid`] where something else than a file lies there.
    pub fn create(place: &Path) -> Result<Self> {
        let (folder, name) = super::output::place(place)?;
        let place = folder.join(&name);
        let old = match fs::metadata(&place) {
            Ok(old) if !old.is_file() => return Err(Error::invalid(&place, "is there already and no file")),
            old => old.ok(),
        };
        fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        remove_partial_files(&folder, &name)?;
        let beside = beside(&folder, &name);
        let file = File::create(&beside).map_err(Error::io(&beside))?;
        unfinished::note(&beside);
        let new = Self { place, beside, file };
        if let Some(old) = old {
            new.file.set_permissions(old.permissions()).map_err(Error::io(&new.beside))?;
        }
        Ok(new)
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk refuses; what lay there before is untouched then.
    pub fn persist(self) -> Result<()> {
        self.file.sync_all().map_err(Error::io(&self.beside))?;
        fs::rename(&self.beside, &self.place).map_err(Error::io(&self.place))?;
        sync_folder(&folder_of(&self.place))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Gone already where it was put in its place. Half a file is of no use, and a full disk is better off without it.
        let _ = fs::remove_file(&self.beside);
        unfinished::forget(&self.beside);
    }
}

/// Writes the file at `path` in one step: a reader sees the old one or the new one, whole.
///
/// # Errors
/// As [`NewFile::create`] and [`NewFile::persist`].
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut new = NewFile::create(path)?;
    new.write_all(bytes).map_err(Error::io(path))?;
    new.persist()
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io(folder))
}

/// Puts a directory with `files` in the place of `directory` in one step. Plain files of the old one that are none of
/// its kind stay.
///
/// # Errors
/// [`Error::Io`] when the disk refuses, [`Error::Invalid`] when something lies there that must not be replaced; the old
/// directory is untouched then.
pub fn replace_directory(directory: &Path, kind: DirectoryKind, files: &[(&str, &[u8])]) -> Result<()> {
    let (folder, name) = place(directory)?;
    let directory = &folder.join(&name);
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    replaceable(directory, kind, Strangers::Kept)?;
    let beside = beside(&folder, &name);
    unfinished::note(&beside);
    let written = write_files(directory, kind, &beside, files).and_then(|()| exchange(&beside, directory));
    // After an exchange this is the old directory; after a fault it is what was half written.
    let removed = match beside.exists() {
        true => fs::remove_dir_all(&beside).map_err(Error::io(&beside)),
        false => Ok(()),
    };
    unfinished::forget(&beside);
    written.and(removed).and_then(|()| sync_folder(&folder))
}

fn write_files(old: &Path, kind: DirectoryKind, beside: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    if beside.exists() {
        fs::remove_dir_all(beside).map_err(Error::io(beside))?;
    }
    fs::create_dir(beside).map_err(Error::io(beside))?;
    for entry in fs::read_dir(old).into_iter().flatten().flatten() {
        let name = entry.file_name();
        // What travels with weights belongs to those it came with.
        let own = name.to_str().is_some_and(|name| kind.owns(name));
        if !own && files.iter().all(|(written, _)| name != *written) {
            let to = beside.join(&name);
            fs::copy(entry.path(), &to).and_then(|_| File::open(&to)?.sync_all()).map_err(Error::io(&to))?;
        }
    }
    for (name, bytes) in files {
        let path = beside.join(name);
        let mut file = File::create(&path).map_err(Error::io(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&path))?;
    }
    sync_folder(beside)
}

/// Renames `beside` to `directory`, swapping the two where there is already one.
fn exchange(beside: &Path, directory: &Path) -> Result<()> {
    if !directory.exists() {
        return fs::rename(beside, directory).map_err(Error::io(directory));
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, beside, CWD, directory, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    // A file system without the exchange (or another system): two renames, the first undone if the second fails.
    let aside = beside.with_extension("old");
    // Left by a writer that was killed in between; its `directory` has been written anew since.
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(Error::io(&aside))?;
    }
    fs::rename(directory, &aside).map_err(Error::io(directory))?;
    if let Err(e) = fs::rename(beside, directory) {
        let _ = fs::rename(&aside, directory);
        return Err(Error::io(directory)(e));
    }
    fs::remove_dir_all(&aside).map_err(Error::io(&aside))
}
