//! From listening socket to router: bounded connections, time-outs, TLS, a stop that loses nothing and has an end.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use hyper::Version;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_io_timeout::TimeoutStream;
#[cfg(unix)]
use tokio_util::either::Either;
use tower::Service;

use super::activity::{Activity, Watched};
use super::app::AppState;
use super::budget::{CONNECTION_BYTES, REQUEST_BYTES};
use super::http::KeptOpen;
use super::listener::{Listener, Stream};
use super::middleware::turn_away;
use super::observe::telemetry::CloseReason;
use super::router::{router, trim_slashes};
use super::settings::Settings;
use super::slots::{Slot, Slots};
use super::streams::Streams;

/// Connections of a listener for health checks and figures: a prober has one or two.
const SIDE_CONNECTIONS: usize = 32;

/// Bytes of one request that an HTTP/2 client may have under way; more would only help over very long lines.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same, all requests of a connection together.
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Least and most time from one look at an idle connection to the next.
const MIN_LOOK: Duration = Duration::from_millis(20);
const MAX_LOOK: Duration = Duration::from_secs(5);
/// Time that connections which the kernel is just making may take to be there when the listener closes: a round trip.
const HANDSHAKE: Duration = Duration::from_millis(50);
/// A connection that has been silent for so long when the server stops is closed; one that has asked since, or is new, may
/// have its next request under way, which would be lost. Longer than busy clients rest, short for whoever waits for the end.
const LINGER: Duration = Duration::from_millis(500);

/// How far the server has gone towards its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// Clients are told to go, and may still come.
    Draining,
    /// Nobody is let in any more.
    Stopping,
}

/// Serves `listener` until `shutdown` is ready and what was accepted is answered or the grace is over.
///
/// At `shutdown` readiness goes off, and every answer tells its client to close the connection; new connections are still
/// served for `--shutdown-delay`; then the socket is closed, open connections finish the request they are at, those that
/// stay silent are closed, and after `--shutdown-grace` all are cut.
///
/// # Errors
/// Only such as make accepting impossible for good; there are none known.
pub async fn serve(
    listener: impl Into<Listener>,
    app: AppState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let (listener, settings) = (listener.into(), app.settings.clone());
    let slots =
        Slots::new(settings.max_connections, settings.max_connections_per_peer, app.telemetry.clone());
    let (phase, phases) = watch::channel(Phase::Serving);
    let acceptor = Acceptor::new(app.clone(), router(app.clone()), slots.clone(), phases);
    let draining = async {
        shutdown.await;
        app.drain();
        let _ = phase.send(Phase::Draining);
        tracing::info!("shutting down");
        sleep(settings.shutdown_delay).await;
    };
    tokio::select! {
        biased;
        () = draining => {}
        () = acceptor.accept_all(&listener) => {}
    }
    // Connections that the kernel has made already are accepted, not reset.
    let rest = if listener.shut() { HANDSHAKE } else { Duration::ZERO };
    while let Ok(Ok((stream, peer))) = timeout(rest, listener.accept()).await {
        acceptor.accept(stream, peer);
    }
    drop(listener);
    let _ = phase.send(Phase::Stopping);
    match timeout(settings.shutdown_grace, slots.all_ended()).await {
        Ok(()) => tracing::info!("every connection finished"),
        Err(_) => {
            let (open, grace_s) = (slots.open(), settings.shutdown_grace.as_secs_f64());
            tracing::warn!(open, grace_s, "connections cut at the end of the grace");
        }
    }
    Ok(())
}

/// Serves `router`, which is only a part of `app`'s, on a listener of its own until the process ends: whoever asks there
/// has places of their own.
pub async fn serve_aside(listener: Listener, app: AppState, router: Router) {
    let slots = Slots::new(SIDE_CONNECTIONS, 0, app.telemetry.clone());
    let (_phase, phases) = watch::channel(Phase::Serving);
    Acceptor::new(app, router, slots, phases).accept_all(&listener).await;
}

/// What turns sockets into served connections.
struct Acceptor {
    app: AppState,
    router: Router,
    slots: Arc<Slots>,
    phases: watch::Receiver<Phase>,
}

impl Acceptor {
    fn new(app: AppState, router: Router, slots: Arc<Slots>, phases: watch::Receiver<Phase>) -> Self {
        Self { app, router, slots, phases }
    }

