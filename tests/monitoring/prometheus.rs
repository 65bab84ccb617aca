//! A real Prometheus with our rules, which scrapes each second.

use std::fs;
use std::process::Command;
use std::time::Duration;

use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use transcription_common::clock;
use transcription_tests::client::http;
use transcription_tests::files::{cached, root};
use transcription_tests::process::{Process, eventually, start_at_free_port};

use crate::expressions::FOLDER;

/// Who is scraped under one name.
pub struct Job {
    /// The name.
    pub name: &'static str,
    /// Whether the labels of a metric win over those of the target.
    pub honor_labels: bool,
    /// The addresses, each with the labels that a ServiceMonitor would give.
    pub targets: Vec<(String, Value)>,
}

/// A running Prometheus.
pub struct Prometheus {
    _process: Process,
    url: String,
    http: Client,
    began: u64,
    targets: usize,
    _folder: TempDir,
}

/// A series: what it is called, and its values, each with its time.
#[derive(Debug, Deserialize, Serialize)]
pub struct Series {
    /// The labels.
    pub metric: Value,
    /// The time in seconds and the value as text; of an instant query `value` alone.
    #[serde(default)]
    pub values: Vec<(f64, String)>,
    /// The same at one time.
    pub value: Option<(f64, String)>,
}

impl Series {
    /// Whether it has a number: `NaN` is what Prometheus says where there is none.
    pub fn tells_something(&self) -> bool {
        let values = self.values.iter().chain(&self.value);
        let mut numbers = values.filter_map(|(_, value)| value.parse::<f64>().ok());
        numbers.any(f64::is_finite)
    }
}

impl Prometheus {
    /// Starts it, and waits until it reaches all targets.
    pub async fn start(jobs: &[Job]) -> Self {
        let folder = TempDir::new().unwrap();
        let config = folder.path().join("prometheus.yaml");
        fs::write(&config, configuration(jobs).to_string()).unwrap();
        let (process, url) = start_at_free_port(|address| {
            let mut command = Command::new(cached("prometheus/usr/bin/prometheus"));
            command
                .env_clear()
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().display()))
                .arg(format!("--web.listen-address={address}"))
                .current_dir(folder.path());
            Process::start(&mut command, folder.path().join("log"))
        })
        .await;
        let this = Self {
            _process: process,
            url,
            http: http(),
            began: clock::unix_seconds(),
            targets: jobs.iter().map(|job| job.targets.len()).sum(),
            _folder: folder,
        };
        this.reaches_all_since(this.began).await;
        this
    }

    /// Waits until it has asked all targets later than at a time.
    async fn reaches_all_since(&self, seconds: u64) {
        let expression = format!("count(timestamp(up) > {seconds} and up == 1)");
        eventually("Prometheus reaches all targets", async || {
            let up = self.instant(&expression).await;
            up.is_ok_and(|up| up.iter().any(|up| up.value_is(self.targets)))
        })
        .await;
    }

    /// How long it has been running, in whole seconds.
    pub fn seconds(&self) -> u64 {
        clock::unix_seconds() - self.began
    }

    /// The values of an expression at all times since it was started.
    pub async fn range(&self, expression: &str) -> Result<Vec<Series>, String> {
        let end = clock::unix_seconds();
        let form = [
            ("query", expression.to_owned()),
            ("start", self.began.to_string()),
            ("end", end.to_string()),
            ("step", "1".to_owned()),
        ];
        self.query("query_range", &form).await
    }

    /// Its values now.
    pub async fn instant(&self, expression: &str) -> Result<Vec<Series>, String> {
        self.query("query", &[("query", expression.to_owned())])
            .await
    }

    async fn query(&self, path: &str, form: &[(&str, String)]) -> Result<Vec<Series>, String> {
        let request = self.http.post(format!("{}/api/v1/{path}", self.url));
        let answer = request.form(form).send().await.unwrap();
        let answer = answer.text().await.unwrap();
        // While it starts it answers in plain words.
        let Ok(mut answer) = serde_json::from_str::<Value>(&answer) else {
            return Err(answer);
        };
        if answer["status"] != "success" {
            return Err(answer.to_string());
        }
        Ok(serde_json::from_value(answer["data"]["result"].take()).unwrap())
    }

    /// What a label of these series can be.
    pub async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let answer = self
            .get(
                &format!("label/{label}/values"),
                &[("match[]", selector.to_owned())],
            )
            .await;
        serde_json::from_value(answer["data"].clone()).unwrap()
    }

    /// The rules, with how they are.
    pub async fn rules(&self) -> Vec<Value> {
        let answer = self.get("rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        rules.cloned().collect()
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Value {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{path}", self.url), query);
        let answer = self.http.get(url.unwrap()).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    }

    /// Waits until what has happened so far is scraped, however slow the machine is, and the rules have seen it.
    pub async fn catch_up(&self) {
        self.reaches_all_since(clock::unix_seconds() + 1).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

impl Series {
    fn value_is(&self, wanted: usize) -> bool {
        self.value
            .as_ref()
            .is_some_and(|(_, value)| *value == wanted.to_string())
    }
}

/// JSON is YAML too.
fn configuration(jobs: &[Job]) -> Value {
    let rules = root().join(FOLDER).join("rules.yaml");
    let jobs = jobs.iter().map(|job| {
        let targets = job
            .targets
            .iter()
            .map(|(address, labels)| json!({"targets": [address], "labels": labels}));
        json!({
            "job_name": job.name,
            "honor_labels": job.honor_labels,
            "static_configs": targets.collect::<Vec<_>>(),
        })
    });
    json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [rules],
        "scrape_configs": jobs.collect::<Vec<_>>(),
    })
}
