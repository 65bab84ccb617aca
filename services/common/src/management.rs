//! What an orchestrator and a monitoring system ask: alive, ready, metrics (contract §3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::error;
use utoipa::{OpenApi, ToSchema};

use crate::code;
use crate::json::Json;
use crate::metrics::Metrics;
use crate::problem::Problem;

/// The routes that are asked every few seconds; their log lines are for those who look for them.
pub const ROUTES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// How long `healthcheck` waits for an answer.
const HEALTHCHECK_LIMIT: Duration = Duration::from_secs(5);

/// Whether the service was told to stop.
#[derive(Clone, Debug, Default)]
pub struct Stopping(Arc<AtomicBool>);

impl Stopping {
    /// From now on the service is not ready.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was told.
    pub fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A part that a service needs, and what is wrong with it. The sentence is for clients: no internals, no secrets. The cause is for
/// the log, and whoever asks the part writes it there.
#[derive(Debug)]
pub struct Part {
    /// The part's name, for example `database`.
    pub name: &'static str,
    /// What is wrong.
    pub state: Result<(), String>,
}

/// Asks the parts, in a time of its own that is bounded.
pub type Parts =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Vec<Part>> + Send>> + Send + Sync + 'static>;

/// Tells what is beyond repair without a new start, in a sentence.
pub type Vital = Arc<dyn Fn() -> Result<(), String> + Send + Sync + 'static>;

/// What the routes work with.
#[derive(Clone, FromRef)]
pub struct ManagementState {
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// What `/readyz` asks.
    pub parts: Parts,
    /// What `/healthz` asks, if the process can be past help although it answers. A service asks nobody: to be started anew helps
    /// neither a database nor a bucket.
    pub vital: Option<Vital>,
    /// Set when the service stops.
    pub stopping: Stopping,
}

/// The route table.
pub fn table(state: ManagementState) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state)
}

/// What these routes say of themselves.
#[derive(OpenApi)]
#[openapi(paths(alive, ready, metrics), components(schemas(Problem)))]
struct Documentation;

/// Adds these routes to a service's description.
pub fn describe(document: &mut utoipa::openapi::OpenApi) {
    document.merge(Documentation::openapi());
}

/// A state in one word.
#[derive(Serialize, ToSchema)]
struct Health {
    /// `alive` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
}

/// Tells that the process answers. Asks nobody.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "It answers.", body = Health)))]
async fn alive(State(vital): State<Option<Vital>>) -> Result<Json<Health>, Problem> {
    if let Some(vital) = vital
        && let Err(sentence) = vital()
    {
        return Err(Problem::new(code::NOT_READY, sentence));
    }
    Ok(Json(Health { status: "alive" }))
}

/// Tells whether the service can do its work now.
#[utoipa::path(get, path = "/readyz", tag = "operation", responses(
    (status = 200, description = "It can.", body = Health),
    (status = 503, description = "`not_ready`", body = Problem),
))]
async fn ready(
    State(parts): State<Parts>,
    State(stopping): State<Stopping>,
) -> Result<Json<Health>, Problem> {
    if stopping.has_begun() {
        let sentence = "The service is stopping.";
        return Err(Problem::new(code::NOT_READY, sentence));
    }
    let parts = parts().await;
    if parts.iter().all(|part| part.state.is_ok()) {
        return Ok(Json(Health { status: "ready" }));
    }
    Err(not_ready(parts))
}

/// What is answered when one of these parts fails.
pub fn not_ready(parts: Vec<Part>) -> Problem {
    let mut states = Map::new();
    let mut sentences = Vec::new();
    for Part { name, state } in parts {
        let state = match state {
            Ok(()) => "ok".to_owned(),
            // The part has told the log why.
            Err(reason) => {
                sentences.push(format!("{name}: {reason}"));
                reason
            }
        };
        states.insert(name.to_owned(), state.into());
    }
    Problem::new(code::NOT_READY, sentences.join(" ")).with_member("parts", states)
}

/// Tells the metrics in Prometheus's text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, description = "All of them.", body = String, content_type = "text/plain")))]
async fn metrics(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(cause) => {
            error!(
                cause = format!("{cause:#}"),
                "the metrics cannot be written"
            );
            Problem::internal().into_response()
        }
    }
}

/// Asks the service of this container whether it is ready: the program's `healthcheck`.
///
/// Fails with a sentence if it is not, or does not answer within 5 s.
pub async fn healthcheck(address: SocketAddr) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(HEALTHCHECK_LIMIT)
        .connect_timeout(HEALTHCHECK_LIMIT)
        .no_proxy()
        .build()
        .context("preparing the HTTP client")?;
    let address = own(address);
    let url = format!("http://{address}/readyz");
    let response = client
        .get(&url)
        .send()
        .await
        .map_err(|error| anyhow::anyhow!("{url} does not answer: {}", cause_of(&error)))?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let problem = response.json::<Value>().await.unwrap_or_default();
    let detail = problem["detail"].as_str().unwrap_or("no reason is given");
    anyhow::bail!("not ready ({}): {detail}", status.as_u16())
}

/// The innermost cause, which is the one that tells ("connection refused").
fn cause_of(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause_of)
}

/// A service that listens on all addresses is reached on the loopback one.
pub fn own(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
