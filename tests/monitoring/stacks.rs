//! Two operators on a control plane, with stacks that are well and stacks that are not.

use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;
use transcription_tests::api_proxy::{ApiProxy, Fault};
use transcription_tests::cluster::{Operator, Start, account, control_plane, whisper_stack, with};
use transcription_tests::files::binary;
use transcription_tests::process::{Process, eventually, wait_until_answered};

use crate::address;

/// The operators, and what is between them and the API server.
pub struct Stacks {
    proxy: ApiProxy,
    first: Operator,
    second: Operator,
    /// The first one, started anew.
    again: Option<(Process, TempDir)>,
}

impl Stacks {
    /// Starts two, of which the first works.
    pub async fn start() -> Self {
        let plane = control_plane().await;
        let proxy = ApiProxy::start(&plane).await;
        let namespace = plane.namespace("speech").await;
        let start = || Start {
            server: Some(&proxy.url),
            ..Start::default()
        };
        let first = Operator::start_as(plane, namespace, start()).await;
        let second = first.another_as(start()).await;
        Self {
            proxy,
            first,
            second,
            again: None,
        }
    }

    /// Where the operators tell their metrics.
    pub fn urls(&self) -> [&str; 2] {
        [&self.first.url, &self.second.url]
    }

    /// Everything happens, and stacks change until it is time.
    pub async fn change(&mut self, until: Instant) {
        let operator = &self.first;
        operator.s3_secret().await;
        operator.volume_for("demo-auth-data").await;
        operator.put(&whisper_stack("demo")).await;
        self.bad_stacks().await;
        self.first.settle("demo").await;
        self.first
            .condition("later", "Stalled", "True", "VersionUnknown")
            .await;
        self.failing_api_server().await;
        self.another_leads().await;
        let mut replicas = 1;
        while Instant::now() < until {
            replicas = 3 - replicas;
            let changed = json!({"spec": {"transcription": {"replicas": replicas}}});
            self.second.put(&with(whisper_stack("demo"), changed)).await;
            self.second.settle("demo").await;
            sleep(Duration::from_secs(5)).await;
        }
    }

    async fn bad_stacks(&self) {
        let bad = [
            (
                "secretless",
                json!({"s3": {"credentialsSecretRef": {"name": "missing"}}}),
            ),
            ("later", json!({"version": "9.9.9"})),
            ("resting", json!({"paused": true})),
        ];
        for (name, spec) in bad {
            let stack = with(whisper_stack(name), json!({"spec": spec}));
            self.first.put(&stack).await;
        }
    }

    async fn failing_api_server(&self) {
        self.proxy
            .fail_times(4, Method::PATCH, "/configmaps/", Fault::InternalError);
        let changed = json!({"spec": {"auth": {"accessTokenExpireMinutes": 60}}});
        self.first.put(&with(whisper_stack("demo"), changed)).await;
        eventually("a reconciliation is tried again", async || {
            let told = self.first.ask("/metrics").await.1;
            !told.contains("operator_reconciliations_total{result=\"retry\"} 0")
        })
        .await;
        self.first.settle("demo").await;
    }

    /// The one that works ends, the other goes on, and the first comes back at its old address. It is not ready while it cannot list the
    /// stacks: an operator that lists them at once may never have said so.
    async fn another_leads(&mut self) {
        assert!(self.first.process.terminate().await.success());
        eventually("the other one works", async || {
            let told = self.second.ask("/metrics").await.1;
            told.contains("operator_leader 1")
        })
        .await;
        let namespace = &self.first.namespace;
        let account = account(&self.first, namespace, namespace, Some(&self.proxy.url)).await;
        self.proxy
            .fail(Method::GET, "/transcriptionstacks", Fault::InternalError);
        let folder = TempDir::new().unwrap();
        let mut command = Command::new(binary("transcription-operator"));
        command
            .env_clear()
            .env("KUBECONFIG", account)
            .env("MANAGEMENT_ADDR", address(&self.first.url))
            .env("WATCH_NAMESPACES", &self.first.namespace)
            .arg("run")
            .current_dir(folder.path());
        let mut process = Process::start(&mut command, folder.path().join("log"));
        wait_until_answered(&self.first.url, &mut process).await;
        for (is_listing, status) in [(false, 503), (true, 200)] {
            if is_listing {
                self.proxy.heal();
            }
            eventually(&format!("/readyz answers {status}"), async || {
                self.first.ask("/readyz").await.0 == status
            })
            .await;
        }
        self.again = Some((process, folder));
    }
}
