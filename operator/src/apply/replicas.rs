//! The number of pods of the transcription service.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

use super::{Work, this_one_alone};
use crate::names;
use crate::reason::Deed;

impl Work<'_> {
    /// Sets the number of replicas, by a manager of its own: when an autoscaler takes over, nothing is set back.
    pub(super) async fn scale(
        &mut self,
        deployment: Option<Arc<Deployment>>,
        replicas: Option<i32>,
    ) -> Option<Arc<Deployment>> {
        let (deployment, replicas) = match (deployment, replicas) {
            (Some(deployment), Some(replicas)) => (deployment, replicas),
            (deployment, _) => return deployment,
        };
        let live = deployment.spec.as_ref().and_then(|spec| spec.replicas);
        let is_leaving = deployment.meta().deletion_timestamp.is_some();
        if live == Some(replicas) || is_leaving {
            return Some(deployment);
        }
        let name = deployment.name_any();
        if self.stack.spec.paused {
            let live = live.unwrap_or(1);
            self.left.push(format!(
                "Deployment {name} has {live} replicas and not {replicas}"
            ));
            return Some(deployment);
        }
        let mut value = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.stack.namespace},
            "spec": {"replicas": replicas},
        });
        this_one_alone(&mut value, deployment.meta());
        let api = self.api::<Deployment>();
        let parameters = PatchParams::apply(names::REPLICAS_MANAGER).force();
        let doing = format!("setting the replicas of Deployment {name}");
        let result = self
            .context
            .request(&doing, api.patch(&name, &parameters, &Patch::Apply(&value)))
            .await;
        match self.note(result) {
            Some(scaled) => {
                let made = format!("Deployment {name}");
                let is_new = self
                    .deeds
                    .get(&Deed::ResourcesMade)
                    .is_some_and(|all| all.contains(&made));
                let is_changed = scaled.resource_version() != deployment.resource_version();
                if !is_new && is_changed {
                    let before = live.unwrap_or(1);
                    self.did(
                        Deed::Scaled,
                        format!("{made} from {before} to {replicas} replicas"),
                    );
                }
                Some(Arc::new(scaled))
            }
            None => Some(deployment),
        }
    }
}
