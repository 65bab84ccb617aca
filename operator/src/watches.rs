//! What the operator sees of the cluster: a watch for each kind, each a task with its own back-off, and what it has seen in memory.
//!
//! Not by kube's `Controller` itself: it would put all watches into one stream, where one that fails holds up the others.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{
    ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store, store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use self::patience::Patience;
use self::touched::{Asked, labelled, naming, owners};
use crate::api::TranscriptionStack;
use crate::api::stored::StoredStack;
use crate::apply::fields;
use crate::names;
use crate::needs;
use crate::service_monitor::ServiceMonitor;

mod patience;
mod seen;
mod touched;

pub use self::seen::Seen;

/// More triggers than this wait at their watches.
const TRIGGERS: usize = 1024;
/// Where `kubectl apply` keeps a copy of the whole object: of a Secret, with all that is in it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was seen, kind by kind. Of those that only the operator's objects are watched of, others are not here.
#[derive(Clone)]
pub struct Stores {
    /// All stacks.
    pub stacks: Store<TranscriptionStack>,
    /// The metadata of all Secrets.
    pub secrets: Seen<PartialObjectMeta<Secret>>,
    /// The metadata of all ConfigMaps.
    pub config_map_names: Seen<PartialObjectMeta<ConfigMap>>,
    /// All claims.
    pub claims: Seen<PersistentVolumeClaim>,
    /// The operator's.
    pub service_accounts: Seen<ServiceAccount>,
    /// The operator's.
    pub config_maps: Seen<ConfigMap>,
    /// The operator's.
    pub services: Seen<Service>,
    /// The operator's.
    pub network_policies: Seen<NetworkPolicy>,
    /// The operator's.
    pub ingresses: Seen<Ingress>,
    /// The operator's.
    pub stateful_sets: Seen<StatefulSet>,
    /// The operator's.
    pub deployments: Seen<Deployment>,
    /// The operator's.
    pub autoscalers: Seen<HorizontalPodAutoscaler>,
    /// The operator's.
    pub disruption_budgets: Seen<PodDisruptionBudget>,
    /// Those of the stacks, without what they were made of.
    pub pods: Seen<Pod>,
    /// The operator's.
    pub service_monitors: Seen<ServiceMonitor>,
    has_service_monitors: Arc<AtomicBool>,
    tells_changes: Arc<AtomicBool>,
    unseen: watch::Receiver<BTreeSet<String>>,
}

impl Stores {
    /// Whether the cluster knows ServiceMonitors.
    pub fn has_service_monitors(&self) -> bool {
        self.has_service_monitors.load(Ordering::SeqCst)
    }

    /// From now on it is told which stack is touched by a change. Before, nobody listens, and a watch that waited for a listener
    /// would see nothing more.
    pub fn tell_changes(&self) {
        self.tells_changes.store(true, Ordering::SeqCst);
    }

    /// Waits until each watch has seen everything once.
    ///
    /// Not by the stores' own `wait_until_ready`: of several who wait at the same time it wakes only the last.
    pub async fn wait_until_ready(&self) {
        // The senders are the watches; when they are gone nothing waits any more.
        let _ = self.unseen.clone().wait_for(BTreeSet::is_empty).await;
    }

    /// The kinds that have not been seen once.
    pub fn unseen(&self) -> Vec<String> {
        self.unseen.borrow().iter().cloned().collect()
    }

    /// The unique ids of all objects whose contents may be known.
    pub fn content_ids(&self) -> BTreeSet<String> {
        let secrets = self
            .secrets
            .0
            .state()
            .into_iter()
            .filter_map(|object| object.uid());
        let config_maps = self
            .config_map_names
            .0
            .state()
            .into_iter()
            .filter_map(|object| object.uid());
        secrets.chain(config_maps).collect()
    }
}

