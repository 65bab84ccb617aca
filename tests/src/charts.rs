//! The Helm charts: what each Helm makes of each set of values in `charts/<chart>/ci`, and what is kept of it in `tests/data/charts`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use transcription_lab::files::{cache, cached, root};
use transcription_operator::yaml;

use crate::files::data;
use crate::process::run;

/// The charts, by their folders.
pub const CHARTS: [&str; 3] = ["auth", "transcription", "operator"];

const HELM: &str = "helm-4.3.0-3.22.0";
const TOOLS: &str = "chart-tools-1";

/// How many processes are started at once: one is done in a tenth of a second.
const AT_ONCE: usize = 4;

/// What every case was rendered to, for all tests.
static RENDERINGS: OnceCell<Vec<Rendering>> = OnceCell::const_new();

/// The two that people have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    Three,
    /// Helm 4.
    Four,
}

/// Values for a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The chart.
    pub chart: &'static str,
    /// What the file is called.
    pub name: String,
}

/// What a chart makes of a case.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// The case.
    pub case: Case,
    /// The objects, in Helm's order.
    pub objects: Vec<Value>,
    /// The same as Helm wrote them.
    pub manifests: String,
    /// What is shown after an install.
    pub notes: String,
}

impl Helm {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Four, Self::Three];

    /// A command of it, in the folder of the project. It knows no cluster, and no settings of this machine.
    pub fn command<'a>(self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let program = match self {
            Self::Three => "helm3",
            Self::Four => "helm4",
        };
        let mut command = Command::new(cached(&format!("{HELM}/{program}")));
        command
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("KUBECONFIG", "/nonexistent")
            .args(arguments)
            .current_dir(root());
        command
    }

    /// What it writes when it does what it is told, or else what it says.
    pub async fn said<'a>(
        self,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, String> {
        let output = run(self.command(arguments), "").await;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(String::from_utf8(said).unwrap())
    }

    /// What a chart is rendered to by `helm template`, with these further arguments.
    pub async fn template(self, chart: &str, arguments: &[&str]) -> Result<String, String> {
        let (release, namespace) = release(chart);
        let folder = format!("charts/{chart}");
        let start = ["template", release, &folder, "--namespace", namespace];
        self.said(start.into_iter().chain(arguments.iter().copied()))
            .await
    }
}

impl Case {
    /// The file with the values.
    pub fn values(&self) -> PathBuf {
        folder(self.chart).join(format!("ci/{}-values.yaml", self.name))
    }

    /// The file with what it is rendered to.
    pub fn golden(&self) -> PathBuf {
        data("charts").join(format!("{}/{}.yaml", self.chart, self.name))
    }

    /// What Helm 4 makes of it, with these further arguments. Nothing is installed.
    pub async fn rendered(&self, arguments: &[&str]) -> Rendering {
        let (release, namespace) = release(self.chart);
        let (folder, values) = (format!("charts/{}", self.chart), self.values());
        let start = [
            "install",
            release,
            &folder,
            "--namespace",
            namespace,
            "--dry-run=client",
            "--output=json",
            "--values",
            values.to_str().unwrap(),
        ];
        let arguments = start.into_iter().chain(arguments.iter().copied());
        let said = Helm::Four.said(arguments).await;
        let said = said.unwrap_or_else(|said| panic!("{self:?}: {said}"));
        let release = serde_json::from_str::<Value>(&said).unwrap();
        let hooks = release["hooks"].as_array().into_iter().flatten();
        let mut manifests = release["manifest"].as_str().unwrap().to_owned();
        for hook in hooks {
            manifests.push_str("---\n");
            manifests.push_str(hook["manifest"].as_str().unwrap());
        }
        Rendering {
            case: self.clone(),
            objects: parsed(&manifests),
            manifests,
            notes: release["info"]["notes"].as_str().unwrap().to_owned(),
        }
    }
}

