//! `server healthcheck`: asks a running server whether it is ready, for a container's HEALTHCHECK.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, SignatureScheme, StreamOwned,
    crypto::ring,
};

use super::environment;
use super::settings::Settings;

/// How long the server may take: container engines wait 30 s by default, a healthy server answers in a millisecond.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a server listens, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Address or host name; one that means "all" is asked at the loopback.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The Unix socket that it listens on in place of host and port.
    pub uds: Option<PathBuf>,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match &self.uds {
            Some(path) => write!(f, "{}", path.display()),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl Target {
    /// Where the server of this machine or container listens, whatever its flags: other processes of this very program
    /// are looked for, process 1 first, and the command line of the first (that listens on `port`, if that is given, and at
    /// a port at all where `by_host` says so) is read. Where there is none, what the environment says.
    pub fn find(by_host: bool, port: Option<u16>) -> Self {
        let fits = |target: &Self| {
            let by_port = port.is_none_or(|port| target.port == port);
            by_port && (target.uds.is_none() || !by_host && port.is_none())
        };
        running().into_iter().find(fits).unwrap_or_else(|| {
            let settings = environment::settings_of(&["server".into()]).unwrap_or_else(Settings::defaults);
            let default = Self::of(&settings);
            let uds = default.uds.filter(|_| !by_host && port.is_none());
            Self { port: port.unwrap_or(default.port), uds, ..default }
        })
    }

    fn of(settings: &Settings) -> Self {
        let (host, uds) = (settings.host.clone(), settings.uds.clone());
        Self { host, port: settings.port, tls: settings.tls_cert.is_some(), uds }
    }
}

/// Where the other processes of this program listen, in the order of their ids.
fn running() -> Vec<Target> {
    let Ok(own) = std::fs::read_link("/proc/self/exe") else { return Vec::new() };
    let mut ids: Vec<u32> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|id| *id != std::process::id())
        .collect();
    ids.sort_unstable();
    let target = |id: u32| {
        let folder = PathBuf::from(format!("/proc/{id}"));
        if std::fs::read_link(folder.join("exe")).ok()? != own {
            return None;
        }
        let line = std::fs::read_to_string(folder.join("cmdline")).ok()?;
        let arguments: Vec<String> = line.split_terminator('\0').map(str::to_string).collect();
        // Another health check has no settings of a server, and is none.
        let target = Target::of(&environment::settings_of(&arguments)?);
        match target.port {
            // As the server sees it.
            _ if target.uds.is_some() => {
                Some(Target { uds: target.uds.map(|path| folder.join("cwd").join(path)), ..target })
            }
            // The system picked one.
            0 => Some(Target { port: listening_port(&folder)?, ..target }),
            _ => Some(target),
        }
    };
    ids.into_iter().filter_map(target).collect()
}

/// The first TCP port that the process of this folder listens on.
fn listening_port(process: &Path) -> Option<u16> {
    let sockets: Vec<String> = std::fs::read_dir(process.join("fd"))
        .ok()?
        .filter_map(|entry| {
            let link = std::fs::read_link(entry.ok()?.path()).ok()?;
            Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_string())
        })
        .collect();
    ["net/tcp", "net/tcp6"].iter().find_map(|table| {
        std::fs::read_to_string(process.join(table)).ok()?.lines().skip(1).find_map(|line| {
            // sl, local address, remote address, state (0A: listening), queues, timer, retransmits, uid, timeout, inode.
            let fields: Vec<&str> = line.split_whitespace().collect();
            let ours =
                *fields.get(3)? == "0A" && sockets.iter().any(|inode| Some(&&**inode) == fields.get(9));
            ours.then(|| u16::from_str_radix(fields[1].rsplit_once(':')?.1, 16).ok())?
        })
    })
}

/// Asks the server at `target` for `/health/ready`, or for `/health/live` where it need only be `alive`.
///
/// # Errors
/// Why it is not healthy, in words.
pub fn healthcheck(target: &Target, alive: bool) -> Result<(), String> {
    let path = if alive { "/health/live" } else { "/health/ready" };
    let fault = |reason: String| format!("{target}: {reason}");
    let answer = match &target.uds {
        Some(socket) => over_unix(socket, target.tls, path),
        None => over_tcp(target, path),
    };
    let answer = answer.map_err(|e| fault(e.to_string()))?;
    match answer.split_once("\r\n").map_or(&*answer, |(status, _)| status).split(' ').nth(1) {
        Some("200") => Ok(()),
        Some(status) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            Err(fault(format!("status {status} {body}")))
        }
        None => Err(fault("not an HTTP answer".into())),
    }
}

fn over_tcp(target: &Target, path: &str) -> std::io::Result<String> {
    let host = target.host.trim_matches(['[', ']']);
    let mut address =
        (host, target.port).to_socket_addrs()?.next().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    ask(stream, target.tls, address.ip(), path)
}

#[cfg(unix)]
fn over_unix(socket: &Path, tls: bool, path: &str) -> std::io::Result<String> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    ask(stream, tls, Ipv4Addr::LOCALHOST.into(), path)
}

#[cfg(not(unix))]
fn over_unix(_: &Path, _: bool, _: &str) -> std::io::Result<String> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn ask(stream: impl Read + Write, tls: bool, name: IpAddr, path: &str) -> std::io::Result<String> {
    if !tls {
        return exchange(stream, path);
    }
    let connection = ClientConnection::new(client(), ServerName::IpAddress(name.into()));
    exchange(StreamOwned::new(connection.map_err(std::io::Error::other)?, stream), path)
}

fn exchange(mut stream: impl Read + Write, path: &str) -> std::io::Result<String> {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    // A peer that is no server of ours must not fill the memory.
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn client() -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    Arc::new(config)
}

/// Takes any certificate: the question is whether a process of one's own machine answers, nothing secret is sent,
/// and a certificate for a public name would never fit the loopback address.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
