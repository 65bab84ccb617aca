//! Answers that come before the request's body was read to its end: a wrong token, no place, not audio, too large.
//!
//! A client that is cut off while it still sends sees a broken connection and not the answer, so a little more of the
//! body is read before the answer goes out.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::timeout;

/// What is still read, at most: whoever has more to send is told to stop by the end of the connection. It is the half of what the
/// contract allows; the other half is for the server, after the answer.
const DRAIN_BYTES: usize = 512 * 1024;
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// What is wrong with a form is answered when all of it has come: many clients read no answer before.
const FORM_LIMIT: Duration = Duration::from_secs(30);

/// The reader of forms takes whatever is there before it hands any of it on. A client that is faster than the bucket would fill the
/// memory with it, so that a pause is made for it now and then.
const UNBROKEN_BYTES: usize = 128 * 1024;

/// A form has no more between the pieces of its fields than this. The reader would keep all of it until it finds the next boundary.
pub const MAX_UNREAD_BYTES: usize = 1024 * 1024;

/// There is a megabyte that belongs to no field.
#[derive(Debug, thiserror::Error)]
#[error("a megabyte of it belongs to no field")]
pub struct NoField;

/// Reads what a handler left of the body, or closes the connection if that is too much.
pub async fn drain(request: Request, next: Next) -> Response {
    // Such a client waits for our word before it sends; the answer is the word.
    let waits = request.headers().contains_key(EXPECT);
    let (mut parts, body) = request.into_parts();
    let unread = Unread {
        length_bytes: body.size_hint().exact(),
        ..Unread::default()
    };
    parts.extensions.insert(unread.clone());
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let mut shared = Shared(Arc::new(Mutex::new(Counted {
        body,
        polled: false,
        unbroken_bytes: 0,
        unread: unread.clone(),
        draining: false,
    })));
    let mut response = next
        .run(Request::from_parts(parts, Body::new(shared.clone())))
        .await;
    let is_of_form = matches!(
        response.status(),
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY
    );
    let (limit, bytes) = match unread.form_bytes() {
        0 => (DRAIN_LIMIT, DRAIN_BYTES),
        bytes if is_of_form => (FORM_LIMIT, bytes),
        _ => (DRAIN_LIMIT, DRAIN_BYTES),
    };
    let ended = if waits && !shared.was_polled() {
        false
    } else {
        timeout(limit, shared.drain(bytes)).await.unwrap_or(false)
    };
    if !ended {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

/// A body that the handler reads, and we after it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Counted>>);

struct Counted {
    body: Body,
    polled: bool,
    /// Bytes since the reader last had to wait.
    unbroken_bytes: usize,
    unread: Unread,
    draining: bool,
}

/// Bytes of a form that its reader has taken from the connection and made nothing of yet.
#[derive(Clone, Default)]
pub struct Unread {
    bytes: Arc<AtomicUsize>,
    length_bytes: Option<u64>,
    /// How much is read of a form that is refused.
    form_bytes: Arc<AtomicUsize>,
}

impl Unread {
    /// How long the whole body is, where the client says so.
    pub fn length_bytes(&self) -> Option<u64> {
        self.length_bytes
    }

    /// A form of this size would be read by whoever may send one.
    pub fn expect_form(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.form_bytes.store(bytes, Ordering::Relaxed);
    }

    fn form_bytes(&self) -> usize {
        self.form_bytes.load(Ordering::Relaxed)
    }

    /// So many of them have become a piece of a field.
    pub fn took(&self, bytes: usize) {
        let rest = |unread: usize| Some(unread.saturating_sub(bytes));
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
    }

    /// All that is left is the beginning of a field.
    pub fn found_a_field(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }

    fn arrived(&self, bytes: usize) -> usize {
        self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }
}

impl Shared {
    fn with<T>(&self, read: impl FnOnce(&mut Counted) -> T) -> T {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn was_polled(&self) -> bool {
        self.with(|counted| counted.polled)
    }

    /// Whether the body's end was reached.
    async fn drain(&mut self, most_bytes: usize) -> bool {
        let mut drained = 0;
        self.with(|counted| counted.draining = true);
        while !self.is_end_stream() {
            match self.frame().await {
                Some(Ok(frame)) => drained += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => return false,
                None => return true,
            }
            if drained > most_bytes {
                return false;
            }
        }
        true
    }
}

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.with(|counted| {
            counted.polled = true;
            if counted.unbroken_bytes >= UNBROKEN_BYTES {
                counted.unbroken_bytes = 0;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let frame = Pin::new(&mut counted.body).poll_frame(context);
            match &frame {
                Poll::Ready(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    counted.unbroken_bytes += bytes;
                    if counted.unread.arrived(bytes) > MAX_UNREAD_BYTES && !counted.draining {
                        let error = axum::Error::new(NoField);
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                _ => counted.unbroken_bytes = 0,
            }
            frame
        })
    }

    fn is_end_stream(&self) -> bool {
        self.with(|counted| counted.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|counted| counted.body.size_hint())
    }
}
