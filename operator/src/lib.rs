//! The operator: turns a `TranscriptionStack` into a running deployment and keeps it so.
//!
//! Read [`controller`] for the story: [`dereference`] looks up what a spec names, [`validate`] finds what can be built, [`build`]
//! makes the objects, [`apply`] makes them so in the cluster, [`status`] tells what was seen, by the [`conditions`] and the [`diagnosis`], [`events`] what happened. [`warnings`] is what others say of what was made. [`program`] is the command line. [`api`] is the
//! custom resource. [`watches`] is what is seen of the cluster, [`contents`] what is in Secrets, [`needs`] which of them a spec
//! names. [`silence`] tells when nothing is heard of it. [`names`] has all names and labels, [`release`] what can be run, [`lease`] lets one operator work at a time, [`reason`] the words of the conditions. [`manifests`]
//! installs the operator; [`config`] lists its settings, [`metrics`] what it measures, [`requests`] counts what the API server is asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use kube::Client;
use kube::client::ClientBuilder;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use transcription_common::management::{self, ManagementState, Part, Parts, Stopping, Vital};
use transcription_common::metrics::{BuildInfo, Metrics};
use transcription_common::request::{self, AllowedOrigins};
use transcription_common::server;

use crate::config::Config;
use crate::context::Shared;
use crate::controller::Scope;
use crate::lease::Elector;
use crate::metrics::OperatorMetrics;
use crate::release::Releases;
use crate::requests::Counter;
use crate::silence::{Ear, Silence};
use crate::watches::Stores;

#[expect(
    dead_code,
    reason = "the derive of the schema copies each type, and nobody reads the copy's fields"
)]
pub mod api;
pub mod apply;
pub mod build;
pub mod conditions;
pub mod config;
pub mod contents;
pub mod context;
pub mod controller;
pub mod dereference;
pub mod diagnosis;
pub mod environment;
pub mod error;
pub mod events;
pub mod hash;
pub mod lease;
pub mod manifests;
pub mod metrics;
pub mod names;
pub mod needs;
pub mod program;
pub mod quantity;
pub mod reason;
pub mod release;
pub mod requests;
pub mod service_monitor;
pub mod signing_key;
pub mod silence;
pub mod status;
pub mod validate;
pub mod warnings;
pub mod watches;
pub mod yaml;

const NAME: &str = "transcription-operator";
const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: match option_env!("BUILD_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    },
};
/// How long what is being worked on may take at the end.
const GRACE: Duration = Duration::from_secs(4);

/// Works until it is told to stop.
pub async fn run(config: Config, releases: Releases) -> anyhow::Result<()> {
    let stop = server::stop_signal()?;
    let Config {
        watch_namespaces,
        image_prefix,
        lease_duration_seconds,
        max_concurrent_reconciles,
        watch_stale_after_seconds,
        management_addr,
        telemetry: _,
        tls: _,
    } = config;
    let listener = server::bind(management_addr, "MANAGEMENT_ADDR").await?;
    let address = listener
        .local_addr()
        .context("reading the listening address")?;
    let silence = Silence::default();
    let operator_metrics = OperatorMetrics::new()?;
    let (client, watching, namespace) = cluster(&silence, &operator_metrics).await?;
    let elector = Elector::new(
        client.clone(),
        &namespace,
        &host(),
        Duration::from_secs(lease_duration_seconds),
    );
    let concurrency = max_concurrent_reconciles.get();
    let shared = Arc::new(Shared {
        image_prefix,
        releases,
        reporter: host(),
        metrics: operator_metrics.clone(),
        places: Semaphore::new(concurrency.into()),
    });
    let names = watch_namespaces.0.join(",");
    info!(
        version = BUILD.version,
        revision = BUILD.known_revision(),
        management.address = %address,
        watch_namespaces = names,
        "{NAME} {} watches {}",
        BUILD.version,
        if names.is_empty() { "all namespaces" } else { &names }
    );
    let scopes = watch_namespaces.scopes().into_iter();
    let scopes = scopes.map(|namespace| {
        Scope::watch(
            &client,
            &watching,
            namespace.as_deref(),
            Arc::clone(&shared),
            concurrency,
        )
    });
    let scopes = scopes.collect::<Vec<_>>();
    let stopping = Stopping::default();
    let stores = scopes.iter().map(Scope::stores).collect::<Vec<_>>();
    let metrics = Metrics::new(BUILD)?;
    operator_metrics.register(&metrics, &stores, &silence)?;
    let stale_after = Duration::from_secs(watch_stale_after_seconds.get());
    let vital = vital(silence, stores.clone(), stale_after);
    let (end, ended) = oneshot::channel::<()>();
    let management = tokio::spawn(server::serve(
        listener,
        management_routes(stores, &metrics, &stopping, vital)?,
        async { drop(ended.await) },
        Duration::from_secs(1),
    ));
    let ended = work(scopes, &elector, stop, &stopping, &operator_metrics).await;
    operator_metrics.leads(false);
    drop(end);
    management.await.context("ending the management server")??;
    info!("{NAME} has ended");
    ended
}

