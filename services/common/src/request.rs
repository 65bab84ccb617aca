//! What every request and every answer gets, whatever the handler: an id, a span, one log line, a metric, a problem body.

use std::any::Any;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http_body::Body as _;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use tracing::{Instrument, error, error_span};
use uuid::Uuid;
use uuid::fmt::Simple;

pub use self::attended::RequestLog;
use self::attended::{Attended, Escort, Received};
pub use self::origins::AllowedOrigins;
use crate::code;
use crate::management::Stopping;
use crate::metrics::Metrics;
use crate::problem::{self, Problem};
use crate::telemetry::record_context;

mod attended;
mod origins;

/// The header that carries the request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;
const MAX_PATH_BYTES: usize = 128;
/// Tokens are longer.
const MAX_SEGMENT_BYTES: usize = 40;

/// What every answer has that does not say otherwise itself: nothing that is no page of ours is to be taken for one, nobody between us
/// and the caller keeps a token or a text, and no address of ours is told to others.
const PROTECTION: [(HeaderName, HeaderValue); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

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
        .method_not_allowed_fallback(|| async { Problem::from(code::METHOD_NOT_ALLOWED) });
    let router = match origins.layer() {
        Some(layer) => {
            // A page may read of a fault too.
            let router = router.layer(CatchPanicLayer::custom(panicked));
            let preflights = middleware::from_fn_with_state(router.clone(), only_preflights);
            router.layer(layer).layer(preflights)
        }
        None => router,
    };
    let escort = Escort {
        metrics: metrics.clone(),
        stopping: stopping.clone(),
    };
    // As one: the router clones all that is within a layer for each request, once for each layer.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(escort, accompany))
        .layer(CatchPanicLayer::custom(panicked));
    router.layer(layers)
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
    let log = RequestLog::new(span.clone());
    request.extensions_mut().insert(log.clone());
    if !request.body().is_end_stream() {
        let log = log.clone();
        request = request.map(|body| Body::new(Received { body, log }));
    }
    let answer = async {
        let attended = Attended::new(&escort, method, route, log);
        let mut response = next.run(request).await;
        let code = code_of(&response);
        problem::write_body(&mut response, &request_id);
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        for (name, value) in PROTECTION {
            response.headers_mut().entry(name).or_insert(value);
        }
        if escort.stopping.has_begun() {
            // Who keeps a connection goes elsewhere with the next request, instead of losing it when the connections are closed.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
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

/// As much of a path as is worth a log line, up to what could be an e-mail address or a token. Paths that are no routes of ours are
/// mostly written by programs that look for holes.
fn beginning_of(path: &str) -> &str {
    let mut end = 0;
    for segment in path.split_inclusive('/') {
        let may_be_private =
            segment.contains('@') || segment.contains("%40") || segment.len() > MAX_SEGMENT_BYTES;
        if may_be_private || end + segment.len() > MAX_PATH_BYTES {
            break;
        }
        end += segment.len();
    }
    &path[..end]
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
    of_caller.map_or_else(new_id, str::to_owned)
}

fn new_id() -> String {
    let mut text = [0; Simple::LENGTH];
    Uuid::new_v4().simple().encode_lower(&mut text).to_owned()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::http::header::CONTENT_TYPE;
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

    #[tokio::test]
    async fn answers_end_their_connection_once_the_service_is_told_to_stop() {
        let metrics = Metrics::new(BuildInfo {
            version: "0",
            revision: "test",
        });
        let routes = Router::new().route("/good", get(|| async { "good" }));
        let stopping = Stopping::default();
        let origins = AllowedOrigins::Listed(Vec::new());
        let app = instrument(routes, &metrics.unwrap(), &origins, &stopping);
        let ask = async || {
            let request = Request::get("/good").body(Body::empty()).unwrap();
            app.clone().oneshot(request).await.unwrap()
        };

        assert!(!ask().await.headers().contains_key(CONNECTION));
        stopping.begin();
        assert_eq!(ask().await.headers()[CONNECTION], "close");
    }

    fn id_for(value: &[u8]) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(value).unwrap());
        request_id(&headers)
    }

    #[test]
    fn a_path_is_told_up_to_what_may_be_private() {
        assert_eq!(beginning_of("/wp-admin/setup.php"), "/wp-admin/setup.php");
        assert_eq!(beginning_of("/users/ada@example.com/x"), "/users/");
        assert_eq!(beginning_of("/users/ada%40example.com"), "/users/");
        assert_eq!(beginning_of(&format!("/me/{}", "x".repeat(41))), "/me/");
        assert_eq!(beginning_of(&"/ab".repeat(60)).len(), 127);
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
