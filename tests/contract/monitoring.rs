//! What watches the product: rules that Prometheus takes, alerts that fire when they should, and nothing that asks for a metric that there is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use transcription_tests::files::{cached, root};
use transcription_tests::process::run;

const RULES: &str = "k8s/monitoring/rules.yaml";
const CASES: &str = "tests/data/monitoring/rules.test.yaml";
const DASHBOARDS: [&str; 2] = [
    "k8s/monitoring/dashboards/services.json",
    "k8s/monitoring/dashboards/operator.json",
];

fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// What a program prints that has to succeed.
async fn printed(mut command: Command) -> String {
    command.current_dir(root());
    let output = run(command, "").await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{printed}{said}");
    printed
}

fn alerts() -> Vec<String> {
    let rules = text(RULES);
    let names = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_not_otherwise() {
    for arguments in [["check", "rules", RULES], ["test", "rules", CASES]] {
        let mut promtool = Command::new(cached("prometheus/usr/bin/promtool"));
        promtool.args(arguments);
        printed(promtool).await;
    }
    let cases = serde_saphyr::from_str::<Value>(&text(CASES)).unwrap();
    let cases = cases["tests"].as_array().unwrap().iter();
    let asked = cases.flat_map(|case| case["alert_rule_test"].as_array().unwrap());
    let asked = asked.map(|asked| {
        let alert = asked["alertname"].as_str().unwrap().to_owned();
        let fires = asked["exp_alerts"].as_array();
        (alert, fires.is_some_and(|alerts| !alerts.is_empty()))
    });
    let asked = asked.collect::<BTreeSet<_>>();
    for alert in alerts() {
        for fires in [true, false] {
            assert!(
                asked.contains(&(alert.clone(), fires)),
                "{alert} has no case in which it fires: {fires}"
            );
        }
    }
}

#[tokio::test]
async fn the_same_rules_stand_wherever_they_are_loaded_from() {
    let made = printed(Command::new("k8s/monitoring/prometheusrule.sh")).await;
    assert_eq!(made, text("k8s/monitoring/prometheusrule.yaml"));
    for chart in ["auth", "transcription", "operator"] {
        assert_eq!(
            text(&format!("charts/{chart}/files/rules.yaml")),
            text(RULES)
        );
        for file in DASHBOARDS {
            let copy = file.replace("k8s/monitoring", &format!("charts/{chart}/files"));
            let is_there = root().join(&copy).exists();
            // What the operator alone has is not for the others.
            assert_eq!(is_there, chart == "operator" || !file.contains("operator"));
            if is_there {
                assert_eq!(text(&copy), text(file));
            }
        }
    }
    assert_eq!(text("charts/operator/files/crd.yaml"), text("k8s/crd.yaml"));
}

#[test]
fn each_alert_has_a_runbook() {
    let runbooks = text("docs/runbooks.md");
    let rules = text(RULES);

    for alert in alerts() {
        assert!(runbooks.contains(&format!("# {alert}\n")), "{alert}");
        let anchor = format!("runbooks.md#{}", alert.to_lowercase());
        assert!(rules.contains(&anchor), "{anchor}");
    }
}

#[test]
fn prometheus_is_told_where_the_operator_is() {
    let monitor = text("k8s/monitoring/operator-servicemonitor.yaml");
    let monitor = serde_saphyr::from_str::<Value>(&monitor).unwrap();
    let installed = text("k8s/install.yaml");
    let service = installed
        .split("\n---\n")
        .find(|document| document.contains("\nkind: Service\n"))
        .unwrap();
    let service = serde_saphyr::from_str::<Value>(service).unwrap();

    for (name, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(service["metadata"]["labels"][name], *value, "{name}");
    }
    let namespaces = &monitor["spec"]["namespaceSelector"]["matchNames"];
    assert_eq!(namespaces[0], service["metadata"]["namespace"]);
    let ports = service["spec"]["ports"].as_array().unwrap();
    for endpoint in monitor["spec"]["endpoints"].as_array().unwrap() {
        assert!(
            ports.iter().any(|port| port["name"] == endpoint["port"]),
            "{endpoint}"
        );
    }
}

#[test]
fn every_metric_that_is_asked_for_is_one_of_ours() {
    let mut code = String::new();
    for folder in [
        "services/common/src",
        "services/auth/src",
        "services/transcription/src",
        "operator/src",
    ] {
        read_all(&root().join(folder), &mut code);
    }
    let ours = [
        "auth_",
        "engine_",
        "gemini_",
        "http_server_",
        "jwt_",
        "operator_",
        "s3_",
        "transcription_",
    ];
    let mut asked = BTreeSet::new();
    for file in DASHBOARDS {
        let dashboard = serde_json::from_str::<Value>(&text(file)).unwrap();
        expressions(&dashboard, &mut asked);
    }
    assert!(asked.len() > 40, "{asked:?}");

    let is_of_name =
        |character: char| character.is_ascii_alphanumeric() || "_:".contains(character);
    for expression in asked {
        for name in expression.split(|character| !is_of_name(character)) {
            // What is recorded by our rules has colons in its name.
            if name.contains(':') || !ours.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            let is_known = [Some(name), base]
                .into_iter()
                .flatten()
                .any(|name| code.contains(&format!("\"{name}\"")));
            assert!(is_known, "{name} in {expression}");
        }
    }
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&fs::read_to_string(&path).unwrap_or_default());
        }
    }
}

/// Every expression of a dashboard.
fn expressions(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" => {
                        into.insert(text.clone());
                    }
                    value => expressions(value, into),
                }
            }
        }
        Value::Array(values) => {
            for value in values {
                expressions(value, into);
            }
        }
        _ => {}
    }
}
