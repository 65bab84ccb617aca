//! `kubectl`, as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::binaries;
use super::control_plane::ControlPlane;
use super::kubeconfig::{User, kubeconfig};
use crate::process::{eventually, run_within};

/// Longer than any `kubectl wait` of a test.
const LIMIT: Duration = Duration::from_mins(10);

impl ControlPlane {
    /// Runs `kubectl` as who may do everything, with this on its standard input.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.kubectl_command(&self.kubeconfig());
        command.args(arguments);
        run_within(command, input, LIMIT).await
    }

    /// Runs `kubectl` with another kubeconfig, such as a service account's.
    pub async fn kubectl_as(&self, config: &Path, arguments: &[&str], input: &str) -> Output {
        let mut command = self.kubectl_command(config);
        command.args(arguments);
        run_within(command, input, LIMIT).await
    }

    /// A `kubectl` to start, for what does not end by itself, such as `port-forward`.
    pub fn kubectl_command(&self, config: &Path) -> Command {
        let mut command = Command::new(binaries::kubectl());
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            // It keeps what it learns of the API server below.
            .env("HOME", self.folder())
            .env("KUBECONFIG", config);
        command
    }

    /// What `kubectl` prints. Fails the test if it fails.
    pub async fn succeed(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl(arguments, input).await;
        assert!(
            output.status.success(),
            "kubectl {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies manifests, as a user does.
    pub async fn apply(&self, yaml: &str) -> String {
        self.succeed(&["apply", "-f", "-"], yaml).await
    }

    /// Makes a namespace that no other test has, and tells its name.
    pub async fn namespace(&self, prefix: &str) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("{prefix}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.succeed(&["create", "namespace", &name], "").await;
        // Pods are refused until the controllers have made it.
        eventually("the namespace has its service account", async || {
            let account = ["get", "serviceaccount", "default", "--namespace", &name];
            self.kubectl(&account, "").await.status.success()
        })
        .await;
        name
    }

    /// Writes a kubeconfig of a service account, with a token that is good for a day, and tells its path.
    pub async fn kubeconfig_for(&self, namespace: &str, service_account: &str) -> PathBuf {
        let token = [
            "create",
            "token",
            service_account,
            "--namespace",
            namespace,
            "--duration=24h",
        ];
        let token = self.succeed(&token, "").await;
        let config = kubeconfig(
            self.url(),
            self.ca_pem(),
            &User::Token(token.trim()),
            namespace,
        );
        let name = format!("{namespace}-{service_account}.kubeconfig");
        let path = self.folder().join(name);
        std::fs::write(&path, config).unwrap();
        path
    }
}
