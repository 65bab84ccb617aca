//! What a stack tells of itself is what is so.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, condition_of, whisper_stack, with};
use transcription_tests::process::eventually;

#[tokio::test]
async fn a_stack_whose_pods_are_ready_is_ready_and_not_before() {
    let operator = Operator::start("ready").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;

    operator
        .condition("demo", "SecretsReady", "True", "AsWanted")
        .await;
    operator
        .condition("demo", "AuthAvailable", "False", "Unschedulable")
        .await;
    operator
        .condition("demo", "StorageReady", "False", "StoragePending")
        .await;
    let ready = operator
        .condition("demo", "Ready", "False", "StoragePending")
        .await;
    assert!(
        ready["message"]
            .as_str()
            .unwrap()
            .contains("PersistentVolumeClaim demo-auth-data is not bound yet"),
        "{ready}"
    );
    operator
        .condition("demo", "Reconciling", "True", "StoragePending")
        .await;

    operator.volume_for("demo-auth-data").await;
    operator
        .condition("demo", "StorageReady", "True", "AsWanted")
        .await;
    operator.pods_become_ready("demo", "auth").await;
    operator
        .condition("demo", "AuthAvailable", "True", "AsWanted")
        .await;
    operator
        .condition("demo", "Ready", "False", "Unschedulable")
        .await;
    operator.pods_become_ready("demo", "transcription").await;
    operator
        .condition("demo", "TranscriptionAvailable", "True", "AsWanted")
        .await;
    operator
        .condition("demo", "Ready", "True", "AsWanted")
        .await;
    operator
        .condition("demo", "Reconciling", "False", "AsWanted")
        .await;
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;
    operator
        .condition("demo", "Paused", "False", "NotAsked")
        .await;

    let stack = operator.get("tstack", "demo").await.unwrap();
    let status = &stack["status"];
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["version"], "0.1.0");
    assert_eq!(
        status["storage"],
        json!({"requested": "1Gi", "actual": "2Gi"})
    );
    assert_eq!(
        status["endpoints"],
        json!({
            "auth": format!("http://demo-auth.{}.svc:8001", operator.namespace),
            "transcription": format!("http://demo-transcription.{}.svc:8000", operator.namespace),
        })
    );
    let wait = [
        "wait",
        "--for=condition=Ready",
        "--timeout=5s",
        "tstack/demo",
    ];
    operator.in_namespace(&wait, "").await;
    let line = operator
        .in_namespace(&["get", "tstack", "--no-headers"], "")
        .await;
    let columns = line.split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        columns[..6],
        ["demo", "True", "AsWanted", "True", "True", "0.1.0"],
        "{line}"
    );
}

