//! ServiceMonitors, of a kind that a cluster need not have.

use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};

use super::{Work, drift};
use crate::error::Error;
use crate::names::{self, Component};
use crate::optional_kinds::service_monitors;

impl Work<'_> {
    /// ServiceMonitors are not watched: a cluster need not have them. They are looked at when the rest is.
    pub(super) async fn monitors(&mut self, wanted: Vec<DynamicObject>) {
        if !self.stack.has_service_monitors || self.stack.spec.paused {
            return;
        }
        for component in Component::ALL {
            let name = self.stack.name_of(component);
            let object = wanted.iter().find(|object| object.name_any() == name);
            let result = self.monitor(&name, object).await;
            self.note(result);
        }
    }

    async fn monitor(&self, name: &str, wanted: Option<&DynamicObject>) -> Result<(), Error> {
        let kind = service_monitors();
        let api = Api::<DynamicObject>::namespaced_with(
            self.context.client.clone(),
            &self.stack.namespace,
            &kind,
        );
        let live = self.context.read(api.get_opt(name)).await?;
        let Some(wanted) = wanted else {
            let is_ours =
                |live: &DynamicObject| self.is_ours(&kind.kind, live.meta(), false).is_ok();
            if live.as_ref().is_some_and(is_ours) {
                let doing = format!("deleting ServiceMonitor {name}");
                self.context
                    .request(&doing, api.delete(name, &DeleteParams::default()))
                    .await?;
            }
            return Ok(());
        };
        if let Some(live) = &live {
            self.is_ours(&kind.kind, live.meta(), false)?;
            if drift::holds(&serde_json::to_value(wanted)?, &serde_json::to_value(live)?) {
                return Ok(());
            }
        }
        let parameters = PatchParams::apply(names::FIELD_MANAGER).force();
        let doing = format!("applying ServiceMonitor {name}");
        self.context
            .request(&doing, api.patch(name, &parameters, &Patch::Apply(wanted)))
            .await?;
        Ok(())
    }
}
