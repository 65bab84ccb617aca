//! The cases use every value, and what they set changes what is rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use transcription_tests::charts::{CHARTS, Case, Helm, cases, folder, read, together};
use transcription_tests::process::run;

use crate::values::{Definition, remove, value_of};

#[test]
fn each_value_is_another_than_the_default_in_some_case() {
    for chart in CHARTS {
        let cases = cases_of(chart);
        let cases = cases.iter().map(|case| read(&case.values()));
        let cases = cases.collect::<Vec<_>>();

        let leaves = Definition::of(chart).leaves();
        let unused = leaves.iter().filter(|(name, default)| {
            let is_used = |case: &Value| value_of(case, name).is_some_and(|value| value != default);
            !cases.iter().any(is_used)
        });
        let unused = unused.map(|(name, _)| name).collect::<Vec<_>>();

        assert!(leaves.len() > 50, "{leaves:?}");
        assert!(unused.is_empty(), "{chart} has no case with: {unused:?}");
    }
}

#[tokio::test]
async fn each_value_that_a_case_has_first_changes_what_is_rendered() {
    for chart in CHARTS {
        let leaves = Definition::of(chart).leaves();
        let mut known = BTreeSet::new();
        let changes = cases_of(chart).into_iter().map(|case| {
            let values = read(&case.values());
            let changed = leaves.iter().filter(|(name, default)| {
                let value = value_of(&values, name).filter(|value| *value != default);
                value.is_some_and(|value| known.insert((name.clone(), value.to_string())))
            });
            let changed = changed.map(|(name, _)| name.clone()).collect::<Vec<_>>();
            (case, values, changed)
        });
        let changes = changes.collect::<Vec<_>>();
        let most = changes.iter().map(|(_, _, changed)| changed.len()).max();
        let umbrella = Umbrella::over(chart, most.unwrap() + 1).await;

        let idle = together(
            changes,
            async |(case, values, changed): (Case, Value, Vec<String>)| {
                let with = values.clone();
                let without = changed.iter().map(|name| {
                    let mut values = values.clone();
                    remove(&mut values, name);
                    values
                });
                let variants = std::iter::once(with).chain(without).collect::<Vec<_>>();
                let rendered = umbrella.rendered(&variants).await;
                let with = rendered[0].clone();
                assert!(with.is_some(), "{case:?} is refused");
                let without = changed.into_iter().zip(&rendered[1..]);
                without
                    .filter(|(_, without)| **without == with)
                    .map(|(name, _)| format!("{}: {name}", case.name))
                    .collect::<Vec<_>>()
            },
        );

        let idle = idle.await.concat();
        assert!(idle.is_empty(), "{chart}: without effect are {idle:#?}");
    }
}

fn cases_of(chart: &str) -> Vec<Case> {
    let all = cases().into_iter();
    all.filter(|case| case.chart == chart).collect()
}

/// A chart that has another one many times: most of the time of a rendering is that of the start of Helm.
struct Umbrella {
    folder: TempDir,
    aliases: Vec<String>,
}

impl Umbrella {
    async fn over(chart: &str, count: usize) -> Self {
        let folder_of_umbrella = tempfile::tempdir().unwrap();
        // All of the same length, and like nothing else in a text.
        let aliases = (0..count).map(|number| format!("zz{number:03}zz"));
        let aliases = aliases.collect::<Vec<_>>();
        let version = read(&folder(chart).join("Chart.yaml"))["version"].clone();
        let dependencies = aliases.iter().map(|alias| {
            json!({"name": chart, "version": version, "alias": alias, "condition": format!("{alias}.enabled")})
        });
        let definition = json!({
            "apiVersion": "v2",
            "name": "umbrella",
            "version": "0.1.0",
            "dependencies": dependencies.collect::<Vec<_>>(),
        });
        let disabled = aliases
            .iter()
            .map(|alias| (alias.clone(), json!({"enabled": false})));
        let disabled = Value::Object(disabled.collect::<Map<_, _>>());
        let path = folder_of_umbrella.path();
        fs::write(path.join("Chart.yaml"), definition.to_string()).unwrap();
        fs::write(path.join("values.yaml"), disabled.to_string()).unwrap();
        fs::create_dir(path.join("charts")).unwrap();
        let mut copy = Command::new("cp");
        copy.arg("-R")
            .arg(folder(chart))
            .arg(path.join("charts").join(chart));
        assert!(run(copy, "").await.status.success());
        Self {
            folder: folder_of_umbrella,
            aliases,
        }
    }

    /// What the chart is rendered to with each of these values, or `None` where it refuses them.
    async fn rendered(&self, variants: &[Value]) -> Vec<Option<String>> {
        let mut refused = Vec::new();
        loop {
            let wanted = self.aliases.iter().zip(variants);
            let wanted = wanted.filter(|(alias, _)| !refused.contains(alias));
            let values = wanted.map(|(alias, values)| {
                let mut values = values.clone();
                values["enabled"] = true.into();
                (alias.clone(), values)
            });
            let values = Value::Object(values.collect::<Map<_, _>>());
            match self.template(&values).await {
                Ok(text) => {
                    let texts = self.divided(&text);
                    let aliases = self.aliases.iter().take(variants.len());
                    return aliases.map(|alias| texts.get(alias).cloned()).collect();
                }
                // Helm says which of them it is.
                Err(said) => {
                    let found = self.aliases.iter().find(|alias| said.contains(*alias));
                    let found = found.unwrap_or_else(|| panic!("{said}"));
                    assert!(!refused.contains(&found), "{said}");
                    refused.push(found);
                }
            }
        }
    }

    async fn template(&self, values: &Value) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), values.to_string()).unwrap();
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (folder, values) = (path(self.folder.path()), path(file.path()));
        let arguments = ["template", "demo", &folder, "--values", &values];
        Helm::Four.said(arguments).await
    }

    /// The text of each of them, without its name.
    fn divided(&self, text: &str) -> BTreeMap<String, String> {
        let mut texts = BTreeMap::<String, String>::new();
        for document in text.split("\n# Source: umbrella/charts/").skip(1) {
            let (alias, document) = document.split_once('/').unwrap();
            assert!(self.aliases.iter().any(|known| known == alias), "{alias}");
            let text = texts.entry(alias.to_owned()).or_default();
            // After the last one is no line that divides.
            let document = document.trim_end().trim_end_matches("---").trim_end();
            text.push_str(&document.replace(alias, "alias"));
            text.push('\n');
        }
        texts
    }
}