    /// Accepts, for ever; where there is no place and nobody can give way, connections wait in the kernel's backlog.
    async fn accept_all(&self, listener: &Listener) {
        loop {
            self.slots.room().await;
            match listener.accept().await {
                Ok((stream, peer)) => self.accept(stream, peer),
                Err(error) => {
                    // The peer is gone again, or there are no file descriptors: the latter passes when others close.
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::ConnectionRefused
                    ) {
                        tracing::warn!(%error, "cannot accept");
                        sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }

    fn accept(&self, stream: Stream, peer: Option<IpAddr>) {
        let Some(slot) = self.slots.take(peer) else { return };
        let connection = Connection {
            app: self.app.clone(),
            router: self.router.clone(),
            slot: Arc::new(slot),
            phases: self.phases.clone(),
        };
        tokio::spawn(connection.run(stream));
    }
}

fn builder(settings: &Settings, streams: Streams) -> Builder<Streams> {
    let mut builder = Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's own also runs between requests, where `--idle-timeout` is meant: `overdue` looks after both.
        .header_read_timeout(None)
        // Holds the longest header that is read; bodies pass through it in pieces.
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_streams)
        .max_header_list_size(32 * 1024)
        // What a client may send before it is read is held by h2 and charged to nobody: on all connections together
        // these windows are the bound of it.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A silent connection is asked whether it lives; otherwise a vanished client would keep its place.
        .keep_alive_interval(settings.header_timeout)
        .keep_alive_timeout(settings.header_timeout);
    builder
}

/// What one connection needs.
struct Connection {
    app: AppState,
    router: Router,
    slot: Arc<Slot>,
    phases: watch::Receiver<Phase>,
}

impl Connection {
    async fn run(self, stream: Stream) {
        let app = self.app.clone();
        let client = self.slot.client.clone();
        let _open = app.telemetry.connections.track();
        // Answers are one small write each: waiting for more would only delay them.
        #[cfg(unix)]
        if let Either::Left(stream) = &stream {
            let _ = stream.set_nodelay(true);
        }
        #[cfg(not(unix))]
        let _ = stream.set_nodelay(true);
        // A client that asks and takes no answer would keep its place for ever.
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(app.settings.write_timeout));
        let Some(tls) = &app.tls else { return self.serve(stream).await };
        let handshake = tls.acceptor().accept(stream);
        let mut phases = self.phases.clone();
        let stopped = async {
            let _ = phases.wait_for(|phase| *phase == Phase::Stopping).await;
            sleep(LINGER).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = timeout(app.settings.header_timeout, handshake) => outcome,
            () = client.closed() => return,
            // Nothing has been asked yet that would have to be answered before the end.
            () = stopped => return,
        };
        match outcome {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake too slow"),
        }
    }

    async fn serve<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (slot, client, activity) =
            (self.slot.clone(), self.slot.client.clone(), Arc::<Activity>::default());
        let router = self.router;
        let (asked_by, app, requests) = (client.clone(), self.app.clone(), activity.clone());
        let (streams, aside) = (Streams::default(), OnceLock::new());
        let builder = builder(&app.settings, streams.clone());
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            let begun = requests.begin(request.version() == Version::HTTP_2);
            let open = KeptOpen::new((asked_by.work(), begun));
            trim_slashes(request.uri_mut());
            if request.version() == Version::HTTP_2 {
                aside.get_or_init(|| app.budget.set_aside(&asked_by, CONNECTION_BYTES));
            }
            // Before anything is made for it: of streams there may be very many.
            let answer = match app.budget.charge(&asked_by, REQUEST_BYTES) {
                Ok(charge) => {
                    request.extensions_mut().insert(asked_by.clone());
                    request.extensions_mut().insert(Arc::new(charge));
                    request.extensions_mut().insert(open.clone());
                    Ok(router.clone().call(request))
                }
                Err(problem) => {
                    if request.version() == Version::HTTP_2 {
                        streams.next_is_turned_away();
                    }
                    Err(turn_away(&app, &asked_by, &request, problem))
                }
            };
            async move {
                let answer = match answer {
                    Ok(answer) => answer.await.map_err(|never| match never {}),
                    Err(turned_away) => turned_away,
                };
                drop(open);
                answer
            }
        });
        let stream = TokioIo::new(Watched::new(stream, activity.clone()));
        let connection = builder.serve_connection(stream, service);
        tokio::pin!(connection);
        let settings = &self.app.settings;
        let least = settings.header_timeout.min(settings.idle_timeout).min(settings.write_timeout);
        let period = (least / 4).clamp(MIN_LOOK, MAX_LOOK);
        let mut look = interval_at(Instant::now() + period, period);
        let mut leaving = false;
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error = %error, "connection ended");
                    }
                    return;
                }
                () = client.closed() => return,
                // From here on it is looked at closely.
                Ok(()) = self.phases.changed() => look = interval_at(Instant::now(), MIN_LOOK),
                _ = look.tick() => {}
            }
            if client.is_stuck(settings.write_timeout) {
                slot.count(CloseReason::Stalled);
                return;
            }
            let idle = if activity.is_quiet() { client.idle() } else { None };
            if let Some(reason) = overdue(&activity, idle, settings) {
                if leaving || reason == CloseReason::SlowHeader {
                    slot.count(reason);
                    return;
                }
                slot.count(reason);
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            if !leaving && must_leave(*self.phases.borrow(), &activity, idle) {
                leaving = true;
                // HTTP/2: GOAWAY, which loses nothing, for what crosses it is still answered.
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Why a connection that has been idle for so long has had its time, if it has.
///
/// This is not left to hyper: it times a header only when it knows the protocol, and PINGs keep an HTTP/2 connection alive
/// for ever; that it asks for something is ours to see.
fn overdue(activity: &Activity, idle: Option<Duration>, settings: &Settings) -> Option<CloseReason> {
    if activity.header_age().is_some_and(|age| age > settings.header_timeout) {
        return Some(CloseReason::SlowHeader);
    }
    let limit = if activity.has_asked() { settings.idle_timeout } else { settings.header_timeout };
    (idle? > limit).then_some(CloseReason::Idle)
}

/// Whether a connection is to be closed because the server stops. Over HTTP/1 an answer has told the client so by then
/// (`connection: close`), after which hyper closes it; here are those that wait for no answer.
fn must_leave(phase: Phase, activity: &Activity, idle: Option<Duration>) -> bool {
    let goes_away = activity.is_http2() && activity.has_asked();
    let silent = idle.is_some_and(|idle| idle >= LINGER) && activity.header_age().is_none();
    match phase {
        Phase::Serving => false,
        Phase::Draining => goes_away,
        Phase::Stopping => goes_away || silent,
    }
}
