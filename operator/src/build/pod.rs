//! What both pods are like: the security of the Pod Security Standard `restricted`, a root that cannot be written to, probes,
//! limits, no token of the API server.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, EnvVar,
    EnvVarSource, HTTPGetAction, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretKeySelector,
    SecurityContext, ServiceAccount, TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata;
use crate::api::pod::{ExtraVariable, PodOptions};
use crate::names::{self, Component};
use crate::validate::{Configuration, Validated};

/// What is a component's own in its pod.
pub struct Parts<'a> {
    /// Which one.
    pub component: Component,
    /// What the spec says of it.
    pub options: &'a PodOptions,
    /// What it requests and may take, where the spec does not say.
    pub resources: ResourceRequirements,
    /// Variables whose values are in Secrets.
    pub secrets: Vec<EnvVar>,
    /// Where volumes are in the container.
    pub mounts: Vec<VolumeMount>,
    /// The volumes.
    pub volumes: Vec<Volume>,
    /// How long it may take to end, in seconds.
    pub termination_seconds: i64,
    /// Whether the volumes are to belong to the program's group.
    pub owns_volumes: bool,
}

/// The template of a component's pods.
pub fn template(stack: &Validated, parts: Parts<'_>) -> PodTemplateSpec {
    let container = container(stack, &parts);
    let Parts {
        component,
        options,
        resources: _,
        secrets: _,
        mounts: _,
        volumes,
        termination_seconds,
        owns_volumes,
    } = parts;
    let mut annotations = options.pod_annotations.clone();
    if let Some(Configuration::Complete(hash)) = stack.configurations.get(&component) {
        annotations.insert(
            names::CONFIGURATION_HASH.to_owned(),
            configuration_hash(stack, component, hash),
        );
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            labels: Some(names::labels(&stack.name, component)),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            affinity: options.affinity.clone(),
            automount_service_account_token: Some(false),
            containers: vec![container],
            // Variables of other Services of the namespace: AUTH_PORT=tcp://… is none of ours.
            enable_service_links: Some(false),
            image_pull_secrets: Some(pull_secrets(stack)).filter(|secrets| !secrets.is_empty()),
            node_selector: Some(options.node_selector.clone())
                .filter(|selector| !selector.is_empty()),
            priority_class_name: options.priority_class_name.clone(),
            security_context: Some(PodSecurityContext {
                fs_group: owns_volumes.then_some(names::USER),
                // Without it a volume with many files would be walked through at each start.
                fs_group_change_policy: owns_volumes.then(|| "OnRootMismatch".to_owned()),
                run_as_group: Some(names::USER),
                run_as_non_root: Some(true),
                run_as_user: Some(names::USER),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            service_account_name: Some(stack.name_of(component)),
            termination_grace_period_seconds: Some(termination_seconds),
            tolerations: Some(options.tolerations.clone())
                .filter(|tolerations| !tolerations.is_empty()),
            topology_spread_constraints: spread(stack, component, options),
            volumes: Some(volumes).filter(|volumes| !volumes.is_empty()),
            ..PodSpec::default()
        }),
    }
}

fn container(stack: &Validated, parts: &Parts<'_>) -> Container {
    let Parts {
        component,
        options,
        resources,
        secrets,
        mounts,
        volumes: _,
        termination_seconds: _,
        owns_volumes: _,
    } = parts;
    let component = *component;
    Container {
        name: component.name().to_owned(),
        image: Some(image(stack, component, options)),
        image_pull_policy: Some(
            options
                .image_pull_policy
                .map_or("IfNotPresent", |policy| policy.name())
                .to_owned(),
        ),
        ports: Some(vec![
            port("http", component.port()),
            port(names::MANAGEMENT, names::MANAGEMENT_PORT),
        ]),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: stack.name_of(component),
                optional: None,
            }),
            ..EnvFromSource::default()
        }]),
        env: Some(
            secrets
                .iter()
                .cloned()
                .chain(options.extra_env.iter().map(variable))
                .collect::<Vec<_>>(),
        )
        .filter(|all| !all.is_empty()),
        resources: Some(merged(resources.clone(), options.resources.as_ref())),
        startup_probe: Some(Probe {
            // Whisper reads its model first: two minutes for a slow disk.
            failure_threshold: Some(60),
            period_seconds: Some(2),
            ..probe("/healthz")
        }),
        liveness_probe: Some(Probe {
            failure_threshold: Some(3),
            period_seconds: Some(10),
            ..probe("/healthz")
        }),
        readiness_probe: Some(Probe {
            failure_threshold: Some(2),
            period_seconds: Some(5),
            ..probe("/readyz")
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts.clone()).filter(|mounts| !mounts.is_empty()),
        ..Container::default()
    }
}

