//! What the panels would show, kept for `draw.py` if that is asked for.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use transcription_common::clock;

use crate::expressions::Variables;
use crate::prometheus::Prometheus;

/// Long enough for lines to be seen.
const LONG_TRAFFIC: Duration = Duration::from_mins(5);

/// The folder that `draw.py` reads, if there are to be pictures.
#[expect(clippy::disallowed_methods, reason = "a test has no config.rs")]
fn folder() -> Option<PathBuf> {
    std::env::var_os("PICTURES").map(PathBuf::from)
}

/// How long the traffic is to be for pictures.
pub fn traffic() -> Option<Duration> {
    folder().map(|_| LONG_TRAFFIC)
}

/// Keeps a dashboard with what Prometheus answers to its panels.
pub async fn keep(name: &str, dashboard: &Value, variables: &Variables, prometheus: &Prometheus) {
    let Some(folder) = folder() else { return };
    // By the panel's place in the file.
    let mut answers = BTreeMap::new();
    for (number, panel) in dashboard["panels"].as_array().unwrap().iter().enumerate() {
        let mut of_panel = Vec::new();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = variables.fill(target["expr"].as_str().unwrap());
            let answer = if target["instant"] == true {
                prometheus.instant(&expression).await
            } else {
                prometheus.range(&expression).await
            };
            of_panel.push(answer.unwrap());
        }
        answers.insert(number, of_panel);
    }
    let end = clock::unix_seconds();
    let kept = json!({
        "dashboard": dashboard,
        "from": end - prometheus.seconds(),
        "to": end,
        "answers": answers,
    });
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(format!("{name}.json")), kept.to_string()).unwrap();
}
