//! What goes wrong, and when: a random order that a seed decides, with quiet spells between.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::Method;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::time::sleep;
use transcription_tests::s3_proxy::{Fault, S3Proxy};
use transcription_tests::transcription::Google;

/// How long a fault lasts, in milliseconds.
const LASTS: std::ops::Range<u64> = 2_000..6_000;
/// One moment in so many is quiet.
const QUIET_EVERY: u32 = 4;

const LATE: Fault = Fault::Late(Duration::from_millis(400));

/// Every fault of the bucket: the requests that it meets, and how. Two are left out, since nobody could find their traces again: the
/// lost answer to the opening of an upload (its id is in that answer), and a deletion that is never done.
const OF_S3: [(&str, Method, &str, Fault); 19] = [
    ("S3 refuses audio", Method::PUT, "/audio/", Fault::SlowDown),
    ("S3 takes audio late", Method::PUT, "/audio/", LATE),
    ("S3 closes on audio", Method::PUT, "/audio/", Fault::Gone),
    (
        "S3 loses its word on audio",
        Method::PUT,
        "/audio/",
        Fault::Lost,
    ),
    (
        "S3 refuses texts",
        Method::PUT,
        "/transcripts/",
        Fault::SlowDown,
    ),
    (
        "S3 closes on texts",
        Method::PUT,
        "/transcripts/",
        Fault::Gone,
    ),
    (
        "S3 refuses manifests",
        Method::PUT,
        "/manifests/",
        Fault::SlowDown,
    ),
    ("S3 takes manifests late", Method::PUT, "/manifests/", LATE),
    (
        "S3 closes on manifests",
        Method::PUT,
        "/manifests/",
        Fault::Gone,
    ),
    (
        "S3 loses its word on manifests",
        Method::PUT,
        "/manifests/",
        Fault::Lost,
    ),
    (
        "S3 gives no manifests",
        Method::GET,
        "/manifests/",
        Fault::SlowDown,
    ),
    ("S3 cuts manifests", Method::GET, "/manifests/", Fault::Cut),
    ("S3 cuts texts", Method::GET, "/transcripts/", Fault::Cut),
    ("S3 gives no audio", Method::GET, "/audio/", Fault::SlowDown),
    ("S3 cuts audio", Method::GET, "/audio/", Fault::Cut),
    (
        "S3 opens no uploads",
        Method::POST,
        "uploads",
        Fault::SlowDown,
    ),
    (
        "S3 completes no uploads",
        Method::POST,
        "uploadId",
        Fault::SlowDown,
    ),
    (
        "S3 loses its word on uploads",
        Method::POST,
        "uploadId",
        Fault::Lost,
    ),
    (
        "S3 loses its word on deletions",
        Method::DELETE,
        "/",
        Fault::Lost,
    ),
];

/// The fault of the moment, for who tells.
#[derive(Default)]
pub struct Moment(Mutex<&'static str>);

impl Moment {
    pub fn name(&self) -> &'static str {
        *self.0.lock().unwrap()
    }

    fn set(&self, name: &'static str) {
        *self.0.lock().unwrap() = name;
    }
}

/// Every fault of Google's, and for how many requests: who is refused asks again, up to five times.
fn of_google() -> Vec<(&'static str, u32, Value)> {
    vec![
        ("Google is overloaded", 12, json!({"unavailable": true})),
        ("Google fails", 12, json!({"internal": true})),
        (
            "Google answers a page of HTML",
            12,
            json!({"html_502": true}),
        ),
        (
            "Google wants it slower",
            20,
            json!({"rate_per_minute": {"retry_seconds": 0.3}}),
        ),
        ("Google's day is over", 20, json!({"quota_per_day": true})),
        (
            "Google is slow",
            u32::MAX,
            json!({"delay_milliseconds": 700}),
        ),
        (
            "Google is too slow",
            10,
            json!({"delay_milliseconds": 12_000}),
        ),
        (
            "Google refuses the content",
            20,
            json!({"block_reason": "SAFETY"}),
        ),
        (
            "Google writes nonsense",
            20,
            json!({"status": 200, "body": "{\"candidates\": 7"}),
        ),
        ("Google breaks off", 20, json!({"cut_body": true})),
        ("Google closes", 12, json!({"cut_before_answer": true})),
        (
            "Google says something new",
            20,
            json!({"status": 418, "body": "{}"}),
        ),
        ("Google hears nothing", 20, json!({"empty": true})),
        ("Google takes no key", 20, json!({"bad_key": true})),
    ]
}

/// Changes the fault every few seconds until a moment, and heals all then.
pub async fn change(
    proxy: &S3Proxy,
    google: &Google,
    random: &mut StdRng,
    moment: &Moment,
    until: Instant,
) {
    while Instant::now() < until {
        cause_one(proxy, google, random, moment).await;
        let lasts = Duration::from_millis(random.random_range(LASTS));
        sleep(lasts.min(until.saturating_duration_since(Instant::now()))).await;
        heal(proxy, google, moment).await;
    }
}

async fn cause_one(proxy: &S3Proxy, google: &Google, random: &mut StdRng, moment: &Moment) {
    if random.random_range(0..QUIET_EVERY) == 0 {
        return;
    }
    if random.random_range(0..2) == 0 {
        let (name, method, path_part, fault) = OF_S3[random.random_range(0..OF_S3.len())].clone();
        proxy.fail(method, path_part, fault);
        moment.set(name);
    } else {
        let all = of_google();
        let (name, times, fault) = all[random.random_range(0..all.len())].clone();
        google.fail_to_generate(times, fault).await;
        moment.set(name);
    }
}

/// From now on nothing fails.
pub async fn heal(proxy: &S3Proxy, google: &Google, moment: &Moment) {
    proxy.heal();
    google.release().await;
    moment.set("none");
}
