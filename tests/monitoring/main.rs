//! The dashboards and the rules on a real Prometheus, which has scraped the real services and the real operator under traffic of every kind.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod accounts;
mod expressions;
mod pictures;
mod prometheus;
mod recordings;
mod stacks;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use self::accounts::Accounts;
use self::expressions::{DASHBOARDS, Question, Variables};
use self::prometheus::{Job, Prometheus, Series};
use self::recordings::Recordings;
use self::stacks::Stacks;

/// How long there is traffic at least: everything happens once within it.
const TRAFFIC: Duration = Duration::from_secs(20);

// The stand-in and the proxies have a thread of their own: the lease is renewed through one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_of_dashboards_and_rules_has_an_answer() {
    let began = Instant::now();
    let (mut accounts, recordings, mut stacks) =
        tokio::join!(Accounts::start(), Recordings::start(), Stacks::start());
    let prometheus = Prometheus::start(&jobs(&accounts, &recordings, &stacks)).await;
    println!("all is there after {:.0?}", began.elapsed());

    let until = Instant::now() + pictures::traffic().unwrap_or(TRAFFIC);
    tokio::join!(
        accounts.are_used(until),
        recordings.are_sent(until),
        stacks.change(until)
    );
    prometheus.catch_up().await;

    let mut questions = expressions::of_rules();
    for name in DASHBOARDS {
        let dashboard = expressions::dashboard(name);
        let variables = Variables::of(&dashboard, &prometheus, prometheus.seconds()).await;
        questions.extend(expressions::of_dashboard(name, &dashboard, &variables));
        pictures::keep(name, &dashboard, &variables, &prometheus).await;
    }
    let mut wrong = Vec::new();
    for Question { place, expression } in &questions {
        match prometheus.range(expression).await {
            Err(refusal) => wrong.push(format!("{place}: {expression}\n    fails: {refusal}")),
            Ok(series) if !series.iter().any(Series::tells_something) => {
                wrong.push(format!("{place}: {expression}\n    is empty"));
            }
            Ok(_) => {}
        }
    }
    println!(
        "{} expressions, {:.0?} in all",
        questions.len(),
        began.elapsed()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_rules_work(&prometheus).await;
}

/// Rules can fail where a query of the same expression does not: two series may become one, and an annotation can be wrong.
async fn assert_rules_work(prometheus: &Prometheus) {
    let rules = prometheus.rules().await;
    assert!(rules.len() > 50, "{rules:#?}");
    let mut firing = BTreeSet::new();
    for rule in &rules {
        assert_eq!(rule["health"], "ok", "{rule:#}");
        for alert in rule["alerts"].as_array().into_iter().flatten() {
            let said = alert["annotations"].to_string();
            // What Prometheus says where a template fails, or asks for a label that there is not.
            assert!(
                !said.contains("error expanding") && !said.contains("<no value>"),
                "{said}"
            );
            if alert["state"] == "firing" {
                firing.insert(rule["name"].as_str().unwrap().to_owned());
            }
        }
    }
    println!("firing: {firing:?}");
    // The others wait for minutes.
    let at_once = ["TranscriptionEngineMisconfigured"];
    for alert in at_once {
        assert!(firing.contains(alert), "{alert} does not fire: {firing:?}");
    }
}

/// Who is scraped, by the names and labels that they have from the operator's ServiceMonitors, from compose, and from an operator of
/// Prometheus that does not honor labels.
fn jobs(accounts: &Accounts, recordings: &Recordings, stacks: &Stacks) -> Vec<Job> {
    let on_kubernetes = |job: &'static str, namespace: &str, pods: &[(&str, &str)]| Job {
        name: job,
        honor_labels: false,
        targets: pods
            .iter()
            .enumerate()
            .map(|(number, (url, container))| {
                let labels = json!({
                    "namespace": namespace,
                    "service": job,
                    "pod": format!("{job}-{number}"),
                    "container": container,
                    "endpoint": "management",
                });
                (address(url), labels)
            })
            .collect(),
    };
    let operators = stacks.urls().map(|url| (url, "operator"));
    let mut jobs = vec![
        on_kubernetes("demo-auth", "speech", &[(&accounts.auth.url, "auth")]),
        on_kubernetes(
            "demo-transcription",
            "speech",
            &[
                (&recordings.gemini.url, "transcription"),
                (&recordings.steady_url, "transcription"),
            ],
        ),
        Job {
            name: "transcription",
            honor_labels: false,
            targets: vec![(address(&recordings.whisper.url), json!({}))],
        },
        Job {
            honor_labels: true,
            ..on_kubernetes("transcription-operator", "transcription-system", &operators)
        },
    ];
    // In a picture everything of theirs would be there twice.
    if pictures::traffic().is_none() {
        jobs.push(on_kubernetes("operator-elsewhere", "elsewhere", &operators));
    }
    jobs
}

fn address(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}
