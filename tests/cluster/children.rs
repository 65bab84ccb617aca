//! The objects that a stack is made of.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use transcription_tests::cluster::{
    Operator, Start, control_plane, established, whisper_stack, with,
};

#[tokio::test]
async fn a_stack_has_all_its_children_each_owned_and_labelled() {
    let operator = Operator::start("children").await;
    operator.s3_secret().await;
    let stack = json!({"spec": {"transcription": {"replicas": 2}, "ingress": {
        "enabled": true, "auth": {"host": "auth.example.com"}, "transcription": {"host": "listen.example.com"},
    }}});

    operator.put(&with(whisper_stack("demo"), stack)).await;

    let uid = operator.get("tstack", "demo").await.unwrap()["metadata"]["uid"].clone();
    for (kind, name) in [
        ("serviceaccount", "demo-auth"),
        ("serviceaccount", "demo-transcription"),
        ("configmap", "demo-auth"),
        ("configmap", "demo-transcription"),
        ("service", "demo-auth"),
        ("service", "demo-transcription"),
        ("networkpolicy", "demo-auth"),
        ("networkpolicy", "demo-transcription"),
        ("ingress", "demo-auth"),
        ("ingress", "demo-transcription"),
        ("statefulset", "demo-auth"),
        ("deployment", "demo-transcription"),
        ("poddisruptionbudget", "demo-transcription"),
        ("persistentvolumeclaim", "demo-auth-data"),
        ("secret", "demo-jwt"),
    ] {
        let child = operator.until(kind, name, "is there", |_| true).await;
        let metadata = &child["metadata"];
        assert_eq!(
            metadata["labels"]["app.kubernetes.io/managed-by"], "transcription-operator",
            "{kind} {name}"
        );
        assert_eq!(
            metadata["labels"]["app.kubernetes.io/instance"], "demo",
            "{kind} {name}"
        );
        let owner = &metadata["ownerReferences"][0];
        // By default data outlives its stack.
        if ["persistentvolumeclaim", "secret"].contains(&kind) {
            assert_eq!(owner, &Value::Null, "{kind} {name}");
        } else {
            assert_eq!(owner["uid"], uid, "{kind} {name}");
            assert_eq!(owner["controller"], true, "{kind} {name}");
        }
    }
}

#[tokio::test]
async fn what_the_spec_says_stands_in_the_settings() {
    let operator = Operator::start("settings").await;
    operator.s3_secret().await;
    operator.secret("ca", &[("ca.crt", "certificate")]).await;
    let spec = json!({"spec": {
        "auth": {"registration": "open", "bcryptCost": 10, "passwordMinLength": 12, "accessTokenExpireMinutes": 5, "trustedProxies": ["10.0.0.0/8", "192.168.0.0/16"]},
        "transcription": {"maxConcurrent": 7, "maxUploadBytes": 1000, "engineTimeoutSeconds": 60},
        "s3": {"region": "eu-central-1", "endpoint": "https://minio:9000", "forcePathStyle": true, "caBundleSecretRef": {"name": "ca"}},
        "corsAllowedOrigins": ["https://app.example.com"],
        "ingress": {"enabled": true, "tls": {"secretName": "tls"}, "auth": {"host": "auth.example.com"}, "transcription": {"host": "listen.example.com"}},
        "observability": {"otlpEndpoint": "http://collector:4318"},
    }});

    operator.put(&with(whisper_stack("demo"), spec)).await;

    let auth = operator
        .until("configmap", "demo-auth", "is there", |_| true)
        .await;
    assert_eq!(
        auth["data"],
        json!({
            "ACCESS_TOKEN_EXPIRE_MINUTES": "5",
            "BCRYPT_COST": "10",
            // The page of the other service calls this one.
            "CORS_ALLOWED_ORIGINS": "https://app.example.com,https://listen.example.com",
            "DATABASE_URL": "sqlite:////app/data/auth.db",
            "LISTEN_ADDR": "[::]:8001",
            "MANAGEMENT_ADDR": "[::]:9090",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "PASSWORD_MIN_LENGTH": "12",
            "REGISTRATION": "open",
            "SHUTDOWN_DELAY_SECONDS": "0",
            "SHUTDOWN_GRACE_SECONDS": "30",
            "TRUSTED_PROXIES": "10.0.0.0/8,192.168.0.0/16",
        })
    );
    let transcription = operator
        .until("configmap", "demo-transcription", "is there", |_| true)
        .await;
    assert_eq!(
        transcription["data"],
        json!({
            "AUTH_TOKEN_URL": "https://auth.example.com/token",
            "AWS_ENDPOINT_URL_S3": "https://minio:9000",
            "AWS_REGION": "eu-central-1",
            "CA_BUNDLE_FILE": "/etc/transcription/ca/ca.crt",
            "CORS_ALLOWED_ORIGINS": "https://app.example.com",
            "ENGINE_TIMEOUT_SECONDS": "60",
            "LISTEN_ADDR": "[::]:8000",
            "MANAGEMENT_ADDR": "[::]:9090",
            "MAX_CONCURRENT_TRANSCRIPTIONS": "7",
            "MAX_UPLOAD_BYTES": "1000",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
            "S3_BUCKET_NAME": "recordings",
            "S3_FORCE_PATH_STYLE": "true",
            "SHUTDOWN_DELAY_SECONDS": "5",
            "SHUTDOWN_GRACE_SECONDS": "90",
            "TRANSCRIPTION_ENGINE": "whisper",
            "WHISPER_MODEL": "/models/base",
        })
    );
    let deployment = operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 5 + 90 + 10);
    assert_eq!(
        pod["containers"][0]["image"],
        "ghcr.io/transcription-stack/transcription-service:0.1.0-whisper"
    );
}