/// Begins to watch a scope: a namespace, or all. The tasks end when `tasks` is dropped.
pub fn watch(
    client: &Client,
    namespace: Option<&str>,
    tasks: &mut JoinSet<()>,
) -> (Stores, mpsc::Receiver<ObjectRef<TranscriptionStack>>) {
    let (triggers, triggered) = mpsc::channel(TRIGGERS);
    let (stacks, writer) = store::<TranscriptionStack>();
    let (seeing, unseen) = watch::channel(BTreeSet::new());
    let tells_changes = Arc::new(AtomicBool::new(false));
    let has_service_monitors = Arc::new(AtomicBool::new(false));
    let mut watches = Watches {
        client,
        namespace,
        stacks: stacks.clone(),
        triggers,
        tells_changes: Arc::clone(&tells_changes),
        seeing,
        tasks,
    };
    let all = watcher(watches.api::<StoredStack>(), watcher::Config::default());
    let all = all.map(|event| event.map(read));
    let told = Asked::default();
    watches.follow("transcriptionstacks", all, writer, None, move |stack, _| {
        told.is_news(stack)
            .then(|| ObjectRef::from_obj(stack))
            .into_iter()
            .collect()
    });
    let stores = Stores {
        secrets: watches.names(|name, stack| needs::secrets(stack).contains(name)),
        config_map_names: watches.names(|name, stack| needs::config_maps(stack).contains(name)),
        claims: watches.claims(),
        service_accounts: watches.owned(None),
        config_maps: watches.owned(None),
        services: watches.owned(None),
        network_policies: watches.owned(None),
        ingresses: watches.owned(None),
        stateful_sets: watches.owned(None),
        deployments: watches.owned(None),
        autoscalers: watches.owned(None),
        disruption_budgets: watches.owned(None),
        pods: watches.pods(),
        service_monitors: watches.owned(Some(Arc::clone(&has_service_monitors))),
        stacks,
        has_service_monitors,
        tells_changes,
        unseen,
    };
    (stores, triggered)
}

struct Watches<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    stacks: Store<TranscriptionStack>,
    triggers: mpsc::Sender<ObjectRef<TranscriptionStack>>,
    tells_changes: Arc<AtomicBool>,
    seeing: watch::Sender<BTreeSet<String>>,
    tasks: &'a mut JoinSet<()>,
}

