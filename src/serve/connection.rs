//! From listening socket to router: bounded connections, time-outs, TLS, a stop with an end.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::Service;

use super::app::AppState;
use super::budget::REQUEST_BYTES;
use super::middleware::turn_away;
use super::observe::telemetry::CloseReason;
use super::router::router;
use super::settings::Settings;
use super::slots::{Slot, Slots};

/// Connections of a listener for health checks and figures: a prober has one or two.
const SIDE_CONNECTIONS: usize = 32;

/// Bytes of one request that an HTTP/2 client may have under way; more would only help over very long lines.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same, all requests of a connection together.
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Least and most time from one look at an idle connection to the next.
const MIN_LOOK: Duration = Duration::from_millis(20);
const MAX_LOOK: Duration = Duration::from_secs(5);

/// Serves `listener` until `shutdown` is ready and what was accepted is answered or the grace is over.
///
/// At `shutdown` readiness goes off; new connections are still served for `--shutdown-delay`; then the socket is
/// closed, open connections finish the request they are at, and after `--shutdown-grace` they are cut.
///
/// # Errors
/// Only such as make accepting impossible for good; there are none known.
pub async fn serve(
    listener: TcpListener,
    app: AppState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let settings = app.settings.clone();
    let slots =
        Slots::new(settings.max_connections, settings.max_connections_per_peer, app.telemetry.clone());
    let (stop, stopped) = watch::channel(false);
    let acceptor = Acceptor::new(app.clone(), router(app.clone()), slots.clone(), stopped);
    let draining = async {
        shutdown.await;
        app.drain();
        tracing::info!("shutting down");
        tokio::time::sleep(settings.shutdown_delay).await;
    };
    tokio::select! {
        biased;
        () = draining => {}
        () = acceptor.accept_all(&listener) => {}
    }
    // Connections that the kernel has made already are accepted, not reset.
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        acceptor.accept(stream, peer);
    }
    drop(listener);
    let _ = stop.send(true);
    match tokio::time::timeout(settings.shutdown_grace, slots.all_ended()).await {
        Ok(()) => tracing::info!("every connection finished"),
        Err(_) => {
            let open = slots.open();
            tracing::warn!(open, grace = ?settings.shutdown_grace, "connections cut at the end of the grace");
        }
    }
    Ok(())
}

/// Serves `router`, which is only a part of `app`'s, on a listener of its own until the process ends: whoever asks there
/// has places of their own.
pub async fn serve_aside(listener: TcpListener, app: AppState, router: Router) {
    let slots = Slots::new(SIDE_CONNECTIONS, 0, app.telemetry.clone());
    let (_stop, stopped) = watch::channel(false);
    Acceptor::new(app, router, slots, stopped).accept_all(&listener).await;
}

/// What turns sockets into served connections.
struct Acceptor {
    app: AppState,
    router: Router,
    slots: Arc<Slots>,
    builder: Arc<Builder<TokioExecutor>>,
    stopped: watch::Receiver<bool>,
}

impl Acceptor {
    fn new(app: AppState, router: Router, slots: Arc<Slots>, stopped: watch::Receiver<bool>) -> Self {
        let builder = Arc::new(builder(&app.settings));
        Self { app, router, slots, builder, stopped }
    }

    /// Accepts, for ever; where there is no place and nobody can give way, connections wait in the kernel's backlog.
    async fn accept_all(&self, listener: &TcpListener) {
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
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        }
    }

    fn accept(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(slot) = self.slots.take(peer.ip().to_canonical()) else { return };
        let connection = Connection {
            app: self.app.clone(),
            router: self.router.clone(),
            slot: Arc::new(slot),
            stopped: self.stopped.clone(),
        };
        tokio::spawn(connection.run(stream, self.builder.clone()));
    }
}

fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
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
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, builder: Arc<Builder<TokioExecutor>>) {
        let app = self.app.clone();
        let client = self.slot.client.clone();
        let _open = app.telemetry.connections.track();
        // Answers are one small write each: waiting for more would only delay them.
        let _ = stream.set_nodelay(true);
        // A client that asks and takes no answer would keep its place for ever.
        let mut stream = Box::pin(TimeoutStream::new(stream));
        stream.as_mut().set_write_timeout_pinned(Some(app.settings.write_timeout));
        let Some(tls) = &app.tls else { return self.serve(stream, &builder).await };
        let handshake = tls.acceptor().accept(stream);
        let mut stopped = self.stopped.clone();
        let outcome = tokio::select! {
            biased;
            outcome = tokio::time::timeout(app.settings.header_timeout, handshake) => outcome,
            () = client.closed() => return,
            // Nothing has been asked yet that would have to be answered before the end.
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match outcome {
            Ok(Ok(stream)) => self.serve(stream, &builder).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake too slow"),
        }
    }

    async fn serve<S>(mut self, stream: S, builder: &Builder<TokioExecutor>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (slot, client) = (self.slot.clone(), self.slot.client.clone());
        let router = self.router;
        let (asked_by, app) = (client.clone(), self.app.clone());
        let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
            let working = asked_by.work();
            // Before anything is made for it: of streams there may be very many.
            let answer = match app.budget.charge(&asked_by, REQUEST_BYTES) {
                Ok(charge) => {
                    request.extensions_mut().insert(asked_by.clone());
                    request.extensions_mut().insert(Arc::new(charge));
                    Ok(router.clone().call(request))
                }
                Err(problem) => Err(turn_away(&app, &asked_by, request.headers(), problem)),
            };
            async move {
                let answer: Result<_, Infallible> = match answer {
                    Ok(answer) => answer.await,
                    Err(response) => Ok(response),
                };
                drop(working);
                answer
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let (idle_limit, write_limit) = (self.app.settings.header_timeout, self.app.settings.write_timeout);
        // hyper times a header only when it knows the protocol, and PINGs keep an HTTP/2 connection alive for ever: that
        // it asks for something is ours to see.
        let period = (idle_limit.min(write_limit) / 4).clamp(MIN_LOOK, MAX_LOOK);
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + period, period);
        let (mut leaving, mut stopping) = (false, false);
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
                _ = self.stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = look.tick() => {
                    if client.is_stuck(write_limit) {
                        slot.count(CloseReason::Stalled);
                        return;
                    }
                    let idle = client.idle().is_some_and(|idle| idle > idle_limit);
                    if idle && leaving {
                        return;
                    }
                    if idle {
                        leaving = true;
                        slot.count(CloseReason::Idle);
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        }
    }
}
