//! The fourth step: what is built is made so, server-side, and what is no longer wanted goes.
//!
//! An object is written only if it is not as wanted: the hash of what was last applied is another, or a field of ours was changed.
//! So a settled stack costs no write, whichever operator looks at it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::{info, warn};

use crate::build::{Resources, pod};
use crate::context::Context;
use crate::error::Error;
use crate::hash::hash;
use crate::names::{self, Component};
use crate::reason::Reason;
use crate::validate::{Configuration, Validated};
use crate::watches::Seen;

pub mod drift;
mod service_monitors;
mod signing_key;

/// What is there afterwards, of what tells how a stack is.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The claim with the users.
    pub claim: Option<Arc<PersistentVolumeClaim>>,
    /// The auth service.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// The transcription service.
    pub deployment: Option<Arc<Deployment>>,
    /// What could not be made so. The rest was.
    pub errors: Vec<Arc<Error>>,
}

/// An object of a namespace with a fixed kind.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Makes everything so.
///
/// What pods need comes before them. An object that cannot be made so does not keep the others from it.
pub async fn apply(context: &Context, stack: &Validated, resources: Resources) -> Applied {
    let Resources {
        service_accounts,
        config_maps,
        services,
        network_policies,
        ingresses,
        service_monitors,
        signing_key,
        claim,
        mut stateful_set,
        mut deployment,
        replicas,
        autoscaler,
        disruption_budget,
    } = resources;
    let stores = &context.stores;
    let mut work = Work {
        context,
        stack,
        errors: Vec::new(),
    };
    // Pods that were made of a key that is not there would be made again for the next one.
    let has_key = work.key(signing_key).await;
    let claim = match claim {
        Some(claim) => work.one(&stores.claims, claim).await,
        None => stores.claims.find(&stack.namespace, &claim_name(stack)),
    };
    work.all(&stores.service_accounts, service_accounts).await;
    work.all(&stores.config_maps, config_maps).await;
    work.all(&stores.network_policies, network_policies).await;
    work.all(&stores.services, services).await;
    work.all(&stores.ingresses, ingresses).await;
    work.monitors(service_monitors).await;
    work.all(
        &stores.disruption_budgets,
        Vec::from_iter(disruption_budget),
    )
    .await;
    let stateful_set = {
        let live = stores
            .stateful_sets
            .find(&stack.namespace, &stateful_set.name_any());
        let template = stateful_set
            .spec
            .as_mut()
            .and_then(|spec| spec.template.metadata.as_mut());
        let live_template = live
            .as_ref()
            .and_then(|live| live.spec.as_ref()?.template.metadata.as_ref());
        if has_key && work.may_run(Component::Auth, template, live_template) {
            work.one(&stores.stateful_sets, stateful_set).await
        } else {
            live
        }
    };
    let deployment = {
        let live = stores
            .deployments
            .find(&stack.namespace, &deployment.name_any());
        let template = deployment
            .spec
            .as_mut()
            .and_then(|spec| spec.template.metadata.as_mut());
        let live_template = live
            .as_ref()
            .and_then(|live| live.spec.as_ref()?.template.metadata.as_ref());
        if has_key && work.may_run(Component::Transcription, template, live_template) {
            let applied = work.one(&stores.deployments, deployment).await;
            work.scale(applied, replicas).await
        } else {
            live
        }
    };
    work.all(&stores.autoscalers, Vec::from_iter(autoscaler))
        .await;
    Applied {
        claim,
        stateful_set,
        deployment,
        errors: work.errors,
    }
}

fn claim_name(stack: &Validated) -> String {
    let given = stack.spec.auth.storage.as_ref();
    let given = given.and_then(|storage| storage.existing_claim.clone());
    given.unwrap_or_else(|| names::claim(&stack.name))
}

struct Work<'a> {
    context: &'a Context,
    stack: &'a Validated,
    errors: Vec<Arc<Error>>,
}