/// Waits for its turn, then works until it is told to stop or its turn is over. Meanwhile the watches are kept, so that it can begin at
/// once.
async fn work(
    scopes: Vec<Scope>,
    elector: &Elector,
    stop: impl Future<Output = ()>,
    stopping: &Stopping,
    metrics: &OperatorMetrics,
) -> anyhow::Result<()> {
    let mut stop = std::pin::pin!(stop);
    let stores = scopes.iter().map(Scope::stores).collect::<Vec<_>>();
    let turn = async {
        // One that does not see everything would hold the lease and do nothing.
        for stores in stores {
            stores.wait_until_ready().await;
        }
        elector.acquire().await;
    };
    tokio::select! {
        () = turn => {}
        () = &mut stop => {
            stopping.begin();
            return Ok(());
        }
    }
    metrics.leads(true);
    let token = CancellationToken::new();
    let mut work = JoinSet::new();
    for scope in scopes {
        work.spawn(scope.keep(token.clone()));
    }
    tokio::select! {
        () = &mut stop => {}
        () = elector.keep() => {
            // At once, whatever is being done: another one may begin.
            stopping.begin();
            work.abort_all();
            anyhow::bail!("the lease could not be kept: another operator takes over, and this one starts anew");
        }
    }
    info!("{NAME} stops: finishing what is being worked on");
    stopping.begin();
    token.cancel();
    if tokio::time::timeout(GRACE, work.join_all()).await.is_err() {
        warn!(
            grace_seconds = GRACE.as_secs(),
            "some stacks were still being worked on: the next operator goes on with them"
        );
    }
    elector.release().await;
    Ok(())
}

/// The name of this machine; in a cluster the pod's.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// The cluster for requests and for watches, and the namespace that the operator is in.
async fn cluster(
    silence: &Silence,
    metrics: &OperatorMetrics,
) -> anyhow::Result<(Client, Client, String)> {
    let config = kube::Config::infer().await.context(
        "there is no cluster: run it in one, or set KUBECONFIG to a file that names one",
    )?;
    let namespace = config.default_namespace.clone();
    let client = |config| {
        let client = ClientBuilder::try_from(config)
            .context("the cluster's settings cannot be used")?
            .with_layer(&Ear(silence.clone()))
            .with_layer(&Counter(metrics.kube_requests.clone()));
        anyhow::Ok(client.build())
    };
    // A watch has a back-off of its own. kube's below it would go on to minutes, and nobody would know.
    let mut for_watches = config.clone();
    for_watches.default_retry = false;
    Ok((client(config)?, client(for_watches)?, namespace))
}

fn management_routes(
    stores: Vec<Stores>,
    metrics: &Metrics,
    stopping: &Stopping,
    vital: Vital,
) -> anyhow::Result<Router> {
    let router = management::table(ManagementState {
        metrics: metrics.clone(),
        parts: parts(stores, Arc::clone(&vital)),
        vital: Some(vital),
        stopping: stopping.clone(),
    });
    let no_pages = "".parse::<AllowedOrigins>().map_err(anyhow::Error::msg)?;
    Ok(request::instrument(router, metrics, &no_pages, stopping))
}

/// The operator is past help when a watch is deaf: started anew, it connects anew.
fn vital(silence: Silence, stores: Vec<Stores>, limit: Duration) -> Vital {
    let began = Instant::now();
    Arc::new(move || {
        let unseen = unseen(&stores);
        if !unseen.is_empty() && began.elapsed() > limit {
            return Err(format!("not seen within {} s: {unseen}.", limit.as_secs()));
        }
        let silent = silence.longer_than(limit);
        if silent.is_empty() {
            return Ok(());
        }
        Err(format!(
            "nothing is heard from the API server: {}.",
            silent.join(", ")
        ))
    })
}

/// The kinds that have not been seen once.
fn unseen(stores: &[Stores]) -> String {
    let unseen = stores
        .iter()
        .flat_map(Stores::unseen)
        .collect::<BTreeSet<_>>();
    unseen.into_iter().collect::<Vec<_>>().join(", ")
}

/// What the operator needs to be ready: every watch has seen everything once.
fn parts(stores: Vec<Stores>, vital: Vital) -> Parts {
    Arc::new(move || {
        let stores = stores.clone();
        let vital = Arc::clone(&vital);
        Box::pin(async move {
            let unseen = unseen(&stores);
            let state = if unseen.is_empty() {
                vital()
            } else {
                Err(format!(
                    "not yet seen: {unseen}. The API server does not answer, the CustomResourceDefinition is not installed, or rights are missing; the log tells which."
                ))
            };
            vec![Part {
                name: "watches",
                state,
            }]
        })
    })
}
