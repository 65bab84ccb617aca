//! Small requests: what is around a handler of ours next to a handler alone.

use std::time::Duration;

use transcription_tests::auth::Auth;
use transcription_tests::process::cpu_seconds;

use crate::services::{BareServer, Stack};
use crate::table::{Goal, Round, Row, median_round, ratio};
use crate::wrk::Load;
use crate::{ROUNDS, is_first};

const TURN: Duration = Duration::from_secs(6);
const CONNECTIONS: usize = 8;

/// Measures.
pub async fn measure() -> Vec<Row> {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let bare = BareServer::start(&auth.database());
    let stack = Stack::start(&[]).await;
    let good = [("Authorization", format!("Bearer {token}"))];
    // Of the right form, with the signature of another key.
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature: String = signature.chars().rev().collect();
    // The last character of base64 has only some values here.
    let signature = format!("{}{}", &signature[1..], &token[token.len() - 1..]);
    let bad = [("Authorization", format!("Bearer {signed}.{signature}"))];
    let rejected = Pair {
        ours: (format!("{}/transcribe", stack.url), stack.process.id()),
        bare: (format!("{}/transcribe", bare.url), bare.id()),
        method: "POST",
        headers: &bad,
        is_refused: true,
    };
    let me = Pair {
        ours: (format!("{}/me", auth.url), auth.process.id()),
        bare: (format!("{}/me", bare.url), bare.id()),
        method: "GET",
        headers: &good,
        is_refused: false,
    };
    let mut rows = Vec::new();
    rows.extend(me.rows("`GET /me`").await);
    rows.extend(rejected.rows("rejected `POST /transcribe`").await);
    rows.push(ceiling(&bare).await);
    rows
}

/// Two that should answer the same: where they are asked, and their processes.
struct Pair<'a> {
    ours: (String, u32),
    bare: (String, u32),
    method: &'static str,
    headers: &'a [(&'static str, String)],
    is_refused: bool,
}

impl Pair<'_> {
    async fn rows(&self, case: &str) -> [Row; 2] {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let (ours, bare) = if is_first(round) {
                let ours = self.measure(&self.ours).await;
                (ours, self.measure(&self.bare).await)
            } else {
                let bare = self.measure(&self.bare).await;
                (self.measure(&self.ours).await, bare)
            };
            rates.push((ours.0, bare.0));
            costs.push((ours.1, bare.1));
        }
        let ((ours, bare), figure) = median_round(&rates, ratio);
        let rate = Row {
            case: format!("{case}, {CONNECTIONS} connections"),
            ours: format!("{ours:.0}/s"),
            against: format!("a handler alone: {bare:.0}/s"),
            figure,
            goal: Goal::AtLeast(0.8),
            unit: "",
        };
        let ((ours, bare), figure) = median_round(&costs, ratio);
        let cost = Row {
            case: format!("{case}: CPU of each"),
            ours: format!("{ours:.1} µs"),
            against: format!("a handler alone: {bare:.1} µs"),
            figure,
            goal: Goal::Stated,
            unit: " times",
        };
        [rate, cost]
    }

    /// Requests a second, and the microseconds of the processor that the server takes for each.
    async fn measure(&self, (url, process): &(String, u32)) -> Round {
        let load = Load {
            url,
            method: self.method,
            headers: self.headers,
            body: b"",
            connections: CONNECTIONS,
            duration: TURN,
        };
        let before = cpu_seconds(*process);
        let seen = load.send().await;
        let cpu_seconds = cpu_seconds(*process) - before;
        let refused = if self.is_refused { seen.requests } else { 0 };
        assert!(seen.refused == refused && seen.failed == 0, "{seen:?}");
        (seen.rate(), cpu_seconds * 1e6 / f64::from(seen.requests))
    }
}

/// What wrk and a server can do at most on these cores: a rate near it says as much of wrk as of a service.
async fn ceiling(bare: &BareServer) -> Row {
    let load = Load {
        url: &format!("{}/nothing", bare.url),
        method: "GET",
        headers: &[],
        body: b"",
        connections: CONNECTIONS,
        duration: TURN,
    };
    let rate = load.send().await.rate();
    Row {
        case: "the most that wrk and a server can do".to_owned(),
        ours: "–".to_owned(),
        against: format!("a handler of one line: {rate:.0}/s"),
        figure: rate,
        goal: Goal::Stated,
        unit: "/s",
    }
}