impl Work<'_> {
    /// Makes all objects of a kind so, and takes those away that are not among them.
    async fn all<K: Child>(&mut self, seen: &Seen<K>, wanted: Vec<K>) {
        let names = wanted
            .iter()
            .map(ResourceExt::name_any)
            .collect::<BTreeSet<_>>();
        for object in wanted {
            self.one(seen, object).await;
        }
        for object in seen.owned_by(&self.stack.namespace, &self.stack.uid) {
            if !names.contains(&object.name_any()) {
                let result = self.delete(&*object).await;
                self.note(result);
            }
        }
    }

    /// Makes an object so, and gives it as it is then.
    async fn one<K: Child>(&mut self, seen: &Seen<K>, wanted: K) -> Option<Arc<K>> {
        let result = self.make_so(seen, wanted).await;
        self.note(result).flatten()
    }

    fn note<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        result
            .map_err(|error| self.errors.push(Arc::new(error)))
            .ok()
    }

    async fn make_so<K: Child>(
        &self,
        seen: &Seen<K>,
        mut wanted: K,
    ) -> Result<Option<Arc<K>>, Error> {
        let name = wanted.name_any();
        let live = seen.find(&self.stack.namespace, &name);
        if self.stack.spec.paused {
            return Ok(live);
        }
        let api = self.api::<K>();
        let live = match live {
            Some(live) => Some(live),
            // The watch may not have told yet, or the object is not ours and the watch does not see it.
            None => self.context.read(api.get_opt(&name)).await?.map(Arc::new),
        };
        let hash = hash(serde_json::to_vec(&wanted)?);
        wanted
            .annotations_mut()
            .insert(names::APPLIED_HASH.to_owned(), hash);
        let value = serde_json::to_value(&wanted)?;
        if let Some(live) = live {
            self.is_ours(&K::kind(&()), live.meta(), is_data::<K>())?;
            // It is on its way out: a new one is made when it is gone.
            if live.meta().deletion_timestamp.is_some() {
                return Ok(Some(live));
            }
            if drift::holds(&value, &serde_json::to_value(&*live)?) {
                return Ok(Some(live));
            }
        }
        let doing = format!("applying {} {name}", K::kind(&()));
        let parameters = PatchParams::apply(names::FIELD_MANAGER)
            .force()
            .validation_strict();
        let applied = self
            .context
            .request(&doing, api.patch(&name, &parameters, &Patch::Apply(&value)))
            .await?;
        info!(stack.namespace = %self.stack.namespace, stack.name = %self.stack.name, "applied {} {name}", K::kind(&()));
        Ok(Some(Arc::new(applied)))
    }

    /// Whether an object with a child's name is this stack's. What cannot be made again may be taken up from a stack before it.
    fn is_ours(&self, kind: &str, live: &ObjectMeta, is_data: bool) -> Result<(), Error> {
        let controller = live
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.controller == Some(true));
        let label = |name: &str| {
            live.labels
                .as_ref()
                .and_then(|labels| labels.get(name))
                .map(String::as_str)
        };
        let ours = match controller {
            Some(owner) => owner.uid == self.stack.uid,
            None => {
                is_data
                    && label(names::MANAGED_BY) == Some(names::FIELD_MANAGER)
                    && label(names::INSTANCE) == Some(&self.stack.name)
            }
        };
        if ours {
            return Ok(());
        }
        let name = live.name.as_deref().unwrap_or_default();
        let whose = match controller {
            Some(owner) => format!("is controlled by {} {}", owner.kind, owner.name),
            None => "was not made by this stack".to_owned(),
        };
        Err(Error::Stalled {
            reason: Reason::NameTaken,
            message: format!(
                "{kind} {name} {whose}: rename or delete it, or give the stack another name"
            ),
        })
    }

    /// Whether a component's workload may be made so: everything that its pods use is there. Pods that run already keep what they
    /// have: the template keeps the hash that it has, so that a Secret that is gone restarts nothing.
    fn may_run(
        &self,
        component: Component,
        template: Option<&mut ObjectMeta>,
        live: Option<&ObjectMeta>,
    ) -> bool {
        match self.stack.configurations.get(&component) {
            Some(Configuration::Complete(_)) => true,
            Some(Configuration::Incomplete) | None => {
                let Some(live) = live else { return false };
                pod::keep_configuration(template, live);
                true
            }
        }
    }

    /// Sets the number of replicas, by a manager of its own: when an autoscaler takes over, nothing is set back.
    async fn scale(
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
        if live == Some(replicas) || self.stack.spec.paused || is_leaving {
            return Some(deployment);
        }
        let name = deployment.name_any();
        let value = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.stack.namespace},
            "spec": {"replicas": replicas},
        });
        let api = self.api::<Deployment>();
        let parameters = PatchParams::apply(names::REPLICAS_MANAGER).force();
        let doing = format!("setting the replicas of Deployment {name}");
        let result = self
            .context
            .request(&doing, api.patch(&name, &parameters, &Patch::Apply(&value)))
            .await;
        match self.note(result) {
            Some(scaled) => {
                info!(stack.namespace = %self.stack.namespace, stack.name = %self.stack.name, replicas, "Deployment {name} has {replicas} replicas now");
                Some(Arc::new(scaled))
            }
            None => Some(deployment),
        }
    }

    async fn delete<K: Child>(&self, object: &K) -> Result<(), Error> {
        let name = object.name_any();
        if self.stack.spec.paused || object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        // The one that was seen, and not another of the same name.
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: object.uid(),
            resource_version: None,
        });
        let doing = format!("deleting {} {name}", K::kind(&()));
        match self
            .context
            .request(&doing, self.api::<K>().delete(&name, &parameters))
            .await
        {
            Ok(_) => {
                info!(stack.namespace = %self.stack.namespace, stack.name = %self.stack.name, "deleted {} {name}: it is no longer asked for", K::kind(&()));
            }
            // It went by itself.
            Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if matches!(status.code, 404 | 409)) =>
            {
                warn!(stack.namespace = %self.stack.namespace, stack.name = %self.stack.name, "{} {name} was gone or another already", K::kind(&()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn api<K: Child>(&self) -> Api<K> {
        Api::namespaced(self.context.client.clone(), &self.stack.namespace)
    }
}

/// Whether an object of this kind cannot be made again.
fn is_data<K: Child>() -> bool {
    let kind = K::kind(&());
    kind == "PersistentVolumeClaim" || kind == "Secret"
}
