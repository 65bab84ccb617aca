//! Clocks that differ: the time in a lease says nothing to another machine. That it changes does.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;
use transcription_tests::cluster::{Operator, whisper_stack};
use transcription_tests::process::eventually;

use super::{behind, measured, proxy};

/// Longer than a lease lasts and than it takes to look again.
const LONG_ENOUGH: Duration = Duration::from_secs(25);
/// How soon another one works: a lease lasts 15 s, and who waits looks every 2.4 s at most, once for the last renewal and once for its end.
const TAKEN_OVER: Duration = Duration::from_secs(20);

async fn holder(operator: &Operator) -> Value {
    let lease = operator.get("lease", "transcription-operator").await;
    lease.unwrap()["spec"]["holderIdentity"].clone()
}

async fn works(operator: &Operator) {
    eventually("it holds the lease", async || {
        operator.process.log().contains("holds the lease")
    })
    .await;
}

/// An operator whose clock is so much behind that of the one that works, or before it, waits for its turn, and no longer.
async fn the_time_in_the_lease_changes_nothing(prefix: &str, shift_seconds: i64) {
    let mut first = Operator::start(prefix).await;
    works(&first).await;
    let proxy = proxy().await;
    proxy.shift_renew_time(shift_seconds);
    let second = first.another_as(behind(&proxy, &[])).await;
    let before = holder(&first).await;

    let began = Instant::now();
    while began.elapsed() < LONG_ENOUGH {
        assert_eq!(holder(&first).await, before, "it works and renews");
        sleep(Duration::from_millis(500)).await;
    }
    let log = second.process.log();
    assert!(!log.contains("holds the lease"), "{log}");

    first.process.signal("KILL");
    let killed = Instant::now();
    first.process.ended().await;
    works(&second).await;
    let took = killed.elapsed();

    measured(&format!("taken over, {shift_seconds} s apart,"), took);
    assert!(took < TAKEN_OVER, "{took:?}");
    assert_ne!(holder(&second).await, before);
    second.s3_secret().await;
    second.put(&whisper_stack("demo")).await;
    second
        .until("deployment", "demo-transcription", "is there", |_| true)
        .await;
}

#[tokio::test]
async fn a_lease_that_seems_to_be_renewed_in_the_future_is_taken_over_in_time() {
    the_time_in_the_lease_changes_nothing("ahead", 60).await;
}

#[tokio::test]
async fn a_lease_that_seems_to_have_lapsed_long_ago_is_not_taken_over_while_it_is_renewed() {
    the_time_in_the_lease_changes_nothing("behind", -60).await;
}
