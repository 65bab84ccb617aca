//! What is another's has the name of a child: it is told, and neither touched nor used nor taken for the stack's own.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, condition_of, whisper_stack, with};
use transcription_tests::process::eventually;

async fn delete(operator: &Operator, what: &[&str]) {
    operator
        .in_namespace(&[&["delete"], what].concat(), "")
        .await;
}

#[tokio::test]
async fn a_claim_of_the_stack_before_is_waited_for_and_not_mourned() {
    let operator = Operator::start("before").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    let stack = with(
        whisper_stack("demo"),
        json!({"spec": {"deletionPolicy": "Delete"}}),
    );
    operator.put(&stack).await;
    operator.settle("demo").await;
    // As the pod that still uses it would.
    let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}}).to_string();
    let patch = ["patch", "pvc", "demo-auth-data", "--type=merge", "-p"];
    let kept = hold(json!(["example.com/held"]));
    operator
        .in_namespace(&[&patch[..], &[&kept]].concat(), "")
        .await;

    delete(&operator, &["tstack", "demo"]).await;
    operator.put(&stack).await;

    let ready = operator
        .condition("demo", "Ready", "False", "Waiting")
        .await;
    let message = ready["message"].as_str().unwrap();
    assert!(
        message.contains("from the stack of this name before"),
        "{message}"
    );
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;
    let stack = operator.get("tstack", "demo").await.unwrap();
    assert_eq!(stack["status"].get("storage"), None);
    assert!(operator.get("statefulset", "demo-auth").await.is_none());
    let free = hold(json!(null));
    operator
        .in_namespace(&[&patch[..], &[&free]].concat(), "")
        .await;
    eventually("the claim is another", async || {
        let claim = operator.get("pvc", "demo-auth-data").await;
        claim.is_some_and(|claim| claim["metadata"].get("deletionTimestamp").is_none())
    })
    .await;
    // The volume stays with the claim that is gone.
    delete_volume(&operator).await;
    operator.volume_for("demo-auth-data").await;
    operator.settle("demo").await;
}

async fn delete_volume(operator: &Operator) {
    let volume = format!("{}-demo-auth-data", operator.namespace);
    operator.succeed(&["delete", "pv", &volume], "").await;
}

#[tokio::test]
async fn no_pod_stands_on_what_is_anothers() {
    let operator = Operator::start("anothers").await;
    operator.s3_secret().await;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "demo-auth-data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let settings = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo-transcription"},
        "data": {"S3_BUCKET": "mine"},
    });
    operator.put(&claim).await;
    operator.put(&settings).await;
    operator.volume_for("demo-auth-data").await;
    operator
        .until("pvc", "demo-auth-data", "is bound", |claim| {
            claim["status"]["phase"] == "Bound"
        })
        .await;

    operator.put(&whisper_stack("demo")).await;

    let stalled = operator
        .condition("demo", "Stalled", "True", "NameTaken")
        .await;
    let message = stalled["message"].as_str().unwrap();
    assert!(
        message.contains("kubectl label persistentvolumeclaim demo-auth-data app.kubernetes.io/managed-by=transcription-operator app.kubernetes.io/instance=demo"),
        "{message}"
    );
    operator
        .until("service", "demo-transcription", "is made", |_| true)
        .await;
    let stack = operator.get("tstack", "demo").await.unwrap();
    assert_eq!(stack["status"].get("storage"), None);
    assert_eq!(condition_of(&stack, "StorageReady")["status"], "False");
    assert!(operator.get("statefulset", "demo-auth").await.is_none());
    let deployment = operator.get("deployment", "demo-transcription").await;
    assert!(deployment.is_none());
    let left = operator.get("configmap", "demo-transcription").await;
    assert_eq!(left.unwrap()["data"], json!({"S3_BUCKET": "mine"}));

    delete(&operator, &["pvc", "demo-auth-data"]).await;
    delete(&operator, &["configmap", "demo-transcription"]).await;
    delete_volume(&operator).await;
    operator.volume_for("demo-auth-data").await;
    operator
        .until("deployment", "demo-transcription", "is made", |_| true)
        .await;
    operator.settle("demo").await;
}

#[tokio::test]
async fn what_a_stack_has_left_as_orphans_is_not_scaled() {
    let operator = Operator::start("orphans").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    delete(&operator, &["tstack", "demo", "--cascade=orphan"]).await;
    let scale = ["scale", "deployment", "demo-transcription", "--replicas=3"];
    operator.in_namespace(&scale, "").await;

    operator.put(&whisper_stack("demo")).await;

    operator
        .condition("demo", "Stalled", "True", "NameTaken")
        .await;
    operator
        .condition("demo", "TranscriptionAvailable", "False", "Waiting")
        .await;
    let deployment = operator.get("deployment", "demo-transcription").await;
    assert_eq!(deployment.unwrap()["spec"]["replicas"], 3);
}
