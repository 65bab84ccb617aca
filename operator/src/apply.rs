//! The fourth step: what is built is made so, server-side, and what is no longer wanted goes.
//!
//! An object is written only if it is not as wanted: the hash of what was last applied is another, or a field of ours was changed.
//! So a settled stack costs no write, whichever operator looks at it.

use std::collections::{BTreeMap, BTreeSet};
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
use serde_json::{Value, json};
use tracing::{info, instrument, warn};

use crate::build::Resources;
use crate::context::Context;
use crate::error::Error;
use crate::hash::hash;
use crate::names::{self, Component};
use crate::reason::Deed;
use crate::validate::{Configuration, Validated};
use crate::watches::Seen;

mod claim;
mod collisions;
pub mod drift;
pub mod fields;
mod ownership;
mod replicas;
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
    /// What is not as asked and was left so, because the operator only watches.
    pub left: Vec<String>,
    /// What was done, with the names of the objects.
    pub deeds: BTreeMap<Deed, Vec<String>>,
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
/// `claim_there` is the claim with the users, as it was just found. What pods need comes before them. An object that cannot be made so does not keep the others from it.
#[instrument(skip_all)]
pub async fn apply(
    context: &Context,
    stack: &Validated,
    resources: Resources,
    claim_there: Option<Arc<PersistentVolumeClaim>>,
) -> Applied {
    let Resources {
        service_accounts,
        config_maps,
        services,
        network_policies,
        ingresses,
        service_monitors,
        signing_key,
        claim,
        stateful_set,
        deployment,
        replicas,
        autoscaler,
        disruption_budget,
    } = resources;
    let stores = &context.stores;
    let mut work = Work {
        context,
        stack,
        taken: BTreeSet::new(),
        errors: Vec::new(),
        left: Vec::new(),
        deeds: BTreeMap::new(),
    };
    // What is another's is neither looked at nor touched.
    let live_set = stores
        .stateful_sets
        .find(&stack.namespace, &stateful_set.name_any())
        .filter(|live| work.is_ours("StatefulSet", live.meta(), false).is_ok());
    let live_deployment = stores
        .deployments
        .find(&stack.namespace, &deployment.name_any())
        .filter(|live| work.is_ours("Deployment", live.meta(), false).is_ok());
    // Pods that were made of a key that is not there would be made again for the next one.
    let has_key = work.key(signing_key).await;
    let claim = work.claim(claim, claim_there).await;
    let claim_is_leaving = work.claim_is_leaving(claim.as_deref());
    // Pods that run keep all that they have until everything is there that they are to have: a Secret that is gone restarts nothing.
    let auth_may_change = has_key && work.is_complete(Component::Auth) && !claim_is_leaving;
    let transcription_may_change = has_key && work.is_complete(Component::Transcription);
    let kept = [
        (!auth_may_change && live_set.is_some()).then(|| stack.name_of(Component::Auth)),
        (!transcription_may_change && live_deployment.is_some())
            .then(|| stack.name_of(Component::Transcription)),
    ];
    work.all(&stores.service_accounts, service_accounts).await;
    work.all_but(&kept, &stores.config_maps, config_maps).await;
    work.all(&stores.network_policies, network_policies).await;
    work.all(&stores.services, services).await;
    work.all(&stores.ingresses, ingresses).await;
    if stack.has_service_monitors {
        work.all(&stores.service_monitors, service_monitors).await;
    }
    work.all(
        &stores.disruption_budgets,
        Vec::from_iter(disruption_budget),
    )
    .await;
    // Nor do pods of ours stand on it.
    let auth_may_change = auth_may_change && !work.stands_on_taken(Component::Auth);
    let transcription_may_change =
        transcription_may_change && !work.stands_on_taken(Component::Transcription);
    let stateful_set = if auth_may_change {
        // What could not be changed is there all the same.
        work.one(&stores.stateful_sets, stateful_set)
            .await
            .or(live_set)
    } else {
        live_set
    };
    let deployment = if transcription_may_change {
        work.one(&stores.deployments, deployment)
            .await
            .or(live_deployment)
    } else {
        live_deployment
    };
    let deployment = work.scale(deployment, replicas).await;
    let autoscaler = autoscaler.filter(|_| deployment.is_some());
    work.all(&stores.autoscalers, Vec::from_iter(autoscaler))
        .await;
    Applied {
        claim,
        stateful_set,
        deployment,
        errors: work.errors,
        left: work.left,
        deeds: work.deeds,
    }
}

struct Work<'a> {
    context: &'a Context,
    stack: &'a Validated,
    /// Objects with the names of children that are another's.
    taken: BTreeSet<String>,
    errors: Vec<Arc<Error>>,
    left: Vec<String>,
    deeds: BTreeMap<Deed, Vec<String>>,
}

