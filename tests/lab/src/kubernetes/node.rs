//! A node: pods run, have volumes and names, and reach Services, as in production. `tests/lab/node.sh` is what starts and ends it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::binaries;
use super::control_plane::ControlPlane;
use super::folder::Folder;
use super::kubeconfig::{User, kubeconfig};
use crate::files::{cache, root};
use crate::process::run_within;

/// The address of the node, and of the API server: pods reach both.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The name of the node.
const NAME: &str = "lab";
/// As many claims can have a volume.
const VOLUMES: usize = 8;
/// Longer than it takes to read some hundred megabytes from a slow disk.
const IMPORT_LIMIT: Duration = Duration::from_mins(5);

/// A control plane with a node. It derefs to the control plane.
pub struct Node {
    // In this order: the node ends before its API server does.
    keeper: Keeper,
    plane: ControlPlane,
}

/// What runs the node. The node ends when this is dropped, or when this program is gone.
struct Keeper {
    script: Child,
    said: BufReader<ChildStdout>,
}

impl Node {
    /// Starts a control plane and a node, and waits until a pod could run there.
    pub async fn start() -> Self {
        Self::start_in(Folder::temporary()).await
    }

    /// The same, in a folder.
    pub async fn start_in(folder: Folder) -> Self {
        let own = folder.path().join("node");
        let mut keeper = Keeper::start(&own);
        keeper.hear("network");
        let plane = ControlPlane::start_in(folder, ADDRESS).await;
        write_credentials(&plane, &own);
        keeper.say("go");
        keeper.hear("started");
        let this = Self { keeper, plane };
        this.apply(&surroundings(&own)).await;
        let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "node/lab"];
        // It registers itself first.
        crate::process::eventually("the node is known", async || {
            this.kubectl(&["get", "node", NAME], "")
                .await
                .status
                .success()
        })
        .await;
        this.succeed(&ready, "").await;
        this
    }

    /// Brings images to the node: an archive as `docker save` writes it.
    pub async fn import_image(&self, archive: &Path) {
        self.images(&["import", archive.to_str().unwrap()]).await;
    }

    /// Gives an image on the node another name too.
    pub async fn tag_image(&self, name: &str, other: &str) {
        self.images(&["tag", name, other]).await;
    }

    async fn images(&self, arguments: &[&str]) {
        let mut command = Command::new(cache().join("node-1/usr/bin/ctr"));
        command
            .arg("--address")
            .arg(self.own_folder().join("containerd.sock"))
            .args(["--namespace", "k8s.io", "images"])
            .args(arguments);
        let output = run_within(command, "", IMPORT_LIMIT).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }

    fn own_folder(&self) -> PathBuf {
        self.folder().join("node")
    }

    /// Keeps what tells why a test failed: the logs of the node and of its pods, and what `kubectl` says of them.
    fn keep_evidence(&self) {
        let Ok(kept) = tempfile::Builder::new().prefix("lab-logs-").tempdir() else {
            return;
        };
        let kept = kept.keep();
        let own = self.own_folder();
        for name in ["containerd", "kubelet", "kube-proxy", "coredns"] {
            let log = format!("{name}.log");
            let _ = fs::copy(own.join(&log), kept.join(&log));
        }
        let mut copy = Command::new("cp");
        let _ = copy
            .arg("-rL")
            .arg(own.join("pod-logs"))
            .arg(&kept)
            .status();
        for (file, arguments) in [
            (
                "events",
                &["get", "events", "-A", "--sort-by=.lastTimestamp"][..],
            ),
            ("pods", &["get", "pods", "-A", "-o", "wide"]),
            ("describe", &["describe", "pods", "-A"]),
            (
                "stacks",
                &["get", "transcriptionstacks", "-A", "-o", "yaml"],
            ),
        ] {
            let mut command = self.kubectl_command(&self.kubeconfig());
            command.arg("--request-timeout=10s").args(arguments);
            if let Ok(output) = command.output() {
                let _ = fs::write(kept.join(file), [output.stdout, output.stderr].concat());
            }
        }
        eprintln!("What the node and its pods say is in {}", kept.display());
    }
}

impl Deref for Node {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.plane
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep_evidence();
        }
        self.keeper.end();
    }
}

impl Keeper {
    fn start(folder: &Path) -> Self {
        let script = root().join("tests/lab/node.sh");
        let commands = binaries::kubelet().parent().unwrap().to_owned();
        let mut script = Command::new(script)
            .arg(folder)
            .arg(cache())
            .arg(commands)
            .arg(binaries::coredns())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C is for the test program alone: the end of its pipe is for the node.
            .process_group(0)
            .spawn()
            .expect("the node's script starts");
        let said = BufReader::new(script.stdout.take().unwrap());
        Self { script, said }
    }

    fn say(&mut self, word: &str) {
        writeln!(self.script.stdin.as_ref().unwrap(), "{word}").unwrap();
    }

    /// Waits for a word. The script has time limits of its own, and says nothing more when one is over.
    fn hear(&mut self, word: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), word, "the node does not start");
    }

    fn end(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn write_credentials(plane: &ControlPlane, own: &Path) {
    let authority = plane.authority();
    let node = authority.client(&format!("system:node:{NAME}"), "system:nodes");
    let config = kubeconfig(
        plane.url(),
        plane.ca_pem(),
        &User::Certificate(&node),
        "default",
    );
    let server = authority.server(&[NAME, &ADDRESS.to_string()]);
    for (name, content) in [
        ("kubelet.kubeconfig", config),
        ("kubelet.crt", server.certificate),
        ("kubelet.key", server.key),
        ("ca.crt", plane.ca_pem().to_owned()),
        (
            "kubeconfig",
            fs::read_to_string(plane.kubeconfig()).unwrap(),
        ),
    ] {
        fs::write(own.join(name), content).unwrap();
    }
}

/// What a cluster has beside the node: the address of its DNS, and volumes for claims.
fn surroundings(own: &Path) -> String {
    let ports = |key: &str| json!([{"name": "dns", "protocol": "UDP", key: 10053}, {"name": "dns-tcp", "protocol": "TCP", key: 10053}]);
    let mut items = vec![
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {
                "clusterIP": "10.96.0.10",
                "ports": [
                    {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 10053},
                    {"name": "dns-tcp", "protocol": "TCP", "port": 53, "targetPort": 10053},
                ],
            },
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ADDRESS.to_string()]}],
            "ports": ports("port"),
        }),
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }),
    ];
    for number in 1..=VOLUMES {
        let path = own.join(format!("volumes/{number}"));
        fs::create_dir_all(&path).unwrap();
        items.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": format!("local-{number}")},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "5Gi"},
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]},
                ]}]}},
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "local",
            },
        }));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
