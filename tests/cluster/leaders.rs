//! Of several operators one works at a time, whatever becomes of it.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use transcription_tests::api_proxy::{ApiProxy, Fault};
use transcription_tests::cluster::{Operator, Start, control_plane, whisper_stack};
use transcription_tests::process::eventually;

/// How soon another operator works after one has died.
const SOON: Duration = Duration::from_secs(20);
/// How soon an operator ends that is asked to.
const END: Duration = Duration::from_secs(5);
const STACKS: usize = 15;

async fn put_many(operator: &Operator) {
    operator.s3_secret().await;
    let stacks = (0..STACKS).map(|number| whisper_stack(&format!("demo{number}")));
    let stacks = stacks.collect::<Vec<_>>();
    operator
        .put(&json!({"apiVersion": "v1", "kind": "List", "items": stacks}))
        .await;
}

async fn deployments(operator: &Operator) -> usize {
    let printed = operator.in_namespace(&["get", "deployments", "-o", "name"], "");
    printed.await.lines().count()
}

/// Who of the operators of this namespace wrote what, in the order in which the API server has logged it: the name of a token, and when.
fn writers(operator: &Operator) -> Vec<(String, String)> {
    let lines = operator.written_since(0);
    let token = |line: &Value| {
        let extra = &line["user"]["extra"]["authentication.kubernetes.io/credential-id"];
        extra[0].as_str().unwrap().to_owned()
    };
    let time = |line: &Value| {
        line["requestReceivedTimestamp"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut writes = lines
        .iter()
        .map(|line| (time(line), token(line)))
        .collect::<Vec<_>>();
    writes.sort();
    writes
        .into_iter()
        .map(|(time, token)| (token, time))
        .collect()
}

/// How often the writer is another than before.
fn changes(writers: &[(String, String)]) -> usize {
    let pairs = writers.windows(2);
    pairs.filter(|pair| pair[0].0 != pair[1].0).count()
}

#[expect(clippy::print_stdout, reason = "a test that measures says what")]
#[tokio::test]
async fn when_the_one_that_works_is_killed_in_the_middle_another_goes_on_and_never_do_both_write() {
    let mut first = Operator::start("killed").await;
    let second = first.another().await;
    put_many(&first).await;
    eventually("it is in the middle", async || {
        deployments(&first).await > 1
    })
    .await;

    first.process.signal("KILL");
    let killed = Instant::now();
    first.process.ended().await;
    let made = deployments(&first).await;
    eventually("the other works", async || {
        second.process.log().contains("holds the lease")
    })
    .await;
    let took = killed.elapsed();

    println!(
        "{made} of {STACKS} were made; another operator works {took:?} after the first was killed"
    );
    assert!(took < SOON, "{took:?}");
    eventually("all are made", async || {
        deployments(&second).await == STACKS
    })
    .await;
    second
        .in_namespace(&["delete", "service", "demo0-auth"], "")
        .await;
    second
        .until("service", "demo0-auth", "is made again", |_| true)
        .await;
    assert_eq!(changes(&writers(&second)), 1, "one after the other");
}

#[expect(clippy::print_stdout, reason = "a test that measures says what")]
#[tokio::test]
async fn one_that_is_asked_to_end_does_so_soon_and_lets_the_other_begin_at_once() {
    let mut first = Operator::start("asked").await;
    let second = first.another().await;
    put_many(&first).await;
    eventually("it is in the middle", async || {
        deployments(&first).await > 1
    })
    .await;

    let asked = Instant::now();
    let status = first.process.terminate().await;
    let took = asked.elapsed();

    assert!(status.success(), "{status}");
    assert!(took < END, "{took:?}");
    eventually("the other works", async || {
        second.process.log().contains("holds the lease")
    })
    .await;
    println!(
        "ended after {took:?}; another works {:?} after it was asked",
        asked.elapsed()
    );
    eventually("all are made", async || {
        deployments(&second).await == STACKS
    })
    .await;
    assert_eq!(changes(&writers(&second)), 1, "one after the other");
}

#[tokio::test]
async fn one_that_does_not_see_everything_leaves_the_lease_to_others_and_says_so() {
    let plane = control_plane().await;
    let proxy = ApiProxy::start(&plane).await;
    proxy.fail(Method::GET, "/pods", Fault::Late(Duration::from_mins(10)));
    let namespace = plane.namespace("blind").await;
    let start = Start {
        server: Some(&proxy.url),
        settings: &[("WATCH_STALE_AFTER_SECONDS", "5")],
        is_awaited: false,
        ..Start::default()
    };

    let blind = Operator::start_as(plane, namespace, start).await;

    eventually("it says so", async || {
        let (status, body) = blind.ask("/healthz").await;
        status == 503 && body.contains("not seen within 5 s: pods")
    })
    .await;
    assert_eq!(blind.ask("/readyz").await.0, 503);
    assert_eq!(blind.get("lease", "transcription-operator").await, None);
    let other = blind.another().await;
    other.put(&whisper_stack("demo")).await;
    other
        .until("statefulset", "demo-auth", "is made", |_| true)
        .await;
}

#[tokio::test]
async fn one_whose_lease_is_taken_writes_no_more_and_ends() {
    let mut operator = Operator::start("robbed").await;
    operator.s3_secret().await;
    let taken = json!({"spec": {"holderIdentity": "someone", "leaseDurationSeconds": 3600}});
    let patch = [
        "patch",
        "lease",
        "transcription-operator",
        "-p",
        &taken.to_string(),
    ];

    operator.in_namespace(&patch, "").await;
    let status = operator.process.ended().await;

    assert!(!status.success(), "it is started again, and waits");
    assert!(
        operator
            .process
            .log()
            .contains("the lease could not be kept"),
        "{}",
        operator.process.log()
    );
    let place = operator.audit_place();
    operator.put(&whisper_stack("demo")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(operator.writes_since(place), Vec::<String>::new());
}
