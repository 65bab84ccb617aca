//! What is the transcription service's alone: as many pods as are asked for, the engine, the bucket.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
};
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};
use k8s_openapi::api::core::v1::{
    ConfigMap, KeyToPath, PersistentVolumeClaimVolumeSource, ResourceRequirements,
    SecretVolumeSource, Volume, VolumeMount,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::auth::{common_settings, named};
use super::{metadata, pod};
use crate::api::s3::CaBundleSecret;
use crate::api::transcription::{Engine, ModelVolume};
use crate::names::{self, Component};
use crate::validate::Validated;

const COMPONENT: Component = Component::Transcription;
/// How long a pod goes on taking requests while the Services forget it, in seconds.
const DELAY_SECONDS: i64 = 5;
/// What storing a text may take after the engine's last moment, in seconds.
const STORING_SECONDS: i64 = 30;
/// What the kubelet gives on top of all that, in seconds.
const SPARE_SECONDS: i64 = 10;
/// Where a volume with a model is.
const MODEL_FOLDER: &str = "/models/volume";
/// Where certificates of authorities are.
const CA_FOLDER: &str = "/etc/transcription/ca";

/// The settings of the service, without secrets.
pub fn settings(stack: &Validated) -> BTreeMap<String, String> {
    let transcription = &stack.spec.transcription;
    let s3 = &stack.spec.s3;
    let mut settings = vec![
        (
            "ENGINE_TIMEOUT_SECONDS",
            transcription.engine_timeout_seconds.to_string(),
        ),
        ("LISTEN_ADDR", format!("[::]:{}", names::TRANSCRIPTION_PORT)),
        (
            "MAX_UPLOAD_BYTES",
            transcription.max_upload_bytes.to_string(),
        ),
        ("S3_BUCKET_NAME", s3.bucket.clone()),
        ("S3_FORCE_PATH_STYLE", s3.force_path_style.to_string()),
        ("SHUTDOWN_DELAY_SECONDS", DELAY_SECONDS.to_string()),
        ("SHUTDOWN_GRACE_SECONDS", grace_seconds(stack).to_string()),
    ];
    if let Some(places) = transcription.max_concurrent {
        settings.push(("MAX_CONCURRENT_TRANSCRIPTIONS", places.to_string()));
    }
    if let Some(region) = &s3.region {
        settings.push(("AWS_REGION", region.clone()));
    }
    if let Some(endpoint) = &s3.endpoint {
        settings.push(("AWS_ENDPOINT_URL_S3", endpoint.clone()));
    }
    if let Some(CaBundleSecret { key, .. }) = &s3.ca_bundle_secret_ref {
        settings.push(("CA_BUNDLE_FILE", format!("{CA_FOLDER}/{key}")));
    }
    let Engine { gemini, whisper } = &transcription.engine;
    if let Some(gemini) = gemini {
        settings.push(("TRANSCRIPTION_ENGINE", "gemini".to_owned()));
        settings.push(("GEMINI_MODEL", gemini.model.clone()));
        if !gemini.base_url.is_empty() {
            settings.push(("GEMINI_BASE_URL", gemini.base_url.clone()));
        }
    }
    if let Some(whisper) = whisper {
        settings.push(("TRANSCRIPTION_ENGINE", "whisper".to_owned()));
        let folder = whisper
            .model_path
            .clone()
            .unwrap_or_else(|| MODEL_FOLDER.to_owned());
        settings.push(("WHISPER_MODEL", folder));
    }
    let ingress = &stack.spec.ingress;
    if let (Some(auth), Some(_)) = (ingress.auth_host(), ingress.transcription_host()) {
        settings.push(("AUTH_TOKEN_URL", format!("{}/token", ingress.url(auth))));
    }
    settings.extend(common_settings(stack, &stack.spec.cors_allowed_origins));
    named(settings)
}

fn grace_seconds(stack: &Validated) -> i64 {
    stack.spec.transcription.engine_timeout_seconds + STORING_SECONDS
}

/// The settings as an object.
pub fn config_map(stack: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        data: Some(settings(stack)),
        ..ConfigMap::default()
    }
}