impl Work<'_> {
    /// Makes all objects of a kind so, and takes those away that are not among them.
    async fn all<K: Child>(&mut self, seen: &Seen<K>, wanted: Vec<K>) {
        self.all_but(&[], seen, wanted).await;
    }

    /// The same, but those of these names are left as they are.
    async fn all_but<K: Child>(&mut self, kept: &[Option<String>], seen: &Seen<K>, wanted: Vec<K>) {
        let names = wanted
            .iter()
            .map(ResourceExt::name_any)
            .collect::<BTreeSet<_>>();
        for object in wanted {
            if !kept.contains(&Some(object.name_any())) {
                self.one(seen, object).await;
            }
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
        &mut self,
        seen: &Seen<K>,
        wanted: K,
    ) -> Result<Option<Arc<K>>, Error> {
        let name = wanted.name_any();
        let live = match seen.find(&self.stack.namespace, &name) {
            Some(live) => Some(live),
            // The watch may not have told yet, or the object is not ours and the watch does not see it.
            None => self
                .context
                .read(self.api::<K>().get_opt(&name))
                .await?
                .map(Arc::new),
        };
        self.make_this_so(live, wanted).await
    }

    /// The same, of an object that was looked for.
    async fn make_this_so<K: Child>(
        &mut self,
        live: Option<Arc<K>>,
        mut wanted: K,
    ) -> Result<Option<Arc<K>>, Error> {
        let name = wanted.name_any();
        let api = self.api::<K>();
        let hash = hash(serde_json::to_vec(&wanted)?);
        wanted
            .annotations_mut()
            .insert(names::APPLIED_HASH.to_owned(), hash);
        let mut value = serde_json::to_value(&wanted)?;
        if let Some(live) = &live {
            if let Err(error) = self.is_ours(&K::kind(&()), live.meta(), is_data::<K>()) {
                self.taken.insert(format!("{} {name}", K::kind(&())));
                return Err(error);
            }
            // It is on its way out: a new one is made when it is gone.
            let is_leaving = live.meta().deletion_timestamp.is_some();
            if is_leaving
                || drift::holds(&value, &serde_json::to_value(&**live)?)
                    && fields::are_ours(&value, live.meta())
            {
                return Ok(Some(Arc::clone(live)));
            }
            this_one_alone(&mut value, live.meta());
        }
        if self.stack.spec.paused {
            let how = live.as_ref().map_or("is not there", |_| "is another");
            self.left.push(format!("{} {name} {how}", K::kind(&())));
            return Ok(live);
        }
        let doing = format!("applying {} {name}", K::kind(&()));
        let parameters = PatchParams::apply(names::FIELD_MANAGER)
            .force()
            .validation_strict();
        let applied = self
            .context
            .request(&doing, api.patch(&name, &parameters, &Patch::Apply(&value)))
            .await;
        let applied = match applied {
            Err(error) if live.is_some() && error.is_invalid() => {
                // Seldom, and large: not a part of every reconciliation.
                Box::pin(self.apply_past_collisions(&api, &name, &value, error)).await?
            }
            applied => applied?,
        };
        // Nothing was changed: something between here and the store makes it other than asked, each time.
        let is_same = |live: &K| live.resource_version() == applied.resource_version();
        if live.as_deref().is_some_and(is_same) {
            return Ok(Some(Arc::new(applied)));
        }
        let before = live
            .as_deref()
            .map(|live| live.annotations().get(names::APPLIED_HASH));
        let deed = match before {
            None => Deed::ResourcesMade,
            Some(before) if before == applied.annotations().get(names::APPLIED_HASH) => {
                Deed::DriftCorrected
            }
            Some(_) => Deed::ResourcesChanged,
        };
        self.did(deed, format!("{} {name}", K::kind(&())));
        Ok(Some(Arc::new(applied)))
    }

    /// Keeps in mind what was done, to be told once all is done.
    fn did(&mut self, deed: Deed, what: String) {
        info!(stack.namespace = %self.stack.namespace, stack.name = %self.stack.name, "{}: {what}", deed.name());
        self.deeds.entry(deed).or_default().push(what);
    }

    /// Whether something that a component's pods would use is another's: its volume, its settings, its account.
    fn stands_on_taken(&self, component: Component) -> bool {
        let name = self.stack.name_of(component);
        let mut used = vec![
            format!("ConfigMap {name}"),
            format!("ServiceAccount {name}"),
        ];
        if component == Component::Auth {
            let claim = names::claim(&self.stack.name);
            used.push(format!("PersistentVolumeClaim {claim}"));
        }
        used.iter().any(|object| self.taken.contains(object))
    }

    /// Whether everything that a component's pods use is there.
    fn is_complete(&self, component: Component) -> bool {
        match self.stack.configurations.get(&component) {
            Some(Configuration::Complete(_)) => true,
            Some(Configuration::Incomplete) | None => false,
        }
    }

    async fn delete<K: Child>(&mut self, object: &K) -> Result<(), Error> {
        let name = object.name_any();
        if object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        if self.stack.spec.paused {
            self.left
                .push(format!("{} {name} is no longer asked for", K::kind(&())));
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
            Ok(_) => self.did(Deed::ResourcesDeleted, format!("{} {name}", K::kind(&()))),
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

/// Says which object is meant: one that was deleted meanwhile is not made again by what was meant for it, but refused (409).
fn this_one_alone(value: &mut Value, live: &ObjectMeta) {
    if let (Some(metadata), Some(uid)) = (value["metadata"].as_object_mut(), &live.uid) {
        metadata.insert("uid".to_owned(), json!(uid));
    }
}

/// Whether an object of this kind cannot be made again.
fn is_data<K: Child>() -> bool {
    let kind = K::kind(&());
    kind == "PersistentVolumeClaim" || kind == "Secret"
}
