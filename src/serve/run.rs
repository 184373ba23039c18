//! From settings to a running server, signals included.

use std::io::Write;
use std::process::exit;

use tokio::net::{TcpListener, TcpSocket};

use super::connection::{serve, serve_aside};
use super::observe::logging;
use super::router::side_router;
use super::{App, Settings, environment, memory, reload};
use crate::error::{Error, Result};

/// Connections that the kernel keeps while there is no room for them; it takes less if its own limit is lower.
const BACKLOG: u32 = 1024;

/// Loads, listens, prints the address on standard output and serves until SIGTERM or Ctrl-C.
///
/// # Errors
/// As [`App::new`], and [`Error::Setting`] for an address that cannot be listened on.
pub fn run(settings: Settings, environment: &environment::Notes) -> Result<()> {
    environment.check(&settings)?;
    logging::start(&settings)?;
    environment.lines.iter().for_each(|line| tracing::warn!("{line}"));
    let outcome = run_logged(settings);
    logging::flush();
    outcome
}

fn run_logged(settings: Settings) -> Result<()> {
    memory::check(&settings.model_sources()?);
    raise_file_limit(settings.max_connections);
    let threads = Settings::threads(settings.http_threads);
    // One thread needs none of what several need to share work.
    let mut runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = runtime.worker_threads(threads).thread_name("http").enable_all().build();
    let runtime = runtime.map_err(|e| Error::setting("--http-threads", e.to_string()))?;
    let outcome = runtime.block_on(async {
        // Before the models are loaded, which takes a while: until it is asked for, SIGHUP ends a process, and SIGTERM
        // does nothing to the first process of a container.
        #[cfg(unix)]
        let hangup = {
            use tokio::signal::unix::{SignalKind, signal};
            signal(SignalKind::hangup()).map_err(|e| Error::setting("signals", e.to_string()))?
        };
        let shutdown = shutdown_signal().map_err(|e| Error::setting("signals", e.to_string()))?;
        let mut shutdown = Box::pin(shutdown);
        let loading = tokio::task::spawn_blocking(|| App::new(settings));
        let app = tokio::select! {
            biased;
            () = &mut shutdown => {
                tracing::info!("stopped while loading");
                return Ok(());
            }
            loaded = loading => loaded.map_err(|_| Error::setting("--model", "loading it panicked"))??,
        };
        let listener = listen(&app.settings.host, app.settings.port).await?;
        let address = listener.local_addr().map_err(|e| Error::setting("--port", e.to_string()))?;
        let scheme = if app.tls.is_some() { "https" } else { "http" };
        for slot in app.models().iter() {
            let loaded = slot.current();
            tracing::info!(model = &*slot.name, version = loaded.version, golden_reviews = loaded.self_test.reviews,
                cost = ?loaded.cost, "model loaded");
            if !loaded.self_test.passed {
                tracing::error!(reason = loaded.self_test.reason(&slot.directory), "not ready");
            }
        }
        #[cfg(unix)]
        tokio::spawn(reload::on_hangup(app.clone(), hangup));
        if app.settings.watch {
            tokio::spawn(reload::watch(app.clone()));
        }
        if app.tls.is_some() {
            tokio::spawn(reload::watch_certificate(app.clone()));
        }
        let mut aside = Vec::new();
        for (name, address, metrics) in [
            ("--health-address", &app.settings.health_address, false),
            ("--metrics-address", &app.settings.metrics_address, true),
        ] {
            let Some(address) = address else { continue };
            let fault = |e: std::io::Error| Error::setting(name, format!("{address}: {e}"));
            let listener = TcpListener::bind(address).await.map_err(fault)?;
            let what = if metrics { "figures and health" } else { "health" };
            aside.push(format!("{what} on {scheme}://{}", listener.local_addr().map_err(fault)?));
            tokio::spawn(serve_aside(listener, app.clone(), side_router(app.clone(), metrics)));
        }
        say(&format!("listening on {scheme}://{address}"));
        aside.iter().for_each(|line| say(line));
        let served = serve(listener, app.clone(), shutdown).await;
        app.spans.stop();
        served.map_err(|e| Error::setting("--port", e.to_string()))
    });
    // Connections that the grace did not see finish are cut here.
    runtime.shutdown_background();
    outcome
}

/// Writes a line to standard output; that it cannot be written stops nothing.
fn say(line: &str) {
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

async fn listen(host: &str, port: u16) -> Result<TcpListener> {
    let fault = |e: std::io::Error| Error::setting("--host, --port", format!("{host}:{port}: {e}"));
    let address = tokio::net::lookup_host((host, port)).await.map_err(fault)?.next();
    let address = address.ok_or_else(|| Error::setting("--host", format!("`{host}` has no address")))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(fault)?;
    // A restarted server must not wait for the last one's closed connections.
    #[cfg(unix)]
    socket.set_reuseaddr(true).map_err(fault)?;
    socket.bind(address).map_err(fault)?;
    socket.listen(BACKLOG).map_err(fault)
}

/// Ready at the first SIGTERM or Ctrl-C; the second one ends the process at once.
#[cfg(unix)]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (first, ready) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            }
        };
        next().await;
        let _ = first.send(());
        exit(next().await);
    });
    Ok(async { drop(ready.await) })
}

/// Ready at the first Ctrl-C; the second one ends the process at once.
#[cfg(not(unix))]
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
        tokio::spawn(async {
            let _ = tokio::signal::ctrl_c().await;
            exit(130);
        });
    })
}

/// Lets the process open as many files as its connections need, where the system allows it.
#[cfg(target_os = "linux")]
fn raise_file_limit(max_connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Model files, log, event queues, the other listeners and connections that are just being closed.
    let wanted = max_connections as u64 + 256;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let raised = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
        if raised.is_err() || current < Some(wanted) {
            tracing::warn!(wanted, ?limit, "the system allows fewer open files than --max-connections needs");
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn raise_file_limit(_: usize) {}
