//! What is the auth service's alone: one pod, for SQLite has one writer, and the claim with the users.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
    Secret, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::{metadata, pod};
use crate::api::rules::DEFAULT_SIZE;
use crate::names::{self, Component};
use crate::validate::{MadeKey, Validated};

const COMPONENT: Component = Component::Auth;
/// How long requests in flight may take at the end, in seconds.
const GRACE_SECONDS: i64 = 30;
/// What the kubelet gives on top of that, in seconds.
const SPARE_SECONDS: i64 = 10;

/// The settings of the service, without secrets.
pub fn settings(stack: &Validated) -> BTreeMap<String, String> {
    let auth = &stack.spec.auth;
    let mut settings = vec![
        (
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            auth.access_token_expire_minutes.to_string(),
        ),
        ("BCRYPT_COST", auth.bcrypt_cost.to_string()),
        ("DATABASE_URL", "sqlite:////app/data/auth.db".to_owned()),
        ("LISTEN_ADDR", format!("[::]:{}", names::AUTH_PORT)),
        ("PASSWORD_MIN_LENGTH", auth.password_min_length.to_string()),
        ("REGISTRATION", auth.registration.name().to_owned()),
        ("SHUTDOWN_DELAY_SECONDS", "0".to_owned()),
        ("SHUTDOWN_GRACE_SECONDS", GRACE_SECONDS.to_string()),
    ];
    if !auth.trusted_proxies.is_empty() {
        settings.push(("TRUSTED_PROXIES", auth.trusted_proxies.join(",")));
    }
    settings.extend(common_settings(stack, &origins(stack)));
    named(settings)
}

/// The page of the transcription service calls the auth service when both have a host.
fn origins(stack: &Validated) -> Vec<String> {
    let mut origins = stack.spec.cors_allowed_origins.clone();
    let ingress = &stack.spec.ingress;
    if let (Some(_), Some(host)) = (ingress.auth_host(), ingress.transcription_host()) {
        let origin = ingress.url(host);
        if !origins.contains(&origin) && !origins.iter().any(|origin| origin == "*") {
            origins.push(origin);
        }
    }
    origins
}

/// The settings that both services have.
pub fn common_settings(stack: &Validated, origins: &[String]) -> Vec<(&'static str, String)> {
    let mut settings = vec![(
        "MANAGEMENT_ADDR",
        format!("[::]:{}", names::MANAGEMENT_PORT),
    )];
    if !origins.is_empty() {
        settings.push(("CORS_ALLOWED_ORIGINS", origins.join(",")));
    }
    let otlp_endpoint = &stack.spec.observability.otlp_endpoint;
    if !otlp_endpoint.is_empty() {
        settings.push(("OTEL_EXPORTER_OTLP_ENDPOINT", otlp_endpoint.clone()));
    }
    settings
}

/// Settings by their names.
pub fn named(settings: Vec<(&str, String)>) -> BTreeMap<String, String> {
    settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The settings as an object.
pub fn config_map(stack: &Validated) -> ConfigMap {
    ConfigMap {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        data: Some(settings(stack)),
        ..ConfigMap::default()
    }
}

/// The signing key, if it is the operator's: with its content only if it has to be made.
pub fn signing_key(stack: &Validated) -> Option<Secret> {
    let data = match stack.signing_key.as_ref()? {
        MadeKey::There => None,
        MadeKey::New(key) => Some(BTreeMap::from([(names::JWT_KEY.to_owned(), key.clone())])),
    };
    Some(Secret {
        metadata: metadata::data(stack, COMPONENT, names::made_key(&stack.name)),
        type_: data.is_some().then(|| "Opaque".to_owned()),
        data,
        ..Secret::default()
    })
}

/// The claim with the users, if it is the operator's.
pub fn claim(stack: &Validated) -> Option<PersistentVolumeClaim> {
    let storage = stack.spec.auth.storage.clone().unwrap_or_default();
    if storage.existing_claim.is_some() {
        return None;
    }
    let modes = storage
        .access_modes
        .unwrap_or_else(|| vec![crate::api::auth::AccessMode::ReadWriteOnce]);
    let size = storage.size.unwrap_or_else(|| DEFAULT_SIZE.to_owned());
    Some(PersistentVolumeClaim {
        metadata: metadata::data(stack, COMPONENT, names::claim(&stack.name)),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(
                modes
                    .into_iter()
                    .map(|mode| mode.name().to_owned())
                    .collect(),
            ),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), Quantity(size))])),
                limits: None,
            }),
            storage_class_name: storage.storage_class_name,
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    })
}

/// The service: exactly one pod.
pub fn stateful_set(stack: &Validated) -> StatefulSet {
    let auth = &stack.spec.auth;
    let given = auth
        .storage
        .as_ref()
        .and_then(|storage| storage.existing_claim.clone());
    let claim = given.unwrap_or_else(|| names::claim(&stack.name));
    let template = pod::template(
        stack,
        pod::Parts {
            component: COMPONENT,
            options: &auth.pod,
            // bcrypt takes a core for a quarter of a second; a hash at a time for each.
            resources: pod::resources(
                [("cpu", "100m"), ("memory", "64Mi")],
                [("cpu", "2"), ("memory", "256Mi")],
            ),
            secrets: pod::signing_keys(stack),
            mounts: vec![VolumeMount {
                name: "data".to_owned(),
                mount_path: "/app/data".to_owned(),
                ..VolumeMount::default()
            }],
            volumes: vec![Volume {
                name: "data".to_owned(),
                persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                    claim_name: claim,
                    read_only: None,
                }),
                ..Volume::default()
            }],
            termination_seconds: GRACE_SECONDS + SPARE_SECONDS,
            owns_volumes: true,
        },
    );
    StatefulSet {
        metadata: metadata::owned(stack, COMPONENT, stack.name_of(COMPONENT)),
        spec: Some(StatefulSetSpec {
            // A pod that does not start would block its own repair otherwise: the controller would wait for it to be ready.
            pod_management_policy: Some("Parallel".to_owned()),
            replicas: Some(1),
            revision_history_limit: Some(3),
            selector: metadata::selector(stack, COMPONENT),
            service_name: Some(stack.name_of(COMPONENT)),
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}
