//! The third step: the objects of a stack. Pure: what the spec says, what was found, and the release, are all it knows.
//!
//! [`pod`] is what both pods are like, [`auth`] and [`transcription`] what is theirs alone, [`network`] how they are reached,
//! [`metadata`] how everything is named and owned.

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tracing::instrument;

use crate::names::Component;
use crate::service_monitor::ServiceMonitor;
use crate::validate::Validated;

pub mod auth;
pub mod metadata;
pub mod network;
pub mod pod;
pub mod transcription;

/// Everything that a stack is to have. Where something is left out it is not to be there, but for what must never be taken away.
#[derive(Clone, Debug)]
pub struct Resources {
    /// For each component, without rights.
    pub service_accounts: Vec<ServiceAccount>,
    /// For each component, its settings.
    pub config_maps: Vec<ConfigMap>,
    /// For each component.
    pub services: Vec<Service>,
    /// For each component, unless they are not wanted.
    pub network_policies: Vec<NetworkPolicy>,
    /// For each component with a host.
    pub ingresses: Vec<Ingress>,
    /// For each component, if they are wanted and the cluster has the kind.
    pub service_monitors: Vec<ServiceMonitor>,
    /// The signing key, if it is the operator's. Without its content, unless it has to be made.
    pub signing_key: Option<Secret>,
    /// The claim with the users, if it is the operator's.
    pub claim: Option<PersistentVolumeClaim>,
    /// The auth service.
    pub stateful_set: StatefulSet,
    /// The transcription service, without its number of replicas.
    pub deployment: Deployment,
    /// That number, unless an autoscaler finds it.
    pub replicas: Option<i32>,
    /// Finds it.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// Lets one pod go at a time, where there are several.
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// Builds everything.
#[instrument(skip_all)]
pub fn build(stack: &Validated) -> Resources {
    let each = Component::ALL;
    let monitoring = &stack.spec.observability;
    let wants_monitors = monitoring.service_monitor && stack.has_service_monitors;
    let policies = stack.spec.network_policy.enabled;
    Resources {
        service_accounts: each
            .map(|component| pod::service_account(stack, component))
            .into(),
        config_maps: vec![auth::config_map(stack), transcription::config_map(stack)],
        services: each
            .map(|component| network::service(stack, component))
            .into(),
        network_policies: each
            .into_iter()
            .filter(|_| policies)
            .map(|component| network::policy(stack, component))
            .collect(),
        ingresses: network::ingresses(stack),
        service_monitors: each
            .into_iter()
            .filter(|_| wants_monitors)
            .map(|component| network::service_monitor(stack, component))
            .collect(),
        signing_key: auth::signing_key(stack),
        claim: auth::claim(stack),
        stateful_set: auth::stateful_set(stack),
        deployment: transcription::deployment(stack),
        replicas: transcription::replicas(stack),
        autoscaler: transcription::autoscaler(stack),
        disruption_budget: transcription::disruption_budget(stack),
    }
}
