//! Where the server listens: at a TCP port, or at a Unix socket.

use std::io;
use std::net::IpAddr;
#[cfg(unix)]
use std::path::Path;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

#[cfg(unix)]
use super::socket_file::SocketFile;
use crate::error::{Error, Result};

/// Connections that the kernel keeps while there is no room for them; it takes less if its own limit is lower.
pub const BACKLOG: u32 = 1024;

/// A connection.
#[cfg(unix)]
pub type Stream = tokio_util::either::Either<TcpStream, UnixStream>;
/// A connection.
#[cfg(not(unix))]
pub type Stream = TcpStream;

/// What takes connections.
#[derive(Debug)]
pub enum Listener {
    /// At a TCP port.
    Tcp(TcpListener),
    /// At a Unix socket, with its file.
    #[cfg(unix)]
    Unix(UnixListener, SocketFile),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl Listener {
    /// Listens at `host` and `port`; at `[::]` for both versions of IP. `setting` is what a fault is put down to.
    ///
    /// # Errors
    /// [`Error::Setting`] where that cannot be.
    pub async fn tcp(setting: &str, host: &str, port: u16) -> Result<Self> {
        let host = host.trim();
        // As in an address, where the brackets part it from the port.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let shown = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
        let fault = |e: io::Error| Error::setting(setting, format!("{shown}: {e}"));
        let address = tokio::net::lookup_host((bare, port)).await.map_err(fault)?.next();
        let address = address.ok_or_else(|| Error::setting(setting, format!("`{bare}` has no address")))?;
        let socket =
            if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(fault)?;
        if address.ip().is_unspecified() && address.is_ipv6() {
            // What the system takes for usual differs.
            socket2::SockRef::from(&socket).set_only_v6(false).map_err(fault)?;
        }
        // A restarted server must not wait for the last one's closed connections.
        #[cfg(unix)]
        socket.set_reuseaddr(true).map_err(fault)?;
        socket.bind(address).map_err(fault)?;
        socket.listen(BACKLOG).map(Self::Tcp).map_err(fault)
    }

    /// Listens at the Unix socket `path`. The file that a dead server left is replaced, any other left alone.
    ///
    /// # Errors
    /// [`Error::Setting`] where that cannot be.
    #[cfg(unix)]
    pub fn unix(path: &Path) -> Result<Self> {
        let fault = |reason: String| Error::setting("--uds", format!("{}: {reason}", path.display()));
        let (listener, file) = SocketFile::listen(path, BACKLOG).map_err(fault)?;
        let listener = UnixListener::from_std(listener).map_err(|e| fault(e.to_string()))?;
        Ok(Self::Unix(listener, file))
    }

    /// The next connection, and its other end's address, which a Unix socket has not.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn accept(&self) -> io::Result<(Stream, Option<IpAddr>)> {
        match self {
            #[cfg(unix)]
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, peer)| (Stream::Left(stream), Some(peer.ip().to_canonical()))),
            #[cfg(not(unix))]
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, peer)| (stream, Some(peer.ip().to_canonical())))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => {
                listener.accept().await.map(|(stream, _)| (Stream::Right(stream), None))
            }
        }
    }

    /// Lets nobody in any more who has not begun to connect; whether that can be. What the kernel has accepted already can
    /// still be taken. Without it a connection made between the last one taken and the closing of the socket is reset, with
    /// the request that its client has sent by then.
    pub fn shut(&self) -> bool {
        match self {
            Self::Tcp(listener) => drop_new_connections(listener).is_ok(),
            #[cfg(unix)]
            Self::Unix(_, file) => {
                file.remove();
                true
            }
        }
    }

    /// Where it listens, as it is said: `http://127.0.0.1:3000`, `unix:///run/sentiment.sock`.
    ///
    /// # Errors
    /// Those of the system.
    pub fn shown(&self, tls: bool) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => {
                Ok(format!("http{}://{}", if tls { "s" } else { "" }, listener.local_addr()?))
            }
            #[cfg(unix)]
            Self::Unix(_, file) => Ok(format!("unix://{}", file.path().display())),
        }
    }
}

/// Has the kernel drop each packet that opens a connection to `listener`; its sender tries again a second later and finds
/// the port closed.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_new_connections(listener: &TcpListener) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};
    // A classic BPF program (linux/filter.h) over the segment: the flags are its byte 13, SYN is 2, ACK 16. The last packet
    // of a handshake has ACK alone and must pass.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const DROP: u32 = 0;
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, 2 | 16),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 2),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(listener).attach_filter(&program)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn drop_new_connections(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
