//! A stack from its beginning to its end, and to its next beginning.

use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, control_plane, whisper_stack, with};
use transcription_tests::process::eventually;
use transcription_tests::relay::Relay;

#[tokio::test]
async fn a_deleted_stack_leaves_its_data_and_a_new_one_of_its_name_takes_it_up() {
    let operator = Operator::start("retain").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;
    let key = operator
        .until("secret", "demo-jwt", "is there", |_| true)
        .await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    let claim = operator
        .get("persistentvolumeclaim", "demo-auth-data")
        .await
        .unwrap();

    operator
        .in_namespace(&["delete", "tstack", "demo"], "")
        .await;
    children_are_gone(&operator).await;

    operator.put(&whisper_stack("demo")).await;
    operator
        .until("deployment", "demo-transcription", "is made again", |_| {
            true
        })
        .await;
    let uid = |object: &Value| object["metadata"]["uid"].clone();
    let claim_now = operator
        .get("persistentvolumeclaim", "demo-auth-data")
        .await
        .unwrap();
    let key_now = operator.get("secret", "demo-jwt").await.unwrap();
    assert_eq!(uid(&claim_now), uid(&claim));
    assert_eq!(uid(&key_now), uid(&key));
    assert_eq!(key_now["data"], key["data"], "tokens stay good");
}

#[tokio::test]
async fn with_the_policy_delete_the_data_goes_too() {
    let operator = Operator::start("delete").await;
    operator.s3_secret().await;
    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"deletionPolicy": "Delete"}}),
        ))
        .await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    let is_owned =
        |object: &Value| object["metadata"]["ownerReferences"][0]["kind"] == "TranscriptionStack";

    for (kind, name) in [
        ("secret", "demo-jwt"),
        ("persistentvolumeclaim", "demo-auth-data"),
    ] {
        operator
            .until(kind, name, "goes with the stack", is_owned)
            .await;
    }
    // The policy may change its mind.
    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"deletionPolicy": "Retain"}}),
        ))
        .await;
    for (kind, name) in [
        ("secret", "demo-jwt"),
        ("persistentvolumeclaim", "demo-auth-data"),
    ] {
        operator
            .until(kind, name, "stays", |object| !is_owned(object))
            .await;
    }
    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"deletionPolicy": "Delete"}}),
        ))
        .await;
    operator
        .until("secret", "demo-jwt", "goes with the stack", is_owned)
        .await;
    operator
        .until(
            "persistentvolumeclaim",
            "demo-auth-data",
            "goes with the stack",
            is_owned,
        )
        .await;

    operator
        .in_namespace(&["delete", "tstack", "demo"], "")
        .await;
    children_are_gone(&operator).await;
    for (kind, name) in [
        ("secret", "demo-jwt"),
        ("persistentvolumeclaim", "demo-auth-data"),
    ] {
        eventually("the data is gone", async || {
            operator.get(kind, name).await.is_none()
        })
        .await;
    }
}

#[tokio::test]
async fn the_signing_key_is_made_once_and_never_rewritten() {
    let operator = Operator::start("key").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;
    let made = operator
        .until("secret", "demo-jwt", "is there", |_| true)
        .await;
    let key = made["data"]["JWT_SECRET_KEY"].as_str().unwrap();
    assert!(key.len() >= 43, "at least 32 bytes, in Base64");
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;

    let before =
        operator.get("statefulset", "demo-auth").await.unwrap()["spec"]["template"].clone();
    // Somebody puts a key of their own there.
    let theirs = json!({"stringData": {"JWT_SECRET_KEY": "k".repeat(40)}}).to_string();
    operator
        .in_namespace(&["patch", "secret", "demo-jwt", "-p", &theirs], "")
        .await;
    let after = operator
        .until("statefulset", "demo-auth", "is rolled", |object| {
            object["spec"]["template"] != before
        })
        .await;

    let now = operator.get("secret", "demo-jwt").await.unwrap();
    assert_ne!(now["data"]["JWT_SECRET_KEY"], key, "it is theirs now");
    let hash = |template: &Value| {
        template["metadata"]["annotations"]["transcription.dev/configuration-hash"].clone()
    };
    assert_ne!(hash(&after["spec"]["template"]), hash(&before));
}