#[tokio::test]
async fn a_roll_is_not_ready_until_it_is_over() {
    let operator = Operator::start("roll").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"transcription": {"engineTimeoutSeconds": 61}}}),
        ))
        .await;

    // The new pod has no node: there is none here. As if it had one, it only takes its time.
    operator
        .condition("demo", "TranscriptionAvailable", "False", "Unschedulable")
        .await;
    // The scheduler says again and again that it has none: whoever speaks last is heard.
    eventually("the roll is told", async || {
        operator.pods_have_a_node("demo", "transcription").await;
        let stack = operator.get("tstack", "demo").await.unwrap();
        [
            ("TranscriptionAvailable", "False"),
            ("Ready", "False"),
            ("Reconciling", "True"),
        ]
        .into_iter()
        .all(|(kind, status)| {
            let found = condition_of(&stack, kind);
            found["status"] == status && found["reason"] == "RollingOut"
        })
    })
    .await;
    let stack = operator.settle("demo").await;
    assert_eq!(stack["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn missing_secrets_are_named_with_what_to_do_and_no_pod_is_made_before() {
    let operator = Operator::start("missing").await;
    let gemini = json!({"spec": {"transcription": {"engine": {"whisper": null, "gemini": {"apiKeySecretRef": {"name": "gemini"}}}}}});

    operator.put(&with(whisper_stack("demo"), gemini)).await;

    let secrets = operator
        .condition("demo", "SecretsReady", "False", "SecretMissing")
        .await;
    let message = secrets["message"].as_str().unwrap();
    assert!(
        message.contains("Secret gemini is not there: make it, with the key GEMINI_API_KEY"),
        "{message}"
    );
    assert!(message.contains("Secret s3 is not there"), "{message}");
    operator
        .until(
            "statefulset",
            "demo-auth",
            "is made: it needs none of them",
            |_| true,
        )
        .await;
    operator
        .condition("demo", "TranscriptionAvailable", "False", "Waiting")
        .await;
    assert!(
        operator
            .get("deployment", "demo-transcription")
            .await
            .is_none()
    );

    operator.s3_secret().await;
    operator.secret("gemini", &[("KEY", "a-key")]).await;
    let secrets = operator
        .until("tstack", "demo", "misses a key", |stack| {
            let message = &condition_of(stack, "SecretsReady")["message"];
            message
                .as_str()
                .is_some_and(|message| message.contains("Secret gemini has no key GEMINI_API_KEY"))
        })
        .await;
    assert_eq!(condition_of(&secrets, "Ready")["status"], "False");

    operator
        .secret("gemini", &[("GEMINI_API_KEY", "a-key")])
        .await;
    operator
        .condition("demo", "SecretsReady", "True", "AsWanted")
        .await;
    operator
        .until("deployment", "demo-transcription", "is made", |_| true)
        .await;
}

#[tokio::test]
async fn a_signing_key_that_is_too_short_is_told_before_a_pod_fails_of_it() {
    let operator = Operator::start("short").await;
    operator.s3_secret().await;
    operator
        .secret("keys", &[("JWT_SECRET_KEY", "short")])
        .await;

    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"auth": {"jwt": {"secretRef": {"name": "keys"}}}}}),
        ))
        .await;

    let secrets = operator
        .condition("demo", "SecretsReady", "False", "SecretInvalid")
        .await;
    assert!(
        secrets["message"]
            .as_str()
            .unwrap()
            .contains("fewer than 32 bytes"),
        "{secrets}"
    );
}

#[tokio::test]
async fn a_secret_that_goes_restarts_nothing_and_one_that_changes_restarts_its_users_alone() {
    let operator = Operator::start("rotate").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    let template = async |kind: &str, name: &str| {
        operator.get(kind, name).await.unwrap()["spec"]["template"].clone()
    };
    let transcription = template("deployment", "demo-transcription").await;
    let auth = template("statefulset", "demo-auth").await;

    operator.in_namespace(&["delete", "secret", "s3"], "").await;
    operator
        .condition("demo", "SecretsReady", "False", "SecretMissing")
        .await;
    operator
        .condition("demo", "TranscriptionAvailable", "True", "AsWanted")
        .await;
    assert_eq!(
        template("deployment", "demo-transcription").await,
        transcription
    );

    operator.s3_secret().await;
    operator
        .condition("demo", "SecretsReady", "True", "AsWanted")
        .await;
    assert_eq!(
        template("deployment", "demo-transcription").await,
        transcription,
        "the same values are no change"
    );

    operator
        .secret(
            "s3",
            &[
                ("AWS_ACCESS_KEY_ID", "access"),
                ("AWS_SECRET_ACCESS_KEY", "another"),
            ],
        )
        .await;
    operator
        .until("deployment", "demo-transcription", "is rolled", |object| {
            object["spec"]["template"] != transcription
        })
        .await;
    assert_eq!(
        template("statefulset", "demo-auth").await,
        auth,
        "it does not use that Secret"
    );
}

#[tokio::test]
async fn a_name_that_is_taken_stalls_and_is_told_until_it_is_free() {
    let operator = Operator::start("taken").await;
    operator.s3_secret().await;
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "demo-auth"}, "spec": {"ports": [{"port": 1}]}});
    operator.put(&theirs).await;

    operator.put(&whisper_stack("demo")).await;

    let stalled = operator
        .condition("demo", "Stalled", "True", "NameTaken")
        .await;
    assert!(
        stalled["message"]
            .as_str()
            .unwrap()
            .starts_with("Service demo-auth was not made by this stack"),
        "{stalled}"
    );
    operator
        .condition("demo", "Ready", "False", "NameTaken")
        .await;
    let service = operator.get("service", "demo-auth").await.unwrap();
    assert_eq!(service["spec"]["ports"][0]["port"], 1, "it is left alone");

    operator
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    // What is another's is not watched: it is looked at every half a minute.
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;
}

