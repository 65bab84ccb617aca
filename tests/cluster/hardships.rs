//! What can be in an operator's way, one by one: nothing is lost by it, it is told, and it ends by itself when its cause does.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, condition_of, whisper_stack, with};
use transcription_tests::process::eventually;

/// More changes than any queue of the operator holds come while it waits for its turn. When it comes, it acts on what is, and not on what was.
#[tokio::test]
async fn an_operator_that_waits_for_its_turn_follows_what_happens() {
    const STACKS: usize = 40;
    const CHANGES: usize = 30;
    let mut first = Operator::start("standby").await;
    first.s3_secret().await;
    first.process.terminate().await;
    let hold = |holder: &str| {
        json!({"spec": {"holderIdentity": holder, "leaseDurationSeconds": 3600}}).to_string()
    };
    let lease = ["patch", "lease", "transcription-operator", "-p"];
    let someone = hold("someone");
    first
        .in_namespace(&[&lease[..], &[&someone]].concat(), "")
        .await;
    let operator = first.another().await;

    let stacks = (0..STACKS).map(|number| whisper_stack(&format!("demo{number}")));
    let stacks = stacks.collect::<Vec<_>>();
    operator
        .put(&json!({"apiVersion": "v1", "kind": "List", "items": stacks}))
        .await;
    for change in 0..CHANGES {
        let seen = format!("seen={change}");
        operator
            .in_namespace(&["annotate", "--overwrite", "secret", "s3", &seen], "")
            .await;
    }
    let changed =
        json!({"spec": {"networkPolicy": {"enabled": false}, "transcription": {"replicas": 3}}});
    operator.put(&with(whisper_stack("demo7"), changed)).await;
    assert!(!operator.process.log().contains("holds the lease"));

    let nobody = hold("");
    operator
        .in_namespace(&[&lease[..], &[&nobody]].concat(), "")
        .await;

    operator
        .until(
            "deployment",
            "demo7-transcription",
            "has 3 replicas",
            |object| object["spec"]["replicas"] == 3,
        )
        .await;
    operator
        .until("deployment", "demo39-transcription", "is there", |_| true)
        .await;
    let written = operator.writes();
    assert!(
        written
            .iter()
            .all(|write| !write.contains("networkpolicies/demo7-")),
        "it acted on what was: {written:?}"
    );
}

#[tokio::test]
async fn pods_that_run_keep_all_they_have_while_a_secret_is_missing() {
    let operator = Operator::start("whole").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    let all = async || {
        let part = async |kind: &str, name: &str, field: &str| {
            operator.get(kind, name).await.unwrap()[field].clone()
        };
        let set = part("statefulset", "demo-auth", "spec").await;
        let deployment = part("deployment", "demo-transcription", "spec").await;
        json!([
            set["template"],
            deployment["template"],
            part("configmap", "demo-auth", "data").await,
            part("configmap", "demo-transcription", "data").await,
        ])
    };
    let before = all().await;

    let spec = json!({"spec": {
        "auth": {"jwt": {"secretRef": {"name": "missing"}}, "bcryptCost": 10},
        "transcription": {"engineTimeoutSeconds": 60, "replicas": 2},
    }});
    operator.put(&with(whisper_stack("demo"), spec)).await;

    operator
        .condition("demo", "SecretsReady", "False", "SecretMissing")
        .await;
    operator
        .condition("demo", "Ready", "False", "SecretMissing")
        .await;
    operator
        .until(
            "deployment",
            "demo-transcription",
            "has 2 replicas: they need nothing new",
            |object| object["spec"]["replicas"] == 2,
        )
        .await;
    assert_eq!(all().await, before);

    let key = "k".repeat(32);
    operator
        .secret("missing", &[("JWT_SECRET_KEY", &key)])
        .await;
    for (kind, name, number) in [
        ("statefulset", "demo-auth", 0),
        ("deployment", "demo-transcription", 1),
    ] {
        operator
            .until(kind, name, "is rolled", |object| {
                object["spec"]["template"] != before[number]
            })
            .await;
    }
    let settings = operator.get("configmap", "demo-auth").await.unwrap();
    assert_eq!(settings["data"]["BCRYPT_COST"], "10");
}

