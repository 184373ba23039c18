//! Puts a whole directory in the place of another in one step.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ngrams::NGRAMS_FILE;
use crate::error::{Error, Result};

/// Puts a directory with `files` in the place of `directory` in one step.
pub(super) fn replace_directory(directory: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
    let name =
        directory.file_name().ok_or_else(|| Error::invalid(directory, "not the name of a directory"))?;
    let beside = parent.join(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
    let written = write_files(directory, &beside, files).and_then(|()| exchange(&beside, directory));
    // After an exchange this is the old directory; after a fault it is what was half written.
    if beside.exists() {
        let removed = fs::remove_dir_all(&beside).map_err(Error::io(&beside));
        return written.and(removed);
    }
    written
}

fn write_files(old: &Path, beside: &Path, files: &[(&str, &[u8])]) -> Result<()> {
    if beside.exists() {
        fs::remove_dir_all(beside).map_err(Error::io(beside))?;
    }
    fs::create_dir(beside).map_err(Error::io(beside))?;
    for entry in fs::read_dir(old).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        // A table of grams belongs to the weights it came with.
        let kept = is_file && entry.file_name() != NGRAMS_FILE;
        if kept && files.iter().all(|(name, _)| entry.file_name() != *name) {
            let to = beside.join(entry.file_name());
            fs::copy(entry.path(), &to)
                .and_then(|_| fs::File::open(&to)?.sync_all())
                .map_err(Error::io(&to))?;
        }
    }
    for (name, bytes) in files {
        let path = beside.join(name);
        let mut file = fs::File::create(&path).map_err(Error::io(&path))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io(&path))?;
    }
    fs::File::open(beside).and_then(|dir| dir.sync_all()).map_err(Error::io(beside))
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
