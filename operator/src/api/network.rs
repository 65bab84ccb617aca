//! Who reaches the services, and how, in the spec.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::NetworkPolicyEgressRule;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// How the services are reached from outside of the cluster: a host for each, no path is rewritten.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rules::ingress_has_a_host(), validation = rules::ingress_hosts_differ())]
pub struct Ingress {
    /// Whether there is an Ingress for each host.
    #[serde(default)]
    pub enabled: bool,
    /// The class of the Ingress; the cluster's default without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub class_name: String,
    /// Annotations of the Ingress, for example for its controller's limits on size and time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64))]
    pub annotations: BTreeMap<String, String>,
    /// The certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<IngressTls>,
    /// The auth service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<IngressHost>,
    /// The transcription service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcription: Option<IngressHost>,
}

/// The certificate of an Ingress.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressTls {
    /// The Secret with a certificate for both hosts. Without it the services are reached by plain HTTP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub secret_name: String,
}

/// Where a service is reached.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngressHost {
    /// The name of the host, for example auth.example.com.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 253),
        regex(pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$")
    )]
    pub host: String,
}

impl Ingress {
    /// The host of the auth service, if it has an Ingress.
    pub fn auth_host(&self) -> Option<&str> {
        self.host(self.auth.as_ref())
    }

    /// The host of the transcription service, if it has an Ingress.
    pub fn transcription_host(&self) -> Option<&str> {
        self.host(self.transcription.as_ref())
    }

    fn host<'a>(&self, host: Option<&'a IngressHost>) -> Option<&'a str> {
        let host = host?.host.as_str();
        (self.enabled && !host.is_empty()).then_some(host)
    }

    /// The Secret with the certificate, if there is one.
    pub fn certificate(&self) -> Option<&str> {
        let name = self.tls.as_ref()?.secret_name.as_str();
        (!name.is_empty()).then_some(name)
    }

    /// The address of a host.
    pub fn url(&self, host: &str) -> String {
        let scheme = if self.certificate().is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{host}")
    }
}

/// Who may reach the pods, and whom they may reach.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether there are NetworkPolicies: only the ports of the services are open.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whom the pods may reach. Without rules: everybody. With rules, name the cluster's DNS too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub egress: Vec<NetworkPolicyEgressRule>,
}

const fn enabled() -> bool {
    true
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        Self {
            enabled: enabled(),
            egress: Vec::new(),
        }
    }
}