#[tokio::test]
async fn a_claim_that_is_lost_is_never_replaced_unasked() {
    let operator = Operator::start("lost").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    operator
        .in_namespace(&["delete", "pvc", "demo-auth-data", "--wait=false"], "")
        .await;
    // Pods that were never scheduled do not protect it, and then it is gone already.
    let unprotect = [
        "--namespace",
        &operator.namespace,
        "patch",
        "pvc",
        "demo-auth-data",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ];
    operator.kubectl(&unprotect, "").await;

    // While it is there and being deleted the reason is the same, and the advice another.
    let advice = "transcription.dev/replace-storage=demo-auth-data";
    operator
        .until("tstack", "demo", "is stalled with advice", |stack| {
            let stalled = condition_of(stack, "Stalled");
            let message = stalled["message"].as_str();
            stalled["reason"] == "StorageLost" && message.is_some_and(|it| it.contains(advice))
        })
        .await;
    assert!(operator.get("pvc", "demo-auth-data").await.is_none());

    operator
        .in_namespace(
            &[
                "annotate",
                "tstack",
                "demo",
                "transcription.dev/replace-storage=demo-auth-data",
            ],
            "",
        )
        .await;
    operator
        .until("pvc", "demo-auth-data", "is made anew", |_| true)
        .await;
}

#[tokio::test]
async fn a_release_that_the_operator_does_not_know_stalls() {
    let operator = Operator::start("release").await;
    operator.s3_secret().await;

    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"version": "9.9.9"}}),
        ))
        .await;

    let stalled = operator
        .condition("demo", "Stalled", "True", "VersionUnknown")
        .await;
    assert!(
        stalled["message"].as_str().unwrap().contains("9.9.9"),
        "{stalled}"
    );
    assert!(operator.get("statefulset", "demo-auth").await.is_none());
}

#[tokio::test]
async fn a_paused_stack_tells_its_state_and_is_not_changed() {
    let operator = Operator::start("paused").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    let paused = json!({"spec": {"paused": true, "transcription": {"replicas": 2}}});
    operator
        .put(&with(whisper_stack("demo"), paused.clone()))
        .await;
    operator.condition("demo", "Paused", "True", "Asked").await;
    operator
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    operator
        .in_namespace(
            &["scale", "deployment", "demo-transcription", "--replicas=0"],
            "",
        )
        .await;
    operator
        .condition("demo", "TranscriptionAvailable", "True", "NoPodsWanted")
        .await;
    assert!(operator.get("service", "demo-auth").await.is_none());

    operator
        .put(&with(
            with(whisper_stack("demo"), paused),
            json!({"spec": {"paused": false}}),
        ))
        .await;
    operator
        .until("service", "demo-auth", "is made again", |_| true)
        .await;
    operator
        .until(
            "deployment",
            "demo-transcription",
            "has 2 replicas",
            |object| object["spec"]["replicas"] == 2,
        )
        .await;
}

#[tokio::test]
async fn every_condition_is_always_there() {
    let operator = Operator::start("always").await;

    operator.put(&whisper_stack("demo")).await;

    let stack = operator
        .until("tstack", "demo", "has conditions", |stack| {
            stack["status"]["conditions"].is_array()
        })
        .await;
    for condition in [
        "Ready",
        "Reconciling",
        "Stalled",
        "SecretsReady",
        "StorageReady",
        "AuthAvailable",
        "TranscriptionAvailable",
        "Paused",
    ] {
        let found = condition_of(&stack, condition);
        assert_ne!(found, &Value::Null, "{condition}");
        assert!(
            !found["message"].as_str().unwrap().is_empty(),
            "{condition}"
        );
        assert_eq!(found["observedGeneration"], 1, "{condition}");
    }
}
