//! How far a workload is, as its controller tells.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};

/// What a workload's controller tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The kind of the workload.
    pub kind: &'static str,
    /// How many pods there are to be.
    pub wanted: i32,
    /// Those of the latest template.
    pub updated: i32,
    /// Those that have been ready for long enough.
    pub available: i32,
    /// All pods, those of the template before too.
    pub total: i32,
    /// Whether the controller has seen the spec as it is now.
    pub is_seen: bool,
}

/// Of a StatefulSet.
pub fn of_stateful_set(set: &StatefulSet) -> Rollout {
    let status = set.status.clone().unwrap_or_default();
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    // While all pods are of one template only the current revision is counted.
    let is_one_revision =
        status.current_revision.is_some() && status.current_revision == status.update_revision;
    Rollout {
        kind: "StatefulSet",
        wanted,
        updated: if is_one_revision {
            status
                .current_replicas
                .unwrap_or(0)
                .max(status.updated_replicas.unwrap_or(0))
        } else {
            status.updated_replicas.unwrap_or(0)
        },
        available: status.available_replicas.unwrap_or(0),
        total: status.replicas,
        is_seen: status.observed_generation >= set.metadata.generation,
    }
}

/// Of a Deployment.
pub fn of_deployment(deployment: &Deployment) -> Rollout {
    let status = deployment.status.clone().unwrap_or_default();
    Rollout {
        kind: "Deployment",
        wanted: deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.replicas)
            .unwrap_or(1),
        updated: status.updated_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        total: status.replicas.unwrap_or(0),
        is_seen: status.observed_generation >= deployment.metadata.generation,
    }
}
