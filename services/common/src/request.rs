//! What every request and every answer gets, whatever the handler: an id, a span, one log line, a metric, a problem body.

use std::any::Any;
use std::convert::Infallible;
use std::error::Error;
use std::fmt::{self, Display};
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http_body::{Body as _, Frame, SizeHint};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::field::{Empty, display};
use tracing::{Instrument, Level, Span, error, error_span, event};
use url::{Origin, Url};
use uuid::Uuid;

use crate::code;
use crate::management::{self, Stopping};
use crate::metrics::Metrics;
use crate::pages;
use crate::problem::{self, Problem};
use crate::telemetry::record_context;

/// The header that carries the request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Swagger UI sends it when it asks for a token.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const MAX_PATH_BYTES: usize = 128;
/// How long a browser may remember what it was allowed.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// Wraps a finished route table: unknown addresses and methods become problems, so does a panic, the allowed origins may call
/// from a browser, and every answer carries its request id, is counted and is logged once.
pub fn instrument(
    router: Router,
    metrics: &Metrics,
    origins: &AllowedOrigins,
    stopping: &Stopping,
) -> Router {
    let router = router
        .fallback(|| async { Problem::from(code::NOT_FOUND) })
        .method_not_allowed_fallback(|| async { Problem::from(code::METHOD_NOT_ALLOWED) })
        .layer(CatchPanicLayer::custom(panicked));
    let router = match origins.layer() {
        Some(layer) => router
            .clone()
            .layer(layer)
            .layer(middleware::from_fn_with_state(router, only_preflights)),
        None => router,
    };
    let escort = Escort {
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    };
    router
        // Nothing that is no page of ours is to be taken for one.
        .layer(SetResponseHeaderLayer::if_not_present(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
        ))
        .layer(SetResponseHeaderLayer::overriding(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(middleware::from_fn_with_state(escort, accompany))
}

/// The layer for browsers answers whatever has the method OPTIONS; what no browser asked before a request goes past it.
async fn only_preflights(State(router): State<Router>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let is_preflight =
        headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        return router
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
    }
    next.run(request).await
}

/// What is needed to accompany a request.
#[derive(Clone)]
struct Escort {
    metrics: Metrics,
    stopping: Stopping,
}

async fn accompany(State(escort): State<Escort>, mut request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or("", MatchedPath::as_str);
    let method = method_name(request.method());
    // An error span, so that no usual filter takes the request id from the lines within.
    let span = error_span!(
        "request",
        user.id = Empty,
        transcription.id = Empty,
        token.rejected = Empty,
        request_id,
        trace_id = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        url.path = Empty,
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
    );
    if matched.is_none() {
        // Without the query, which may hold a token.
        span.record("url.path", beginning_of(request.uri().path()));
    }
    record_context(&span, request.headers(), || format!("{method} {route}"));
    let log = RequestLog {
        span: span.clone(),
        seen: Arc::default(),
    };
    let seen = Arc::clone(&log.seen);
    request.extensions_mut().insert(log);
    if !request.body().is_end_stream() {
        let seen = Arc::clone(&seen);
        request = request.map(|body| Body::new(Received { body, seen }));
    }
    let answer = async {
        let attended = Attended::new(&escort, method, route, seen);
        let mut response = next.run(request).await;
        let code = code_of(&response);
        problem::add_request_id(&mut response, &request_id);
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        attended.answered(&response, code);
        response
    };
    answer.instrument(span).await
}

/// Why a request was refused, for the log: by its [`Problem`], or by what else the handler put into the answer's extensions.
fn code_of(response: &Response) -> Option<&'static str> {
    let extensions = response.extensions();
    let of_problem = extensions.get::<Problem>().map(Problem::code);
    of_problem.or_else(|| extensions.get::<RefusalCode>().map(|code| code.0))
}

