//! The transcription service in the spec.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::pod::PodOptions;
use super::rules;

/// The transcription service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::replicas_or_autoscaling())]
pub struct Transcription {
    /// How many pods there are. 1 without it and without autoscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Lets the number of pods follow the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// The largest recording that is taken, in bytes.
    #[serde(default = "max_upload_bytes")]
    #[schemars(range(min = 1, max = 5_497_558_138_880_i64))]
    pub max_upload_bytes: i64,
    /// How many transcriptions a pod takes at once; the next one is told to come back. Without it: 32, and 4 with Whisper.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent: Option<i32>,
    /// How long a transcription may take, waiting included, in seconds.
    #[serde(default = "engine_timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub engine_timeout_seconds: i64,
    /// What transcribes.
    pub engine: Engine,
    /// The pods.
    #[serde(flatten)]
    pub pod: PodOptions,
}

const fn max_upload_bytes() -> i64 {
    200 << 20
}

const fn engine_timeout_seconds() -> i64 {
    600
}

/// Lets the number of pods follow the load.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::minimum_below_maximum())]
pub struct Autoscaling {
    /// The least number of pods.
    #[serde(default = "min_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// The largest number of pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// How busy the pods are kept, in percent of the CPU that they request.
    #[serde(rename = "targetCPUUtilizationPercentage", default = "target_cpu")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization_percentage: i32,
}

const fn min_replicas() -> i32 {
    1
}

const fn target_cpu() -> i32 {
    80
}

/// What transcribes: exactly one of these.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_engine())]
pub struct Engine {
    /// Google's Gemini API. Recordings are sent to Google.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemini: Option<Gemini>,
    /// Whisper in the pod itself. Recordings stay in the cluster and the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whisper: Option<Whisper>,
}

/// Google's Gemini API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gemini {
    /// The model.
    #[serde(default = "gemini_model")]
    #[schemars(length(max = 128), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub model: String,
    /// Where the key of the API is.
    pub api_key_secret_ref: ApiKeySecret,
    /// Another address than Google's, for example of a gateway.
    #[serde(rename = "baseURL", default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    #[x_kube(validation = rules::is_address())]
    pub base_url: String,
}

fn gemini_model() -> String {
    "gemini-3.5-transcribe".to_owned()
}

/// A Secret with the key of the Gemini API.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeySecret {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in the Secret.
    #[serde(default = "api_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn api_key() -> String {
    "GEMINI_API_KEY".to_owned()
}

/// Whisper in the pod itself: exactly one place where the model is.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::exactly_one_whisper_source())]
pub struct Whisper {
    /// A folder of the image, with a Whisper model in CTranslate2's format. The released image has /models/base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^/[^ ]+$"))]
    pub model_path: Option<String>,
    /// A volume with a model, which is mounted to read only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<ModelVolume>,
}

/// A volume with a model.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelVolume {
    /// The name of the claim.
    #[schemars(length(min = 1, max = 253))]
    pub claim_name: String,
    /// The folder of the model in it; the whole volume without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub sub_path: Option<String>,
}