/// Of the Secrets' keys, and of the component's own settings: a program reads both when it starts.
fn configuration_hash(stack: &Validated, component: Component, secrets: &str) -> String {
    let settings = match component {
        Component::Auth => super::auth::settings(stack),
        Component::Transcription => super::transcription::settings(stack),
    };
    let lines = settings
        .into_iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    crate::hash::hash(format!("{secrets}\n{}", lines.collect::<String>()))
}

fn image(stack: &Validated, component: Component, options: &PodOptions) -> String {
    let released = || {
        stack.release.image(
            &stack.image_prefix,
            component,
            &stack.spec.transcription.engine,
        )
    };
    options.image.clone().unwrap_or_else(released)
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(names::MANAGEMENT.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        success_threshold: Some(1),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

/// Nothing needs more than its neighbour, if there is more than one pod and nobody says otherwise.
fn spread(
    stack: &Validated,
    component: Component,
    options: &PodOptions,
) -> Option<Vec<TopologySpreadConstraint>> {
    if !options.topology_spread_constraints.is_empty() {
        return Some(options.topology_spread_constraints.clone());
    }
    (component == Component::Transcription).then(|| {
        vec![TopologySpreadConstraint {
            label_selector: Some(metadata::selector(stack, component)),
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..TopologySpreadConstraint::default()
        }]
    })
}

fn pull_secrets(stack: &Validated) -> Vec<LocalObjectReference> {
    let secrets = stack.spec.image_pull_secrets.iter();
    secrets
        .map(|secret| LocalObjectReference {
            name: secret.name.clone(),
        })
        .collect()
}

fn variable(variable: &ExtraVariable) -> EnvVar {
    let ExtraVariable {
        name,
        value,
        value_from,
    } = variable.clone();
    EnvVar {
        name,
        value,
        value_from,
    }
}

/// A variable whose value is under a key of a Secret.
pub fn secret_variable(name: &str, secret: &str, key: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}

/// The variables of the signing key, and of the one before it.
pub fn signing_keys(stack: &Validated) -> Vec<EnvVar> {
    let given = stack
        .spec
        .auth
        .jwt
        .as_ref()
        .and_then(|jwt| jwt.secret_ref.as_ref());
    let Some(secret) = given else {
        return vec![secret_variable(
            "JWT_SECRET_KEY",
            &names::made_key(&stack.name),
            names::JWT_KEY,
        )];
    };
    let mut variables = vec![secret_variable("JWT_SECRET_KEY", &secret.name, &secret.key)];
    if let Some(previous) = &secret.previous_key {
        variables.push(secret_variable(
            "JWT_SECRET_KEY_PREVIOUS",
            &secret.name,
            previous,
        ));
    }
    variables
}

/// What is requested and allowed, by name: `cpu`, `memory`.
pub fn resources(requests: [(&str, &str); 2], limits: [(&str, &str); 2]) -> ResourceRequirements {
    let quantities = |pairs: [(&str, &str); 2]| {
        let pairs = pairs.map(|(name, amount)| (name.to_owned(), Quantity(amount.to_owned())));
        Some(BTreeMap::from(pairs))
    };
    ResourceRequirements {
        claims: None,
        limits: quantities(limits),
        requests: quantities(requests),
    }
}

/// What the spec says, and the release's where it says nothing. A request of the release's is never more than the spec's limit.
fn merged(
    released: ResourceRequirements,
    asked: Option<&ResourceRequirements>,
) -> ResourceRequirements {
    let Some(asked) = asked else {
        return released;
    };
    let over = |released: Option<BTreeMap<String, Quantity>>,
                asked: &Option<BTreeMap<String, Quantity>>| {
        let mut all = released.unwrap_or_default();
        all.extend(asked.clone().unwrap_or_default());
        all
    };
    let limits = over(released.limits, &asked.limits);
    let mut requests = over(released.requests, &asked.requests);
    for (name, request) in &mut requests {
        let is_asked = asked
            .requests
            .as_ref()
            .is_some_and(|asked| asked.contains_key(name));
        if let Some(limit) = limits.get(name)
            && !is_asked
            && crate::quantity::value(&request.0) > crate::quantity::value(&limit.0)
        {
            request.clone_from(limit);
        }
    }
    ResourceRequirements {
        claims: asked.claims.clone(),
        limits: Some(limits),
        requests: Some(requests),
    }
}

/// The account that a component runs under. It has no rights and no token; a cloud may know it by its annotations.
pub fn service_account(stack: &Validated, component: Component) -> ServiceAccount {
    let annotations = match component {
        Component::Auth => None,
        Component::Transcription => stack.spec.s3.service_account_annotations.clone(),
    };
    ServiceAccount {
        metadata: ObjectMeta {
            annotations: annotations.filter(|annotations| !annotations.is_empty()),
            ..metadata::owned(stack, component, stack.name_of(component))
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
