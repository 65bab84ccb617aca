//! An operator and its stacks, alone on a control plane without nodes.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::cluster::{account, install_definition, whisper_stack, with};
use transcription_tests::files::binary;
use transcription_tests::process::{Process, eventually, start_at_free_port};

use crate::audit::{AuditLog, Request};

/// The operator has settled when it has written nothing for so long.
const QUIET: Duration = Duration::from_secs(30);
/// How long that may take. On few cores the control plane needs most of it.
const LIMIT: Duration = Duration::from_mins(15);
const POLL: Duration = Duration::from_secs(1);
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long the API server may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// So many stacks are made at once.
const CREATORS: usize = 16;
/// So many stacks use the Secret that is changed; half of them if they are fewer.
const USERS: u32 = 100;
/// The Secret that is changed.
const CHANGED: &str = "s3-changed";
/// The Secret of the other stacks.
const UNCHANGED: &str = "s3";
/// The kinds of the children.
const KINDS: &str = "serviceaccounts,configmaps,services,networkpolicies,ingresses,secrets,persistentvolumeclaims,\
    statefulsets,deployments,horizontalpodautoscalers,poddisruptionbudgets";

/// What is named first ends first.
pub struct Lab {
    /// The program.
    pub operator: Process,
    /// What it asks of the API server.
    pub audit: AuditLog,
    /// How many stacks there are.
    pub count: u32,
    client: Client,
    namespace: String,
    plane: ControlPlane,
    _folder: TempDir,
}

/// What tells whether a workload was changed.
#[derive(PartialEq)]
pub struct Workload {
    /// How often its spec was changed.
    pub generation: Option<i64>,
    /// What its pods are made of.
    pub template: Value,
}

impl Lab {
    /// Starts the operator under its own account. It has no stack yet.
    pub async fn start(count: u32) -> Self {
        let plane = ControlPlane::start().await;
        install_definition(&plane).await;
        let namespace = plane.namespace("bench").await;
        let kubeconfig = account(&plane, &namespace, &namespace, None).await;
        let folder = TempDir::new().unwrap();
        let (operator, url) = start_at_free_port(|address| {
            let mut command = Command::new(binary("transcription-operator"));
            command
                .env_clear()
                .env("KUBECONFIG", &kubeconfig)
                .env("MANAGEMENT_ADDR", address)
                .env("WATCH_NAMESPACES", &namespace)
                .arg("run")
                .current_dir(folder.path());
            Process::start(&mut command, folder.path().join("log"))
        })
        .await;
        until_ready(&url).await;
        let user = format!("system:serviceaccount:{namespace}:transcription-operator");
        Self {
            operator,
            client: client_of(&plane).await,
            audit: AuditLog::follow(plane.audit_log(), user),
            count,
            namespace,
            plane,
            _folder: folder,
        }
    }

    /// How many stacks use the Secret that is changed.
    pub fn users(&self) -> u32 {
        if self.count < USERS {
            self.count.div_ceil(2)
        } else {
            USERS
        }
    }

