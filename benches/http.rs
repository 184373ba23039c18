//! The price of the service: `cargo bench --bench http [-- --model DIR --seconds S --rounds N --json]`
//!
//! Ours and a bare axum handler that parses the same JSON and answers a constant, each on core 0, take turns under
//! the same load from core 1 (with `taskset`, where there is one): kept-alive connections, single made-up reviews of
//! 1,600 bytes. Then latency at half of our best rate, forty times the connections, ten times as many as a small
//! queue takes (clients that come back at once, and clients that wait as `Retry-After` asks), and `--soak S` seconds of
//! load with a reload every half second. Every answer is compared with the one known for its review.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Different reviews in the load: enough that no cache holds them all in the level next to the core.
const REVIEWS: usize = 64;
/// Bytes of a review: the average of the data set is near it.
const REVIEW_BYTES: usize = 1600;
/// Reviews that the small queue of the overload row takes.
const SMALL_QUEUE: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("bare") => bare(),
        Some("load") => load(&arguments[1..]),
        _ => compare(&arguments),
    }
}

/// A number after `name` among `arguments`, or `default`.
fn number(arguments: &[String], name: &str, default: f64) -> f64 {
    let at = arguments.iter().position(|argument| argument == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The bare handler: what HTTP and JSON cost by themselves.
fn bare() {
    #[derive(Deserialize)]
    struct Review {
        text: String,
    }
    async fn predict(axum::Json(review): axum::Json<Review>) -> axum::Json<Value> {
        assert!(!review.text.is_empty());
        axum::Json(json!({"label": "positive", "score": 0.97}))
    }
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("listening on http://{}", listener.local_addr().unwrap());
        axum::serve(listener, axum::Router::new().route("/predict", axum::routing::post(predict)))
            .await
            .unwrap();
    });
}

/// Made-up reviews: words of the shipped vocabulary, the frequent ones more often.
fn reviews(model: &std::path::Path) -> Vec<String> {
    let vocabulary = std::fs::read_to_string(model.join("vocab.txt")).unwrap();
    let words: Vec<&str> =
        vocabulary.lines().skip(3).filter(|w| w.bytes().all(|b| b.is_ascii_lowercase())).collect();
    let mut state = 1u64;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut review = || {
        let mut text = String::new();
        while text.len() < REVIEW_BYTES {
            // Uniform in the logarithm of the rank is Zipf's law.
            text += words[(words.len() as f64).powf(uniform()) as usize - 1];
            text.push(if uniform() < 0.08 { ',' } else { ' ' });
        }
        text
    };
    (0..REVIEWS).map(|_| review()).collect()
}

fn requests(model: &std::path::Path) -> Vec<Vec<u8>> {
    let head = "POST /predict HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ";
    let request = |text: String| {
        let body = json!({ "text": text }).to_string();
        format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
    };
    reviews(model).into_iter().map(request).collect()
}

