//! JSON request bodies, whose rejection is a [`Problem`] too.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::problem::Problem;

/// A small body is there by then.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// A JSON body, in a request or in an answer. In a request it is an object.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "The body must be JSON: send the header Content-Type: application/json.",
            ));
        }
        let body = read(request, state).await?;
        // First as an object: a struct would be read from an array too.
        serde_json::from_slice::<Map<String, Value>>(&body)
            .and_then(|object| T::deserialize(Value::Object(object)))
            .map(Self)
            .map_err(|error| refuse(&error))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

/// `application/json`, or a type that ends in `+json` (RFC 6839 §3.1). Without a header it is taken for JSON, as FastAPI did.
fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/");
    media_type.is_empty()
        || subtype.is_some_and(|subtype| subtype == "json" || subtype.ends_with("+json"))
}

/// Reads a small body whole, within the route's limit and 30 s.
pub async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    match timeout(BODY_LIMIT, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is larger than this address takes.",
            ))
        }
        Ok(Err(_)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "incomplete_body",
            "The body could not be read to its end.",
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow_body",
            format!("The body was not there within {} s.", BODY_LIMIT.as_secs()),
        )),
    }
}

/// Says where the body is wrong, and nothing that stands in it: that may be a password.
///
/// FastAPI answers 422 to JSON that does not parse, and its clients look for that.
fn refuse(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    let detail = match error.classify() {
        Category::Eof => format!("The body is JSON that is cut off ({place})."),
        Category::Data => {
            "The body is not what this address takes: send one JSON object.".to_owned()
        }
        Category::Syntax | Category::Io => format!("The body is not JSON ({place})."),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_body", detail)
}
