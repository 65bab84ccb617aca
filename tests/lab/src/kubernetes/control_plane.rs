//! etcd, an API server, the controllers and the scheduler: Kubernetes without a node. Nothing runs in it, but every object is
//! checked, stored, watched and collected as in production, and RBAC is on.

use std::fs;
use std::net::Ipv4Addr;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tokio::sync::OnceCell;

use super::binaries;
use super::certificates::{Authority, Keys};
use super::folder::Folder;
use super::kubeconfig::{User, kubeconfig};
use crate::guard::Guard;
use crate::process::{Process, eventually, free_port, is_answered};

/// The addresses that Services get.
pub const SERVICE_RANGE: &str = "10.96.0.0/16";
/// The Service that every pod finds the API server by: the first address of the range.
const API_SERVICE: &str = "10.96.0.1";
/// Who the API server is to an API that is added to it.
const FRONT: &str = "front-proxy-client";

/// A running control plane. Dropped, it is gone with all it held.
pub struct ControlPlane {
    // In this order: what runs ends before its folder goes.
    processes: Vec<Process>,
    guard: Guard,
    folder: Folder,
    authority: Authority,
    url: String,
}

/// The control plane that the tests of one program share. It derefs to it.
pub struct Shared(&'static ControlPlane);

impl ControlPlane {
    /// Starts a control plane on loopback, for one test alone.
    pub async fn start() -> Self {
        Self::start_in(Folder::temporary(), Ipv4Addr::LOCALHOST).await
    }

    /// The one control plane of this test program, started for the first who asks. The tests keep apart by namespaces.
    pub async fn shared() -> Shared {
        Self::shared_with(async |_| {}).await
    }

    /// The same, set up by the first who asks, for instance with custom resources.
    pub async fn shared_with(setup: impl AsyncFnOnce(&Self)) -> Shared {
        // Nobody drops a static: the guard ends it when this program is gone.
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        let start = async || {
            let started = Self::start().await;
            setup(&started).await;
            started
        };
        Shared(SHARED.get_or_init(start).await)
    }

    /// Starts a control plane that keeps its data in a folder and listens at an address.
    pub async fn start_in(folder: Folder, address: Ipv4Addr) -> Self {
        let guard = Guard::start(folder.path());
        let authority = Authority::new();
        let settings = Settings::write(&folder, &authority, address);
        // Another program may be quicker at a port.
        let mut started = None;
        for _ in 0..5 {
            started = start_storage_and_api(&settings, &guard).await;
            if started.is_some() {
                break;
            }
        }
        let (processes, url) = started.expect("three free ports");
        let config = kubeconfig(
            &url,
            &authority.pem,
            &User::Certificate(&authority.client("admin", "system:masters")),
            "default",
        );
        folder.write("kubeconfig", &config);
        let mut this = Self {
            processes,
            guard,
            folder,
            authority,
            url,
        };
        this.run_controllers();
        this.wait_until_ready().await;
        this
    }

    /// Where the API server listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that the API server is known by.
    pub fn ca_pem(&self) -> &str {
        &self.authority.pem
    }

    /// The authority that clients are certified by.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The kubeconfig of who may do everything.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// The folder of its settings and logs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every request, one a line, as JSON (`audit.k8s.io/v1`): who, what, when, and with what status it was answered. A line is
    /// written after its answer: wait for it.
    pub fn audit_log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    fn run_controllers(&mut self) {
        let folder = self.folder.path().to_owned();
        let config = self.kubeconfig();
        let mut manager = program(&binaries::kube_controller_manager(), &folder);
        manager
            .arg(flag("kubeconfig", &config))
            .arg(flag(
                "service-account-private-key-file",
                folder.join("service-accounts.key"),
            ))
            .arg(flag("root-ca-file", folder.join("ca.crt")))
            .args([
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                // Nobody asks it anything, so it needs no port.
                "--secure-port=0",
                // It is the limit otherwise when a test makes hundreds of objects.
                "--kube-api-qps=300",
                "--kube-api-burst=600",
            ]);
        self.run(manager, "kube-controller-manager");
        let mut scheduler = program(&binaries::kube_scheduler(), &folder);
        scheduler
            .arg(flag("kubeconfig", &config))
            .args(["--leader-elect=false", "--secure-port=0"]);
        self.run(scheduler, "kube-scheduler");
    }

    fn run(&mut self, command: Command, name: &str) {
        let process = self.start_beside(command, name);
        self.processes.push(process);
    }

    /// Starts a further program, which ends when it is dropped, or when this program is gone. Its command line must name the folder.
    pub(super) fn start_beside(&self, command: Command, name: &str) -> Process {
        start_logged(command, self.folder.path(), name, &self.guard)
    }

    async fn wait_until_ready(&mut self) {
        eventually("the API server is ready", async || {
            let ready = self.kubectl(&["get", "--raw", "/readyz"], "").await;
            ready.status.success()
        })
        .await;
        // The controllers make it, so they work too.
        eventually("the namespace has its service account", async || {
            let account = self.kubectl(&["get", "serviceaccount", "default"], "");
            account.await.status.success()
        })
        .await;
        for process in &mut self.processes {
            process.assert_running();
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_where_logs_are();
        }
        self.processes.clear();
        self.guard.over();
    }
}

impl ControlPlane {
    fn show_where_logs_are(&self) {
        if let Some(kept) = self.folder.keep_logs() {
            eprintln!("The logs of the control plane are in {}", kept.display());
        }
    }
}

impl Deref for Shared {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Once, however many tests fail.
        static SHOWN: OnceLock<()> = OnceLock::new();
        if std::thread::panicking() {
            SHOWN.get_or_init(|| self.0.show_where_logs_are());
        }
    }
}

