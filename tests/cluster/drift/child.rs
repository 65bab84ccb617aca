//! A child of a stack, as somebody sees it, edits it and deletes it who is not the operator.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::Value;
use tokio::time::sleep;
use transcription_lab::kubernetes::ControlPlane;

/// The kinds of children, by group and version, but for ServiceMonitors, which a cluster need not have. The signing key comes last:
/// pods are rolled for another one.
pub const KINDS: [(&str, &str, &str); 11] = [
    ("", "v1", "ServiceAccount"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("", "v1", "PersistentVolumeClaim"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "Deployment"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("", "v1", "Secret"),
];

/// The field manager of who edits.
const SOMEONE: &str = "someone";
/// How long the operator has.
pub const LIMIT: Duration = Duration::from_secs(5);
/// How often is looked.
const GLANCE: Duration = Duration::from_millis(50);
/// How long the API server may take for a request.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How often an edit is made again of an object that was written to meanwhile.
const TRIES: usize = 20;

/// A client that may do everything. A test needs its own: its connections go with the test's runtime.
pub async fn client(plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options);
    let mut config = config.await.unwrap();
    // The environment may name one, and it would not reach the lab.
    config.proxy_url = None;
    config.read_timeout = Some(REQUEST_LIMIT);
    Client::try_from(config).unwrap()
}

/// A child of a stack.
#[derive(Clone)]
pub struct Child {
    /// Its kind.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    api: Api<DynamicObject>,
}

impl Display for Child {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.name)
    }
}

impl Child {
    /// All children of a stack, in the order of their kinds.
    pub async fn all(client: &Client, namespace: &str, stack: &str) -> Vec<Self> {
        let labelled = ListParams::default().labels(&format!("app.kubernetes.io/instance={stack}"));
        let mut all = Vec::new();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
            for object in api.list(&labelled).await.unwrap().items {
                all.push(Self {
                    kind,
                    name: object.name_any(),
                    api: api.clone(),
                });
            }
        }
        all
    }

    /// The object, if it is there.
    pub async fn find(&self) -> Option<Value> {
        let found = self.api.get_opt(&self.name).await.unwrap();
        found.map(|object| serde_json::to_value(object).unwrap())
    }

    /// The object. Fails the test if it is not there.
    pub async fn get(&self) -> Value {
        let found = self.find().await;
        found.unwrap_or_else(|| panic!("{self} is not there"))
    }

    /// Edits the object, and gives it as it is then. Nothing is given if the API server refuses it.
    pub async fn edit(&self, change: impl Fn(&mut Value)) -> Option<Value> {
        let parameters = PostParams {
            field_manager: Some(SOMEONE.to_owned()),
            ..PostParams::default()
        };
        for _ in 0..TRIES {
            let mut object = self.get().await;
            change(&mut object);
            let object = serde_json::from_value::<DynamicObject>(object).ok()?;
            match self.api.replace(&self.name, &parameters, &object).await {
                Ok(edited) => return Some(serde_json::to_value(edited).unwrap()),
                // Somebody else was quicker.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(kube::Error::Api(_)) => return None,
                Err(error) => panic!("editing {self}: {error}"),
            }
        }
        panic!("{self} is written to all the time");
    }

    /// Deletes the object, and in the background what it has made.
    pub async fn delete(&self) {
        let how = DeleteParams::background();
        let deleted = self.api.delete(&self.name, &how).await;
        assert!(deleted.is_ok(), "deleting {self}: {deleted:?}");
    }

    /// How long it takes until the object is there as it should be. Nothing is given if that takes too long.
    pub async fn comes_back(&self, is_as_wanted: impl Fn(&Value) -> bool) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            if self
                .find()
                .await
                .is_some_and(|object| is_as_wanted(&object))
            {
                return Some(began.elapsed());
            }
            sleep(GLANCE).await;
        }
        None
    }
}
