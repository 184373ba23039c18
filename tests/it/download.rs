//! `--download` against a local HTTP server that misbehaves.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imdb_sentiment::train::{Source, cached};
use md5::{Digest, Md5};

/// What the server does with the n-th connection (the last entry goes on for ever).
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Answers properly, ranges included.
    Serve,
    /// Promises all, sends so many bytes, hangs up.
    Cut(usize),
    /// Sends the whole again although a part was asked for.
    IgnoreRange,
    /// Answers with this status.
    Status(u16),
}

/// The address of a server for `body`, and the requests that it saw (their `Range` or an empty string).
fn serve(body: Vec<u8>, acts: &'static [Act]) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate().take(50) {
            let act = acts[at.min(acts.len() - 1)];
            let range = answer(stream.unwrap(), &body, act);
            log.lock().unwrap().push(range);
        }
    });
    (format!("http://{address}/reviews.tar.gz"), seen)
}

fn answer(mut stream: TcpStream, body: &[u8], act: Act) -> String {
    let mut range = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    while let Some(Ok(line)) = lines.next().filter(|line| line.as_ref().is_ok_and(|line| !line.is_empty())) {
        if let Some(value) = line.to_lowercase().strip_prefix("range: ") {
            range = value.to_string();
        }
    }
    let from = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
    let from = from.filter(|_| !matches!(act, Act::IgnoreRange)).unwrap_or(0);
    let (status, part) = match act {
        Act::Status(status) => (status, &body[..0]),
        _ if from > 0 => (206, &body[from..]),
        _ => (200, body),
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", part.len());
    if status == 206 {
        head += &format!("content-range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
    }
    let sent = match act {
        Act::Cut(bytes) => &part[..bytes.min(part.len())],
        _ => part,
    };
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(sent));
    range
}

fn body() -> Vec<u8> {
    (0..300_000u32).map(|at| (at * 31 / 8) as u8).collect()
}

fn source(url: String, body: &[u8]) -> Source {
    let md5 = Md5::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    Source { url, md5, size_bytes: body.len() as u64, pause: Duration::from_millis(1) }
}

#[test]
fn a_whole_transfer_is_cached_and_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let (url, seen) = serve(body(), &[Act::Serve]);
    let source = source(url, &body());
    for _ in 0..2 {
        let path = cached(&source, Some(folder.path())).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), body());
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let (url, seen) = serve(body(), &[Act::Cut(150_000), Act::Cut(70_000), Act::Serve]);
    let path = cached(&source(url, &body()), Some(folder.path())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body());
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], "");
    assert!(seen.len() >= 3 && seen[1..].iter().all(|range| range.starts_with("bytes=")), "{seen:?}");
}

#[test]
fn a_server_without_ranges_sends_the_whole_again() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = serve(body(), &[Act::Cut(1000), Act::IgnoreRange]);
    let path = cached(&source(url, &body()), Some(folder.path())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body());
}

#[test]
fn a_transfer_that_never_gets_further_is_given_up_and_resumed_later() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _) = serve(body(), &[Act::Cut(1000), Act::Status(503)]);
    let mut source = source(url, &body());
    let error = cached(&source, Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("503") && error.contains("given up"), "{error}");
    // Another server has the rest; the first thousand bytes are still there.
    let (url, seen) = serve(body(), &[Act::Serve]);
    source.url = url;
    cached(&source, Some(folder.path())).unwrap();
    assert_eq!(seen.lock().unwrap()[0], "bytes=1000-");
}

#[test]
fn other_bytes_are_refused_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = body();
    other[1234] ^= 1;
    let (url, _) = serve(other, &[Act::Serve]);
    let error = cached(&source(url, &body()), Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("MD5"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn what_will_not_pass_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (url, seen) = serve(body(), &[Act::Status(404)]);
    let error = cached(&source(url, &body()), Some(folder.path())).unwrap_err().to_string();
    assert!(error.contains("404"), "{error}");
    assert_eq!(seen.lock().unwrap().len(), 1);
    // A port where nobody listens: bound, then let go.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error =
        cached(&source(format!("http://{closed}/x.tar.gz"), &body()), Some(folder.path())).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}
