//! From listening socket to router: bounded connections, time-outs, TLS, a stop with an end.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::http::Version;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower::Service;

use super::app::AppState;
use super::http::stalled::StalledResponses;
use super::router::router;
use super::settings::Settings;

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
    let router = router(app.clone());
    let slots = Arc::new(Semaphore::new(settings.max_connections));
    let builder = Arc::new(builder(&settings));
    let (stop, stopped) = watch::channel(false);
    let accept = |stream: TcpStream, permit: OwnedSemaphorePermit| {
        let connection = Connection { app: app.clone(), router: router.clone(), stopped: stopped.clone() };
        tokio::spawn(connection.run(stream, builder.clone(), permit));
    };
    let draining = async {
        shutdown.await;
        app.drain();
        tracing::info!("shutting down");
        tokio::time::sleep(settings.shutdown_delay).await;
    };
    tokio::pin!(draining);
    loop {
        tokio::select! {
            biased;
            () = &mut draining => break,
            (stream, permit) = next(&listener, &slots) => accept(stream, permit),
        }
    }
    // Connections that the kernel has made already are accepted, not reset.
    while let Ok(permit) = slots.clone().try_acquire_owned() {
        match tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((stream, _))) => accept(stream, permit),
            _ => break,
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let all = u32::try_from(settings.max_connections).unwrap_or(u32::MAX);
    match tokio::time::timeout(settings.shutdown_grace, slots.acquire_many(all)).await {
        Ok(_) => tracing::info!("every connection finished"),
        Err(_) => {
            let open = settings.max_connections - slots.available_permits();
            tracing::warn!(open, grace = ?settings.shutdown_grace, "connections cut at the end of the grace");
        }
    }
    Ok(())
}

/// The next connection, when there is room for one: until then it waits in the kernel's backlog.
async fn next(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = slots.clone().acquire_owned().await else { return pending().await };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
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
        // A silent connection is asked whether it lives; otherwise a vanished client would keep its place.
        .keep_alive_interval(settings.header_timeout)
        .keep_alive_timeout(settings.header_timeout);
    builder
}

/// What one connection needs.
struct Connection {
    app: AppState,
    router: Router,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn run(
        self,
        stream: TcpStream,
        builder: Arc<Builder<TokioExecutor>>,
        permit: OwnedSemaphorePermit,
    ) {
        let _permit = permit;
        let app = self.app.clone();
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
        // hyper times a header only when it knows the protocol: until the first request the time is ours to keep.
        let begun = Arc::new(AtomicBool::new(false));
        let seen = begun.clone();
        let router = self.router;
        let untaken = StalledResponses::default();
        let watched = untaken.clone();
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            seen.store(true, Relaxed);
            let streams = request.version() == Version::HTTP_2;
            let (answer, watched) = (router.clone().call(request), watched.clone());
            async move {
                let answer = answer.await?;
                Ok::<_, Infallible>(if streams { answer.map(|body| watched.watch(body)) } else { answer })
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut first = std::pin::pin!(tokio::time::sleep(self.app.settings.header_timeout));
        let write_timeout = self.app.settings.write_timeout;
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + write_timeout, write_timeout);
        let mut waiting = true;
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error = %error, "connection ended");
                    }
                    return;
                }
                _ = self.stopped.wait_for(|stopped| *stopped), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = look.tick() => {
                    if untaken.is_stuck(write_timeout) {
                        tracing::debug!("an answer was not taken in time");
                        return;
                    }
                }
                () = &mut first, if waiting => {
                    if !begun.load(Relaxed) {
                        return;
                    }
                    waiting = false;
                }
            }
        }
    }
}
