//! Prometheus's ServiceMonitor: a kind that a cluster need not have.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::TypeMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Tells Prometheus where metrics are (<https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor>).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceMonitor {
    #[serde(flatten, default)]
    types: Option<TypeMeta>,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl ServiceMonitor {
    /// With this specification.
    pub fn new(metadata: ObjectMeta, spec: Value) -> Self {
        Self {
            types: Some(TypeMeta::resource::<Self>()),
            metadata,
            spec,
        }
    }
}

impl Resource for ServiceMonitor {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ServiceMonitor".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "monitoring.coreos.com".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "servicemonitors".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
