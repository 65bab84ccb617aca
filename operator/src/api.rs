//! The custom resource `TranscriptionStack`: its types, and with them its schema and the rules that the API server holds.
//!
//! Field by field in the order of the contract. [`auth`], [`transcription`], [`s3`] and [`network`] are parts of the spec, [`pod`]
//! is what both workloads take, [`status`] what the operator tells, [`rules`] what may not be changed later. [`schema`] makes the
//! CustomResourceDefinition of it all, [`stored`] reads what the API server has of it.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use self::auth::Auth;
pub use self::network::{Ingress, NetworkPolicy};
pub use self::s3::S3;
pub use self::status::TranscriptionStackStatus;
pub use self::transcription::Transcription;

pub mod auth;
pub mod network;
pub mod pod;
pub mod rules;
pub mod s3;
pub mod schema;
pub mod status;
pub mod stored;
pub mod transcription;

/// A running deployment of the two services: what it is to be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "transcription.dev",
    version = "v1alpha1",
    kind = "TranscriptionStack",
    plural = "transcriptionstacks",
    shortname = "tstack",
    category = "transcription",
    namespaced,
    doc = "A transcription stack: people upload recordings and get text, and everything stays in their own folder of their own bucket.",
    derive = "PartialEq",
    status = "TranscriptionStackStatus",
    scale(
        spec_replicas_path = ".spec.transcription.replicas",
        status_replicas_path = ".status.transcription.replicas",
        label_selector_path = ".status.transcription.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Auth", type_ = "string", json_path = ".status.conditions[?(@.type==\"AuthAvailable\")].status"),
    printcolumn(name = "Transcription", type_ = "string", json_path = ".status.conditions[?(@.type==\"TranscriptionAvailable\")].status"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    validation = rules::name()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = rules::storage_grows(),
    validation = rules::storage_class_stays(),
    validation = rules::access_modes_stay(),
    validation = rules::claim_stays_ours(),
    validation = rules::claim_stays_theirs()
)]
pub struct TranscriptionStackSpec {
    /// The release of the two services, for example 0.1.0. Without it: the release that the stack was made with (status.version).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+$"))]
    pub version: Option<String>,
    /// What happens to the volume with the users and to the signing key that the operator made when the stack is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// The auth service.
    #[serde(default)]
    pub auth: Auth,
    /// The transcription service.
    pub transcription: Transcription,
    /// Where recordings and texts are stored.
    pub s3: S3,
    /// The web pages that may call both services from a browser: origins, for example `https://app.example.com`; `*` means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 300)))]
    #[x_kube(validation = rules::are_origins())]
    pub cors_allowed_origins: Vec<String>,
    /// How the services are reached from outside of the cluster.
    #[serde(default)]
    pub ingress: Ingress,
    /// Who may reach the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// Metrics and traces.
    #[serde(default)]
    pub observability: Observability,
    /// Secrets with credentials for the registry of the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<ImagePullSecret>,
    /// Whether the operator only watches: it goes on telling the state and changes nothing.
    #[serde(default)]
    pub paused: bool,
    /// Why what is stored could not be read, if it could not. Never written.
    #[serde(skip)]
    pub unreadable: Option<String>,
}

/// What happens to what cannot be made again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum DeletionPolicy {
    /// It stays, and a stack of the same name takes it up again.
    #[default]
    Retain,
    /// It goes with the stack.
    Delete,
}

/// Metrics and traces.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// Where the services send traces, as OTLP over HTTP, for example `http://collector.monitoring:4318`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = rules::is_address())]
    pub otlp_endpoint: String,
    /// Whether Prometheus is told where the metrics are, by ServiceMonitors. The cluster must have that kind.
    #[serde(default)]
    pub service_monitor: bool,
}

/// A Secret with credentials for a registry.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
