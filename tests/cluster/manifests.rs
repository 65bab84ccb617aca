//! What is installed, and what it may do.

use std::fs;

use serde_json::Value;
use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::cluster::{control_plane, documents, established, printed};
use transcription_tests::files::root;

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
async fn stacks_that_were_stored_under_the_first_schema_are_still_taken() {
    // Of its own: the others have the schema of today.
    let plane = ControlPlane::start().await;
    let definition = async |file: &str| {
        let file = root().join(file);
        let arguments = ["apply", "--server-side", "-f", file.to_str().unwrap()];
        plane.succeed(&arguments, "").await;
        established(&plane, "transcriptionstacks.transcription.dev").await;
    };
    definition("tests/data/crd/v1alpha1-0.1.0.yaml").await;
    let stacks = ["gemini", "production", "s3-compatible", "whisper"];
    for sample in stacks {
        let file = root().join(format!("k8s/samples/{sample}.yaml"));
        plane
            .succeed(&["create", "-f", file.to_str().unwrap()], "")
            .await;
    }

    definition("k8s/crd.yaml").await;

    let stored = plane.succeed(&["get", "tstack", "-o", "json"], "").await;
    let stored = serde_json::from_str::<Value>(&stored).unwrap();
    let stored = stored["items"].as_array().unwrap();
    assert_eq!(stored.len(), stacks.len());
    for stack in stored {
        plane
            .succeed(&["replace", "-f", "-"], &stack.to_string())
            .await;
    }
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