#[tokio::test]
async fn a_settled_stack_is_not_written_to_and_a_restart_of_the_operator_writes_nothing() {
    let operator = Operator::start("rest").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&stack_with_everything()).await;
    operator.settle("demo").await;
    // Whatever the autoscaler does to the pods the operator tells in the status.
    operator
        .until("deployment", "demo-transcription", "is scaled", |object| {
            object["spec"]["replicas"] == 2
        })
        .await;
    operator
        .until("hpa", "demo-transcription", "says so", |object| {
            object["status"]["currentReplicas"] == 2
        })
        .await;
    operator.settle("demo").await;
    operator
        .in_namespace(&["annotate", "secret", "s3", "seen=again"], "")
        .await;
    let versions = all_versions(&operator).await;

    let operator = operator.restart().await;
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;

    assert_eq!(all_versions(&operator).await, versions);
    assert_eq!(operator.writes(), Vec::<String>::new());
}

#[tokio::test]
async fn of_two_operators_one_works_and_the_other_takes_over_when_it_ends() {
    let mut first = Operator::start("two").await;
    first.s3_secret().await;
    let second = first.another().await;
    first.put(&whisper_stack("demo")).await;
    first
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    assert!(first.process.log().contains("holds the lease"));
    let log = second.process.log();
    assert!(
        log.contains("another operator works") && !log.contains("applied"),
        "{log}"
    );

    first.process.terminate().await;

    second
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    second
        .until("service", "demo-auth", "is made again", |object| {
            object["metadata"].get("deletionTimestamp").is_none()
        })
        .await;
    assert!(second.process.log().contains("holds the lease"));
}

#[tokio::test]
async fn an_operator_whose_watches_hear_nothing_is_neither_ready_nor_alive() {
    let plane = control_plane().await;
    let server = plane.url().trim_start_matches("https://").to_owned();
    let relay = Relay::start(server).await;
    // A lease that is not lost meanwhile, or the operator would end.
    let settings = [
        ("WATCH_STALE_AFTER_SECONDS", "5"),
        ("LEASE_DURATION_SECONDS", "600"),
    ];
    let operator = Operator::start_behind("deaf", &relay, &settings).await;
    assert_eq!(operator.ask("/healthz").await.0, 200);

    relay.silence(true);

    for path in ["/healthz", "/readyz"] {
        eventually("the operator says so", async || {
            let (status, body) = operator.ask(path).await;
            status == 503 && body.contains("nothing is heard from the API server")
        })
        .await;
    }
}

/// A stack that has all kinds of children, and what the API server writes in another way than it was asked.
fn stack_with_everything() -> Value {
    let labels = json!({"matchLabels": {"app": "x"}});
    let term = |weight: u8| json!({"weight": weight, "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": labels}});
    let spread = |when: &str| json!({"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": when, "labelSelector": labels});
    let pod = json!({
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term(1), term(2)]}},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "c", "effect": "NoExecute", "tolerationSeconds": 5}],
        "topologySpreadConstraints": [spread("DoNotSchedule"), spread("ScheduleAnyway")],
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2.0", "memory": "4096Mi"}},
        "nodeSelector": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "extraEnv": [
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}}},
            {"name": "EMPTY", "value": ""},
        ],
    });
    let spec = json!({"spec": {
        "deletionPolicy": "Delete",
        "auth": with(pod.clone(), json!({"storage": {"size": "1024Mi"}, "trustedProxies": ["10.0.0.0/8"]})),
        "transcription": with(pod, json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})),
        "ingress": {
            "enabled": true, "className": "nginx", "annotations": {"a/b": "c"}, "tls": {"secretName": "tls"},
            "auth": {"host": "auth.example.com"}, "transcription": {"host": "listen.example.com"},
        },
        "networkPolicy": {"egress": [
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}], "to": [{"namespaceSelector": {}}]},
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
        ]},
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
        "observability": {"otlpEndpoint": "http://collector:4318"},
    }});
    with(whisper_stack("demo"), spec)
}

/// The resource versions of a stack and all that it is made of.
async fn all_versions(operator: &Operator) -> String {
    // Others write to the rest when they come to it: the autoscaler to itself and the Deployment, the disruption controller to the status of
    // its budget. What the operator writes to them is in the API server's log.
    let kinds = "tstack,statefulset,configmap,service,serviceaccount,networkpolicy,persistentvolumeclaim,ingress,secret";
    let columns =
        "-o=custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion";
    operator.in_namespace(&["get", kinds, columns], "").await
}

async fn children_are_gone(operator: &Operator) {
    let kinds = "statefulset,deployment,configmap,service,serviceaccount,networkpolicy";
    let selector = "app.kubernetes.io/instance=demo";
    eventually("the children are gone", async || {
        let left = operator
            .in_namespace(&["get", kinds, "-l", selector, "-o", "name"], "")
            .await;
        left.trim().is_empty()
    })
    .await;
}
