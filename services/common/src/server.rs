//! The HTTP server of both services: a bound on connections, a time limit on request heads, an orderly end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceExt};
use tracing::{debug, info, warn};

/// A client that has not sent its request head by then is disconnected.
const REQUEST_HEAD_LIMIT: Duration = Duration::from_secs(10);
/// More connections than this wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;
/// How long to wait before accepting again when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Runs a program's async part to its end.
///
/// Threads that still compute then (a transcription that the grace period cut off) end with the process: waiting for
/// them, as `#[tokio::main]` does, would keep it alive for minutes.
pub fn run(program: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = Runtime::new().context("starting the async runtime")?;
    let result = runtime.block_on(program);
    runtime.shutdown_background();
    result
}

/// Takes an address to listen on.
///
/// Fails with a sentence for the person who started the program: the port is in use, or not theirs to take.
pub async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} on {} is in use by another program: stop that, or set {setting} to another address",
            address.port(),
            address.ip()
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "listening on {address} is not permitted: set {setting} to a port above 1023"
        ),
        _ => anyhow::anyhow!("listening on {address} ({setting}) failed: {error}"),
    })
}

/// Serves until `stop` ends, then finishes the requests in flight within `grace`. Gives the moment when `stop` ended, so
/// that what is left to finish besides can keep to the same grace period.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> anyhow::Result<Instant> {
    let address = listener
        .local_addr()
        .context("reading the listening address")?;
    info!(%address, "listening");
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        let place = place.context("taking a place for a connection")?;
        match accepted {
            Ok((stream, _)) => attend(stream, place, router.clone(), &connections),
            // Out of file descriptors, or the client has gone already: neither ends the server.
            Err(error) => {
                debug!(%error, "a connection could not be accepted");
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    let stopped = Instant::now();
    drop(listener);
    info!(%address, "stopping: finishing what is in flight");
    if timeout(grace, connections.shutdown()).await.is_err() {
        warn!(%address, grace_seconds = grace.as_secs(), "requests were still in flight after the grace period");
    }
    Ok(stopped)
}

fn attend(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    router: Router,
    connections: &GracefulShutdown,
) {
    // Without this the last packet of an answer can wait for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "TCP_NODELAY could not be set");
    }
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let mut router: Router = router;
            let service = <Router as ServiceExt<Request<Incoming>>>::ready(&mut router).await?;
            Service::call(service, request).await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = connections.watch(connection);
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            debug!(%error, "a connection ended early");
        }
        drop(place);
    });
}

/// Ends when the process is told to stop: SIGTERM, or Ctrl-C. Listens from the call on, not from the first poll.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
