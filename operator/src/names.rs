//! Names, labels and annotations of everything that the operator makes.

use std::collections::BTreeMap;

/// Who applies the children.
pub const FIELD_MANAGER: &str = "transcription-operator";
/// Who applies the number of replicas, so that it can be let go for an autoscaler without being set back.
pub const REPLICAS_MANAGER: &str = "transcription-operator-replicas";
/// Who makes the signing key, and never touches it again.
pub const KEY_MANAGER: &str = "transcription-operator-key";
/// Who clears the way for the children, and keeps nothing.
pub const CLEARING_MANAGER: &str = "transcription-operator-clearing";
/// Who applies the status.
pub const STATUS_MANAGER: &str = "transcription-operator-status";

/// The hash of the object as it was wanted when it was last applied.
pub const APPLIED_HASH: &str = "transcription.dev/applied-hash";
/// The hash of what a pod uses beside its template: the keys of Secrets, and ConfigMaps.
pub const CONFIGURATION_HASH: &str = "transcription.dev/configuration-hash";
/// How a signing key was made: `made`, or `remade` in the place of one that was gone.
pub const SIGNING_KEY: &str = "transcription.dev/signing-key";
/// Asks for a new claim in the place of one that is gone; its value is the name of the claim.
pub const REPLACE_STORAGE: &str = "transcription.dev/replace-storage";

/// The label that says who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label that says to which stack an object belongs.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// The key of the signing key in its Secret.
pub const JWT_KEY: &str = "JWT_SECRET_KEY";

/// The user and group that the programs run as.
pub const USER: i64 = 65532;
/// The port of the auth service.
pub const AUTH_PORT: i32 = 8001;
/// The port of the transcription service.
pub const TRANSCRIPTION_PORT: i32 = 8000;
/// The port for health and metrics.
pub const MANAGEMENT_PORT: i32 = 9090;
/// The name of that port.
pub const MANAGEMENT: &str = "management";

/// A part of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The auth service.
    Auth,
    /// The transcription service.
    Transcription,
}

impl Component {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Auth, Self::Transcription];

    /// Its name in labels and as the end of names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Transcription => "transcription",
        }
    }

    /// The name of its image and program.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Auth => "auth-service",
            Self::Transcription => "transcription-service",
        }
    }

    /// The port that its users reach it at.
    pub const fn port(self) -> i32 {
        match self {
            Self::Auth => AUTH_PORT,
            Self::Transcription => TRANSCRIPTION_PORT,
        }
    }
}

/// The name of what belongs to a component: its workload, Service, ConfigMap, ….
pub fn of(stack: &str, component: Component) -> String {
    format!("{stack}-{}", component.name())
}

/// The name of the claim with the users.
pub fn claim(stack: &str) -> String {
    format!("{stack}-auth-data")
}

/// The name of the Secret with the signing key that the operator makes.
pub fn made_key(stack: &str) -> String {
    format!("{stack}-jwt")
}

/// The labels by which a component's pods are found. They never change: a workload's selector cannot.
pub fn selector(stack: &str, component: Component) -> BTreeMap<String, String> {
    labels_of([
        ("app.kubernetes.io/name", component.program()),
        (INSTANCE, stack),
        ("app.kubernetes.io/component", component.name()),
    ])
}

/// The labels of an object of a component.
pub fn labels(stack: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector(stack, component);
    labels.extend(labels_of([
        ("app.kubernetes.io/part-of", "transcription-stack"),
        (MANAGED_BY, FIELD_MANAGER),
    ]));
    labels
}

/// The command that says of an object without an owner that it is a stack's.
pub fn bring_in(kind: &str, name: &str, stack: &str) -> String {
    format!(
        "kubectl label {} {name} {MANAGED_BY}={FIELD_MANAGER} {INSTANCE}={stack}",
        kind.to_lowercase()
    )
}

fn labels_of<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
