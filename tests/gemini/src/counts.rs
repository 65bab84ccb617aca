//! What has happened, for a test to ask afterwards.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use crate::{StandIn, lock};

/// How many requests are remembered.
const REMEMBERED: usize = 200;

/// The counters.
#[derive(Clone, Default)]
pub struct Counts(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    document: Document,
    running: u64,
    /// The number of the request at the front of the list.
    first: u64,
}

/// The document at `/_stand-in/counts`.
#[derive(Clone, Default, Serialize)]
pub struct Document {
    /// Calls of `generateContent` that arrived, refused ones too.
    pub generate_content_calls: u64,
    /// Calls of `generateContent` that Google would bill: a `200` was begun.
    pub billed_calls: u64,
    /// Those of them whose answer broke off or was none of Google's, as a fault asked.
    pub spoiled_answers: u64,
    /// The input tokens of the billed calls.
    pub billed_input_tokens: u64,
    /// Files whose upload was finished.
    pub files_uploaded: u64,
    /// Files that were deleted on request.
    pub files_deleted: u64,
    /// Files that exist now; a reset does not change it.
    pub files_existing: usize,
    /// Bytes of audio that came inside well-formed requests.
    pub inline_bytes: u64,
    /// Requests that had a header of a trace.
    pub requests_with_trace_headers: u64,
    /// The largest number of `generateContent` calls that were under way together.
    pub concurrent_maximum: u64,
    /// What the last well-formed call of `generateContent` asked, but for its audio.
    pub last_call: Value,
    /// The last 200 requests to the API.
    pub requests: VecDeque<Recorded>,
}

/// A request, without anything that could be secret.
#[derive(Clone, Serialize)]
pub struct Recorded {
    method: String,
    path: String,
    /// Missing while there is no answer, and for ever if the connection was closed before it.
    status: Option<u16>,
    headers: Vec<String>,
}

/// A call of `generateContent` that is under way until this is dropped.
pub struct Call(Counts);

impl Counts {
    /// Records a request and gives its number.
    pub fn request_arrives(&self, request: &Request) -> u64 {
        let recorded = Recorded {
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            status: None,
            headers: request.headers().keys().map(ToString::to_string).collect(),
        };
        let generates = recorded.method == "POST" && recorded.path.ends_with(":generateContent");
        let mut inner = lock(&self.0);
        inner.document.generate_content_calls += u64::from(generates);
        inner.document.requests.push_back(recorded);
        if inner.document.requests.len() > REMEMBERED {
            inner.document.requests.pop_front();
            inner.first += 1;
        }
        inner.first + inner.document.requests.len() as u64 - 1
    }

    /// Records the answer to a request.
    pub fn request_is_answered(&self, number: u64, status: StatusCode) {
        let mut inner = lock(&self.0);
        // A request that began before a reset, or too long ago, is no longer in the list.
        let index = number.checked_sub(inner.first).map(usize::try_from);
        if let Some(Ok(index)) = index
            && let Some(recorded) = inner.document.requests.get_mut(index)
        {
            recorded.status = Some(status.as_u16());
        }
    }

    /// Counts a header of a trace.
    pub fn trace_header(&self) {
        lock(&self.0).document.requests_with_trace_headers += 1;
    }

    /// Notes that a call of `generateContent` is under way.
    pub fn call_begins(&self) -> Call {
        let mut inner = lock(&self.0);
        inner.running += 1;
        inner.document.concurrent_maximum = inner.document.concurrent_maximum.max(inner.running);
        Call(self.clone())
    }

    /// Counts the audio inside a request.
    pub fn inline(&self, bytes: u64) {
        lock(&self.0).document.inline_bytes += bytes;
    }

    /// Keeps what a call asked.
    pub fn call_asks(&self, asked: Value) {
        lock(&self.0).document.last_call = asked;
    }

    /// Counts what Google would bill.
    pub fn bill(&self, input_tokens: u64) {
        let mut inner = lock(&self.0);
        inner.document.billed_calls += 1;
        inner.document.billed_input_tokens += input_tokens;
    }

    /// Counts a billed answer that is of no use.
    pub fn spoiled(&self) {
        lock(&self.0).document.spoiled_answers += 1;
    }

    /// Counts a finished upload.
    pub fn file_uploaded(&self) {
        lock(&self.0).document.files_uploaded += 1;
    }

    /// Counts a deletion.
    pub fn file_deleted(&self) {
        lock(&self.0).document.files_deleted += 1;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        lock(&self.0.0).running -= 1;
    }
}

/// Shows the counters.
pub async fn show(State(stand_in): State<StandIn>) -> Json<Document> {
    let mut document = lock(&stand_in.counts().0).document.clone();
    document.files_existing = stand_in.files().existing();
    Json(document)
}

/// Sets the counters to zero and forgets the requests.
pub async fn reset(State(stand_in): State<StandIn>) -> StatusCode {
    let mut inner = lock(&stand_in.counts().0);
    inner.first += inner.document.requests.len() as u64;
    inner.document = Document::default();
    StatusCode::NO_CONTENT
}
