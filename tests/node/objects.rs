//! What is there in a namespace, and in the cluster.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::process::PATIENCE;

/// What comes and goes with other objects, and what is no object.
const OF_THEMSELVES: [&str; 4] = [
    "componentstatuses",
    "events",
    "events.events.k8s.io",
    "ipaddresses.networking.k8s.io",
];

/// The names of all objects in a namespace but events, or of all that are in none: `kind.group/name`.
pub async fn objects(plane: &ControlPlane, namespace: Option<&str>) -> BTreeSet<String> {
    let kinds = plane
        .succeed(
            &[
                "api-resources",
                "--verbs=list",
                "-o=name",
                &format!("--namespaced={}", namespace.is_some()),
            ],
            "",
        )
        .await;
    let kinds = kinds.lines().filter(|kind| !OF_THEMSELVES.contains(kind));
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let mut arguments = vec!["get", &kinds, "-o=name", "--ignore-not-found"];
    arguments.extend(namespace.map(|_| "--namespace"));
    arguments.extend(namespace);
    let names = plane.succeed(&arguments, "").await;
    names.lines().map(str::to_owned).collect()
}

/// Waits until exactly these are there: what is deleted takes a moment to go.
pub async fn are_left(plane: &ControlPlane, namespace: Option<&str>, expected: &BTreeSet<String>) {
    let began = Instant::now();
    loop {
        let found = objects(plane, namespace).await;
        let differing = found.symmetric_difference(expected).collect::<Vec<_>>();
        if differing.is_empty() {
            return;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "left, or not there any more: {differing:?}"
        );
        sleep(Duration::from_millis(200)).await;
    }
}

/// The same names, and further ones.
pub fn with(mut before: BTreeSet<String>, further: &[&str]) -> BTreeSet<String> {
    before.extend(further.iter().map(|name| (*name).to_owned()));
    before
}