#[tokio::test]
async fn secrets_reach_the_pods_by_reference_and_their_values_stand_nowhere_else() {
    // At the finest level of the log.
    let plane = control_plane().await;
    let namespace = plane.namespace("secrets").await;
    let start = Start {
        settings: &[("RUST_LOG", "trace")],
        ..Start::default()
    };
    let operator = Operator::start_as(plane, namespace, start).await;
    operator.s3_secret().await;
    operator
        .secret("gemini", &[("GEMINI_API_KEY", "a-key-of-googles")])
        .await;
    operator
        .secret(
            "keys",
            &[("now", &"n".repeat(32)), ("before", &"b".repeat(32))],
        )
        .await;
    let spec = json!({"spec": {
        "auth": {"jwt": {"secretRef": {"name": "keys", "key": "now", "previousKey": "before"}}},
        "transcription": {"engine": {"whisper": null, "gemini": {"apiKeySecretRef": {"name": "gemini"}}}},
    }});

    operator.put(&with(whisper_stack("demo"), spec)).await;

    let deployment = operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let from = |name: &str, secret: &str, key: &str| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}});
    assert_eq!(
        container["env"],
        json!([
            from("JWT_SECRET_KEY", "keys", "now"),
            from("JWT_SECRET_KEY_PREVIOUS", "keys", "before"),
            from("GEMINI_API_KEY", "gemini", "GEMINI_API_KEY"),
            from("AWS_ACCESS_KEY_ID", "s3", "AWS_ACCESS_KEY_ID"),
            from("AWS_SECRET_ACCESS_KEY", "s3", "AWS_SECRET_ACCESS_KEY"),
        ])
    );
    assert_eq!(
        container["image"],
        "ghcr.io/transcription-stack/transcription-service:0.1.0"
    );
    assert!(
        operator.get("secret", "demo-jwt").await.is_none(),
        "a key is given: none is made"
    );
    let children =
        "statefulsets,deployments,configmaps,services,serviceaccounts,transcriptionstacks";
    let all = operator
        .in_namespace(&["get", children, "-o", "yaml"], "")
        .await;
    let log = operator.process.log();
    assert!(log.contains("TRACE"), "the test is about the finest level");
    for value in ["a-key-of-googles", &"n".repeat(32), &"b".repeat(32)] {
        // So it is in a Secret.
        let encoded = BASE64_STANDARD.encode(value);
        for value in [value, encoded.trim_end_matches('=')] {
            assert!(!all.contains(value), "{value} stands in an object");
            assert!(!log.contains(value), "{value} stands in the log");
        }
    }
}

#[tokio::test]
async fn every_pod_passes_restricted_admission() {
    let operator = Operator::start("restricted").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    operator
        .succeed(&["label", "namespace", &operator.namespace, label], "")
        .await;
    operator.s3_secret().await;

    operator.put(&whisper_stack("demo")).await;

    for component in ["auth", "transcription"] {
        let selector = format!("app.kubernetes.io/component={component}");
        let pods = ["get", "pods", "-l", &selector, "-o", "name"];
        transcription_tests::process::eventually("the pod is made", async || {
            !operator.in_namespace(&pods, "").await.trim().is_empty()
        })
        .await;
    }
    let events = operator
        .in_namespace(&["get", "events", "-o", "yaml"], "")
        .await;
    assert!(!events.contains("violates PodSecurity"), "{events}");
}