impl Rendering {
    /// What is kept of it: the objects, but for what is a copy of another file, and the notes.
    pub fn golden(&self) -> String {
        let Case { chart, name } = &self.case;
        let mut documents = self
            .objects
            .iter()
            .map(|object| abridged(object, &folder(chart)))
            .collect::<Vec<_>>();
        documents.push(json!({"notes": self.notes}));
        let documents = yaml::documents(&documents).unwrap();
        format!(
            "# What charts/{chart} makes of ci/{name}-values.yaml. Made by `make generate`: not edited by hand.\n{documents}"
        )
    }
}

/// The name and the namespace of a chart's release: those that the operator's objects have.
pub fn release(chart: &str) -> (&'static str, &'static str) {
    match chart {
        "operator" => ("transcription-operator", "transcription-system"),
        _ => ("demo", "team"),
    }
}

/// All cases of all charts.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for chart in CHARTS {
        let files = fs::read_dir(folder(chart).join("ci")).unwrap();
        let mut names = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>();
        names.sort();
        for name in names {
            let name = name.strip_suffix("-values.yaml");
            let name = name.expect("a file in ci is called <case>-values.yaml");
            cases.push(Case {
                chart,
                name: name.to_owned(),
            });
        }
    }
    cases
}

/// What all of them are rendered to, by Helm 4.
pub async fn renderings() -> &'static [Rendering] {
    RENDERINGS
        .get_or_init(|| together(cases(), async |case| case.rendered(&[]).await))
        .await
}

/// Does the same to many, some at a time.
pub async fn together<T, U>(
    items: impl IntoIterator<Item = T>,
    work: impl AsyncFn(T) -> U,
) -> Vec<U> {
    stream::iter(items)
        .map(|item| work(item))
        .buffered(AT_ONCE)
        .collect()
        .await
}

/// Writes what is in the charts and made of something else, and what is kept of each case. Without the tools it tells what is missing.
pub async fn write() -> Result<Vec<PathBuf>, String> {
    for (tool, part) in [(HELM, "helm"), (TOOLS, "chart-tools")] {
        if !cache().join(tool).exists() {
            return Err(format!(
                "Not written, for they are made with a tool that is not there: README.md of the charts and tests/data/charts. Run tests/lab/fetch.sh {part}, then the same again."
            ));
        }
    }
    copy(&root().join("charts")).await;
    let mut written = Vec::new();
    for rendering in renderings().await {
        let file = rendering.case.golden();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, rendering.golden()).unwrap();
        written.push(file);
    }
    Ok(written)
}

/// Runs the script that writes copies and README.md into the charts of a folder.
pub async fn copy(charts: &Path) {
    let mut script = Command::new(charts.join("generate.sh"));
    script.env("HELM_DOCS", tool("helm-docs"));
    let output = run(script, "").await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
}

/// A tool for charts.
pub fn tool(name: &str) -> PathBuf {
    cached(&format!("{TOOLS}/{name}"))
}

/// The folder of a chart.
pub fn folder(chart: &str) -> PathBuf {
    root().join("charts").join(chart)
}

/// The documents of a text.
pub fn parsed(text: &str) -> Vec<Value> {
    let documents = serde_saphyr::from_multiple::<Value>(text);
    let documents = documents.unwrap_or_else(|error| panic!("{error}\n{text}"));
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

/// The document of a file.
pub fn read(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// An object in which the content of a file of the chart is only named.
fn abridged(object: &Value, chart: &Path) -> Value {
    let mut object = object.clone();
    let name = |file: &str| Value::from(format!("as in {file}"));
    match object["kind"].as_str() {
        Some("CustomResourceDefinition") => {
            let file = "files/crd.yaml";
            if object["spec"] == read(&chart.join(file))["spec"] {
                object["spec"] = name(file);
            }
        }
        Some("PrometheusRule") => {
            let file = "files/rules.yaml";
            if object["spec"]["groups"] == read(&chart.join(file))["groups"] {
                object["spec"]["groups"] = name(file);
            }
        }
        Some("ConfigMap") => {
            let data = object["data"].as_object_mut();
            for (key, content) in data.into_iter().flatten() {
                let file = format!("files/dashboards/{key}");
                let dashboard = fs::read_to_string(chart.join(&file)).unwrap_or_default();
                if content.as_str().map(str::trim) == Some(dashboard.trim()) {
                    *content = name(&file);
                }
            }
        }
        _ => {}
    }
    object
}
