//! A request from its head to its answer: what came in, who sent it, what became of it, and the one line that tells.

use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};
use tracing::field::display;
use tracing::{Level, Span, event};
use uuid::Uuid;

use crate::management::{self, Stopping};
use crate::metrics::Metrics;
use crate::pages;

/// What is needed to accompany a request.
#[derive(Clone)]
pub(super) struct Escort {
    pub(super) metrics: Metrics,
    pub(super) stopping: Stopping,
}

/// The log lines of a request, for whoever learns what they should tell.
#[derive(Clone)]
pub struct RequestLog(Arc<Watched>);

/// A request's span, and what was seen of its client.
struct Watched {
    span: Span,
    seen: Seen,
}

impl RequestLog {
    pub(super) fn new(span: Span) -> Self {
        let seen = Seen::default();
        Self(Arc::new(Watched { span, seen }))
    }

    /// That of the request with this head.
    pub fn of(parts: &Parts) -> Self {
        let of_request = parts.extensions.get::<Self>().cloned();
        // Only where nobody accompanies the request.
        of_request.unwrap_or_else(|| Self::new(Span::none()))
    }

    /// All lines from now on tell this user's id.
    pub fn user(&self, id: &(impl Display + ?Sized)) {
        self.0.span.record("user.id", display(id));
    }

    /// All lines from now on tell the id of the recording that was accepted.
    pub fn transcription(&self, id: Uuid) {
        self.0.span.record("transcription.id", display(id));
    }

    /// All lines from now on tell why the token was not taken.
    pub fn token_rejected(&self, reason: &'static str) {
        self.0.span.record("token.rejected", reason);
    }

    /// Whether nobody waits for the answer any more: no line will tell what became of the request.
    pub fn is_abandoned(&self) -> bool {
        self.0.seen.abandoned.load(Ordering::Acquire)
    }

    fn seen(&self) -> &Seen {
        &self.0.seen
    }
}

impl<S: Sync> FromRequestParts<S> for RequestLog {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// What was seen of a client.
#[derive(Default)]
struct Seen {
    received_bytes: AtomicU64,
    /// It hung up before its body was complete.
    broke_off: AtomicBool,
    abandoned: AtomicBool,
}

/// The body of a request, counted as it comes in.
pub(super) struct Received {
    pub(super) body: Body,
    pub(super) log: RequestLog,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let seen = self.log.seen();
                seen.received_bytes
                    .fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Some(Err(error)) if is_of_connection(error) => {
                self.log.seen().broke_off.store(true, Ordering::Relaxed);
            }
            Some(Err(_)) | None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether the connection ended, and not that the client sent what HTTP does not know.
fn is_of_connection(error: &(dyn Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let is_of_client = matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        );
        return !is_of_client;
    }
    error.source().is_some_and(is_of_connection)
}

/// A request from its head to its answer, or to the end of its connection if that comes first.
pub(super) struct Attended<'a> {
    escort: &'a Escort,
    method: &'static str,
    route: &'a str,
    log: RequestLog,
    start: Instant,
    is_answered: bool,
}

impl<'a> Attended<'a> {
    pub(super) fn new(
        escort: &'a Escort,
        method: &'static str,
        route: &'a str,
        log: RequestLog,
    ) -> Self {
        escort.metrics.active_requests.inc();
        Self {
            escort,
            method,
            route,
            log,
            start: Instant::now(),
            is_answered: false,
        }
    }

    pub(super) fn answered(mut self, response: &Response, code: Option<&'static str>) {
        let status = response.status();
        let seconds = self.start.elapsed().as_secs_f64();
        self.escort
            .metrics
            .requests
            .with_label_values(&[self.method, self.route, status.as_str()])
            .observe(seconds);
        record_answer(&self.log.0.span, status);
        // An answer that nobody hears is none.
        if self.log.seen().broke_off.load(Ordering::Relaxed) {
            return;
        }
        self.is_answered = true;
        let level = match status {
            _ if self.is_a_matter_of_course() => Level::DEBUG,
            _ if status.is_server_error() => Level::WARN,
            _ => Level::INFO,
        };
        let end = End {
            how: format_args!(" answered {}", status.as_u16()),
            code,
            sent_bytes: response.body().size_hint().exact(),
        };
        self.write_line(level, &end);
    }

    /// Probes come every few seconds, and a page brings half a dozen files with it.
    fn is_a_matter_of_course(&self) -> bool {
        management::ROUTES.contains(&self.route) || self.route == pages::FILES
    }

    fn write_line(&self, level: Level, end: &End<'_>) {
        let End {
            how,
            code,
            sent_bytes,
        } = end;
        let Self { method, route, .. } = self;
        let what = if route.is_empty() {
            " to an unknown address"
        } else {
            route
        };
        let space = if route.is_empty() { "" } else { " " };
        // A microsecond is fine enough.
        let seconds = (self.start.elapsed().as_secs_f64() * 1e6).round() / 1e6;
        let received_bytes = self.log.seen().received_bytes.load(Ordering::Relaxed);
        macro_rules! write_line {
            ($level:expr) => {
                event!(
                    $level,
                    code,
                    duration_seconds = seconds,
                    http.request.body.size = received_bytes,
                    http.response.body.size = sent_bytes,
                    "{method}{space}{what}{how}"
                )
            };
        }
        match level {
            Level::WARN => write_line!(Level::WARN),
            Level::INFO => write_line!(Level::INFO),
            _ => write_line!(Level::DEBUG),
        }
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.escort.metrics.active_requests.dec();
        if self.is_answered {
            return;
        }
        let seen = self.log.seen();
        seen.abandoned.store(true, Ordering::Release);
        let how = if self.escort.stopping.has_begun() {
            format_args!(": not answered, since the service stops or the client hung up")
        } else {
            format_args!(": the client hung up")
        };
        let level = if self.is_a_matter_of_course() {
            Level::DEBUG
        } else {
            Level::INFO
        };
        let end = End {
            how,
            code: None,
            sent_bytes: None,
        };
        self.write_line(level, &end);
    }
}

/// How a request ended, as its line tells.
struct End<'a> {
    how: fmt::Arguments<'a>,
    code: Option<&'static str>,
    sent_bytes: Option<u64>,
}

fn record_answer(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    // OpenTelemetry's conventions for HTTP servers: only our own failures are errors.
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}
