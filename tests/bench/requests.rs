//! Small requests: what is around a handler of ours next to a handler alone.

use std::time::Duration;

use transcription_tests::auth::Auth;

use crate::ROUNDS;
use crate::services::{BareServer, Stack};
use crate::table::{Goal, Row, median};
use crate::wrk::Load;

const TURN: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 8;

/// Measures.
pub async fn measure() -> Vec<Row> {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let bare = BareServer::start(&auth.database());
    let stack = Stack::start(&[]).await;
    let good = [("Authorization", format!("Bearer {token}"))];
    // Of the right form, signed by another key.
    let bad = [(
        "Authorization",
        format!("Bearer {}x", &token[..token.len() - 1]),
    )];
    let rejected = Pair {
        ours: format!("{}/transcribe", stack.url),
        bare: format!("{}/transcribe", bare.url),
        method: "POST",
        headers: &bad,
        is_refused: true,
    };
    let me = Pair {
        ours: format!("{}/me", auth.url),
        bare: format!("{}/me", bare.url),
        method: "GET",
        headers: &good,
        is_refused: false,
    };
    vec![
        me.row("`GET /me`").await,
        rejected.row("rejected `POST /transcribe`").await,
        ceiling(&bare).await,
    ]
}

/// Two that should answer the same.
struct Pair<'a> {
    ours: String,
    bare: String,
    method: &'static str,
    headers: &'a [(&'static str, String)],
    is_refused: bool,
}

impl Pair<'_> {
    async fn row(&self, case: &str) -> Row {
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(self.rate(&self.bare).await);
            ours.push(self.rate(&self.ours).await);
        }
        let ratios = ours.iter().zip(&bare).map(|(ours, bare)| ours / bare);
        let figure = median(ratios.collect());
        Row {
            case: format!("{case}, {CONNECTIONS} connections"),
            ours: format!("{:.0}/s", median(ours)),
            against: format!("a handler alone: {:.0}/s", median(bare)),
            figure,
            goal: Goal::AtLeast(0.8),
            unit: "",
        }
    }

    async fn rate(&self, url: &str) -> f64 {
        let load = Load {
            url,
            method: self.method,
            headers: self.headers,
            body: b"",
            connections: CONNECTIONS,
            duration: TURN,
        };
        let seen = load.send().await;
        let refused = if self.is_refused { seen.requests } else { 0 };
        assert!(seen.refused == refused && seen.failed == 0, "{seen:?}");
        seen.rate()
    }
}

/// What wrk itself can do here.
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
        case: "wrk itself: requests that do nothing".to_owned(),
        ours: "–".to_owned(),
        against: format!("a handler of one line: {rate:.0}/s"),
        figure: rate,
        goal: Goal::Stated,
        unit: "/s",
    }
}