/// The service, without its number of replicas: who finds that may change.
pub fn deployment(stack: &Validated) -> Deployment {
    let transcription = &stack.spec.transcription;
    let (mounts, volumes) = volumes(stack).into_iter().unzip();
    let mut secrets = pod::signing_keys(stack);
    if let Some(gemini) = &transcription.engine.gemini {
        let secret = &gemini.api_key_secret_ref;
        secrets.push(pod::secret_variable(
            "GEMINI_API_KEY",
            &secret.name,
            &secret.key,
        ));
    }
    if let Some(secret) = &stack.spec.s3.credentials_secret_ref {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            secrets.push(pod::secret_variable(key, &secret.name, key));
        }
    }
    let template = pod::template(
        stack,
        pod::Parts {
            component: COMPONENT,
            options: &transcription.pod,
            resources: resources(&transcription.engine),
            secrets,
            mounts,
            volumes,
            termination_seconds: DELAY_SECONDS + grace_seconds(stack) + SPARE_SECONDS,
            owns_volumes: false,
        },
    );
    Deployment {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        spec: Some(DeploymentSpec {
            revision_history_limit: Some(3),
            selector: metadata::selector(stack, COMPONENT),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// Gemini's work is done elsewhere; Whisper takes the cores it gets, and some 300 MiB with base (see docs/measurements.md).
fn resources(engine: &Engine) -> ResourceRequirements {
    if engine.whisper.is_some() {
        return pod::resources(
            [("cpu", "1"), ("memory", "512Mi")],
            [("cpu", "4"), ("memory", "2Gi")],
        );
    }
    pod::resources(
        [("cpu", "100m"), ("memory", "128Mi")],
        [("cpu", "2"), ("memory", "1Gi")],
    )
}

fn volumes(stack: &Validated) -> Vec<(VolumeMount, Volume)> {
    let mut volumes = Vec::new();
    if let Some(CaBundleSecret { name, key }) = &stack.spec.s3.ca_bundle_secret_ref {
        let volume = Volume {
            name: "ca".to_owned(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(name.clone()),
                default_mode: Some(0o444),
                items: Some(vec![KeyToPath {
                    key: key.clone(),
                    path: key.clone(),
                    mode: None,
                }]),
                optional: None,
            }),
            ..Volume::default()
        };
        volumes.push((read_only("ca", CA_FOLDER), volume));
    }
    let whisper = stack.spec.transcription.engine.whisper.as_ref();
    if let Some(ModelVolume {
        claim_name,
        sub_path,
    }) = whisper.and_then(|whisper| whisper.persistent_volume_claim.as_ref())
    {
        let volume = Volume {
            name: "model".to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name.clone(),
                read_only: Some(true),
            }),
            ..Volume::default()
        };
        let mount = VolumeMount {
            sub_path: sub_path.clone(),
            ..read_only("model", MODEL_FOLDER)
        };
        volumes.push((mount, volume));
    }
    volumes
}

fn read_only(name: &str, folder: &str) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: folder.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

/// How many pods there are to be, unless an autoscaler finds it.
pub fn replicas(stack: &Validated) -> Option<i32> {
    let transcription = &stack.spec.transcription;
    match transcription.autoscaling {
        Some(_) => None,
        None => Some(transcription.replicas.unwrap_or(1)),
    }
}

/// Lets the number of pods follow the load, if that is asked for.
pub fn autoscaler(stack: &Validated) -> Option<HorizontalPodAutoscaler> {
    let autoscaling = stack.spec.transcription.autoscaling.as_ref()?;
    Some(HorizontalPodAutoscaler {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        spec: Some(HorizontalPodAutoscalerSpec {
            max_replicas: autoscaling.max_replicas,
            min_replicas: Some(autoscaling.min_replicas),
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(autoscaling.target_cpu_utilization_percentage),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name: stack.name_of(COMPONENT),
            },
            behavior: None,
        }),
        status: None,
    })
}

/// Lets one pod go at a time when nodes are drained, where there are at least two.
pub fn disruption_budget(stack: &Validated) -> Option<PodDisruptionBudget> {
    let transcription = &stack.spec.transcription;
    let least = match &transcription.autoscaling {
        Some(autoscaling) => autoscaling.min_replicas,
        None => transcription.replicas.unwrap_or(1),
    };
    (least >= 2).then(|| PodDisruptionBudget {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(metadata::selector(stack, COMPONENT)),
            // A pod that does not get ready must not keep a node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            min_available: None,
        }),
        status: None,
    })
}
