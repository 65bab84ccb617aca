//! Why a stack is stuck, lifted from its pods and claims into its own conditions: the reason, the words of who refused, and what to do.
//! There is no node here: what a kubelet would say of a pod, the tests say.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, condition_of, whisper_stack, with};
use transcription_tests::process::eventually;

/// A stack whose pods have been made.
async fn made(prefix: &str) -> Operator {
    let operator = Operator::start(prefix).await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    eventually("the pods are made", async || {
        pods(&operator).await.len() == 2
    })
    .await;
    operator
}

async fn pods(operator: &Operator) -> Vec<Value> {
    let listed = operator
        .in_namespace(&["get", "pods", "-o", "json"], "")
        .await;
    let listed = serde_json::from_str::<Value>(&listed).unwrap();
    listed["items"].as_array().unwrap().clone()
}

/// Says of the transcription service's pod what a kubelet would.
async fn kubelet_says(operator: &Operator, container: Value) {
    let all = pods(operator).await;
    let pod = all
        .iter()
        .find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "transcription");
    let name = pod.unwrap()["metadata"]["name"].as_str().unwrap();
    let container = with(
        json!({"name": "transcription", "image": "example.com/service:1", "imageID": "", "ready": false, "restartCount": 0}),
        container,
    );
    let status = json!({"status": {
        "phase": "Running",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [container],
    }});
    let arguments = [
        "patch",
        "pod",
        name,
        "--subresource=status",
        "-p",
        &status.to_string(),
    ];
    operator.in_namespace(&arguments, "").await;
}

/// Waits until the sentence of a condition has these words.
async fn told(operator: &Operator, condition: &str, reason: &str, words: &[&str]) {
    let what = format!("tells {condition} {reason} {words:?}");
    operator
        .until("tstack", "demo", &what, |stack| {
            is_told(stack, condition, reason, words)
        })
        .await;
}

fn is_told(stack: &Value, condition: &str, reason: &str, words: &[&str]) -> bool {
    let found = condition_of(stack, condition);
    let message = found["message"].as_str().unwrap_or_default();
    found["status"] == "False"
        && found["reason"] == reason
        && words.iter().all(|word| message.contains(word))
}

#[tokio::test]
async fn what_a_kubelet_says_of_a_pod_stands_in_the_stack() {
    let operator = made("kubelet").await;
    let said = [
        (
            json!({"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image: not found"}}}),
            "ImageUnavailable",
            [
                "example.com/service:1",
                "not found",
                "spec.imagePullSecrets",
            ],
        ),
        (
            json!({"state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s3\" not found"}}}),
            "ContainerNotMade",
            ["Pod demo-transcription-", "secret \"s3\" not found", "mend"],
        ),
        (
            json!({"restartCount": 4, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}}),
            "ContainerCrashing",
            ["exit code 3 (Error)", "4 times", "--previous"],
        ),
        (
            json!({"restartCount": 1, "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
            "ContainerCrashing",
            [
                "exit code 137 (OOMKilled)",
                "more memory",
                "resources.limits.memory",
            ],
        ),
        (
            json!({"started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}),
            "ProbeFailing",
            ["/readyz", "kubectl logs demo-transcription-", "not ready"],
        ),
    ];

    for (container, reason, words) in said {
        // The scheduler says again and again that the pod has no node: whoever speaks last is heard.
        eventually("what the kubelet says is told", async || {
            kubelet_says(&operator, container.clone()).await;
            let stack = operator.get("tstack", "demo").await.unwrap();
            is_told(&stack, "TranscriptionAvailable", reason, &words)
        })
        .await;
    }

    operator.settle("demo").await;
}

#[tokio::test]
async fn a_pod_without_a_node_says_why() {
    let operator = made("nowhere").await;

    for condition in ["AuthAvailable", "TranscriptionAvailable"] {
        told(
            &operator,
            condition,
            "Unschedulable",
            &["no nodes available", "has no node"],
        )
        .await;
    }
    told(&operator, "Ready", "Unschedulable", &["Pod demo-auth-0"]).await;

    for component in ["auth", "transcription"] {
        operator.pods_have_a_node("demo", component).await;
    }
    operator.settle("demo").await;
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_named_and_a_larger_one_lets_the_pods_be_made() {
    let operator = Operator::start("quota").await;
    operator.s3_secret().await;
    let quota = |pods: u8| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "spec": {"hard": {"pods": pods.to_string()}},
        })
    };
    operator.put(&quota(0)).await;
    operator
        .until("resourcequota", "small", "is in force", |quota| {
            quota["status"]["hard"]["pods"] == "0"
        })
        .await;

    operator.put(&whisper_stack("demo")).await;

    for condition in ["AuthAvailable", "TranscriptionAvailable"] {
        told(
            &operator,
            condition,
            "QuotaExceeded",
            &["exceeded quota: small", "raise the quota"],
        )
        .await;
    }

    operator.put(&quota(5)).await;
    operator.volume_for("demo-auth-data").await;
    operator.settle("demo").await;
}

#[tokio::test]
async fn a_claim_of_a_class_that_is_not_there_says_so() {
    let operator = Operator::start("class").await;
    operator.s3_secret().await;
    let storage = json!({"spec": {"auth": {"storage": {"storageClassName": "missing"}}}});

    operator.put(&with(whisper_stack("demo"), storage)).await;

    told(
        &operator,
        "StorageReady",
        "StoragePending",
        &[
            "PersistentVolumeClaim demo-auth-data",
            "storageclass.storage.k8s.io \"missing\" not found",
        ],
    )
    .await;

    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": operator.namespace},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "missing",
            "claimRef": {"namespace": operator.namespace, "name": "demo-auth-data"},
            "hostPath": {"path": "/nowhere"}, "persistentVolumeReclaimPolicy": "Retain",
        },
    });
    operator.apply(&volume.to_string()).await;
    operator.settle("demo").await;
}
