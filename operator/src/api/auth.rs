//! The auth service in the spec.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::pod::PodOptions;
use super::rules;

/// The auth service.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// How long a token is taken, in minutes.
    #[serde(default = "access_token_expire_minutes")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub access_token_expire_minutes: i64,
    /// Whether people can register by themselves. Closed: users are made by `auth-service user add` in the pod.
    #[serde(default)]
    pub registration: Registration,
    /// The networks of the proxies in front, which may say for whom they speak (`X-Forwarded-For`), for example 10.0.0.0/8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64)))]
    #[x_kube(validation = rules::are_networks())]
    pub trusted_proxies: Vec<String>,
    /// The least number of characters of a new password.
    #[serde(default = "password_min_length")]
    #[schemars(range(min = 1, max = 72))]
    pub password_min_length: i32,
    /// The cost of a password hash: one more doubles the time.
    #[serde(default = "bcrypt_cost")]
    #[schemars(range(min = 4, max = 31))]
    pub bcrypt_cost: i32,
    /// The key that tokens are signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Jwt>,
    /// The volume with the users. Without it: 1Gi of the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The pod.
    #[serde(flatten)]
    pub pod: PodOptions,
}

const fn access_token_expire_minutes() -> i64 {
    30
}

const fn password_min_length() -> i32 {
    8
}

const fn bcrypt_cost() -> i32 {
    12
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            access_token_expire_minutes: access_token_expire_minutes(),
            registration: Registration::default(),
            trusted_proxies: Vec::new(),
            password_min_length: password_min_length(),
            bcrypt_cost: bcrypt_cost(),
            jwt: None,
            storage: None,
            pod: PodOptions::default(),
        }
    }
}

/// Whether people can register by themselves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// They cannot.
    #[default]
    Closed,
    /// They can.
    Open,
}

impl Registration {
    /// Its name, as the setting of the service spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// The key that tokens are signed with.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Jwt {
    /// A Secret with the key. Without it the operator makes one, `<stack>-jwt`, once, and never rewrites it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<JwtSecret>,
}

/// A Secret with signing keys, each of at least 32 bytes.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JwtSecret {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in the Secret whose value signs.
    #[serde(default = "jwt_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// The key in the Secret whose value is still taken, while keys are changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub previous_key: Option<String>,
}

fn jwt_key() -> String {
    crate::names::JWT_KEY.to_owned()
}

/// The volume with the users: a claim of the operator's, or one that is there.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::existing_claim_stands_alone())]
pub struct Storage {
    /// How much to claim; 1Gi without it. It can only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 32),
        regex(pattern = r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")
    )]
    pub size: Option<String>,
    /// The class of the volume; the cluster's default without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,
    /// How the volume may be mounted; `[ReadWriteOnce]` without it. One pod writes, whatever is set here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4))]
    pub access_modes: Option<Vec<AccessMode>>,
    /// A claim that is there already, which stays its owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub existing_claim: Option<String>,
}

/// How a volume may be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum AccessMode {
    /// By the pods of one node.
    ReadWriteOnce,
    /// By one pod.
    ReadWriteOncePod,
    /// By pods of many nodes.
    ReadWriteMany,
}

impl AccessMode {
    /// Its name in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
            Self::ReadWriteMany => "ReadWriteMany",
        }
    }
}
