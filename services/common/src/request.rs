//! What every request and every answer gets, whatever the handler: an id, a span, a log line, a metric, a problem body.

use std::any::Any;
use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, ALLOW, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ORIGIN, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use prometheus::IntGauge;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tracing::field::Empty;
use tracing::{Instrument, Span, debug, error, error_span, info};
use url::{Origin, Url};
use uuid::Uuid;

use crate::code;
use crate::management;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};
use crate::telemetry::record_context;

/// The header that carries the request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;
/// Swagger UI sends it when it asks for a token.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
/// How long a browser may remember what it was allowed.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// Wraps a finished route table: unknown addresses and methods become problems, so does a panic, the allowed origins may call
/// from a browser, and every answer carries its request id, is counted and is logged once.
pub fn instrument(router: Router, metrics: &Metrics, origins: &AllowedOrigins) -> Router {
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
        .layer(middleware::from_fn_with_state(metrics.clone(), accompany))
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

async fn accompany(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let method = method_name(request.method());
    // An error span, so that no usual filter takes the request id from the lines within.
    let span = error_span!(
        "request",
        request_id,
        trace_id = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
    );
    record_context(&span, request.headers(), || format!("{method} {route}"));
    let active = Active::new(&metrics.active_requests);
    let answer = async {
        let start = Instant::now();
        let mut response = next.run(request).await;
        problem::add_request_id(&mut response, &request_id);
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        let status = response.status();
        let seconds = start.elapsed().as_secs_f64();
        metrics
            .requests
            .with_label_values(&[method, route, status.as_str()])
            .observe(seconds);
        record_answer(&Span::current(), status);
        // Probes come every few seconds.
        if management::ROUTES.contains(&route) {
            debug!(duration_seconds = seconds, "answered");
        } else {
            info!(duration_seconds = seconds, "answered");
        }
        drop(active);
        response
    };
    answer.instrument(span).await
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

/// Counts a request from its head to its answer, also if the client hangs up before.
struct Active(IntGauge);

impl Active {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
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
        error!(place, "a fault in the program: it panicked");
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