/// The code of a refusal whose body is no [`Problem`], in the extensions of the answer.
#[derive(Clone, Copy, Debug)]
pub struct RefusalCode(pub &'static str);

/// As much of a path as is worth a log line. Paths that are no routes of ours are mostly written by programs that look for
/// holes.
fn beginning_of(path: &str) -> &str {
    &path[..path.floor_char_boundary(MAX_PATH_BYTES)]
}

/// The log lines of a request, for whoever learns what they should tell.
#[derive(Clone)]
pub struct RequestLog {
    span: Span,
    seen: Arc<Seen>,
}

impl RequestLog {
    /// That of the request with this head.
    pub fn of(parts: &Parts) -> Self {
        let of_request = parts.extensions.get::<Self>().cloned();
        // Only where nobody accompanies the request.
        of_request.unwrap_or_else(|| Self {
            span: Span::none(),
            seen: Arc::default(),
        })
    }

    /// All lines from now on tell this user's id.
    pub fn user(&self, id: &(impl Display + ?Sized)) {
        self.span.record("user.id", display(id));
    }

    /// All lines from now on tell the id of the recording that was accepted.
    pub fn transcription(&self, id: Uuid) {
        self.span.record("transcription.id", display(id));
    }

    /// All lines from now on tell why the token was not taken.
    pub fn token_rejected(&self, reason: &'static str) {
        self.span.record("token.rejected", reason);
    }

    /// Whether nobody waits for the answer any more: no line will tell what became of the request.
    pub fn is_abandoned(&self) -> bool {
        self.seen.abandoned.load(Ordering::Acquire)
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
struct Received {
    body: Body,
    seen: Arc<Seen>,
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
                self.seen
                    .received_bytes
                    .fetch_add(bytes as u64, Ordering::Relaxed);
            }
            Some(Err(error)) if is_of_connection(error) => {
                self.seen.broke_off.store(true, Ordering::Relaxed);
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
struct Attended<'a> {
    escort: &'a Escort,
    method: &'static str,
    route: &'a str,
    seen: Arc<Seen>,
    start: Instant,
    is_answered: bool,
}

impl<'a> Attended<'a> {
    fn new(escort: &'a Escort, method: &'static str, route: &'a str, seen: Arc<Seen>) -> Self {
        escort.metrics.active_requests.inc();
        Self {
            escort,
            method,
            route,
            seen,
            start: Instant::now(),
            is_answered: false,
        }
    }

    fn answered(mut self, response: &Response, code: Option<&'static str>) {
        let status = response.status();
        let seconds = self.start.elapsed().as_secs_f64();
        self.escort
            .metrics
            .requests
            .with_label_values(&[self.method, self.route, status.as_str()])
            .observe(seconds);
        record_answer(&Span::current(), status);
        // An answer that nobody hears is none.
        if self.seen.broke_off.load(Ordering::Relaxed) {
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
        self.log(level, &end);
    }

    /// Probes come every few seconds, and a page brings half a dozen files with it.
    fn is_a_matter_of_course(&self) -> bool {
        management::ROUTES.contains(&self.route) || self.route == pages::FILES
    }

    fn log(&self, level: Level, end: &End<'_>) {
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
        let received_bytes = self.seen.received_bytes.load(Ordering::Relaxed);
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
        self.seen.abandoned.store(true, Ordering::Release);
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
        self.log(level, &end);
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

/// A closed set: a client may send any word as its method.
fn method_name(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        // OpenTelemetry's word for the others.
        _ => "_OTHER",
    }
}

/// A fault of ours ends the request and nothing else. The message may hold what the client sent: only its place is logged,
/// by the hook that [`log_panics`] installs.
fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    Problem::internal().into_response()
}

/// Logs panics as lines like all others, by their place in the code and without their message, which may hold a secret.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(
            place,
            "a fault in the program: it panicked; please report the place"
        );
    }));
}

/// The origins (RFC 6454) that may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All of them.
    Any,
    /// These.
    Listed(Vec<HeaderValue>),
}

