//! What is installed, and what it may do.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use transcription_tests::cluster::{control_plane, documents, printed, whisper_stack};

#[tokio::test]
async fn the_manifests_are_taken_by_the_api_server_to_the_last_field() {
    let plane = control_plane().await;
    let manifests = fs::read_to_string(root().join("k8s/install.yaml")).unwrap();

    // The namespace has to be there for what is in it.
    plane
        .succeed(
            &["apply", "--server-side", "-f", "-"],
            &documents(&manifests, &["Namespace"]),
        )
        .await;
    let arguments = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    let said = plane.succeed(&arguments, &manifests).await;

    assert!(
        said.contains("deployment.apps/transcription-operator serverside-applied"),
        "{said}"
    );
}

#[tokio::test]
async fn each_sample_is_taken_by_the_api_server_to_the_last_field() {
    let plane = control_plane().await;
    let namespace = plane.namespace("samples").await;
    let samples = fs::read_dir(root().join("k8s/samples")).unwrap();
    let samples = samples
        .map(|entry| entry.unwrap().path())
        .collect::<Vec<_>>();
    assert!(samples.len() >= 4, "{samples:?}");

    for sample in samples {
        let file = sample.to_str().unwrap();
        let arguments = [
            "--namespace",
            &namespace,
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            file,
        ];
        plane.succeed(&arguments, "").await;
    }
}

#[tokio::test]
async fn an_operator_of_listed_namespaces_has_no_right_beyond_them() {
    let plane = control_plane().await;
    let (one, other) = (
        plane.namespace("listed").await,
        plane.namespace("unlisted").await,
    );
    let manifests = printed(&["manifests", "--namespace", &one, "--watch-namespaces", &one]).await;

    assert!(!manifests.contains("kind: ClusterRole"), "{manifests}");
    plane
        .apply(&documents(
            &manifests,
            &["ServiceAccount", "Role", "RoleBinding"],
        ))
        .await;
    let account = plane.kubeconfig_for(&one, "transcription-operator").await;
    let can = async |namespace: &str, verb: &str, kind: &str| {
        let arguments = ["auth", "can-i", verb, kind, "--namespace", namespace];
        plane
            .kubectl_as(&account, &arguments, "")
            .await
            .status
            .success()
    };
    for (verb, kind) in [
        ("watch", "secrets"),
        ("patch", "deployments.apps"),
        ("list", "transcriptionstacks.transcription.dev"),
    ] {
        assert!(can(&one, verb, kind).await, "{verb} {kind}");
        assert!(!can(&other, verb, kind).await, "{verb} {kind} elsewhere");
    }
    for (verb, kind) in [
        ("create", "pods"),
        ("create", "pods/exec"),
        ("delete", "secrets"),
        ("delete", "persistentvolumeclaims"),
        ("create", "roles.rbac.authorization.k8s.io"),
        ("update", "transcriptionstacks.transcription.dev"),
    ] {
        assert!(!can(&one, verb, kind).await, "{verb} {kind}");
    }
}

#[tokio::test]
async fn stacks_of_the_first_schema_are_still_taken() {
    let plane = control_plane().await;
    let namespace = plane.namespace("first-schema").await;
    let first = fs::read_to_string(root().join("tests/data/crd/v1alpha1-0.1.0.yaml")).unwrap();
    let now = fs::read_to_string(root().join("k8s/crd.yaml")).unwrap();
    assert!(!first.is_empty() && !now.is_empty());

    // A definition that would refuse what is stored is refused itself only for what is written again: so write it again.
    plane
        .succeed(
            &["apply", "--server-side", "--dry-run=server", "-f", "-"],
            &first,
        )
        .await;
    plane
        .succeed(
            &["--namespace", &namespace, "apply", "-f", "-"],
            &whisper_stack("demo").to_string(),
        )
        .await;
    let stored = plane
        .succeed(
            &[
                "--namespace",
                &namespace,
                "get",
                "tstack",
                "demo",
                "-o",
                "json",
            ],
            "",
        )
        .await;
    let stored = serde_json::from_str::<Value>(&stored).unwrap();
    plane
        .succeed(
            &[
                "--namespace",
                &namespace,
                "replace",
                "--dry-run=server",
                "-f",
                "-",
            ],
            &stored.to_string(),
        )
        .await;
}

#[tokio::test]
async fn the_definition_is_small_enough_for_kubectl_apply() {
    let plane = control_plane().await;
    let file = root().join("k8s/crd.yaml");

    // It notes the whole object in an annotation, which can have 256 KiB.
    plane
        .succeed(
            &["apply", "--dry-run=server", "-f", file.to_str().unwrap()],
            "",
        )
        .await;
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}
