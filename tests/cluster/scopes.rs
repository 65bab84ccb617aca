//! An operator of some namespaces works there, with Roles alone, and is blind elsewhere.

use serde_json::Value;
use transcription_tests::cluster::{Operator, Start, control_plane, whisper_stack};
use transcription_tests::process::eventually;

#[tokio::test]
async fn of_three_namespaces_the_two_that_are_listed_are_served() {
    let plane = control_plane().await;
    let mut namespaces = Vec::new();
    for _ in 0..3 {
        namespaces.push(plane.namespace("scope").await);
    }
    let [first, second, third] = &namespaces[..] else {
        panic!("{namespaces:?}");
    };
    let watched = format!("{first},{second}");
    let start = Start {
        watched: Some(&watched),
        ..Start::default()
    };

    let operator = Operator::start_as(control_plane().await, first.clone(), start).await;
    for namespace in &namespaces {
        let stack = whisper_stack("demo").to_string();
        let apply = ["--namespace", namespace, "apply", "-f", "-"];
        plane.succeed(&apply, &stack).await;
    }

    let get = async |namespace: &str, what: &[&str]| {
        let arguments = [&["--namespace", namespace, "get"], what].concat();
        plane.succeed(&arguments, "").await
    };
    for namespace in [first, second] {
        eventually("it is served", async || {
            let printed = get(namespace, &["statefulsets", "-o", "name"]).await;
            printed.contains("demo-auth")
        })
        .await;
    }
    let unserved = get(third, &["tstack", "demo", "-o", "json"]).await;
    let unserved = serde_json::from_str::<Value>(&unserved).unwrap();
    assert_eq!(unserved.get("status"), None);
    let children = get(third, &["statefulsets,services,secrets", "-o", "name"]).await;
    assert_eq!(children.trim(), "");
    assert_eq!(operator.ask("/readyz").await.0, 200);
    let metrics = operator.ask("/metrics").await.1;
    assert!(metrics.contains(&format!("namespace=\"{second}\"")));
    assert!(!metrics.contains(third.as_str()));

    // It has no right to look: it is asked for none.
    let account = format!("system:serviceaccount:{first}:transcription-operator");
    for (namespace, may) in [(second, "yes"), (third, "no")] {
        let arguments = [
            "auth",
            "can-i",
            "list",
            "secrets",
            "--as",
            &account,
            "--namespace",
            namespace,
        ];
        let answer = plane.kubectl(&arguments, "").await;
        let answer = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        assert_eq!(answer, may, "{namespace}");
    }
    let log = operator.process.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
