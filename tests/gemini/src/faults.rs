//! What can go wrong, on demand: a queue of faults, each for the next request that it fits.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Sleep, sleep};

use crate::refusal::{self, Refusal};
use crate::{StandIn, lock};

/// The queue.
#[derive(Default)]
pub struct Faults {
    queue: Mutex<VecDeque<Entry>>,
    /// How often the queue was cleared.
    cleared: AtomicU64,
}

/// How often what is held looks whether it may go on.
const HOLD_STEP: Duration = Duration::from_millis(10);

/// An entry of the queue.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    on: On,
    #[serde(default = "once")]
    times: u32,
    fault: Fault,
}

/// The requests that a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are named after the requests")]
pub enum On {
    Generate,
    UploadStart,
    UploadChunk,
    FileGet,
    FileDelete,
}

/// What goes wrong. All fields can be combined; the first error in this order wins, and an error leaves the work undone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "it mirrors a document in which each of them is a switch"
)]
pub struct Fault {
    /// Any answer, with `body` and `headers`.
    pub status: Option<u16>,
    /// The body for `status`, JSON or HTML as text.
    pub body: String,
    /// The headers for `status`.
    pub headers: BTreeMap<String, String>,
    /// `429`: too many requests in this minute.
    pub rate_per_minute: Option<RatePerMinute>,
    /// `429`: too many requests today. It names a delay too, as Google does, and that delay is a trap.
    pub quota_per_day: bool,
    /// `400`: the API key is wrong.
    pub bad_key: bool,
    /// `400`: more tokens than the model takes.
    pub too_long: bool,
    /// `400`: the API is not offered where the caller is.
    pub region: bool,
    /// `500`.
    pub internal: bool,
    /// `502` as a page of HTML.
    pub html_502: bool,
    /// `503`: the model is overloaded.
    pub unavailable: bool,
    /// The error is an array of one; `503` if no other is asked for.
    pub array_error: bool,

    /// The work is done, the answer waits until the faults are cleared.
    pub held: bool,
    /// The work is done, the answer comes late.
    pub delay_milliseconds: u64,
    /// The body of a `200` is sent byte by byte.
    pub drip: Option<Drip>,
    /// The work is done, and the connection closed without any byte.
    pub cut_before_answer: bool,
    /// The connection is closed in the middle of the body.
    pub cut_body: bool,

    /// The file is `PROCESSING` for so many polls (on `upload_start`, `upload_chunk` or `file_get`).
    pub processing_polls: Option<u32>,
    /// The file is `FAILED` when its processing ends (on the same).
    pub file_failed: bool,

    /// The prompt is blocked: no candidates.
    pub block_reason: Option<String>,
    /// The candidate ends for this reason; it has no content but `text`.
    pub finish_reason: Option<String>,
    /// The transcript.
    pub text: Option<String>,
    /// The candidate does not say why it ended.
    pub no_finish_reason: bool,
    /// Fields and values of enumerations that nobody knows; `finishReason` stays as it is.
    pub unknown_fields: bool,
    /// The transcript is there as words only.
    pub words_without_text: bool,
    /// There is no `usageMetadata`.
    pub missing_usage: bool,
    /// The model says when it will be retired.
    pub retiring: bool,
    /// `STOP`, and nothing was said.
    pub empty: bool,
    /// The JSON of a general model is in a Markdown fence.
    pub fenced_json: bool,
    /// The JSON of a general model breaks off.
    pub broken_json: bool,
}

/// See [`Fault::rate_per_minute`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RatePerMinute {
    /// How long Google asks to wait.
    pub retry_seconds: f64,
}

/// See [`Fault::drip`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Drip {
    /// The pause before each byte.
    pub pause_milliseconds: u64,
}

/// Marks a response that the client never gets.
#[derive(Clone)]
pub struct Lost;

/// Marks a response that says success and is of no use: it breaks off, or is none of Google's.
#[derive(Clone)]
pub struct Spoiled;

impl Faults {
    /// Does the work of a request, under the next fault that is for it.
    pub async fn under(
        &self,
        on: On,
        work: impl AsyncFnOnce(&Fault) -> Result<Response, Refusal>,
    ) -> Response {
        let cleared = self.cleared.load(Ordering::SeqCst);
        let fault = self.take(on);
        let response = match fault.error() {
            Some(error) => error,
            None => work(&fault).await.into_response(),
        };
        while fault.held && self.cleared.load(Ordering::SeqCst) == cleared {
            sleep(HOLD_STEP).await;
        }
        if fault.delay_milliseconds > 0 {
            sleep(Duration::from_millis(fault.delay_milliseconds)).await;
        }
        let mut response = fault.dress(response).await;
        if fault.cut_body || fault.status == Some(200) {
            response.extensions_mut().insert(Spoiled);
        }
        response
    }

    fn take(&self, on: On) -> Fault {
        let mut queue = lock(&self.queue);
        let Some(index) = queue.iter().position(|entry| entry.on == on) else {
            return Fault::default();
        };
        let fault = queue[index].fault.clone();
        queue[index].times -= 1;
        if queue[index].times == 0 {
            queue.remove(index);
        }
        fault
    }
}

