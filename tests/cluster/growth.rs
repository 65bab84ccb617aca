//! The volume with the users grows when the spec says so, and each thing that it can wait for is told. There is no driver here: what
//! one would say of a claim, the tests say.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, condition_of, whisper_stack, with};
use transcription_tests::process::eventually;

/// A settled stack with 1Gi of a class.
async fn settled(prefix: &str, may_grow: bool) -> Operator {
    let operator = Operator::start(prefix).await;
    operator.s3_secret().await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": operator.namespace},
        "provisioner": "example.com/none", "allowVolumeExpansion": may_grow,
    });
    operator.apply(&class.to_string()).await;
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": operator.namespace},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": operator.namespace,
            "claimRef": {"namespace": operator.namespace, "name": "demo-auth-data"},
            "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain",
        },
    });
    operator.apply(&volume.to_string()).await;
    operator.put(&stack_of(&operator, "1Gi")).await;
    operator.settle("demo").await;
    operator
}

fn stack_of(operator: &Operator, size: &str) -> Value {
    let storage = json!({"size": size, "storageClassName": operator.namespace});
    with(
        whisper_stack("demo"),
        json!({"spec": {"auth": {"storage": storage}}}),
    )
}

async fn driver_says(operator: &Operator, status: Value) {
    let status = json!({"status": status}).to_string();
    let arguments = [
        "patch",
        "persistentvolumeclaim",
        "demo-auth-data",
        "--subresource=status",
        "-p",
        &status,
    ];
    operator.in_namespace(&arguments, "").await;
}

async fn told(operator: &Operator, reason: &str, words: &[&str]) {
    let what = format!("tells {reason} {words:?}");
    operator
        .until("tstack", "demo", &what, |stack| {
            let found = condition_of(stack, "StorageReady");
            let message = found["message"].as_str().unwrap_or_default();
            found["status"] == "False"
                && found["reason"] == reason
                && words.iter().all(|word| message.contains(word))
                && condition_of(stack, "Ready")["reason"] == reason
        })
        .await;
}

#[tokio::test]
async fn a_claim_grows_and_tells_what_it_waits_for() {
    let operator = settled("grow", true).await;
    let before = operator
        .get("persistentvolumeclaim", "demo-auth-data")
        .await
        .unwrap();

    operator.put(&stack_of(&operator, "3Gi")).await;

    let claim = operator
        .until(
            "persistentvolumeclaim",
            "demo-auth-data",
            "asks for more",
            |claim| claim["spec"]["resources"]["requests"]["storage"] == "3Gi",
        )
        .await;
    assert_eq!(claim["metadata"]["uid"], before["metadata"]["uid"]);
    told(
        &operator,
        "StorageGrowing",
        &["demo-auth-data has 1Gi, and 3Gi are asked for"],
    )
    .await;
    operator
        .condition("demo", "Reconciling", "True", "StorageGrowing")
        .await;
    let condition = |kind: &str| json!({"conditions": [{"type": kind, "status": "True", "message": "no space left on the array"}]});
    driver_says(&operator, condition("Resizing")).await;
    told(&operator, "StorageGrowing", &["makes the volume larger"]).await;
    driver_says(&operator, condition("ControllerResizeError")).await;
    told(
        &operator,
        "StorageNotGrown",
        &["cannot grow: no space left on the array"],
    )
    .await;
    driver_says(
        &operator,
        json!({"conditions": [{"$patch": "replace"}, {"type": "FileSystemResizePending", "status": "True"}]}),
    )
    .await;
    told(
        &operator,
        "StorageGrowing",
        &[
            "grows when a pod mounts it",
            "kubectl delete pod demo-auth-0",
        ],
    )
    .await;
    driver_says(
        &operator,
        json!({"conditions": [{"$patch": "replace"}], "capacity": {"storage": "3Gi"}}),
    )
    .await;

    let stack = operator.settle("demo").await;
    assert_eq!(
        stack["status"]["storage"],
        json!({"requested": "3Gi", "actual": "3Gi"})
    );
}

#[tokio::test]
async fn a_class_that_does_not_let_its_claims_grow_is_named_and_mended_it_does() {
    let operator = settled("fixed", false).await;

    operator.put(&stack_of(&operator, "3Gi")).await;

    let stalled = operator
        .condition("demo", "Stalled", "True", "StorageNotGrown")
        .await;
    let message = stalled["message"].as_str().unwrap();
    for words in [
        "PersistentVolumeClaim demo-auth-data has 1Gi and cannot be made 3Gi",
        "allowVolumeExpansion: true",
    ] {
        assert!(message.contains(words), "{message}");
    }
    told(&operator, "StorageNotGrown", &["cannot be made 3Gi"]).await;
    let mended = json!({"allowVolumeExpansion": true}).to_string();
    operator
        .succeed(
            &["patch", "storageclass", &operator.namespace, "-p", &mended],
            "",
        )
        .await;
    // Nobody watches classes: it is tried again every half a minute.
    told(&operator, "StorageGrowing", &["3Gi are asked for"]).await;
}

#[tokio::test]
async fn a_claim_that_is_brought_in_and_is_larger_than_asked_is_taken_up_as_it_is() {
    let operator = Operator::start("restored").await;
    operator.s3_secret().await;
    let claim = |labels: Value| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "demo-auth-data", "labels": labels},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
        })
    };
    operator.put(&claim(json!({}))).await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator
        .condition("demo", "Stalled", "True", "NameTaken")
        .await;

    let ours = json!({
        "app.kubernetes.io/managed-by": "transcription-operator",
        "app.kubernetes.io/instance": "demo",
    });
    operator.put(&claim(ours)).await;

    let stack = operator.settle("demo").await;
    assert_eq!(
        stack["status"]["storage"],
        json!({"requested": "2Gi", "actual": "2Gi"})
    );
    eventually("it is the stack's", async || {
        let claim = operator.get("persistentvolumeclaim", "demo-auth-data");
        let claim = claim.await.unwrap();
        claim["metadata"]["labels"]["app.kubernetes.io/component"] == "auth"
    })
    .await;
}
