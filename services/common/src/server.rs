//! The HTTP server of both services: a bound on connections, time limits, an orderly end.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::Router;
use clap::Args;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use url::Url;

pub use self::connection::Peer;
use self::connection::Waiting;
use crate::documentation;
use crate::management::{self, ManagementState, Parts, Stopping};
use crate::metrics::Metrics;
use crate::pages;
use crate::request::{self, AllowedOrigins};

mod connection;

/// When there are more connections than this, those that only wait for a request make room.
const MAX_CONNECTIONS: u64 = 4096;
/// File descriptors that are kept for everything else: the database, the bucket, the other port.
const OTHER_FILES: u64 = 128;
/// How long to wait before trying again when there is neither a place nor a file descriptor for one more connection.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often that is told, at most.
const ACCEPT_SILENCE: Duration = Duration::from_secs(10);
/// How long probes in flight may take after everything else has ended.
const MANAGEMENT_GRACE: Duration = Duration::from_secs(1);

/// How a service is served and stopped.
#[derive(Clone, Debug, Args)]
pub struct ServerSettings {
    /// An address of its own for `/healthz`, `/readyz` and `/metrics`, for example `[::]:9090`. Without it they are served
    /// beside everything else.
    #[arg(long, env = "MANAGEMENT_ADDR", value_parser = management_address)]
    pub management_addr: Option<SocketAddr>,
    /// The web pages that may call the service from a browser: origins, separated by commas. None by default; `*` means all.
    #[arg(
        long,
        env = "CORS_ALLOWED_ORIGINS",
        default_value = "",
        hide_default_value = true
    )]
    pub cors_allowed_origins: AllowedOrigins,
    /// How long to go on taking requests after SIGTERM, while `/readyz` says no, in seconds.
    #[arg(long, env = "SHUTDOWN_DELAY_SECONDS", default_value = "0")]
    pub shutdown_delay_seconds: u64,
    /// How long to finish requests in flight after that, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "30")]
    pub shutdown_grace_seconds: NonZeroU64,
}

impl ServerSettings {
    /// How long requests in flight may take at the end.
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.shutdown_grace_seconds.get())
    }
}

/// Takes the address for health and metrics.
pub fn management_address(address: &str) -> Result<SocketAddr, String> {
    address
        .parse()
        .map_err(|error| format!("{error}; for example MANAGEMENT_ADDR=[::]:9090"))
}

/// Runs a program's async part to its end.
///
/// What still computes has been waited for by then, for as long as there is (a window of Whisper's, a hash). Waiting for it without
/// an end, as `#[tokio::main]` does, could keep the process alive for minutes.
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
            "port {} on {} is in use by another program: stop that, or set another one, for example {setting}={}",
            address.port(),
            address.ip(),
            SocketAddr::new(address.ip(), address.port().wrapping_add(10).max(1024))
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "listening on {address} is not permitted: set {setting} to a port above 1023"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{} is no address of this machine: set {setting} to one that is, for example {setting}=0.0.0.0:{}",
            address.ip(),
            address.port()
        ),
        _ => anyhow::anyhow!("listening on {address} ({setting}) failed: {error}"),
    })
}

/// The addresses that a service listens on.
pub struct Listeners {
    /// Where its users reach it.
    pub public: TcpListener,
    /// Where orchestrator and monitoring reach it, if not there too.
    pub management: Option<TcpListener>,
}

impl Listeners {
    /// Takes both addresses.
    ///
    /// Fails with a sentence for the person who started the program.
    pub async fn bind(address: SocketAddr, settings: &ServerSettings) -> anyhow::Result<Self> {
        let public = bind(address, "LISTEN_ADDR").await?;
        let management = match settings.management_addr {
            Some(address) => Some(bind(address, "MANAGEMENT_ADDR").await?),
            None => None,
        };
        Ok(Self { public, management })
    }

    /// Both addresses, as they were given.
    pub fn addresses(&self) -> anyhow::Result<(SocketAddr, Option<SocketAddr>)> {
        let doing = "reading the listening address";
        let public = self.public.local_addr().context(doing)?;
        let management = self.management.as_ref().map(TcpListener::local_addr);
        let management = management.transpose().context(doing)?;
        Ok((public, management))
    }
}

/// What a service answers, and what both services need to know of it.
pub struct App {
    /// Its name.
    pub name: &'static str,
    /// Its own routes.
    pub routes: Router,
    /// Its metrics.
    pub metrics: Metrics,
    /// What it needs to be ready.
    pub parts: Parts,
    /// Its description (`OpenAPI`).
    pub documentation: Value,
    /// Where Swagger UI asks for tokens, if that is another service's address.
    pub token_url: Option<Url>,
}

