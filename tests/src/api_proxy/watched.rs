//! What passes of a watch, and in which words an API server says that something failed.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Trouble;

/// How often a lively watch hears something.
const PULSE: Duration = Duration::from_secs(1);

/// What the client of a watch hears of what the API server tells.
pub(super) fn watched(
    answer: reqwest::Response,
    trouble: watch::Receiver<Trouble>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let began = *trouble.borrow();
    let watched = Watched {
        told: Box::pin(answer.bytes_stream()),
        trouble,
        began,
        is_between_events: true,
        is_over: false,
    };
    stream::unfold(watched, |mut watched| async move {
        let piece = watched.piece().await?;
        Some((piece, watched))
    })
}

struct Watched {
    told: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    trouble: watch::Receiver<Trouble>,
    began: Trouble,
    is_between_events: bool,
    is_over: bool,
}

impl Watched {
    async fn piece(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let now = *self.trouble.borrow_and_update();
            if self.is_over {
                return None;
            }
            if now.is_away || now.cuts != self.began.cuts {
                self.is_over = true;
                return Some(Err(io::Error::other("cut")));
            }
            if now.expiries != self.began.expiries {
                self.is_over = true;
                return Some(Ok(expired(self.is_between_events)));
            }
            tokio::select! {
                changed = self.trouble.changed() => {
                    // No longer when the proxy is gone.
                    changed.ok()?;
                }
                told = self.told.next(), if !now.is_silent => {
                    let told = told?;
                    self.is_between_events = told.as_ref().is_ok_and(|piece| piece.ends_with(b"\n"));
                    return Some(told.map_err(io::Error::other));
                }
                () = sleep(PULSE), if now.is_lively && !now.is_silent && self.is_between_events => {
                    // An empty line is no event.
                    return Some(Ok(Bytes::from_static(b"\n")));
                }
            }
        }
    }
}

/// The last event of a watch that has asked for what is no longer known.
fn expired(is_between_events: bool) -> Bytes {
    let event = json!({"type": "ERROR", "object": failure(StatusCode::GONE, "Expired")});
    let before = if is_between_events { "" } else { "\n" };
    Bytes::from(format!("{before}{event}\n"))
}

/// How an API server says that something failed.
pub(super) fn failure(status: StatusCode, reason: &str) -> Value {
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "code": status.as_u16(),
        "reason": reason,
        "message": format!("the proxy says {status}"),
    })
}
