//! What the operator tells of itself.

use serde_json::Value;
use transcription_tests::cluster::{Operator, Start, control_plane, whisper_stack};
use transcription_tests::collector::Collector;
use transcription_tests::files::root;
use transcription_tests::process::eventually;

#[tokio::test]
async fn the_metrics_tell_what_is_so() {
    let operator = Operator::start("metrics").await;
    let metrics = async || operator.ask("/metrics").await.1;
    operator.put(&whisper_stack("demo")).await;
    let condition = |kind: &str, status: &str| {
        let namespace = &operator.namespace;
        format!(
            "operator_stack_condition{{name=\"demo\",namespace=\"{namespace}\",status=\"{status}\",type=\"{kind}\"}}"
        )
    };

    // Without a Secret nothing is ready, and nothing failed.
    operator
        .condition("demo", "SecretsReady", "False", "SecretMissing")
        .await;
    eventually("the conditions are told", async || {
        let told = metrics().await;
        value(&told, &condition("SecretsReady", "False")) == Some(1.0)
            && value(&told, &condition("SecretsReady", "True")) == Some(0.0)
            && value(&told, &condition("Paused", "False")) == Some(1.0)
    })
    .await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.settle("demo").await;
    eventually("the change of a condition is told", async || {
        let told = metrics().await;
        value(&told, &condition("Ready", "True")) == Some(1.0)
            && value(&told, &condition("Ready", "False")) == Some(0.0)
    })
    .await;

    let told = metrics().await;
    assert_eq!(value(&told, "operator_leader"), Some(1.0));
    let ended = |result: &str| {
        value(
            &told,
            &format!("operator_reconciliations_total{{result=\"{result}\"}}"),
        )
    };
    assert!(ended("ok") >= Some(2.0), "{told}");
    assert_eq!(ended("terminal"), Some(0.0));
    assert!(
        value(&told, "operator_reconcile_duration_seconds_count") >= Some(2.0),
        "{told}"
    );
    let asked = |verb: &str, resource: &str| {
        let name = format!(
            "operator_kube_requests_total{{code=\"200\",resource=\"{resource}\",verb=\"{verb}\"}}"
        );
        value(&told, &name)
    };
    assert!(asked("watch", "deployments") >= Some(1.0), "{told}");
    assert!(
        asked("patch", "transcriptionstacks/status") >= Some(1.0),
        "{told}"
    );
    assert!(asked("get", "secrets") >= Some(1.0), "{told}");
    for resource in [
        "transcriptionstacks",
        "secrets",
        "statefulsets",
        "persistentvolumeclaims",
    ] {
        let age = format!("operator_watch_last_event_age_seconds{{resource=\"{resource}\"}}");
        let age = value(&told, &age);
        assert!(
            age.is_some_and(|age| (0.0..120.0).contains(&age)),
            "{resource}: {told}"
        );
    }

    let page = root().join("docs/kubernetes.md");
    let page = std::fs::read_to_string(page).unwrap();
    let names = told.lines().filter_map(|line| line.strip_prefix("# HELP "));
    for name in names.map(|line| line.split(' ').next().unwrap()) {
        assert!(
            !name.starts_with("operator_") || page.contains(&format!("`{name}`")),
            "{name} is not on the page"
        );
    }

    operator
        .in_namespace(&["delete", "tstack", "demo"], "")
        .await;
    eventually("a stack that is gone leaves nothing behind", async || {
        !metrics().await.contains("operator_stack_condition{")
    })
    .await;
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_counted_as_such() {
    let operator = Operator::start("terminal").await;
    operator.s3_secret().await;
    let mut stack = whisper_stack("demo");
    stack["spec"]["version"] = Value::from("9.9.9");

    operator.put(&stack).await;

    operator
        .condition("demo", "Stalled", "True", "VersionUnknown")
        .await;
    eventually("it is counted", async || {
        let told = operator.ask("/metrics").await.1;
        value(&told, "operator_reconciliations_total{result=\"terminal\"}") >= Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn reconciliations_are_traced_and_the_log_names_the_stack() {
    let collector = Collector::start().await;
    let plane = control_plane().await;
    let namespace = plane.namespace("traces").await;
    let start = Start {
        settings: &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)],
        ..Start::default()
    };
    let mut operator = Operator::start_as(control_plane().await, namespace, start).await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    // What is left is sent at the end.
    operator.process.terminate().await;
    let spans = collector.spans();
    let of_demo = spans.iter().filter(|span| {
        let attribute = |name: &str| span.attributes.get(name).map(String::as_str);
        span.name == "reconcile"
            && span.resource.get("service.name").map(String::as_str)
                == Some("transcription-operator")
            && attribute("stack.name") == Some("demo")
            && attribute("stack.namespace") == Some(operator.namespace.as_str())
            && attribute("result") == Some("ok")
    });
    let of_demo = of_demo.collect::<Vec<_>>();
    assert!(!of_demo.is_empty(), "{spans:#?}");
    for step in [
        "dereference",
        "validate",
        "build",
        "apply",
        "diagnose",
        "update_status",
    ] {
        let within = spans.iter().find(|span| {
            span.name == step
                && of_demo
                    .iter()
                    .any(|outer| outer.span_id == span.parent_span_id)
        });
        assert!(within.is_some(), "{step}: {spans:#?}");
    }
    let log = operator.process.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let made = lines.into_iter().find(|line| {
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("ResourcesMade: Deployment")
    });
    let made = made.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(made["stack.name"], "demo");
    assert_eq!(made["stack.namespace"], operator.namespace.as_str());
}

/// The value of a series, by its name and labels as Prometheus's text format has them.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}
