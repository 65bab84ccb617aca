//! Where the programs of Kubernetes are.

use std::path::PathBuf;

use crate::files::cached;

/// The version that `tests/lab/fetch.sh` builds.
pub const VERSION: &str = "1.34.4";

/// The API server.
pub fn kube_apiserver() -> PathBuf {
    asset("kube-apiserver").unwrap_or_else(|| built("kube-apiserver"))
}

/// The command line.
pub fn kubectl() -> PathBuf {
    asset("kubectl").unwrap_or_else(|| built("kubectl"))
}

/// The database of the API server.
pub fn etcd() -> PathBuf {
    asset("etcd").unwrap_or_else(|| cached("etcd-server/usr/bin/etcd"))
}

/// The controllers: garbage collection, workloads, service accounts, claims of volumes.
pub fn kube_controller_manager() -> PathBuf {
    built("kube-controller-manager")
}

/// What gives pods to nodes.
pub fn kube_scheduler() -> PathBuf {
    built("kube-scheduler")
}

/// What runs the pods of a node.
pub fn kubelet() -> PathBuf {
    built("kubelet")
}

/// What makes Services reachable.
pub fn kube_proxy() -> PathBuf {
    built("kube-proxy")
}

/// The DNS server of the cluster.
pub fn coredns() -> PathBuf {
    cached("coredns-1.13.1/coredns")
}

/// What tells how much pods use.
pub fn metrics_server() -> PathBuf {
    cached("metrics-server-0.9.0/metrics-server")
}

fn built(name: &str) -> PathBuf {
    cached(&format!("kubernetes-{VERSION}/{name}"))
}

/// A program of who has a control plane for tests already, as envtest's users do
/// (<https://book.kubebuilder.io/reference/envtest>).
#[expect(clippy::disallowed_methods, reason = "the lab's own setting")]
fn asset(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("KUBEBUILDER_ASSETS")?;
    let path = PathBuf::from(folder).join(name);
    assert!(
        path.exists(),
        "{} is not there: KUBEBUILDER_ASSETS names a folder with kube-apiserver, etcd and kubectl",
        path.display()
    );
    Some(path)
}