#[tokio::test]
async fn a_spec_that_cannot_be_read_is_told_and_holds_up_no_other() {
    let operator = Operator::start("unreadable").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("broken")).await;
    operator
        .until("deployment", "broken-transcription", "is there", |_| true)
        .await;

    // The schema takes it, for a port is a number or a name; a Kubernetes type has 32 bits for it.
    let port =
        |port: u64| json!({"spec": {"networkPolicy": {"egress": [{"ports": [{"port": port}]}]}}});
    operator
        .put(&with(whisper_stack("broken"), port(5_000_000_000)))
        .await;

    let is_told = async |operator: &Operator| {
        let stalled = operator
            .condition("broken", "Stalled", "True", "SpecUnreadable")
            .await;
        let message = stalled["message"].as_str().unwrap();
        assert!(
            message.contains("spec.networkPolicy.egress[0].ports[0]"),
            "{message}"
        );
        operator
            .condition("broken", "Ready", "False", "SpecUnreadable")
            .await;
    };
    is_told(&operator).await;
    let operator = operator.restart().await;
    is_told(&operator).await;
    operator.put(&whisper_stack("demo")).await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    assert!(
        operator
            .get("deployment", "broken-transcription")
            .await
            .is_some(),
        "what runs is left alone"
    );

    operator
        .put(&with(whisper_stack("broken"), port(443)))
        .await;
    operator
        .condition("broken", "Stalled", "False", "NotAsked")
        .await;
    operator
        .until("networkpolicy", "broken-auth", "has the rule", |object| {
            object["spec"]["egress"][0]["ports"][0]["port"] == 443
        })
        .await;
}

#[tokio::test]
async fn a_claim_that_is_being_deleted_is_told_while_there_is_time_and_its_pod_is_left_alone() {
    let operator = Operator::start("leaving").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    let template = async || {
        operator.get("statefulset", "demo-auth").await.unwrap()["spec"]["template"].clone()
    };
    let before = template().await;

    // What protects a claim as long as a pod runs: there is no node, so no pod does.
    let claim = ["patch", "pvc", "demo-auth-data", "-p"];
    let protected = r#"{"metadata":{"finalizers":["transcription.dev/test"]}}"#;
    operator
        .in_namespace(&[&claim[..], &[protected]].concat(), "")
        .await;
    operator
        .in_namespace(&["delete", "pvc", "demo-auth-data", "--wait=false"], "")
        .await;
    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"auth": {"bcryptCost": 10}}}),
        ))
        .await;

    let storage = operator
        .condition("demo", "StorageReady", "False", "StorageLost")
        .await;
    let message = storage["message"].as_str().unwrap();
    assert!(
        message.contains("is being deleted") && message.contains("back up now"),
        "{message}"
    );
    operator
        .condition("demo", "Ready", "False", "StorageLost")
        .await;
    operator
        .condition("demo", "Stalled", "True", "StorageLost")
        .await;
    assert_eq!(
        template().await,
        before,
        "a new pod could not have the claim"
    );

    let free = r#"{"metadata":{"finalizers":null}}"#;
    operator
        .in_namespace(&[&claim[..], &[free]].concat(), "")
        .await;
    operator
        .until("tstack", "demo", "has lost its claim", |stack| {
            let message = &condition_of(stack, "Stalled")["message"];
            message
                .as_str()
                .is_some_and(|message| message.contains("is gone"))
        })
        .await;
}

