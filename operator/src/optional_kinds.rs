//! Kinds that a cluster need not have: Prometheus's ServiceMonitor.

use std::time::{Duration, Instant};

use kube::api::{ApiResource, GroupVersionKind};
use kube::{Client, discovery};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::context::REQUEST_LIMIT;

/// How long an answer is good: a kind may be installed later.
const FRESH: Duration = Duration::from_mins(1);

/// What is known of kinds that need not be there.
#[derive(Default)]
pub struct OptionalKinds {
    service_monitor: Mutex<Option<(Instant, bool)>>,
}

impl OptionalKinds {
    /// Whether the cluster knows ServiceMonitors. An API server that does not answer is an error of its own elsewhere.
    pub async fn has_service_monitor(&self, client: &Client) -> bool {
        let mut known = self.service_monitor.lock().await;
        if let Some((asked, answer)) = *known
            && asked.elapsed() < FRESH
        {
            return answer;
        }
        let kind = service_monitor_kind();
        let asked = timeout(REQUEST_LIMIT, discovery::pinned_kind(client, &kind)).await;
        let answer = matches!(asked, Ok(Ok(_)));
        *known = Some((Instant::now(), answer));
        answer
    }
}

fn service_monitor_kind() -> GroupVersionKind {
    GroupVersionKind::gvk("monitoring.coreos.com", "v1", "ServiceMonitor")
}

/// The resource of that kind.
pub fn service_monitors() -> ApiResource {
    ApiResource::from_gvk(&service_monitor_kind())
}
