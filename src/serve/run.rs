//! From settings to a running server, signals included.

use std::process::exit;

use tokio::net::{TcpListener, TcpSocket};

use super::observe::logging;
use super::{App, Settings, environment, memory, reload, serve};
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
    // Before the models are loaded, which takes a while: until it is asked for, SIGHUP ends a process.
    #[cfg(unix)]
    let hangup = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map_err(|e| Error::setting("signals", e.to_string()))?
    };
    let app = App::new(settings)?;
    let outcome = runtime.block_on(async {
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
        let shutdown = shutdown_signal().map_err(|e| Error::setting("signals", e.to_string()))?;
        #[cfg(unix)]
        tokio::spawn(reload::on_hangup(app.clone(), hangup));
        if app.settings.watch {
            tokio::spawn(reload::watch(app.clone()));
        }
        println!("listening on {scheme}://{address}");
        serve(listener, app.clone(), shutdown).await.map_err(|e| Error::setting("--port", e.to_string()))
    });
    // Connections that the grace did not see finish are cut here.
    runtime.shutdown_background();
    app.spans.stop();
    outcome
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
    // Model files, log, event queues and the like beside the sockets.
    let wanted = max_connections as u64 + 64;
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
