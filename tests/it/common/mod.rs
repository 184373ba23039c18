//! Shared by the service's tests: a small model, the real server binary, a client.
#![allow(dead_code)]

mod model;
pub mod properties;
pub mod reviews;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub use model::{write_full_model, write_model, write_rounded_model};
use serde_json::Value;

/// A folder with the small model `m`, and a server on it.
pub fn start(more: &[&str]) -> (tempfile::TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("m"), 1, 8);
    let model = folder.path().join("m").to_str().unwrap().to_string();
    let server = Server::start(&[&["--model", &model], more].concat());
    (folder, server)
}

/// The server binary on a port of its own; killed when dropped.
pub struct Server {
    pub child: Child,
    pub address: String,
}

impl Server {
    /// Starts `server --port 0` with `arguments` and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::launch(command(arguments).stderr(Stdio::null()))
    }

    /// Starts a command made by [`command`] and waits until it listens.
    pub fn launch(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().split_once("//").map_or("", |(_, address)| address).to_string();
        assert!(line.starts_with("listening on "), "{line}");
        Self { child, address }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// The exit code, waited for at most ten seconds.
    pub fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the server did not end");
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write_request(&mut stream, method, path, headers, body);
        let answer = Answer::read(&mut BufReader::new(stream)).expect("an answer");
        Answer { is_v2: path == "/v2" || path.starts_with("/v2/"), ..answer }
    }

    /// What `/metrics` says of `series` (name and labels as they stand there).
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series}")).parse().unwrap()
    }

    /// Waits up to five seconds until `done` holds.
    pub fn wait_until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(5);
        while !done(self) {
            assert!(Instant::now() < end, "{what} did not happen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server binary with `arguments`, port 0, and none of the settings that the environment may hold.
///
/// `IMDB_SENTIMENT_TEST_SERVER` names another program to take for it: one that starts a container
/// (`tests/outside/container.sh`).
pub fn command(arguments: &[&str]) -> Command {
    let other = std::env::var("IMDB_SENTIMENT_TEST_SERVER");
    let mut command = Command::new(other.as_deref().unwrap_or(env!("CARGO_BIN_EXE_server")));
    let ours = |name: &str| ["IMDB_SENTIMENT_", "OTEL_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.args(["--port", "0"]).args(arguments);
    command
}

/// The reason for which a server ended: the last line of its log, all of whose lines are JSON objects.
pub fn fatal(log: &str) -> String {
    let read = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("not JSON: {e}: {line}"));
    let lines: Vec<Value> = log.lines().map(read).collect();
    let last = lines.last().expect("a line");
    assert_eq!(last["level"], "ERROR", "{last}");
    last["message"].as_str().unwrap().to_string()
}

pub fn write_request(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if method != "GET" {
        head += &format!("content-length: {}\r\n", body.len());
    }
    // The server may answer, and stop reading, before it has seen all of a body that it refuses.
    let _ = stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(body));
}

/// An answer of the server.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// Whether a path of the Open Inference Protocol was asked for, by [`Server::send`].
    pub is_v2: bool,
}

impl Answer {
    /// Reads one answer with a `content-length`; `None` when the connection ends before one begins.
    pub fn read(stream: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_string());
        }
        let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).ok()?;
        Some(Self { status, headers, body, is_v2: false })
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// Asserts that this is an error in the error format, and returns its detail.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        // The clients of the Open Inference Protocol read what is called JSON alone.
        let media_type = if self.is_v2 { "application/json" } else { "application/problem+json" };
        assert_eq!(self.headers["content-type"], media_type);
        let body = self.json();
        assert_eq!(body["status"], status);
        assert!(body["type"].is_string() && body["title"].is_string(), "{body}");
        let detail = body["detail"].as_str().unwrap().to_string();
        assert!(!detail.is_empty());
        detail
    }
}