impl Fault {
    fn error(&self) -> Option<Response> {
        if let Some(status) = self.status {
            return Some(self.generic(status));
        }
        let error = if let Some(RatePerMinute { retry_seconds }) = self.rate_per_minute {
            quota(
                "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
                "15",
                retry_seconds,
            )
        } else if self.quota_per_day {
            quota(
                "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
                "250",
                1.5,
            )
        } else if self.bad_key {
            Refusal::bad_key()
        } else if self.too_long {
            Refusal::invalid(
                "The input token count (1234567) exceeds the maximum number of tokens allowed (1048576).",
            )
        } else if self.region {
            Refusal::new(
                refusal::FAILED_PRECONDITION,
                "User location is not supported for the API use.",
            )
        } else if self.internal {
            let message = "An internal error has occurred. Please retry or report.";
            Refusal::new(refusal::INTERNAL, message)
        } else if self.html_502 {
            Refusal::page(StatusCode::BAD_GATEWAY)
        } else if self.unavailable || self.array_error {
            let message = "The model is overloaded. Please try again later.";
            Refusal::new(refusal::UNAVAILABLE, message)
        } else {
            return None;
        };
        let error = if self.array_error {
            error.in_array()
        } else {
            error
        };
        Some(error.into_response())
    }

    fn generic(&self, status: u16) -> Response {
        let is_json = serde_json::from_str::<Value>(&self.body).is_ok();
        let content_type = if is_json {
            "application/json; charset=UTF-8"
        } else {
            "text/html; charset=UTF-8"
        };
        let mut response = Response::new(Body::from(self.body.clone()));
        // `add` has looked at the status and the headers.
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                headers.insert(name, value);
            }
        }
        response
    }

    /// Lets the body of a response come slowly, in part or not at all.
    async fn dress(&self, response: Response) -> Response {
        let drips = self
            .drip
            .as_ref()
            .filter(|_| response.status() == StatusCode::OK);
        if drips.is_none() && !self.cut_body && !self.cut_before_answer {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        // The answer is our own, small, and in memory.
        let rest = axum::body::to_bytes(body, usize::MAX)
            .await
            .unwrap_or_default();
        parts.headers.remove(CONTENT_LENGTH);
        if self.cut_before_answer {
            parts.extensions.insert(Lost);
        }
        let sent = match self {
            Self {
                cut_before_answer: true,
                ..
            } => 0,
            Self { cut_body: true, .. } => rest.len() / 2,
            _ => rest.len(),
        };
        let slow = Slow {
            is_cut: self.cut_before_answer || self.cut_body,
            step: if drips.is_some() { 1 } else { sent.max(1) },
            pause: Duration::from_millis(drips.map_or(0, |drip| drip.pause_milliseconds)),
            rest: rest.slice(..sent),
            waiting: None,
        };
        Response::from_parts(parts, Body::new(slow))
    }

    fn is_sound(&self, on: On) -> Result<(), &'static str> {
        let headers = self.headers.iter();
        let of_uploads = self.file_failed || self.processing_polls.is_some();
        if self
            .status
            .is_some_and(|status| !(200..600).contains(&status))
        {
            Err("status is from 200 to 599")
        } else if self.status.is_none() && !(self.body.is_empty() && self.headers.is_empty()) {
            Err("body and headers belong to a status")
        } else if headers.clone().any(|(name, value)| {
            name.parse::<HeaderName>().is_err() || value.parse::<HeaderValue>().is_err()
        }) {
            Err("a header is malformed")
        } else if of_uploads && matches!(on, On::Generate | On::FileDelete) {
            Err("a file is processed on upload_start, upload_chunk or file_get")
        } else {
            Ok(())
        }
    }
}

fn once() -> u32 {
    1
}

fn quota(id: &str, value: &str, retry_seconds: f64) -> Refusal {
    let message = format!(
        "You exceeded your current quota, please check your plan and billing details. Please retry in {retry_seconds}s."
    );
    let details = json!([
        {
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
                "quotaId": id,
                "quotaDimensions": { "location": "global", "model": "gemini-3.5-transcribe" },
                "quotaValue": value,
            }],
        },
        {
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{
                "description": "Learn more about Gemini API quotas",
                "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
            }],
        },
        { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{retry_seconds}s") },
    ]);
    Refusal::with_details(refusal::RESOURCE_EXHAUSTED, message, &details)
}

/// A body that comes in steps, and may break off.
struct Slow {
    rest: Bytes,
    step: usize,
    pause: Duration,
    is_cut: bool,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let pause = self.pause;
        if !pause.is_zero() || self.waiting.is_some() {
            let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(pause)));
            ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        if self.rest.is_empty() {
            // The server closes the connection on an error. At the first poll that is before it wrote anything.
            let broken = self.is_cut.then(|| Err(io::Error::other("cut, as asked")));
            return Poll::Ready(broken);
        }
        let step = self.step.min(self.rest.len());
        let bytes = self.rest.split_to(step);
        if self.is_cut && self.rest.is_empty() {
            // What was given so far leaves the machine while nothing more comes.
            self.waiting = Some(Box::pin(sleep(Duration::from_millis(50))));
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

/// Shows the faults that are still to come.
pub async fn show(State(stand_in): State<StandIn>) -> Json<VecDeque<Entry>> {
    Json(lock(&stand_in.faults().queue).clone())
}

/// Adds faults to the end of the queue.
pub async fn add(State(stand_in): State<StandIn>, Json(entries): Json<Vec<Entry>>) -> Response {
    for entry in &entries {
        let sound = entry.fault.is_sound(entry.on);
        if let Err(message) = sound.and(if entry.times == 0 {
            Err("times is 1 or more")
        } else {
            Ok(())
        }) {
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
    }
    lock(&stand_in.faults().queue).extend(entries);
    StatusCode::NO_CONTENT.into_response()
}

/// Forgets the faults that are still to come, and lets go on what is held.
pub async fn clear(State(stand_in): State<StandIn>) -> StatusCode {
    lock(&stand_in.faults().queue).clear();
    stand_in.faults().cleared.fetch_add(1, Ordering::SeqCst);
    StatusCode::NO_CONTENT
}