    /// Makes volumes for the claims, which nobody else here does, and the Secrets.
    pub async fn prepare(&self) {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "PersistentVolume"));
        let volumes = Api::<DynamicObject>::all_with(self.client.clone(), &kind);
        let made = stream::iter(0..self.count).for_each_concurrent(CREATORS, |number| {
            let volumes = volumes.clone();
            let claim = format!("{}-auth-data", name_of(number));
            let volume = object(json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": claim},
                "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                    "claimRef": {"namespace": self.namespace, "name": claim},
                    "hostPath": {"path": "/nowhere"},
                },
            }));
            async move {
                let made = volumes.create(&PostParams::default(), &volume).await;
                made.unwrap();
            }
        });
        made.await;
        let secrets = self.api("", "v1", "Secret");
        for name in [CHANGED, UNCHANGED] {
            let secret = object(json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
                "stringData": {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret"},
            }));
            let made = secrets.create(&PostParams::default(), &secret).await;
            made.unwrap();
        }
    }

    /// Makes all stacks.
    pub async fn create(&self) {
        let users = self.users();
        let stacks = self.stacks();
        let created = stream::iter(0..self.count).for_each_concurrent(CREATORS, |number| {
            let stacks = stacks.clone();
            let secret = if number < users { CHANGED } else { UNCHANGED };
            let stack = stack(number, secret);
            async move {
                let made = stacks.create(&PostParams::default(), &stack).await;
                made.unwrap();
            }
        });
        created.await;
    }

    /// Changes the Secret that [`Lab::users`] use.
    pub async fn change_secret(&self) {
        let change = json!({"stringData": {"AWS_SECRET_ACCESS_KEY": "another"}});
        let patched = self
            .api("", "v1", "Secret")
            .patch(CHANGED, &PatchParams::default(), &Patch::Merge(&change))
            .await;
        patched.unwrap();
    }

    /// Waits until the operator has seen every stack as it is and writes nothing more, and gives what it has asked for since the last time.
    pub async fn settle(&mut self) -> Vec<Request> {
        let began = Instant::now();
        let (mut written, mut told) = (began, began);
        let mut requests = Vec::new();
        loop {
            sleep(POLL).await;
            self.operator.assert_running();
            let new = self.audit.read();
            if new.iter().any(Request::is_write) {
                written = Instant::now();
            }
            requests.extend(new);
            let is_quiet = written.elapsed() >= QUIET;
            let is_to_be_told = told.elapsed() >= TELL_EVERY;
            if !is_quiet && !is_to_be_told {
                continue;
            }
            let seen = self.seen().await;
            if is_quiet && seen == self.count {
                return requests;
            }
            let state = format!(
                "{seen} of {} stacks are seen as they are, {} requests, the last write {} s ago",
                self.count,
                requests.len(),
                written.elapsed().as_secs()
            );
            assert!(
                began.elapsed() < LIMIT,
                "in vain waited {} minutes until the operator has settled: {state}",
                LIMIT.as_secs() / 60
            );
            if is_to_be_told {
                println!("  {} s: {state}", began.elapsed().as_secs());
                told = Instant::now();
            }
        }
    }

    /// How many stacks have a status of their latest generation.
    async fn seen(&self) -> u32 {
        let all = self.stacks().list(&ListParams::default()).await.unwrap();
        let seen = all.iter().filter(|stack| {
            let generation = stack.metadata.generation.unwrap();
            stack.data["status"]["observedGeneration"] == generation
        });
        u32::try_from(seen.count()).unwrap()
    }

    /// How many objects the operator has made for a stack.
    pub async fn children(&self) -> u32 {
        let selector = format!(
            "app.kubernetes.io/managed-by=transcription-operator,app.kubernetes.io/instance={}",
            name_of(0)
        );
        let arguments = [
            "--namespace",
            &self.namespace,
            "get",
            KINDS,
            "--selector",
            &selector,
            "--output",
            "name",
        ];
        let names = self.plane.succeed(&arguments, "").await;
        u32::try_from(names.lines().count()).unwrap()
    }

    /// All workloads of a kind, by name.
    pub async fn workloads(&self, kind: &str) -> BTreeMap<String, Workload> {
        let api = self.api("apps", "v1", kind);
        let all = api.list(&ListParams::default()).await.unwrap();
        let workloads = all.into_iter().map(|mut object| {
            let workload = Workload {
                generation: object.metadata.generation,
                template: object.data["spec"]["template"].take(),
            };
            (object.name_any(), workload)
        });
        workloads.collect()
    }

    fn stacks(&self) -> Api<DynamicObject> {
        self.api("transcription.dev", "v1alpha1", "TranscriptionStack")
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }
}

/// The name of a stack.
pub fn name_of(number: u32) -> String {
    format!("stack-{number:03}")
}

/// The smallest stack with two replicas, which has a disruption budget too.
fn stack(number: u32, secret: &str) -> DynamicObject {
    let change = json!({"spec": {
        "transcription": {"replicas": 2},
        "s3": {"credentialsSecretRef": {"name": secret}},
    }});
    object(with(whisper_stack(&name_of(number)), change))
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

async fn until_ready(url: &str) {
    let client = reqwest::Client::builder()
        .timeout(ANSWER_LIMIT)
        .no_proxy()
        .build()
        .unwrap();
    let ready = format!("{url}/readyz");
    eventually("the operator is ready", async || {
        let answer = client.get(&ready).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}

/// A client that may do everything. Not kubectl: hundreds of them would take the cores from what is measured.
async fn client_of(plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.unwrap();
    config.read_timeout = Some(ANSWER_LIMIT);
    // Else the time that a connection was not used counts too.
    config.reset_reader_on_write = true;
    Client::try_from(config).unwrap()
}
