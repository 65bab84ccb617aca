//! JSON request bodies, whose rejection is a [`Problem`] too.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::code;
use crate::problem::Problem;

/// Bytes of a body that a service of small requests takes; [`code::BODY_TOO_LARGE`] says so.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// A small body is there by then; [`code::SLOW_BODY`] says so.
const BODY_LIMIT: Duration = Duration::from_secs(30);

/// A JSON body, in a request or in an answer. In a request it is an object.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(code::UNSUPPORTED_MEDIA_TYPE.into());
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

/// Why a small body was not read.
#[derive(Clone, Copy, Debug)]
pub enum Unread {
    /// It broke off.
    Incomplete,
    /// It has more bytes than the route takes.
    TooLarge,
    /// It took too long.
    Slow,
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Incomplete => code::INCOMPLETE_BODY.into(),
            Unread::TooLarge => code::BODY_TOO_LARGE.into(),
            Unread::Slow => code::SLOW_BODY.into(),
        }
    }
}

/// Reads a small body whole, within the route's limit and 30 s.
pub async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Unread> {
    match timeout(BODY_LIMIT, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(Unread::TooLarge)
        }
        Ok(Err(_)) => Err(Unread::Incomplete),
        Err(_) => Err(Unread::Slow),
    }
}

/// Says where the body is wrong, and nothing that stands in it: that may be a password.
///
/// FastAPI answers 422 to JSON that does not parse, and its clients look for that.
fn refuse(error: &serde_json::Error) -> Problem {
    let place = format!("line {}, column {}", error.line(), error.column());
    let what = match error.classify() {
        Category::Eof => format!("The JSON of the body ends too early ({place})."),
        Category::Data => "The body is JSON, but not an object.".to_owned(),
        Category::Syntax | Category::Io => format!("The body is not JSON ({place})."),
    };
    let code = code::INVALID_BODY;
    Problem::new(code, format!("{what} {}", code.remedy()))
}