#[tokio::test]
async fn an_autoscaler_takes_the_replicas_over_and_gives_them_back() {
    let operator = Operator::start("replicas").await;
    operator.s3_secret().await;
    let replicas = |count: i64| move |object: &Value| object["spec"]["replicas"] == count;
    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"transcription": {"replicas": 3}}}),
        ))
        .await;
    operator
        .until(
            "deployment",
            "demo-transcription",
            "has 3 replicas",
            replicas(3),
        )
        .await;

    let autoscaling =
        json!({"spec": {"transcription": {"autoscaling": {"minReplicas": 2, "maxReplicas": 5}}}});
    operator
        .put(&with(whisper_stack("demo"), autoscaling))
        .await;
    let autoscaler = operator
        .until(
            "horizontalpodautoscaler",
            "demo-transcription",
            "is there",
            |_| true,
        )
        .await;
    assert_eq!(autoscaler["spec"]["maxReplicas"], 5);
    // What an autoscaler does.
    operator
        .in_namespace(
            &["scale", "deployment", "demo-transcription", "--replicas=4"],
            "",
        )
        .await;
    operator
        .in_namespace(&["annotate", "tstack", "demo", "look=again"], "")
        .await;
    operator
        .until(
            "poddisruptionbudget",
            "demo-transcription",
            "is there",
            |_| true,
        )
        .await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let deployment = operator
        .get("deployment", "demo-transcription")
        .await
        .unwrap();
    assert_eq!(deployment["spec"]["replicas"], 4, "nobody sets it back");

    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"transcription": {"replicas": 1}}}),
        ))
        .await;
    operator
        .until(
            "deployment",
            "demo-transcription",
            "has 1 replica",
            replicas(1),
        )
        .await;
    for kind in ["horizontalpodautoscaler", "poddisruptionbudget"] {
        transcription_tests::process::eventually(
            "what is no longer asked for is gone",
            async || operator.get(kind, "demo-transcription").await.is_none(),
        )
        .await;
    }
}

#[tokio::test]
async fn kubectl_scale_sets_the_replicas_of_a_stack() {
    let operator = Operator::start("scale").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;

    operator
        .in_namespace(&["scale", "tstack", "demo", "--replicas=2"], "")
        .await;

    operator
        .until(
            "deployment",
            "demo-transcription",
            "has 2 replicas",
            |object| object["spec"]["replicas"] == 2,
        )
        .await;
    let stack = operator
        .until("tstack", "demo", "tells its pods", |stack| {
            stack["status"]["transcription"]["replicas"] == 2
        })
        .await;
    let selector = stack["status"]["transcription"]["selector"]
        .as_str()
        .unwrap();
    let pods = operator
        .in_namespace(&["get", "pods", "-l", selector, "-o", "name"], "")
        .await;
    assert_eq!(pods.lines().count(), 2, "{pods}");
}

#[tokio::test]
async fn what_is_no_longer_asked_for_goes_and_what_is_changed_by_hand_comes_back() {
    let operator = Operator::start("prune").await;
    operator.s3_secret().await;
    operator.put(&whisper_stack("demo")).await;
    operator
        .until("networkpolicy", "demo-auth", "is there", |_| true)
        .await;
    operator
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;

    operator
        .put(&with(
            whisper_stack("demo"),
            json!({"spec": {"networkPolicy": {"enabled": false}}}),
        ))
        .await;
    transcription_tests::process::eventually("the policies are gone", async || {
        operator.get("networkpolicy", "demo-auth").await.is_none()
            && operator
                .get("networkpolicy", "demo-transcription")
                .await
                .is_none()
    })
    .await;

    operator
        .in_namespace(
            &[
                "set",
                "image",
                "deployment/demo-transcription",
                "transcription=other:1",
            ],
            "",
        )
        .await;
    operator
        .until(
            "deployment",
            "demo-transcription",
            "has its image again",
            |object| object["spec"]["template"]["spec"]["containers"][0]["image"] != "other:1",
        )
        .await;
    operator
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    operator
        .until("service", "demo-auth", "is made again", |object| {
            object["metadata"].get("deletionTimestamp").is_none()
        })
        .await;
}

#[tokio::test]
async fn prometheus_is_told_where_the_metrics_are_while_that_is_asked_for() {
    let operator = Operator::start("monitors").await;
    operator.s3_secret().await;
    // The kind as the Prometheus operator brings it, but for its schema.
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "servicemonitors.monitoring.coreos.com",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    });
    operator.apply(&kind.to_string()).await;
    established(&operator, "servicemonitors.monitoring.coreos.com").await;
    let asked = json!({"spec": {"observability": {"serviceMonitor": true}}});

    operator.put(&with(whisper_stack("demo"), asked)).await;

    for name in ["demo-auth", "demo-transcription"] {
        let monitor = operator
            .until("servicemonitor", name, "is there", |_| true)
            .await;
        assert_eq!(monitor["spec"]["endpoints"][0]["port"], "management");
        let owner = &monitor["metadata"]["ownerReferences"][0];
        assert_eq!(owner["kind"], "TranscriptionStack");
    }
    operator
        .in_namespace(&["delete", "servicemonitor", "demo-auth"], "")
        .await;
    operator
        .until("servicemonitor", "demo-auth", "is made again", |_| true)
        .await;
    operator.put(&whisper_stack("demo")).await;
    for name in ["demo-auth", "demo-transcription"] {
        transcription_tests::process::eventually("the monitors are gone", async || {
            operator.get("servicemonitor", name).await.is_none()
        })
        .await;
    }
}
