//! The control plane works as the tests of the operator need it.

use transcription_lab::kubernetes::ControlPlane;
use transcription_lab::process::eventually;

#[tokio::test]
async fn a_service_account_may_do_no_more_than_it_was_given() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("rights").await;
    let config = cluster.kubeconfig_for(&namespace, "default").await;

    let refused = cluster.kubectl_as(&config, &["get", "secrets"], "").await;

    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("forbidden"), "{message}");
    let who = format!("system:serviceaccount:{namespace}:default");
    eventually("the audit log tells of it", async || {
        let log = std::fs::read_to_string(cluster.audit_log()).unwrap();
        let mut lines = log.lines();
        lines.any(|line| line.contains(&who) && line.contains("\"code\":403"))
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_a_deleted_object_is_collected() {
    let cluster = ControlPlane::shared().await;
    let namespace = cluster.namespace("collected").await;
    let deployment = [
        "create",
        "deployment",
        "web",
        "--image=none",
        "--namespace",
        &namespace,
    ];
    cluster.succeed(&deployment, "").await;
    let sets = [
        "get",
        "replicasets",
        "--namespace",
        &namespace,
        "-o",
        "name",
    ];
    eventually("the deployment has its set", async || {
        !cluster.succeed(&sets, "").await.is_empty()
    })
    .await;

    let delete = ["delete", "deployment", "web", "--namespace", &namespace];
    cluster.succeed(&delete, "").await;

    eventually("the set is gone", async || {
        cluster.succeed(&sets, "").await.is_empty()
    })
    .await;
}