impl Watches<'_> {
    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        match self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// The objects that the operator has made, of a kind. If the cluster need not have the kind, `is_known` is kept to tell whether it
    /// does.
    fn owned<K>(&mut self, is_known: Option<Arc<AtomicBool>>) -> Seen<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (seen, writer) = store::<K>();
        let label = format!("{}={}", names::MANAGED_BY, names::FIELD_MANAGER);
        let stream = watcher(self.api(), watcher::Config::default().labels(&label));
        self.follow(&K::plural(&()), stream, writer, is_known, |object, _| {
            owners(object.meta())
        });
        Seen(seen)
    }

    /// The pods of the stacks. How they are is asked for, and not what they are made of, which is most of them.
    fn pods(&mut self) -> Seen<Pod> {
        let (seen, writer) = store();
        let label = format!("{}={}", names::MANAGED_BY, names::FIELD_MANAGER);
        let stream = watcher(self.api(), watcher::Config::default().labels(&label));
        let stream = stream.map_ok(|event| event.modify(|pod: &mut Pod| pod.spec = None));
        self.follow("pods", stream, writer, None, |pod: &Pod, _| {
            labelled(pod.meta())
        });
        Seen(seen)
    }

    /// All claims: the operator's, and those that a stack names.
    fn claims(&mut self) -> Seen<PersistentVolumeClaim> {
        let (seen, writer) = store();
        let stream = watcher(self.api(), watcher::Config::default());
        self.follow(
            "persistentvolumeclaims",
            stream,
            writer,
            None,
            |claim: &PersistentVolumeClaim, stacks| {
                naming(stacks, claim.meta(), |name, stack| {
                    needs::claims(stack).contains(name)
                })
            },
        );
        Seen(seen)
    }

    /// Only the metadata of all objects of a kind, for they may be many, large and secret.
    fn names<K>(
        &mut self,
        uses: fn(&str, &TranscriptionStack) -> bool,
    ) -> Seen<PartialObjectMeta<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (seen, writer) = store::<PartialObjectMeta<K>>();
        let stream = watcher(
            self.api::<PartialObjectMeta<K>>(),
            watcher::Config::default(),
        );
        // Of the operator's own ones all is seen, by another watch.
        let resource = format!("{} (metadata)", K::plural(&()));
        self.follow(&resource, stream, writer, None, move |object, stacks| {
            naming(stacks, object.meta(), uses)
        });
        Seen(seen)
    }

    /// Follows a watch in a task of its own.
    fn follow<K>(
        &mut self,
        resource: &str,
        stream: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
        mut writer: kube::runtime::reflector::store::Writer<K>,
        is_known: Option<Arc<AtomicBool>>,
        touched: impl Fn(&K, &Store<TranscriptionStack>) -> Vec<ObjectRef<TranscriptionStack>>
        + Send
        + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    {
        let resource = resource.to_owned();
        let stacks = self.stacks.clone();
        let triggers = self.triggers.clone();
        let tells_changes = Arc::clone(&self.tells_changes);
        let seeing = self.seeing.clone();
        let seen = {
            let (seeing, resource) = (seeing.clone(), resource.clone());
            move || {
                seeing.send_if_modified(|unseen| unseen.remove(&resource));
            }
        };
        seeing.send_modify(|all| {
            all.insert(resource.clone());
        });
        self.tasks.spawn(async move {
            let stream = stream
                .backoff(Patience::default())
                .modify(|object: &mut K| {
                    // Who set which field is half of an object.
                    fields::pack(object.meta_mut());
                    object.annotations_mut().remove(LAST_APPLIED);
                });
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) if is_known.is_some() && is_of_unknown_kind(&error) => {
                        seen();
                        tell_of_kind(&resource, is_known.as_deref(), false);
                        continue;
                    }
                    Err(error) => {
                        warn!(resource, %error, "the watch of {resource} failed, will try again");
                        continue;
                    }
                };
                writer.apply_watcher_event(&event);
                if matches!(event, Event::InitDone) {
                    debug!(resource, "the watch of {resource} has seen everything");
                    seen();
                    tell_of_kind(&resource, is_known.as_deref(), true);
                }
                if !tells_changes.load(Ordering::SeqCst) {
                    continue;
                }
                let touched = match &event {
                    Event::Apply(object) | Event::Delete(object) => touched(object, &stacks),
                    // What went while the watch was not there is told by no event.
                    Event::InitDone => stacks
                        .state()
                        .iter()
                        .map(|stack| ObjectRef::from_obj(&**stack))
                        .collect(),
                    Event::Init | Event::InitApply(_) => Vec::new(),
                };
                for stack in touched {
                    if triggers.send(stack).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

/// Reads what was seen of a stack.
fn read(event: Event<StoredStack>) -> Event<TranscriptionStack> {
    match event {
        Event::Apply(stack) => Event::Apply(stack.into()),
        Event::Delete(stack) => Event::Delete(stack.into()),
        Event::Init => Event::Init,
        Event::InitApply(stack) => Event::InitApply(stack.into()),
        Event::InitDone => Event::InitDone,
    }
}

/// Whether the API server has no such kind.
fn is_of_unknown_kind(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
        | WatchError(status) => status.code == 404,
        _ => false,
    }
}

/// Keeps in mind whether the cluster has a kind that it need not have.
fn tell_of_kind(resource: &str, is_known: Option<&AtomicBool>, is: bool) {
    if is_known.is_some_and(|is_known| is_known.swap(is, Ordering::SeqCst) != is) {
        let what = if is { "knows" } else { "no longer knows" };
        info!(resource, "the cluster {what} {resource}");
    }
}
