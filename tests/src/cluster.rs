//! The operator on a control plane of the lab: our program, under its own service account, in a namespace of its own.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use transcription_lab::kubernetes::ControlPlane;
use transcription_lab::kubernetes::control_plane::Shared;

use crate::files::binary;
use crate::process::{self, Process, eventually, start_at_free_port};
use crate::relay::Relay;

mod audit;
mod pods;

/// The control plane that all tests share, with the custom resource.
pub async fn control_plane() -> Shared {
    ControlPlane::shared_with(async |plane| install_definition(plane).await).await
}

/// Makes the custom resource known.
pub async fn install_definition(plane: &ControlPlane) {
    let definition = printed(&["crd"]).await;
    let apply = ["apply", "--server-side", "-f", "-"];
    plane.succeed(&apply, &definition).await;
    established(plane, "transcriptionstacks.transcription.dev").await;
}

/// Waits until a kind can be used. Not by `kubectl wait`: it fails where there are no conditions yet.
pub async fn established(plane: &ControlPlane, definition: &str) {
    eventually("the kind can be used", async || {
        let printed = plane
            .succeed(&["get", "crd", definition, "-o", "json"], "")
            .await;
        let definition = serde_json::from_str::<Value>(&printed).unwrap();
        condition_of(&definition, "Established")["status"] == "True"
    })
    .await;
}

/// What the operator's program prints.
pub async fn printed(arguments: &[&str]) -> String {
    let mut command = Command::new(binary("transcription-operator"));
    command.env_clear().args(arguments);
    let output = process::run(command, "").await;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The documents of these kinds in what `transcription-operator manifests` prints.
pub fn documents(yaml: &str, kinds: &[&str]) -> String {
    let is_wanted = |document: &&str| {
        let kind = document
            .lines()
            .find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| kinds.contains(&kind))
    };
    yaml.split("---\n")
        .filter(is_wanted)
        .collect::<Vec<_>>()
        .join("---\n")
}

/// Makes the account of an operator in a namespace, with the rights of its manifests and no others, and tells its kubeconfig: for the
/// API server itself, or for what is between.
pub async fn account(
    plane: &ControlPlane,
    namespace: &str,
    watched: &str,
    server: Option<&str>,
) -> PathBuf {
    let own = ["--namespace", namespace, "--watch-namespaces", watched];
    let manifests = printed(&[&["manifests"], &own[..]].concat()).await;
    let rights = documents(&manifests, &["ServiceAccount", "Role", "RoleBinding"]);
    plane.apply(&rights).await;
    let direct = plane
        .kubeconfig_for(namespace, "transcription-operator")
        .await;
    let Some(server) = server else {
        return direct;
    };
    let kubeconfig = std::fs::read_to_string(&direct).unwrap();
    let through = direct.with_extension(server.replace(['/', ':', '.'], ""));
    std::fs::write(&through, kubeconfig.replace(plane.url(), server)).unwrap();
    through
}

/// How an operator is started.
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// Which program.
    pub program: &'a str,
    /// Where it finds the API server, if not where that is.
    pub server: Option<&'a str>,
    /// The namespaces that it watches, if not its own.
    pub watched: Option<&'a str>,
    /// Further settings.
    pub settings: &'a [(&'a str, &'a str)],
    /// Whether it is waited for until it is ready.
    pub is_awaited: bool,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self {
            program: "transcription-operator",
            server: None,
            watched: None,
            settings: &[],
            is_awaited: true,
        }
    }
}

/// An operator that watches a namespace of its own.
pub struct Operator {
    /// The running program.
    pub process: Process,
    /// Where it tells its health.
    pub url: String,
    /// The namespace.
    pub namespace: String,
    plane: Shared,
    _folder: TempDir,
}

impl Deref for Operator {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane
    }
}

impl Operator {
    /// Starts an operator in a new namespace, with the rights of its manifests there and none elsewhere.
    pub async fn start(prefix: &str) -> Self {
        let plane = control_plane().await;
        let namespace = plane.namespace(prefix).await;
        Self::start_in(plane, namespace).await
    }

    /// The same, with further settings, and with a relay between it and the API server.
    pub async fn start_behind(prefix: &str, relay: &Relay, settings: &[(&str, &str)]) -> Self {
        let plane = control_plane().await;
        let namespace = plane.namespace(prefix).await;
        let start = Start {
            server: Some(&format!("https://127.0.0.1:{}", relay.port)),
            settings,
            ..Start::default()
        };
        Self::start_as(plane, namespace, start).await
    }

    /// Starts another operator for the same namespace.
    pub async fn another(&self) -> Self {
        self.another_as(Start::default()).await
    }

    /// The same, in another way.
    pub async fn another_as(&self, start: Start<'_>) -> Self {
        Self::start_as(control_plane().await, self.namespace.clone(), start).await
    }

    async fn start_in(plane: Shared, namespace: String) -> Self {
        Self::start_as(plane, namespace, Start::default()).await
    }

    /// Starts an operator in a namespace, in the way that is given.
    pub async fn start_as(plane: Shared, namespace: String, start: Start<'_>) -> Self {
        let Start {
            program,
            server,
            watched,
            settings,
            is_awaited,
        } = start;
        let watched = watched.unwrap_or(&namespace);
        let account = account(&plane, &namespace, watched, server).await;
        let folder = TempDir::new().unwrap();
        let (process, url) = start_at_free_port(|address| {
            let mut command = Command::new(binary(program));
            command
                .env_clear()
                .env("KUBECONFIG", &account)
                .env("MANAGEMENT_ADDR", address)
                .env("WATCH_NAMESPACES", watched)
                .envs(settings.iter().copied())
                .arg("run")
                .current_dir(folder.path());
            Process::start(&mut command, folder.path().join("log"))
        })
        .await;
        let this = Self {
            process,
            url,
            namespace,
            plane,
            _folder: folder,
        };
        if is_awaited {
            eventually("the operator is ready", async || this.is_ready().await).await;
        }
        this
    }

