//! Everything that is applied to a cluster has only fields that Kubernetes knows, with values that it takes: by kubeconform, for three releases.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use transcription_tests::charts::{parsed, renderings, tool};
use transcription_tests::files::root;
use transcription_tests::process::run;
use transcription_tests::rendered;

use crate::schemas::{self, LOCATION, VERSIONS, kind};

/// A file that is looked at: its name, and what stands in it.
type File = (String, String);

/// Mistakes: the case of a chart or the file, what stands there, what is written instead, and what is said about it.
const MISTAKES: [(&str, &str, &str, &str); 12] = [
    (
        "auth/rendered-everything",
        "podManagementPolicy:",
        "podManagementPolicies:",
        "additional properties 'podManagementPolicies' not allowed",
    ),
    (
        "auth/rendered-everything",
        "readinessProbe:",
        "readinesProbe:",
        "additional properties 'readinesProbe' not allowed",
    ),
    (
        "auth/rendered-everything",
        "matchLabels:",
        "matchlabels:",
        "additional properties 'matchlabels' not allowed",
    ),
    (
        "auth/rendered-everything",
        "replicas: 1",
        "replicas: \"1\"",
        "at '/spec/replicas': got string, want integer",
    ),
    (
        "auth/rendered-everything",
        "memory: 512Mi",
        "memory: 512 MiB",
        "/resources/limits/memory",
    ),
    (
        "auth/rendered-everything",
        "pathType: Prefix",
        "",
        "missing property 'pathType'",
    ),
    (
        "auth/rendered-everything",
        "path: /metrics",
        "pth: /metrics",
        "additional properties 'pth' not allowed",
    ),
    (
        "auth/rendered-everything",
        "kind: Ingress\n",
        "kind: Ingres\n",
        "could not find schema for Ingres",
    ),
    (
        "auth/rendered-everything",
        "serviceName:",
        "replicas:",
        "key \"replicas\" already set in map",
    ),
    (
        "operator/monitoring",
        "expr:",
        "expression:",
        "additional properties 'expression' not allowed",
    ),
    (
        "operator/monitoring",
        "openAPIV3Schema:",
        "openAPISchema:",
        "additional properties 'openAPISchema' not allowed",
    ),
    (
        "k8s/samples/whisper.yaml",
        "bucket:",
        "buket:",
        "additional properties 'buket' not allowed",
    ),
];

#[tokio::test]
async fn three_kubernetes_know_every_field_of_what_is_applied() {
    let files = files().await;
    let count = files.iter().map(|(_, text)| parsed(text).len());
    let count = count.sum::<usize>();
    assert!(count > 300, "{count}");

    for version in VERSIONS {
        let told = told(version, &files).await;

        let wrong = told["resources"].as_array().unwrap();
        assert!(wrong.is_empty(), "{version}: {wrong:#?}");
        for (found, wanted) in [
            ("valid", count),
            ("invalid", 0),
            ("errors", 0),
            ("skipped", 0),
        ] {
            assert_eq!(told["summary"][found], wanted, "{version} {found}");
        }
    }
}

#[tokio::test]
async fn a_wrong_field_is_found() {
    let files = files().await;
    let mistakes = MISTAKES.iter().map(|(name, right, wrong, _)| {
        let file = files.iter().find(|(found, _)| found == name);
        let (_, text) = file.unwrap_or_else(|| panic!("there is no {name}"));
        let mistaken = text.replacen(right, wrong, 1);
        assert_ne!(text, &mistaken, "{right} in {name}");
        (format!("{name} {right}"), mistaken)
    });
    let mistakes = mistakes.collect::<Vec<_>>();

    for version in VERSIONS {
        let told = told(version, &mistakes).await;

        let found = told["resources"].as_array().unwrap();
        for (number, (name, right, _, said)) in MISTAKES.iter().enumerate() {
            let is_said = found.iter().any(|resource| {
                let file = resource["filename"].as_str().unwrap();
                let message = resource["msg"].as_str().unwrap();
                file.ends_with(&format!("/{number}.yaml")) && message.contains(said)
            });
            assert!(is_said, "{version}: {name}, {right}\n{found:#?}");
        }
    }
}

/// What every chart makes of every case, what the operator makes of its cases, and what people apply by hand.
async fn files() -> Vec<File> {
    let renderings = renderings().await.iter();
    let mut files = renderings
        .map(|rendering| {
            let name = format!("{}/{}", rendering.case.chart, rendering.case.name);
            (name, rendering.manifests.clone())
        })
        .collect::<Vec<_>>();
    for case in rendered::cases() {
        let text = fs::read_to_string(&case.frozen).unwrap();
        // Not what is no object: the number of pods, which is applied apart.
        let objects = text
            .split("---\n")
            .filter(|object| object.contains("\nkind: "));
        files.push((
            case.frozen.display().to_string(),
            objects.collect::<Vec<_>>().join("---\n"),
        ));
    }
    for folder in ["k8s", "k8s/samples", "k8s/monitoring"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let is_yaml = path
                .extension()
                .is_some_and(|extension| extension == "yaml");
            if is_yaml && is_applied(&path) {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

/// Whether it has objects: rules are Prometheus's, and a kustomization is kubectl's.
fn is_applied(path: &Path) -> bool {
    let first = parsed(&fs::read_to_string(path).unwrap()).remove(0);
    let kind = first.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "Kustomization")
}

/// What kubeconform says of some files.
async fn told(version: &str, files: &[File]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, schemas) = (
        folder.path().join("manifests"),
        folder.path().join("schemas"),
    );
    fs::create_dir(&manifests).unwrap();
    fs::create_dir(&schemas).unwrap();
    let mut kinds = BTreeSet::new();
    for (number, (_, text)) in files.iter().enumerate() {
        let file = manifests.join(format!("{number}.yaml"));
        fs::write(file, text).unwrap();
        // A mistake can be one that no parser takes.
        let objects = serde_saphyr::from_multiple::<Value>(text).unwrap_or_default();
        kinds.extend(objects.iter().filter(|object| object.is_object()).map(kind));
    }
    schemas::write(&schemas, version, &kinds);

    let mut kubeconform = Command::new(tool("kubeconform"));
    kubeconform
        .args(["-strict", "-summary", "-output", "json"])
        .args(["-kubernetes-version", version])
        .arg("-schema-location")
        .arg(schemas.join(LOCATION))
        .arg(manifests);
    let output = run(kubeconform, "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}