/// Serves an app until `stop` ends: then it is not ready, goes on for the delay, and finishes the requests in flight within
/// the grace. Gives the moment when the grace began, so that what is left to finish besides can keep to the same one.
pub async fn serve_app(
    listeners: Listeners,
    app: App,
    settings: &ServerSettings,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<Instant> {
    let App {
        name,
        routes,
        metrics,
        parts,
        documentation,
        token_url,
    } = app;
    let all = routes
        .merge(documentation::table(&documentation))
        .merge(pages::table(&documentation, token_url.as_ref())?);
    let stopping = Stopping::default();
    let management = management::table(ManagementState {
        metrics: metrics.clone(),
        parts,
        vital: None,
        stopping: stopping.clone(),
    });
    let origins = &settings.cors_allowed_origins;
    let instrument = |routes| request::instrument(routes, &metrics, origins, &stopping);
    let (public, apart) = match listeners.management {
        None => (instrument(all.merge(management)), None),
        Some(listener) => {
            let (end, ended) = oneshot::channel::<()>();
            let ended = async { drop(ended.await) };
            let router = instrument(management);
            let server = tokio::spawn(serve(listener, router, ended, MANAGEMENT_GRACE));
            (instrument(all), Some((server, end)))
        }
    };
    let delay = Duration::from_secs(settings.shutdown_delay_seconds);
    let stop = async {
        stop.await;
        stopping.begin();
        if !delay.is_zero() {
            info!(
                delay_seconds = delay.as_secs(),
                "{name} was told to stop: not ready, but still taking requests for the delay"
            );
            sleep(delay).await;
        }
        info!(
            in_flight = metrics.active_requests.get(),
            grace_seconds = settings.grace().as_secs(),
            "{name} stops: finishing what is in flight"
        );
    };
    let result = serve(listeners.public, public, stop, settings.grace()).await;
    // Last, so that a probe hears "not ready" and not a refused connection.
    if let Some((server, end)) = apart {
        drop(end);
        server.await.context("ending the management server")??;
    }
    result
}

/// Serves until `stop` ends, then finishes the requests in flight within `grace`. Gives the moment when `stop` ended.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    stop: impl Future<Output = ()>,
    grace: Duration,
) -> anyhow::Result<Instant> {
    let address = listener
        .local_addr()
        .context("reading the listening address")?;
    debug!(%address, "listening on {address}");
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(places()));
    let waiting = Waiting::default();
    let mut told = None::<Instant>;
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let place = tokio::select! {
                    () = &mut stop => break,
                    place = take_place(&places, &waiting) => place?,
                };
                // Without this the last packet of an answer can wait for the client's delayed acknowledgement.
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%error, "TCP_NODELAY could not be set");
                }
                let router = router.clone();
                let attended = connection::attend(stream, peer, router, &connections, &waiting);
                tokio::spawn(async move {
                    attended.await;
                    drop(place);
                });
            }
            // Out of file descriptors, or the client has gone already: neither ends the server.
            Err(error) => {
                waiting.make_room();
                // It can last, and comes ten times a second.
                if told.is_none_or(|told| told.elapsed() > ACCEPT_SILENCE) {
                    warn!(%error, %address, "a connection could not be accepted, will try again");
                    told = Some(Instant::now());
                }
                sleep(ACCEPT_RETRY).await;
            }
        }
    }
    let stopped = Instant::now();
    drop(listener);
    debug!(%address, "no longer listening on {address}");
    if timeout(grace, connections.shutdown()).await.is_err() {
        warn!(
            %address,
            grace_seconds = grace.as_secs(),
            "requests were still in flight after the grace period and are cut off: SHUTDOWN_GRACE_SECONDS gives them longer"
        );
    }
    Ok(stopped)
}

/// A place for one more connection. Who only holds a connection must not keep others out: if there is no place, those that have
/// waited longest for a request make room. While all of them are being answered, the new one waits.
async fn take_place(
    places: &Arc<Semaphore>,
    waiting: &Waiting,
) -> anyhow::Result<OwnedSemaphorePermit> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return Ok(place);
    }
    loop {
        waiting.make_room();
        if let Ok(place) = timeout(ACCEPT_RETRY, Arc::clone(places).acquire_owned()).await {
            return place.context("taking a place for a connection");
        }
    }
}

/// As many connections as the process can have files open, after it has asked for as many as it may.
fn places() -> usize {
    let wanted = MAX_CONNECTIONS + OTHER_FILES;
    let files = rlimit::increase_nofile_limit(wanted).unwrap_or(wanted);
    let places = files.saturating_sub(OTHER_FILES).clamp(1, MAX_CONNECTIONS);
    usize::try_from(places).unwrap_or(1)
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
