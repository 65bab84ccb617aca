//! What can become of watches: they break off, expire, are refused, or fall silent.

use std::time::{Duration, Instant};

use axum::http::Method;
use tokio::time::sleep;
use transcription_tests::api_proxy::{ApiProxy, Fault};
use transcription_tests::process::eventually;

use super::{SOON, changed, has_change, measured, proxy, recovers, start_settled};

/// How long an operator would need at most to act on what it hears.
const HEARING: Duration = Duration::from_secs(3);

/// A change and a loss that no watch tells of are made good once the watches are anew.
async fn what_was_missed_is_made_good(
    prefix: &str,
    from: &str,
    renew: impl Fn(&ApiProxy),
) -> ApiProxy {
    let proxy = proxy().await;
    let operator = start_settled(prefix, &proxy, &[]).await;
    proxy.silence_watches();
    operator
        .in_namespace(&["delete", "service", "demo-auth"], "")
        .await;
    operator.put(&changed()).await;
    sleep(HEARING).await;
    assert!(!has_change(&operator).await, "it could not know");
    assert_eq!(operator.get("service", "demo-auth").await, None);

    renew(&proxy);
    let renewed = Instant::now();
    operator
        .until("service", "demo-auth", "is made again", |_| true)
        .await;

    let took = recovers(&operator, from, renewed).await;
    assert!(took < SOON, "{took:?}");
    proxy
}

#[tokio::test]
async fn what_happens_while_watches_break_off_is_made_good() {
    what_was_missed_is_made_good("cut", "watches that broke off", |proxy| {
        proxy.cut_watches();
        proxy.heal();
    })
    .await;
}

#[tokio::test]
async fn when_watches_expire_everything_is_listed_anew() {
    let proxy = what_was_missed_is_made_good("expired", "watches that expired (410)", |proxy| {
        proxy.expire_watches();
        proxy.heal();
    })
    .await;

    let mut asked = proxy.requests(&Method::GET, "/services?");
    asked.retain(|request| !request.path.contains("watch=true"));
    assert!(asked.len() >= 2, "{asked:?}");
}

#[tokio::test]
async fn watches_that_are_refused_are_asked_for_again() {
    what_was_missed_is_made_good("refused", "watches that were refused (410)", |proxy| {
        proxy.cut_watches();
        proxy.heal();
        // Each of them two or three times.
        proxy.fail_times(40, Method::GET, "watch=true", Fault::Expired);
    })
    .await;
}

#[tokio::test]
async fn an_operator_whose_watches_are_silent_says_so_until_they_are_heard_again() {
    // Each watch was heard up to a second before, or more on a loaded machine.
    const EARLIEST: Duration = Duration::from_secs(10);
    const LATEST: Duration = Duration::from_secs(25);
    let proxy = proxy().await;
    proxy.keep_watches_lively();
    let settings = [("WATCH_STALE_AFTER_SECONDS", "15")];
    let operator = start_settled("silent", &proxy, &settings).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(operator.ask(path).await.0, 200);
    }

    proxy.silence_watches();
    let silenced = Instant::now();
    for path in ["/healthz", "/readyz"] {
        eventually("the operator says so", async || {
            let (status, body) = operator.ask(path).await;
            status == 503 && body.contains("nothing is heard from the API server")
        })
        .await;
    }

    let took = silenced.elapsed();
    measured("silence was noticed", took);
    assert!(took > EARLIEST && took < LATEST, "{took:?}");
    operator.put(&changed()).await;
    sleep(HEARING).await;
    assert!(!has_change(&operator).await, "it could not know");

    proxy.heal();
    let healed = Instant::now();
    for path in ["/healthz", "/readyz"] {
        eventually("the operator is well", async || {
            operator.ask(path).await.0 == 200
        })
        .await;
    }
    let took = recovers(&operator, "silent watches", healed).await;

    assert!(took < SOON, "{took:?}");
}
