//! The file of a Unix socket: made, replaced where its server is dead, removed at the end.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

/// Whoever may enter the folder may ask, as on the loopback interface: a proxy is another user.
const MODE: u32 = 0o666;
/// How long another server that starts in the same folder is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// The file that stands for a socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another file of this name is another's.
    identity: (u64, u64),
}

impl SocketFile {
    /// A listener at `path`, not blocking, and its file.
    ///
    /// # Errors
    /// The reason in words: something else stands there, or a server listens there.
    pub fn listen(path: &Path, backlog: u32) -> Result<(UnixListener, Self), String> {
        // Of two that start at once each could take the other's file for a dead one's.
        let _turn = lock_folder(path);
        let listener = match bind(path, backlog) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                check_dead(path)?;
                std::fs::remove_file(path).map_err(|e| e.to_string())?;
                bind(path, backlog)
            }
            outcome => outcome,
        };
        let listener = listener.map_err(|e| e.to_string())?;
        let file = Self::of(path).map_err(|e| e.to_string())?;
        Ok((listener, file))
    }

    fn of(path: &Path) -> io::Result<Self> {
        std::fs::set_permissions(path, PermissionsExt::from_mode(MODE))?;
        // The process may change its working directory, the file is where it is.
        let path = std::path::absolute(path)?;
        let data = std::fs::symlink_metadata(&path)?;
        Ok(Self { path, identity: (data.dev(), data.ino()) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, where it is still ours.
    pub fn remove(&self) {
        let data = std::fs::symlink_metadata(&self.path);
        if data.is_ok_and(|data| (data.dev(), data.ino()) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn bind(path: &Path, backlog: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(backlog as i32)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether what stands at `path` is the socket of a server that is no more; what it is where it is not.
fn check_dead(path: &Path) -> Result<(), String> {
    let data = std::fs::symlink_metadata(path).map_err(|e| e.to_string())?;
    if !data.file_type().is_socket() {
        return Err("there is a file that is no socket; it is left alone".into());
    }
    // Not blocking: a living server may have no room just now.
    let asked = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    match asked {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(()) => Err("another server listens there".into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err("another server listens there".into()),
        Err(error) => Err(format!("what is there cannot be told to be dead: {error}")),
    }
}

/// The folder of `path`, locked until it is dropped; `None` where that cannot be.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).ok()?;
    let end = Instant::now() + LOCK_TIMEOUT;
    while Instant::now() < end {
        match folder.try_lock() {
            Ok(()) => return Some(folder),
            Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            Err(std::fs::TryLockError::Error(_)) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_servers_file_is_replaced_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        let (listener, file) = SocketFile::listen(&path, 1).unwrap();
        assert!(SocketFile::listen(&path, 1).unwrap_err().contains("another server"));
        // As a killed process leaves it.
        std::mem::forget(file);
        drop(listener);
        let (_listener, file) = SocketFile::listen(&path, 1).unwrap();
        // Whoever came after us keeps its own.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        assert!(SocketFile::listen(&path, 1).unwrap_err().contains("no socket"));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(SocketFile::listen(&link, 1).unwrap_err().contains("no socket"));
        assert!(SocketFile::listen(&folder.path().join("none/s"), 1).is_err());
        assert!(SocketFile::listen(&folder.path().join("x".repeat(200)), 1).is_err());
    }
}
