//! The public release over HTTP: resumed where a transfer broke, checked, kept in the user's cache folder.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::{Digest, Md5};

use crate::error::{Error, Result};
use crate::model::Lock;
use crate::train::progress;

/// Where an archive lies and how its bytes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The address.
    pub url: String,
    /// Hex MD5 of the archive.
    pub md5: String,
    /// Size of the archive.
    pub size_bytes: u64,
    /// Waiting time before the next attempt after a broken transfer; grows with each in vain.
    pub pause: Duration,
}

/// Attempts in a row that may bring no new byte before the transfer is given up.
const ATTEMPTS: u32 = 4;

impl Default for Source {
    /// The public release at its official address.
    fn default() -> Self {
        Self {
            url: "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz".into(),
            md5: "7c2ac02c03563afcf9b574c7e56c153a".into(),
            size_bytes: 84_125_825,
            pause: Duration::from_secs(1),
        }
    }
}

/// The path of the archive in `cache` (or else the user's cache folder), fetched from `source` where it is not yet
/// there.
///
/// # Errors
/// [`Error::Download`] when the transfer fails for good or brings other bytes than `source` says; [`Error::Io`] when
/// the disk refuses. What came before a broken transfer is kept, and the next call goes on behind it.
pub fn cached(source: &Source, cache: Option<&Path>) -> Result<PathBuf> {
    let folder = cache.map_or_else(default_cache, |cache| Ok(cache.to_path_buf()))?;
    let name = source.url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("archive");
    let path = folder.join(name);
    if path.is_file() {
        // Checked again: a disk may lose bits, and reading 84 MB costs less than a puzzled user.
        return check(source, &path).map(|()| path);
    }
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(Error::invalid(&path, "is there already and no file"));
    }
    // Two transfers into one file would mix their bytes.
    let _lock = Lock::take(&folder.join(format!("{name}.lock")), &path)?;
    if path.is_file() {
        return check(source, &path).map(|()| path);
    }
    let part = folder.join(format!("{name}.part"));
    fetch(source, &part)?;
    check(source, &part)?;
    fs::rename(&part, &path).map_err(Error::io(&path))?;
    Ok(path)
}

/// `$XDG_CACHE_HOME/imdb-sentiment`, or `~/.cache/imdb-sentiment`.
fn default_cache() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("imdb-sentiment"))
        .ok_or_else(|| Error::Data("no cache folder: neither XDG_CACHE_HOME nor HOME names one".into()))
}

/// Refuses (and removes) a file with other bytes than `source` says.
fn check(source: &Source, path: &Path) -> Result<()> {
    let mut file = File::open(path).map_err(Error::io(path))?;
    let mut digest = Md5::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size_bytes = 0;
    loop {
        let count = file.read(&mut buffer).map_err(Error::io(path))?;
        if count == 0 {
            break;
        }
        digest.update(&buffer[..count]);
        size_bytes += count as u64;
    }
    let md5 = crate::text::hex(&digest.finalize());
    if size_bytes == source.size_bytes && md5 == source.md5 {
        return Ok(());
    }
    fs::remove_file(path).map_err(Error::io(path))?;
    let reason = format!(
        "not the expected file: {size_bytes} bytes with MD5 {md5}, expected {} bytes with {}; it was removed",
        source.size_bytes, source.md5
    );
    Err(Error::Download { url: source.url.clone(), reason })
}

/// How one attempt failed.
enum Fault {
    /// Trying again may help.
    Passing(String),
    /// It will not.
    Final(Error),
}

/// Brings `part` to its full size, attempt by attempt.
fn fetch(source: &Source, part: &Path) -> Result<()> {
    let bar = progress::bytes(source.size_bytes, "downloading");
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .user_agent(concat!("imdb-sentiment/", env!("CARGO_PKG_VERSION")))
            .build(),
    );
    let mut in_vain = 0;
    loop {
        let have = fs::metadata(part).map_or(0, |metadata| metadata.len());
        if have >= source.size_bytes {
            bar.finish_and_clear();
            return Ok(());
        }
        match attempt(&agent, source, part, have, &bar) {
            Ok(()) => {}
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Passing(reason)) => {
                let progressed = fs::metadata(part).map_or(0, |metadata| metadata.len()) > have;
                in_vain = if progressed { 0 } else { in_vain + 1 };
                if in_vain == ATTEMPTS {
                    let reason = format!("{reason}; given up after {ATTEMPTS} attempts in vain");
                    return Err(Error::Download { url: source.url.clone(), reason });
                }
                std::thread::sleep(source.pause * (1 << in_vain));
            }
        }
    }
}

/// Asks for what lies behind the first `have` bytes and appends what comes.
fn attempt(
    agent: &ureq::Agent,
    source: &Source,
    part: &Path,
    have: u64,
    bar: &indicatif::ProgressBar,
) -> Result<(), Fault> {
    let download = |reason: String| Fault::Final(Error::Download { url: source.url.clone(), reason });
    let disk = |e: std::io::Error| Fault::Final(Error::io(part)(e));
    let mut request = agent.get(&source.url);
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let mut response = request.call().map_err(|e| match e {
        // The other side went away while talking; every other fault is there again at the next attempt.
        ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => {
            download("the connection was refused".into())
        }
        ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => {
            Fault::Passing(e.to_string())
        }
        ureq::Error::HostNotFound => download("no such host (is there a network?)".into()),
        other => download(other.to_string()),
    })?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let start = match response.status().as_u16() {
        // A server that does not know ranges sends the whole again.
        200 => 0,
        206 => {
            let range = header("content-range").and_then(|range| range.strip_prefix("bytes "));
            let first = range.and_then(|range| range.split('-').next()?.parse::<u64>().ok());
            match first {
                Some(first) if first == have => have,
                _ => return Err(download("the server sent another part than was asked for".into())),
            }
        }
        status @ (429 | 500..=599) => return Err(Fault::Passing(format!("the server answered {status}"))),
        status => return Err(download(format!("the server answered {status}"))),
    };
    let length = header("content-length").and_then(|value| value.parse::<u64>().ok());
    if let Some(total) = length.map(|length| start + length).filter(|total| *total != source.size_bytes) {
        return Err(download(format!("the file there has {total} bytes, expected {}", source.size_bytes)));
    }
    let mut file =
        OpenOptions::new().create(true).append(start > 0).write(true).truncate(start == 0).open(part);
    let file = file.as_mut().map_err(|e| disk(std::io::Error::new(e.kind(), e.to_string())))?;
    bar.set_position(start);
    let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    let mut at = start;
    // More than was promised is as wrong as less; the check says so.
    while at <= source.size_bytes {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) => return Err(Fault::Passing(format!("the transfer broke: {e}"))),
        };
        file.write_all(&buffer[..count]).map_err(disk)?;
        at += count as u64;
        bar.set_position(at);
    }
    file.sync_all().map_err(disk)?;
    if at < source.size_bytes {
        return Err(Fault::Passing(format!("the transfer ended after {at} of {} bytes", source.size_bytes)));
    }
    Ok(())
}