impl AllowedOrigins {
    /// Nothing if no origin is allowed: a browser then refuses by itself.
    fn layer(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Listed(origins) if origins.is_empty() => return None,
            Self::Listed(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, REQUEST_ID, REQUESTED_WITH])
            .expose_headers([REQUEST_ID, RETRY_AFTER, ALLOW])
            .max_age(PREFLIGHT_AGE);
        Some(layer)
    }
}

impl AllowedOrigins {
    /// These origins too.
    #[must_use]
    pub fn with(self, further: impl IntoIterator<Item = HeaderValue>) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Listed(mut origins) => {
                origins.extend(further);
                Self::Listed(origins)
            }
        }
    }
}

impl FromStr for AllowedOrigins {
    type Err = String;

    fn from_str(origins: &str) -> Result<Self, String> {
        if origins.trim() == "*" {
            return Ok(Self::Any);
        }
        let origins = origins.split(',').map(str::trim);
        let listed = origins.filter(|origin| !origin.is_empty()).map(|origin| {
            let is_one = Url::parse(origin).map(|url| url.origin()).is_ok_and(|parsed| {
                matches!(parsed, Origin::Tuple(..)) && parsed.ascii_serialization() == origin
            });
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_one);
            value.ok_or_else(|| {
                format!("{origin} is no origin: scheme, host and port, in lower case and without a path; for example https://app.example.com")
            })
        });
        Ok(Self::Listed(listed.collect::<Result<_, _>>()?))
    }
}

/// The caller's id if it is one to be trusted in a log line and a header, else one of ours.
fn request_id(headers: &HeaderMap) -> String {
    let of_caller = headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()))
        .filter(|id| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        });
    of_caller.map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::get;

    use super::*;
    use crate::metrics::BuildInfo;

    #[tokio::test]
    async fn a_panic_is_a_problem_and_ends_one_request_only() {
        async fn broken() -> &'static str {
            panic!("a fault, caused on purpose")
        }
        let metrics = Metrics::new(BuildInfo {
            version: "0",
            revision: "test",
        });
        let routes = Router::new()
            .route("/broken", get(broken))
            .route("/good", get(|| async { "good" }));
        let app = instrument(
            routes,
            &metrics.unwrap(),
            &AllowedOrigins::Listed(Vec::new()),
            &Stopping::default(),
        );
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap()
        };

        let answer = ask("/broken").await;

        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert!(answer.headers().contains_key(REQUEST_ID));
        assert_eq!(ask("/good").await.status(), StatusCode::OK);
    }

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        let parse = |origins: &str| origins.parse::<AllowedOrigins>();
        let listed = |origins: &[&'static str]| {
            AllowedOrigins::Listed(
                origins
                    .iter()
                    .map(|origin| HeaderValue::from_static(origin))
                    .collect(),
            )
        };

        assert_eq!(parse("").unwrap(), listed(&[]));
        assert_eq!(
            parse("https://a.example, http://localhost:3000").unwrap(),
            listed(&["https://a.example", "http://localhost:3000"])
        );
        assert_eq!(parse("*").unwrap(), AllowedOrigins::Any);
        for wrong in [
            "https://a.example/",
            "a.example",
            "https://A.example",
            "null",
            "https://a.example:443",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    fn id_for(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        request_id(&headers)
    }

    #[test]
    fn a_callers_id_is_kept_if_it_is_plain() {
        assert_eq!(id_for(b"a-1_b.C"), "a-1_b.C");
        assert_eq!(id_for(&[b'x'; 128]), "x".repeat(128));
    }

    #[test]
    fn a_callers_id_is_replaced_if_it_could_forge_a_log_line_or_is_too_long() {
        for bad in [
            &b"a b"[..],
            b"",
            b"a\tb",
            b"\"}",
            "ä".as_bytes(),
            &[b'x'; 129],
        ] {
            let id = id_for(bad);
            assert_eq!(id.len(), 32, "{bad:?} became {id}");
        }
    }
}
