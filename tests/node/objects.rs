//! What is there in a namespace, and in the cluster.

use std::collections::BTreeSet;
use std::sync::Mutex;

use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::process::eventually;

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
    let differences = Mutex::new(String::new());
    let settled = eventually("nothing is left but what was asked to stay", async || {
        let found = objects(plane, namespace).await;
        let differing = found.symmetric_difference(expected).collect::<Vec<_>>();
        *differences.lock().unwrap() = format!("{differing:?}");
        differing.is_empty()
    });
    let told = Told(&differences);
    settled.await;
    drop(told);
}

/// Says at the end of a test that failed what differed.
struct Told<'a>(&'a Mutex<String>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left or missing: {}", self.0.lock().unwrap());
        }
    }
}

/// The one that is there and was not before; the set with it.
pub fn with(mut before: BTreeSet<String>, further: &[&str]) -> BTreeSet<String> {
    before.extend(further.iter().map(|name| (*name).to_owned()));
    before
}
