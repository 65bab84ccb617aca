//! What an API server can do to an operator. Nothing is lost by it or made twice, it is told while it lasts, and ends by itself when its
//! cause does.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use transcription_tests::api_proxy::{ApiProxy, Fault, Request};
use transcription_tests::cluster::{Operator, Start, control_plane, whisper_stack, with};
use transcription_tests::process::eventually;

mod clocks;
mod outages;
mod watches;

/// How soon a stack is as asked when nothing fails any more.
const SOON: Duration = Duration::from_secs(30);
/// What the proxy asks for with 429.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const DEPLOYMENT: &str = "/deployments/demo-transcription";
/// Where the change that is asked for arrives.
const SETTING: &str = "MAX_CONCURRENT_TRANSCRIPTIONS";

async fn proxy() -> ApiProxy {
    ApiProxy::start(&*control_plane().await).await
}

/// How an operator is started that finds the API server at a proxy.
fn behind<'a>(proxy: &'a ApiProxy, settings: &'a [(&'a str, &'a str)]) -> Start<'a> {
    Start {
        server: Some(&proxy.url),
        settings,
        ..Start::default()
    }
}

/// An operator behind a proxy, in a namespace with what a stack needs.
async fn start(prefix: &str, proxy: &ApiProxy, settings: &[(&str, &str)]) -> Operator {
    let plane = control_plane().await;
    let namespace = plane.namespace(prefix).await;
    let operator = Operator::start_as(plane, namespace, behind(proxy, settings)).await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator
}

/// The same, with a stack that is as asked.
async fn start_settled(prefix: &str, proxy: &ApiProxy, settings: &[(&str, &str)]) -> Operator {
    let operator = start(prefix, proxy, settings).await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    operator
}

/// The stack, with a change.
fn changed() -> Value {
    let change = json!({"spec": {"transcription": {"maxConcurrent": 7}}});
    with(whisper_stack("demo"), change)
}

async fn has_change(operator: &Operator) -> bool {
    let settings = operator.get("configmap", "demo-transcription").await;
    settings.is_some_and(|settings| settings["data"][SETTING] == "7")
}

/// The signing key that the operator has made.
async fn key(operator: &Operator) -> Value {
    operator.get("secret", "demo-jwt").await.unwrap()["data"].clone()
}

#[expect(clippy::print_stdout, reason = "a test that measures says what")]
fn measured(what: &str, took: Duration) {
    println!("{what} after {took:.1?}");
}

/// Waits until the change has arrived and everything is there, once and as asked; tells how long that took.
async fn recovers(operator: &Operator, from: &str, healed: Instant) -> Duration {
    eventually("the change arrives", async || has_change(operator).await).await;
    operator.settle("demo").await;
    let took = healed.elapsed();
    measured(&format!("recovered from {from}"), took);
    let kinds = "configmaps,deployments,networkpolicies,persistentvolumeclaims,secrets,services,serviceaccounts,statefulsets";
    let selector = "app.kubernetes.io/instance=demo";
    let listed = operator
        .in_namespace(&["get", kinds, "-l", selector, "-o", "name"], "")
        .await;
    let mut children = listed.lines().collect::<Vec<_>>();
    children.sort_unstable();
    assert_eq!(
        children,
        [
            "configmap/demo-auth",
            "configmap/demo-transcription",
            "deployment.apps/demo-transcription",
            "networkpolicy.networking.k8s.io/demo-auth",
            "networkpolicy.networking.k8s.io/demo-transcription",
            "persistentvolumeclaim/demo-auth-data",
            "secret/demo-jwt",
            "service/demo-auth",
            "service/demo-transcription",
            "serviceaccount/demo-auth",
            "serviceaccount/demo-transcription",
            "statefulset.apps/demo-auth",
        ]
    );
    took
}

/// Waits until the stack says that the API server fails, and in these words.
async fn told(operator: &Operator, words: &str) {
    for (condition, status) in [("Ready", "False"), ("Reconciling", "True")] {
        let told = operator
            .condition("demo", condition, status, "ApiUnavailable")
            .await;
        let message = told["message"].as_str().unwrap();
        assert!(message.contains(words), "{message}");
    }
}

