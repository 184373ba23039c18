//! From settings to a running server, signals included.

use std::io::Write;
use std::process::exit;

use super::connection::{serve, serve_aside};
use super::listener::Listener;
use super::observe::logging;
use super::router::side_router;
use super::{App, Settings, environment, memory, reload};
use crate::error::{Error, Result};

/// Loads, listens, tells the address and serves until SIGTERM or Ctrl-C. The address is logged, and printed on standard
/// output where that is not where a log of JSON objects goes.
///
/// # Errors
/// As [`App::new`], and [`Error::Setting`] for an address that cannot be listened on.
pub fn run(settings: Settings, environment: &environment::Notes) -> Result<()> {
    logging::start(&settings)?;
    environment.check(&settings)?;
    environment.lines.iter().for_each(|line| tracing::warn!("{line}"));
    let outcome = run_logged(settings);
    logging::flush();
    outcome
}

fn run_logged(settings: Settings) -> Result<()> {
    memory::without_huge_pages();
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
        let listener = listen(&app.settings).await?;
        let tls = app.tls.is_some();
        let shown = |listener: &Listener, setting: &str| {
            listener.shown(tls).map_err(|e| Error::setting(setting, e.to_string()))
        };
        let mut addresses = vec![format!("listening on {}", shown(&listener, "--port")?)];
        for slot in app.models().iter() {
            let Some(loaded) = slot.current() else { continue };
            tracing::info!(
                model = &*slot.name,
                version = loaded.version,
                golden_reviews = loaded.self_test.reviews,
                ns_per_byte = loaded.cost.ns_per_byte,
                ns_per_text = loaded.cost.ns_per_text,
                ns_per_token = loaded.cost.ns_per_token,
                "model loaded"
            );
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
        for (name, address, metrics) in [
            ("--health-address", &app.settings.health_address, false),
            ("--metrics-address", &app.settings.metrics_address, true),
        ] {
            let Some(address) = address else { continue };
            let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
            let (host, port) = parts.ok_or_else(|| Error::setting(name, "write address and port"))?;
            let listener = Listener::tcp(name, host, port).await?;
            let what = if metrics { "figures and health" } else { "health" };
            addresses.push(format!("{what} on {}", shown(&listener, name)?));
            tokio::spawn(serve_aside(listener, app.clone(), side_router(app.clone(), metrics)));
        }
        let say = if logging::takes_output(&app.settings) { |_: &str| {} } else { print };
        for line in &addresses {
            tracing::info!("{line}");
            say(line);
        }
        let served = serve(listener, app.clone(), shutdown).await;
        app.spans.stop();
        served.map_err(|e| Error::setting("--port", e.to_string()))
    });
    // Connections that the grace did not see finish are cut here.
    runtime.shutdown_background();
    outcome
}

/// Writes a line to standard output; that it cannot be written stops nothing.
fn print(line: &str) {
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

async fn listen(settings: &Settings) -> Result<Listener> {
    if let Some(path) = &settings.uds {
        #[cfg(unix)]
        return Listener::unix(path);
        #[cfg(not(unix))]
        return Err(Error::setting("--uds", format!("{}: this system has no Unix sockets", path.display())));
    }
    Listener::tcp("--host, --port", &settings.host, settings.port).await
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
            let granted = limit.maximum;
            tracing::warn!(
                wanted,
                granted,
                "the system allows fewer open files than --max-connections needs"
            );
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn raise_file_limit(_: usize) {}