/// What is the same at every try to start.
struct Settings {
    folder: PathBuf,
    address: Ipv4Addr,
}

impl Settings {
    fn write(folder: &Folder, authority: &Authority, address: Ipv4Addr) -> Self {
        let server = authority.server(&[
            &address.to_string(),
            "127.0.0.1",
            "localhost",
            API_SERVICE,
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]);
        folder.write("ca.crt", &authority.pem);
        folder.write("server.crt", &server.certificate);
        folder.write("server.key", &server.key);
        // For what the API server asks a node: logs, exec, port-forward.
        let to_nodes = authority.client("kube-apiserver", "system:masters");
        folder.write("to-nodes.crt", &to_nodes.certificate);
        folder.write("to-nodes.key", &to_nodes.key);
        // By these, and not by the clients' authority, an API that is added to this one knows who asks it.
        let front = Authority::new();
        let to_added = front.client(FRONT, "lab");
        folder.write("front-ca.crt", &front.pem);
        folder.write("front.crt", &to_added.certificate);
        folder.write("front.key", &to_added.key);
        let accounts = Keys::new();
        folder.write("service-accounts.key", &accounts.private);
        folder.write("service-accounts.pub", &accounts.public);
        folder.write("audit-policy.json", AUDIT_POLICY);
        Self {
            folder: folder.path().to_owned(),
            address,
        }
    }

