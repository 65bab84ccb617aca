//! What every request and every answer gets, whatever the handler: an id, a span, a log line, a problem body.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use tracing::{Instrument, info, info_span};
use uuid::Uuid;

use crate::problem::{self, Problem};

/// The header that carries the request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Wraps a finished route table: unknown addresses and methods become problems, and every answer carries its
/// request id and is logged once.
pub fn instrument(router: Router) -> Router {
    router
        .fallback(|| async {
            Problem::new(
                StatusCode::NOT_FOUND,
                "not_found",
                "There is nothing at this address.",
            )
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This address does not take this method; the header Allow lists those it takes.",
            )
        })
        .layer(middleware::from_fn(accompany))
}

async fn accompany(request: Request, next: Next) -> Response {
    let request_id = request_id(request.headers());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let span = info_span!(
        "request",
        request_id,
        http.request.method = %request.method(),
        http.route = route,
    );
    async {
        let start = Instant::now();
        let mut response = next.run(request).await;
        problem::add_request_id(&mut response, &request_id);
        if let Ok(value) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        info!(
            http.response.status_code = response.status().as_u16(),
            duration_seconds = start.elapsed().as_secs_f64(),
            "answered"
        );
        response
    }
    .instrument(span)
    .await
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
    use super::*;

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