#[tokio::test]
async fn what_conflicts_is_tried_again_until_it_does_not() {
    let proxy = proxy().await;
    let operator = start("conflict", &proxy, &[]).await;
    proxy.fail(Method::PATCH, DEPLOYMENT, Fault::Conflict);
    proxy.fail_times(1, Method::PATCH, "/demo/status", Fault::Conflict);

    operator.put(&changed()).await;

    told(&operator, "applying Deployment demo-transcription").await;
    assert_eq!(operator.get("deployment", "demo-transcription").await, None);
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;
    // The status that conflicted was written all the same.
    let statuses = proxy.requests(&Method::PATCH, "/demo/status");
    assert_eq!(statuses[0].status, Some(StatusCode::CONFLICT));

    proxy.heal();
    let took = recovers(&operator, "409", Instant::now()).await;

    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn an_operator_that_is_told_to_come_back_later_waits_so_long() {
    let proxy = proxy().await;
    let operator = start("later", &proxy, &[]).await;
    proxy.fail_times(3, Method::PATCH, DEPLOYMENT, Fault::TooManyRequests);

    operator.put(&changed()).await;

    let took = recovers(&operator, "429 three times", Instant::now()).await;
    assert!(took < SOON, "{took:?}");
    let asked = proxy.requests(&Method::PATCH, DEPLOYMENT);
    let is_refused = |request: &Request| request.status == Some(StatusCode::TOO_MANY_REQUESTS);
    let refused = asked.windows(2).filter(|pair| is_refused(&pair[0]));
    let waited = refused.map(|pair| pair[1].came.duration_since(pair[0].came));
    let waited = waited.collect::<Vec<_>>();
    assert_eq!(waited.len(), 3);
    assert!(
        waited.iter().all(|waited| *waited >= RETRY_AFTER),
        "{waited:?}"
    );
}

#[tokio::test]
async fn what_a_broken_api_server_does_not_do_is_told_and_what_runs_is_not_called_missing() {
    let proxy = proxy().await;
    let operator = start_settled("broken", &proxy, &[]).await;
    let made = key(&operator).await;
    proxy.fail(Method::PATCH, DEPLOYMENT, Fault::InternalError);

    operator.put(&changed()).await;

    told(&operator, "applying Deployment demo-transcription").await;
    operator
        .condition("demo", "Stalled", "False", "NotAsked")
        .await;
    assert!(has_change(&operator).await, "one does not hold up another");
    operator
        .condition("demo", "TranscriptionAvailable", "True", "AsWanted")
        .await;
    let stack = operator.get("tstack", "demo").await.unwrap();
    assert_eq!(stack["status"]["transcription"]["replicas"], 1);

    proxy.heal();
    let took = recovers(&operator, "500", Instant::now()).await;

    assert!(took < SOON, "{took:?}");
    assert_eq!(key(&operator).await, made);
}

#[tokio::test]
async fn an_answer_that_is_late_is_waited_for() {
    const LATE: Duration = Duration::from_secs(12);
    let proxy = proxy().await;
    let operator = start("late", &proxy, &[]).await;
    proxy.fail_times(1, Method::PATCH, DEPLOYMENT, Fault::Late(LATE));

    operator.put(&changed()).await;

    let took = recovers(&operator, "an answer after 12 s", Instant::now()).await;
    assert!(took >= LATE && took < LATE + SOON, "{took:?}");
    let asked = proxy.requests(&Method::PATCH, DEPLOYMENT);
    let is_done = |request: &Request| request.status.is_some_and(|status| status.is_success());
    assert!(asked.iter().all(is_done), "none was given up: {asked:?}");
    let log = operator.process.log();
    assert!(!log.contains("no answer within 20 s"), "{log}");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_given_up_and_told_and_the_rest_is_done() {
    let proxy = proxy().await;
    let operator = start("never", &proxy, &[]).await;
    let ten_minutes = Fault::Late(Duration::from_mins(10));
    proxy.fail(Method::PATCH, "/networkpolicies/demo-auth", ten_minutes);

    operator.put(&changed()).await;

    told(
        &operator,
        "applying NetworkPolicy demo-auth: no answer within 20 s",
    )
    .await;
    for (kind, name) in [
        ("statefulset", "demo-auth"),
        ("service", "demo-auth"),
        ("deployment", "demo-transcription"),
    ] {
        assert!(operator.get(kind, name).await.is_some(), "{kind} {name}");
    }

    proxy.heal();
    let took = recovers(&operator, "no answer", Instant::now()).await;

    assert!(took < SOON, "{took:?}");
}

#[tokio::test]
async fn what_was_done_and_not_answered_is_not_done_twice() {
    let proxy = proxy().await;
    proxy.fail_times(1, Method::POST, "/leases", Fault::Unanswered);
    let operator = start("lost", &proxy, &[]).await;
    for (method, path_part, fault) in [
        (Method::POST, "/secrets", Fault::Unanswered),
        (
            Method::PATCH,
            "/persistentvolumeclaims/demo-auth-data",
            Fault::Lost,
        ),
        (Method::PATCH, "/services/demo-auth", Fault::Unanswered),
        (Method::PATCH, "/statefulsets/demo-auth", Fault::Unanswered),
        (Method::PATCH, DEPLOYMENT, Fault::Lost),
        (Method::PATCH, "/demo/status", Fault::Unanswered),
    ] {
        proxy.fail_times(1, method, path_part, fault);
    }

    let began = Instant::now();
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    measured("made, with answers lost,", began.elapsed());
    let made = key(&operator).await;
    let events = operator.in_namespace(&["get", "events"], "").await;
    assert!(events.contains("SigningKeyMade"), "{events}");
    for (path_part, fault) in [
        ("/configmaps/demo-transcription", Fault::Unanswered),
        (DEPLOYMENT, Fault::Lost),
        ("/demo/status", Fault::Lost),
    ] {
        proxy.fail_times(1, Method::PATCH, path_part, fault);
    }
    operator.put(&changed()).await;

    let took = recovers(&operator, "lost answers", Instant::now()).await;
    assert!(took < SOON, "{took:?}");
    assert_eq!(key(&operator).await, made);
    let keys = proxy.requests(&Method::POST, "/secrets");
    let statuses = keys.iter().map(|request| request.status);
    assert_eq!(statuses.collect::<Vec<_>>(), [Some(StatusCode::CREATED)]);
}
