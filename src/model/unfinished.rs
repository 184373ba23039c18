//! What lies on the disk only while this process runs: files and directories that are being written, and locks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes that `path` is to go when the process is stopped.
pub(super) fn note(path: &Path) {
    unfinished().insert(path.to_path_buf());
}

/// Notes that `path` is gone, or in its place.
pub(super) fn forget(path: &Path) {
    unfinished().remove(path);
}

/// Removes all of it; for a process that is about to end.
pub fn remove_unfinished() {
    for path in std::mem::take(&mut *unfinished()) {
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}