    async fn is_ready(&self) -> bool {
        self.ask("/readyz").await.0 == 200
    }

    /// What it answers at a path: the status, and the body.
    pub async fn ask(&self, path: &str) -> (u16, String) {
        let client = reqwest::Client::builder()
            .timeout(process::PATIENCE)
            .no_proxy()
            .build()
            .unwrap();
        let answer = client.get(format!("{}{path}", self.url)).send().await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Applies an object in the namespace, as a user does.
    pub async fn put(&self, object: &Value) {
        self.in_namespace(&["apply", "-f", "-"], &object.to_string())
            .await;
    }

    /// What `kubectl` prints in the namespace. Fails the test if it fails.
    pub async fn in_namespace(&self, arguments: &[&str], input: &str) -> String {
        let arguments = [&["--namespace", &self.namespace], arguments].concat();
        self.plane.succeed(&arguments, input).await
    }

    /// An object of the namespace, if it is there.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let arguments = [
            "--namespace",
            &self.namespace,
            "get",
            kind,
            name,
            "--ignore-not-found",
            "-o",
            "json",
        ];
        let printed = self.plane.succeed(&arguments, "").await;
        (!printed.trim().is_empty()).then(|| serde_json::from_str(&printed).unwrap())
    }

    /// Waits until an object of the namespace is there and is as wanted, and gives it.
    pub async fn until(
        &self,
        kind: &str,
        name: &str,
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        let last = Mutex::new(Value::Null);
        let found = tokio::time::timeout(process::PATIENCE, async {
            loop {
                if let Some(object) = self.get(kind, name).await {
                    if holds(&object) {
                        return object;
                    }
                    *last.lock().unwrap() = object;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        let Ok(object) = found.await else {
            let last = last.lock().unwrap();
            panic!("in vain waited until {kind} {name} {what}; it is {last:#}");
        };
        object
    }

    /// Waits until a condition of a stack is as wanted, and gives it.
    pub async fn condition(
        &self,
        stack: &str,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> Value {
        let what = format!("has {condition}={status} ({reason})");
        let object = self
            .until("transcriptionstack", stack, &what, |object| {
                let found = condition_of(object, condition);
                found["status"] == status
                    && found["reason"] == reason
                    && found["observedGeneration"] == object["metadata"]["generation"]
            })
            .await;
        condition_of(&object, condition).clone()
    }

    /// Makes a Secret.
    pub async fn secret(&self, name: &str, values: &[(&str, &str)]) {
        let data = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::from(*value)));
        let object = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": data.collect::<serde_json::Map<_, _>>(),
        });
        self.put(&object).await;
    }

    /// Makes the Secret with the credentials of the bucket, `s3`.
    pub async fn s3_secret(&self) {
        self.secret(
            "s3",
            &[
                ("AWS_ACCESS_KEY_ID", "access"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
            ],
        )
        .await;
    }

    /// Gives the claims of the namespace a volume: there is no node, and nobody who makes volumes.
    pub async fn volume_for(&self, claim: &str) {
        let object = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": format!("{}-{claim}", self.namespace)},
            "spec": {
                "capacity": {"storage": "2Gi"},
                "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": self.namespace, "name": claim},
                "hostPath": {"path": "/nowhere"},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        });
        self.plane.apply(&object.to_string()).await;
    }

    /// Waits until a stack is ready, while its pods are said to be ready.
    pub async fn settle(&self, stack: &str) -> Value {
        eventually("the stack is ready", async || {
            for component in ["auth", "transcription"] {
                self.pods_become_ready(stack, component).await;
            }
            let object = self.get("transcriptionstack", stack).await.unwrap();
            let ready = condition_of(&object, "Ready");
            ready["status"] == "True"
                && ready["observedGeneration"] == object["metadata"]["generation"]
        })
        .await;
        self.get("transcriptionstack", stack).await.unwrap()
    }

    /// Ends the operator and starts another one.
    pub async fn restart(self) -> Self {
        self.restart_as(Start::default()).await
    }

    /// The same, in another way.
    pub async fn restart_as(self, start: Start<'_>) -> Self {
        let Self {
            mut process,
            url: _,
            namespace,
            plane,
            _folder,
        } = self;
        process.terminate().await;
        Self::start_as(plane, namespace, start).await
    }
}

/// A condition in the status of a stack; null if it is not there.
pub fn condition_of<'a>(stack: &'a Value, condition: &str) -> &'a Value {
    let conditions = stack["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|found| found["type"] == condition);
    found.unwrap_or(&Value::Null)
}

/// The smallest stack with Whisper.
pub fn whisper_stack(name: &str) -> Value {
    json!({
        "apiVersion": "transcription.dev/v1alpha1",
        "kind": "TranscriptionStack",
        "metadata": {"name": name},
        "spec": {
            "transcription": {"engine": {"whisper": {"modelPath": "/models/base"}}},
            "s3": {"bucket": "recordings", "credentialsSecretRef": {"name": "s3"}},
        },
    })
}

/// An object with something changed: what is null is taken away (RFC 7386).
#[must_use]
pub fn with(mut object: Value, change: Value) -> Value {
    merge(&mut object, change);
    object
}

fn merge(object: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *object = change;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let Value::Object(fields) = object else {
        return;
    };
    for (name, change) in change {
        if change.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), change);
        }
    }
}
