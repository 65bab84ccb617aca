//! An API server that is away: for longer than the lease lasts, and for less.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{behind, changed, has_change, key, measured, proxy, recovers, start_settled};

/// How long the API server is away.
const OUTAGE: Duration = Duration::from_secs(30);
/// How soon a stack is as asked after it: who was refused again and again asks ever less often, up to a minute apart.
const SOON_AFTER: Duration = Duration::from_secs(75);
/// How long a lease lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(15);

#[tokio::test]
async fn an_operator_that_loses_its_lease_in_an_outage_has_ended_before_another_may_begin() {
    let proxy = proxy().await;
    let mut operator = start_settled("outage", &proxy, &[]).await;
    let made = key(&operator).await;

    proxy.go_away();
    let away = Instant::now();
    operator.put(&changed()).await;
    let status = operator.process.ended().await;
    let ended = away.elapsed();

    measured("ended in an outage", ended);
    assert!(!status.success(), "it is to be started again: {status}");
    assert!(ended < LEASE, "{ended:?}");
    let log = operator.process.log();
    assert!(log.contains("the lease could not be kept"), "{log}");
    assert!(!has_change(&operator).await, "nothing is done without it");

    // As Kubernetes starts it again: at once, while the API server is still away.
    let back = async {
        sleep(OUTAGE.saturating_sub(away.elapsed())).await;
        proxy.heal();
        Instant::now()
    };
    let (again, healed) = tokio::join!(operator.another_as(behind(&proxy, &[])), back);
    let took = recovers(&again, "an outage of 30 s, started again,", healed).await;

    assert!(took < SOON_AFTER, "{took:?}");
    assert_eq!(key(&again).await, made);
}

#[tokio::test]
async fn an_operator_whose_lease_outlasts_an_outage_goes_on() {
    let proxy = proxy().await;
    let settings = [("LEASE_DURATION_SECONDS", "120")];
    let mut operator = start_settled("outlasted", &proxy, &settings).await;
    let made = key(&operator).await;

    proxy.go_away();
    operator.put(&changed()).await;
    sleep(OUTAGE).await;

    operator.process.assert_running();
    assert!(!has_change(&operator).await, "nothing can be done");
    proxy.heal();
    let took = recovers(&operator, "an outage of 30 s", Instant::now()).await;
    assert!(took < SOON_AFTER, "{took:?}");
    assert_eq!(key(&operator).await, made);
}
