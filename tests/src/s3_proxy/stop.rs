//! A request that is held at one of its moments and never goes on: as for whoever is killed in that moment.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use futures_util::stream;
use futures_util::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::process::PATIENCE;

/// How long what has been written takes to arrive, on loopback.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// A moment of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it has reached the server.
    Before,
    /// Half of its body has.
    During,
    /// The server has done it and answered, and nothing of the answer has been given on.
    After,
}

/// The request that stops, for the test that waits for it.
#[derive(Clone)]
pub struct Stop {
    /// The moment at which it stops.
    pub(super) moment: Moment,
    stage: watch::Sender<Stage>,
}

/// What stops, and when.
pub(super) struct Stopping {
    pub method: Method,
    pub path_part: &'static str,
    /// So many requests that fit come before it.
    pub skipped: usize,
    pub stop: Stop,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Awaited,
    Held,
    Over,
}

impl Stop {
    pub(super) fn new(moment: Moment) -> Self {
        let stage = watch::Sender::new(Stage::Awaited);
        Self { moment, stage }
    }

    /// Waits until the request has come and is held.
    pub async fn held(&self) {
        let mut stage = self.stage.subscribe();
        let held = stage.wait_for(|stage| *stage == Stage::Held);
        let held = timeout(PATIENCE, held).await;
        assert!(held.is_ok(), "the request that was to be held did not come");
    }

    /// Breaks off what is held, at both ends.
    pub fn break_off(&self) {
        self.stage.send_replace(Stage::Over);
    }

    pub(super) async fn hold(&self) {
        let mut stage = self.stage.subscribe();
        self.stage.send_if_modified(|stage| {
            let is_awaited = *stage == Stage::Awaited;
            if is_awaited {
                *stage = Stage::Held;
            }
            is_awaited
        });
        let over = stage.wait_for(|stage| *stage == Stage::Over).await;
        drop(over);
    }

    /// The first half of a body of this length. Then it is held, and breaks off.
    pub(super) async fn half(
        self,
        body: Body,
        length: usize,
    ) -> impl Stream<Item = io::Result<Bytes>> {
        assert!(length > 1, "what has no body has no half of it");
        let mut rest = body.into_data_stream();
        let mut half = Vec::new();
        while half.len() < length / 2 {
            let Some(Ok(chunk)) = rest.next().await else {
                break;
            };
            half.extend_from_slice(&chunk);
        }
        half.truncate(length / 2);
        let broken = async move {
            sleep(ON_THE_WAY).await;
            self.hold().await;
            // Whoever sends must not find it read and gone before that.
            drop(rest);
            Err(io::Error::other("stopped"))
        };
        stream::iter([Ok(Bytes::from(half))]).chain(stream::once(broken))
    }
}