/// Loads a server and prints what came of it as one line of JSON: `load ADDRESS MODEL CONNECTIONS SECONDS RATE
/// [--wait]`, rate 0 for as fast as it goes; `--wait` comes back after a refusal when the server asks to.
fn load(arguments: &[String]) {
    let [address, model, connections, seconds, rate, more @ ..] = arguments else { panic!("{arguments:?}") };
    let wait = more.iter().any(|argument| argument == "--wait");
    let (connections, seconds): (usize, f64) = (connections.parse().unwrap(), seconds.parse().unwrap());
    let rate: f64 = rate.parse().unwrap();
    let requests = requests(std::path::Path::new(model));
    let (requests, address): (&'static [Vec<u8>], &'static str) = (requests.leak(), address.clone().leak());
    let outcome = runtime().block_on(async {
        let start = Instant::now() + Duration::from_millis(50);
        let end = start + Duration::from_secs_f64(seconds);
        let pace = (rate > 0.0).then(|| Duration::from_secs_f64(connections as f64 / rate));
        let tasks: Vec<_> = (0..connections)
            .map(|number| {
                let offset =
                    pace.map_or(Duration::ZERO, |pace| pace.mul_f64(number as f64 / connections as f64));
                tokio::spawn(connection(address, requests, number, start + offset, end, pace, wait))
            })
            .collect();
        if pace.is_none() {
            // Keeps this core awake: waking it would be charged to the server, some ten microseconds for each answer
            // where the machine is virtual.
            tokio::spawn(async move {
                while Instant::now() < end {
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut all = Outcome::default();
        for task in tasks {
            all.merge(task.await.unwrap());
        }
        all
    });
    println!("{}", outcome.into_json(seconds));
}

#[derive(Default)]
struct Outcome {
    /// Nanoseconds of every answered request.
    latencies: Vec<u32>,
    /// Nanoseconds of every refused one.
    refusals: Vec<u32>,
    failed: u64,
    /// Answers by review: more than one is wrong, unless models were swapped on purpose.
    answers: Vec<Vec<Vec<u8>>>,
}

impl Outcome {
    fn merge(&mut self, mut other: Self) {
        self.latencies.append(&mut other.latencies);
        self.refusals.append(&mut other.refusals);
        self.failed += other.failed;
        self.answers.resize(REVIEWS, Vec::new());
        for (mine, theirs) in self.answers.iter_mut().zip(other.answers) {
            theirs.into_iter().for_each(|answer| {
                if !mine.contains(&answer) {
                    mine.push(answer)
                }
            });
        }
    }

    fn into_json(mut self, seconds: f64) -> Value {
        self.latencies.sort_unstable();
        self.refusals.sort_unstable();
        let quantile =
            |all: &[u32], q: f64| all.get((all.len() as f64 * q) as usize).map(|ns| *ns as f64 / 1e6);
        json!({
            "per_second": self.latencies.len() as f64 / seconds, "failed": self.failed,
            "p50_ms": quantile(&self.latencies, 0.5), "p99_ms": quantile(&self.latencies, 0.99),
            "refused": self.refusals.len(), "refused_p99_ms": quantile(&self.refusals, 0.99),
            "most_answers_of_a_review": self.answers.iter().map(Vec::len).max(),
        })
    }
}

async fn connection(
    address: &str,
    requests: &[Vec<u8>],
    number: usize,
    start: Instant,
    end: Instant,
    pace: Option<Duration>,
    wait: bool,
) -> Outcome {
    let mut outcome = Outcome { answers: vec![Vec::new(); REVIEWS], ..Outcome::default() };
    let Ok(mut stream) = TcpStream::connect(address).await else {
        outcome.failed += 1;
        return outcome;
    };
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let mut due = start;
    tokio::time::sleep_until(start.into()).await;
    let nanoseconds = |from: Instant| from.elapsed().as_nanos().min(u32::MAX as u128) as u32;
    for turn in number * 7.. {
        // A paced request counts from when it was due: a server that is late for one is late for those behind it.
        let from = if pace.is_some() { due } else { Instant::now() };
        if from >= end || Instant::now() >= end {
            return outcome;
        }
        let review = turn % requests.len();
        match exchange(&mut stream, &requests[review], &mut buffer).await {
            Some((200, body)) => {
                outcome.latencies.push(nanoseconds(from));
                if !outcome.answers[review].iter().any(|known| known == body) {
                    outcome.answers[review].push(body.to_vec());
                }
            }
            Some((503, _)) => {
                outcome.refusals.push(nanoseconds(from));
                if wait {
                    // What `--retry-after-seconds` is by default.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            other => {
                outcome.failed += 1;
                if other.is_none() {
                    return outcome;
                }
            }
        }
        if let Some(pace) = pace {
            due += pace;
            tokio::time::sleep_until(due.into()).await;
        }
    }
    outcome
}

/// Sends one request and reads its answer: status and body.
async fn exchange<'b>(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &'b mut [u8],
) -> Option<(u16, &'b [u8])> {
    stream.write_all(request).await.ok()?;
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.ok().filter(|read| *read > 0)?;
        filled += read;
        let Some(head) = buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&buffer[..head]).ok()?;
        let status = text.get(9..12)?.parse().ok()?;
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse::<usize>().ok()?;
        if filled == head + 4 + length {
            return Some((status, &buffer[head + 4..filled]));
        }
    }
}

/// A server process on core 0, killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut child =
            on_core(0, program, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit("//").next().unwrap().to_string();
        Self { child, address }
    }

    fn resident_mib(&self) -> f64 {
        self.memory_mib("VmRSS:")
    }

    fn memory_mib(&self, kind: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or("0");
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Waits until a review is answered again.
    fn wait_until_it_answers(&self, request: &[u8]) -> Duration {
        let start = Instant::now();
        runtime().block_on(async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                if let Ok(mut stream) = TcpStream::connect(&self.address).await
                    && let Some((200, _)) = exchange(&mut stream, request, &mut buffer).await
                {
                    return;
                }
            }
        });
        start.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn on_core(core: usize, program: &str, arguments: &[&str]) -> Command {
    let pinned = Command::new("taskset").arg("--version").stdout(Stdio::null()).status().is_ok();
    let mut command = if pinned { Command::new("taskset") } else { Command::new(program) };
    if pinned {
        command.args(["-c", &core.to_string(), program]);
    }
    command.args(arguments);
    command
}

fn compare(arguments: &[String]) {
    let this = std::env::current_exe().unwrap().to_str().unwrap().to_string();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let at = arguments.iter().position(|argument| argument == "--model");
    let model = at.map_or(root.join("models/keras-imdb"), |at| arguments[at + 1].clone().into());
    let model = model.to_str().unwrap();
    let (seconds, rounds) =
        (number(arguments, "--seconds", 3.0), number(arguments, "--rounds", 3.0) as usize);
    let soak = number(arguments, "--soak", 0.0);
    let load_with = |server: &Server, connections: usize, seconds: f64, rate: f64, more: &[&str]| -> Value {
        let (connections, seconds, rate) = (connections.to_string(), seconds.to_string(), rate.to_string());
        let arguments = ["load", &server.address, model, &connections, &seconds, &rate];
        let output = on_core(1, &this, &[&arguments, more].concat()).output();
        serde_json::from_slice(&output.unwrap().stdout).expect("the load's figures")
    };
    let load = |server: &Server, connections: usize, seconds: f64, rate: f64| {
        load_with(server, connections, seconds, rate, &[])
    };
    let rate = |figures: &Value| figures["per_second"].as_f64().unwrap();
    let started = Instant::now();
    let ours = Server::start(env!("CARGO_BIN_EXE_server"), &["--port", "0", "--model", model]);
    println!(
        "start to listening  {:.0} ms, {:.1} MiB",
        started.elapsed().as_secs_f64() * 1e3,
        ours.resident_mib()
    );
    let bare = Server::start(&this, &["bare"]);
    let (mut best_ours, mut best_bare) = (0f64, 0f64);
    for round in 1..=rounds {
        let (a, b) = (load(&bare, 16, seconds, 0.0), load(&ours, 16, seconds, 0.0));
        println!(
            "round {round}  bare {:.0}/s, ours {:.0}/s, ratio {:.3}  {b}",
            rate(&a),
            rate(&b),
            rate(&b) / rate(&a)
        );
        (best_bare, best_ours) = (best_bare.max(rate(&a)), best_ours.max(rate(&b)));
    }
    println!("best  bare {best_bare:.0}/s, ours {best_ours:.0}/s, ratio {:.3}", best_ours / best_bare);
    let half = best_ours / 2.0;
    println!("half load, bare  {}", load(&bare, 16, seconds, half));
    println!("half load, ours  {}", load(&ours, 16, seconds, half));
    drop(bare);
    let crowd = load(&ours, 640, seconds, 0.0);
    println!(
        "640 connections  {:.2} of the best  {crowd}, {:.1} MiB",
        rate(&crowd) / best_ours,
        ours.resident_mib()
    );
    // Everything through a queue that takes a tenth of what comes: most of it must be refused.
    let small = SMALL_QUEUE.to_string();
    let arguments = ["--inline-budget", "0s", "--max-pending-reviews", &small, "--max-texts", &small];
    let queued = Server::start(
        env!("CARGO_BIN_EXE_server"),
        &[&["--port", "0", "--model", model], &arguments[..]].concat(),
    );
    let request = &requests(std::path::Path::new(model))[0];
    let best = (0..rounds).map(|_| rate(&load(&queued, SMALL_QUEUE, seconds, 0.0))).fold(0.0, f64::max);
    println!("queue of {SMALL_QUEUE}, as many connections  {best:.0}/s");
    for (clients, more) in [("back at once", &[][..]), ("that wait", &["--wait"])] {
        let before = queued.resident_mib();
        let figures = load_with(&queued, 10 * SMALL_QUEUE, seconds, 0.0, more);
        let ready = queued.wait_until_it_answers(request);
        println!(
            "queue of {SMALL_QUEUE}, {} connections {clients}  {:.2} of the best  {figures}, {before:.1} MiB before, \
             {:.1} at most, {:.1} after, answers again after {:.1} ms",
            10 * SMALL_QUEUE,
            rate(&figures) / best,
            queued.memory_mib("VmHWM:"),
            queued.resident_mib(),
            ready.as_secs_f64() * 1e3
        );
    }
    drop(queued);
    if soak > 0.0 {
        let before = ours.resident_mib();
        let pid = ours.child.id().to_string();
        let end = Instant::now() + Duration::from_secs_f64(soak);
        let hangups = std::thread::spawn(move || {
            while Instant::now() < end {
                std::thread::sleep(Duration::from_millis(500));
                let _ = Command::new("kill").args(["-HUP", &pid]).status();
            }
        });
        println!(
            "soak with reloads  {}, {before:.1} MiB before, {:.1} after",
            load(&ours, 16, soak, 0.0),
            ours.resident_mib()
        );
        hangups.join().unwrap();
    }
}
