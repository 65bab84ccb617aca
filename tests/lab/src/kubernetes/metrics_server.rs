//! How much pods use, as an autoscaler asks for it: metrics-server, on this machine beside the node. The API server finds it by a
//! Service whose endpoint is made by hand, and adds its API to its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::binaries;
use super::control_plane::{flag, program};
use super::node::{ADDRESS, Node};
use crate::process::{Process, eventually, wait_until_answered};

/// The API that it adds.
const API: &str = "v1beta1.metrics.k8s.io";
/// Where it listens, on the address of the node.
const PORT: &str = "4443";
/// The name that the API server knows it by.
const NAME: &str = "metrics-server.kube-system.svc";

impl Node {
    /// Starts metrics-server, and waits until it tells what the pods of the node use. It ends when it is dropped.
    pub async fn start_metrics_server(&self) -> Process {
        let folder = self.folder().join("metrics-server");
        std::fs::create_dir_all(&folder).unwrap();
        let identity = self.authority().server(&[NAME, &ADDRESS.to_string()]);
        for (name, content) in [
            ("server.crt", identity.certificate),
            ("server.key", identity.key),
            ("ca.crt", self.ca_pem().to_owned()),
        ] {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let config = self.kubeconfig();
        let mut command = program(&binaries::metrics_server(), &folder);
        command
            .arg(flag("kubeconfig", &config))
            .arg(flag("authentication-kubeconfig", &config))
            .arg(flag("authorization-kubeconfig", &config))
            .arg(flag("tls-cert-file", folder.join("server.crt")))
            .arg(flag("tls-private-key-file", folder.join("server.key")))
            .arg(flag("kubelet-certificate-authority", folder.join("ca.crt")))
            .arg(format!("--bind-address={ADDRESS}"))
            .arg(format!("--secure-port={PORT}"))
            .args([
                "--kubelet-preferred-address-types=InternalIP",
                // The shortest that it takes; a question to the kubelet has to be shorter.
                "--metric-resolution=10s",
                "--kubelet-request-timeout=5s",
            ]);
        let mut process = self.start_beside(command, "metrics-server");
        // Who speaks plain HTTP to it is answered too: with a refusal.
        wait_until_answered(&format!("http://{ADDRESS}:{PORT}"), &mut process).await;
        self.apply(&added(self.ca_pem())).await;
        eventually("the API server has the API of metrics-server", async || {
            let path = r#"-o=jsonpath={.status.conditions[?(@.type=="Available")].status}"#;
            let printed = self.kubectl(&["get", "apiservice", API, path], "").await;
            printed.stdout == b"True"
        })
        .await;
        process.assert_running();
        process
    }
}

/// A Service that leads to it, and its API.
fn added(ca_pem: &str) -> String {
    let metadata = json!({"name": "metrics-server", "namespace": "kube-system"});
    let port: u16 = PORT.parse().unwrap();
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": "metrics-server", "namespace": "kube-system", "labels": {"kubernetes.io/service-name": "metrics-server"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ADDRESS.to_string()]}],
            "ports": [{"name": "https", "protocol": "TCP", "port": port}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "caBundle": STANDARD.encode(ca_pem),
                "service": {"name": "metrics-server", "namespace": "kube-system"},
            },
        },
    ]})
    .to_string()
}