    fn etcd(&self, clients: &str, peers: &str) -> Command {
        let mut etcd = program(&binaries::etcd(), &self.folder);
        etcd
            // Debian's refuses to start on what is not amd64 unless it is told.
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .arg("--data-dir")
            .arg(self.folder.join("etcd"))
            .args(["--listen-client-urls", clients])
            .args(["--advertise-client-urls", clients])
            .args(["--listen-peer-urls", peers])
            .args(["--initial-advertise-peer-urls", peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            // The data need not survive the machine.
            .arg("--unsafe-no-fsync");
        etcd
    }

    fn api_server(&self, etcd: &str, port: u16) -> Command {
        let Self { folder, address } = self;
        let file = |name: &str, file: &str| flag(name, folder.join(file));
        let mut server = program(&binaries::kube_apiserver(), folder);
        server
            .args([
                format!("--etcd-servers={etcd}"),
                format!("--secure-port={port}"),
                format!("--bind-address={address}"),
                format!("--advertise-address={address}"),
                format!("--service-cluster-ip-range={SERVICE_RANGE}"),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--allow-privileged=true".to_owned(),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                "--profiling=false".to_owned(),
            ])
            .arg(file("client-ca-file", "ca.crt"))
            .arg(file("tls-cert-file", "server.crt"))
            .arg(file("tls-private-key-file", "server.key"))
            .arg(file("service-account-key-file", "service-accounts.pub"))
            .arg(file(
                "service-account-signing-key-file",
                "service-accounts.key",
            ))
            .arg(file("kubelet-client-certificate", "to-nodes.crt"))
            .arg(file("kubelet-client-key", "to-nodes.key"))
            .arg(file("requestheader-client-ca-file", "front-ca.crt"))
            .arg(file("proxy-client-cert-file", "front.crt"))
            .arg(file("proxy-client-key-file", "front.key"))
            .arg(format!("--requestheader-allowed-names={FRONT}"))
            .args([
                "--requestheader-username-headers=X-Remote-User",
                "--requestheader-group-headers=X-Remote-Group",
                "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            ])
            .arg(file("audit-policy-file", "audit-policy.json"))
            .arg(file("audit-log-path", "audit.log"))
            // In megabytes. Who reads along would miss what is in the file before.
            .arg("--audit-log-maxsize=10000");
        if address.is_loopback() {
            // An address of loopback cannot be an endpoint: no pod would find the API server there.
            server.arg("--endpoint-reconciler-type=none");
        }
        server
    }
}

/// Starts the two that others wait for. Nothing is given if a port was taken meanwhile.
async fn start_storage_and_api(
    settings: &Settings,
    guard: &Guard,
) -> Option<(Vec<Process>, String)> {
    let folder = &settings.folder;
    let _ = fs::remove_dir_all(folder.join("etcd"));
    let clients = format!("http://127.0.0.1:{}", free_port());
    let peers = format!("http://127.0.0.1:{}", free_port());
    let mut etcd = start_logged(settings.etcd(&clients, &peers), folder, "etcd", guard);
    if !is_answered(&format!("{clients}/health"), &mut etcd).await {
        return started_or_taken(etcd);
    }
    let (address, port) = (settings.address, free_port());
    let command = settings.api_server(&clients, port);
    let mut server = start_logged(command, folder, "kube-apiserver", guard);
    // Who speaks plain HTTP to it is answered too: with a refusal.
    if !is_answered(&format!("http://{address}:{port}"), &mut server).await {
        return started_or_taken(server);
    }
    Some((vec![server, etcd], format!("https://{address}:{port}")))
}

fn started_or_taken<T>(mut process: Process) -> Option<T> {
    if !process.log().contains("address already in use") {
        process.assert_running();
    }
    None
}

/// A program of Kubernetes, with nothing of this machine's settings.
pub(super) fn program(path: &Path, folder: &Path) -> Command {
    let mut command = Command::new(path);
    command
        // Neither a proxy nor somebody's own cluster.
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", folder)
        .current_dir(folder)
        // Ctrl-C is for the test program alone: it, or its guard, ends the others.
        .process_group(0);
    command
}

fn start_logged(mut command: Command, folder: &Path, name: &str, guard: &Guard) -> Process {
    let log = folder.join(format!("{name}.log"));
    let process = Process::start(&mut command, log).quiet();
    guard.watch(process.id());
    process
}

/// A flag that has a path.
pub(super) fn flag(name: &str, value: impl AsRef<Path>) -> String {
    format!("--{name}={}", value.as_ref().display())
}

const AUDIT_POLICY: &str = r#"{
  "apiVersion": "audit.k8s.io/v1",
  "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata"}]
}
"#;