#[tokio::test]
async fn a_stack_waits_until_the_one_of_its_name_before_is_cleared_away() {
    let operator = Operator::start("again").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    let service = ["patch", "service", "demo-auth", "-p"];
    let held = r#"{"metadata":{"finalizers":["transcription.dev/test"]}}"#;
    operator
        .in_namespace(&[&service[..], &[held]].concat(), "")
        .await;

    operator
        .in_namespace(&["delete", "tstack", "demo"], "")
        .await;
    operator.put(&whisper_stack("demo")).await;

    operator
        .until("tstack", "demo", "waits for the old Service", |stack| {
            let waiting = condition_of(stack, "Reconciling");
            let message = waiting["message"].as_str().unwrap_or_default();
            waiting["status"] == "True"
                && waiting["reason"] == "Waiting"
                && message
                    .contains("Service demo-auth is still there from the stack of this name before")
        })
        .await;
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;

    let free = r#"{"metadata":{"finalizers":null}}"#;
    operator
        .in_namespace(&[&service[..], &[free]].concat(), "")
        .await;
    let uid = operator.get("tstack", "demo").await.unwrap()["metadata"]["uid"].clone();
    operator
        .until("service", "demo-auth", "is the new stack's", |object| {
            object["metadata"]["ownerReferences"][0]["uid"] == uid
        })
        .await;
}

#[tokio::test]
async fn a_claim_is_replaced_once_for_each_time_that_it_is_asked_for() {
    let operator = Operator::start("twice").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    let lose = async || {
        operator
            .in_namespace(&["delete", "pvc", "demo-auth-data", "--wait=false"], "")
            .await;
        let free = r#"{"metadata":{"finalizers":null}}"#;
        let unprotect = [
            "--namespace",
            &operator.namespace,
            "patch",
            "pvc",
            "demo-auth-data",
            "-p",
            free,
        ];
        operator.kubectl(&unprotect, "").await;
        operator
            .condition("demo", "Stalled", "True", "StorageLost")
            .await
    };
    let annotate = async |annotation: &str| {
        operator
            .in_namespace(&["annotate", "tstack", "demo", annotation], "")
            .await;
    };
    let ask = "transcription.dev/replace-storage=demo-auth-data";

    lose().await;
    annotate(ask).await;
    operator
        .until("pvc", "demo-auth-data", "is made anew", |_| true)
        .await;
    let volume = format!("{}-demo-auth-data", operator.namespace);
    operator.succeed(&["delete", "pv", &volume], "").await;
    operator.volume_for("demo-auth-data").await;
    operator.settle("demo").await;

    let stalled = lose().await;
    let message = stalled["message"].as_str().unwrap();
    assert!(message.contains("take away the annotation"), "{message}");
    assert_eq!(
        operator.get("pvc", "demo-auth-data").await,
        None,
        "the question was answered once"
    );

    annotate("transcription.dev/replace-storage-").await;
    operator
        .until("tstack", "demo", "may be asked again", |stack| {
            stack["status"]["storage"]["replaced"] == Value::Null
        })
        .await;
    annotate(ask).await;
    operator
        .until("pvc", "demo-auth-data", "is made anew", |_| true)
        .await;
}

#[tokio::test]
async fn what_a_paused_stack_lacks_is_told_and_not_called_ready() {
    let operator = Operator::start("lacks").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    let paused = with(whisper_stack("demo"), json!({"spec": {"paused": true}}));
    operator.put(&paused).await;
    operator
        .condition("demo", "Ready", "True", "AsWanted")
        .await;
    operator.condition("demo", "Paused", "True", "Asked").await;

    let changed = json!({"spec": {"networkPolicy": {"enabled": false}, "auth": {"bcryptCost": 10}, "transcription": {"replicas": 2}}});
    operator.put(&with(paused, changed)).await;
    operator
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    let lacks = [
        "Service demo-auth is not there",
        "ConfigMap demo-auth is another",
        "StatefulSet demo-auth is another",
        "NetworkPolicy demo-auth is no longer asked for",
        "Deployment demo-transcription has 1 replicas and not 2",
    ];
    eventually("everything that is not as asked is named", async || {
        let stack = operator.get("tstack", "demo").await.unwrap();
        let ready = condition_of(&stack, "Ready");
        let message = ready["message"].as_str().unwrap();
        ready["status"] == "False"
            && ready["reason"] == "Paused"
            && lacks.iter().all(|lack| message.contains(lack))
    })
    .await;
    assert!(operator.get("service", "demo-auth").await.is_none());

    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
}
