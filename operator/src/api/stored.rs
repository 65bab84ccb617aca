//! A stack as the API server has it, whose spec need not be one that this operator can read: a newer one may have written it, and a
//! schema lets more pass than a type does (a port beyond 32 bits). With kube's own `DeserializeGuard` the status would be lost, and
//! with it since when each condition holds.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{TranscriptionStack, TranscriptionStackSpec};

/// A stack as it is stored.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredStack {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

impl Resource for StoredStack {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        TranscriptionStack::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        TranscriptionStack::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        TranscriptionStack::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        TranscriptionStack::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl From<StoredStack> for TranscriptionStack {
    /// With `spec.unreadable` set if it is.
    fn from(stored: StoredStack) -> Self {
        let StoredStack {
            metadata,
            spec,
            status,
        } = stored;
        Self {
            metadata,
            spec: serde_path_to_error::deserialize(spec).unwrap_or_else(|error| {
                TranscriptionStackSpec::unreadable(format!(
                    "spec.{}: {}",
                    error.path(),
                    error.inner()
                ))
            }),
            // One that cannot be read is written anew.
            status: serde_json::from_value(status).unwrap_or_default(),
        }
    }
}

impl TranscriptionStackSpec {
    /// Stands for one that cannot be read.
    fn unreadable(why: String) -> Self {
        let smallest = json!({"transcription": {"engine": {}}, "s3": {"bucket": ""}});
        let Ok(spec) = serde_json::from_value(smallest) else {
            unreachable!("everything else has a default")
        };
        Self {
            unreadable: Some(why),
            ..spec
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_that_cannot_be_read_says_where_and_keeps_the_status() {
        let stored = json!({
            "metadata": {"name": "demo"},
            "spec": {
                "transcription": {"engine": {}}, "s3": {"bucket": "recordings"},
                "networkPolicy": {"egress": [{"ports": [{"endPort": 5_000_000_000_u64}]}]},
            },
            "status": {"version": "0.1.0"},
        });

        let stack =
            TranscriptionStack::from(serde_json::from_value::<StoredStack>(stored).unwrap());

        let why = stack.spec.unreadable.unwrap();
        assert!(why.starts_with("spec.networkPolicy.egress[0]"), "{why}");
        assert_eq!(stack.status.unwrap().version.unwrap(), "0.1.0");
    }

    #[test]
    fn a_spec_that_can_be_read_is_as_it_is() {
        let stored = json!({
            "metadata": {"name": "demo"},
            "spec": {"transcription": {"engine": {}}, "s3": {"bucket": "recordings"}},
        });

        let stack =
            TranscriptionStack::from(serde_json::from_value::<StoredStack>(stored).unwrap());

        assert_eq!(stack.spec.unreadable, None);
        assert_eq!(stack.spec.s3.bucket, "recordings");
        assert_eq!(stack.status, None);
    }
}
