//! Error answers: `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::code::{self, Code};

/// An error as the client sees it (RFC 9457).
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` is the stable name, `title` the status phrase.
    #[schema(pattern = "^about:blank$", example = "about:blank")]
    #[serde(rename = "type")]
    kind: &'static str,
    /// The phrase of the HTTP status.
    title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Sentences that a person can act on: what happened, and what to do.
    detail: String,
    /// A stable name in `snake_case`, for programs. docs/errors.md lists all of them; take one that you do not know for its `status`.
    #[schema(pattern = "^[a-z]+(_[a-z]+)*$")]
    code: &'static str,
    /// The id of the request, as in the header `x-request-id` and in the logs.
    #[schema(value_type = String, required = false, pattern = "^[A-Za-z0-9._-]{1,128}$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// One entry for each invalid field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Further members, such as the `id` of a recording that was accepted before the error.
    #[serde(flatten)]
    members: Map<String, Value>,
    #[serde(skip)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The name of the field as it stands in the request.
    pub field: &'static str,
    /// A sentence that says what is wrong and what is taken.
    pub message: String,
}

impl FieldError {
    /// Says that `field` is wrong, and why.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { field, message }
    }
}

impl Problem {
    /// A problem of this kind. `detail` says more of it than the kind alone, which is the problem's sentence if it is made by
    /// [`From`]: a limit, a place, a reason.
    ///
    /// A `401` has the challenge that RFC 9110 §15.5.2 asks for, in the form of RFC 6750 §3.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.name(),
            request_id: None,
            errors: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        };
        if status == StatusCode::UNAUTHORIZED {
            return problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        problem
    }

    /// A `422` that names every field that is wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|error| format!("{}: {}", error.field, error.message))
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            errors,
            ..Self::new(code::INVALID_FIELD, detail)
        }
    }

    /// A `500`: the cause is in the log and nowhere else.
    pub fn internal() -> Self {
        code::INTERNAL.into()
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable name, for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Begins the sentence for a person with another one.
    #[must_use]
    pub fn after(mut self, sentence: &str) -> Self {
        self.detail = format!("{sentence} {}", self.detail);
        self
    }

    /// Adds a member to the body.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`: waiting this many seconds can help (RFC 9110 §10.2.3).
    #[must_use]
    pub fn with_retry_after(self, seconds: u32) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn body(&self) -> Body {
        // A struct of strings and numbers always serialises; an empty body is the honest rest.
        Body::from(serde_json::to_vec(self).unwrap_or_default())
    }
}

impl From<Code> for Problem {
    /// A problem of which there is no more to say than its kind says.
    fn from(code: Code) -> Self {
        Self::new(code, code.sentence())
    }
}

impl IntoResponse for Problem {
    /// The answer without its body: [`instrument`](crate::request::instrument) writes that, since it knows the id of the request.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A wait as people say it, rounded up.
pub fn wait_in_words(seconds: u32) -> String {
    const MINUTE: u32 = 60;
    const HOUR: u32 = 60 * MINUTE;
    match seconds {
        0 | 1 => "1 second".to_owned(),
        _ if seconds <= 2 * MINUTE => format!("{seconds} seconds"),
        _ if seconds <= 2 * HOUR => format!("{} minutes", seconds.div_ceil(MINUTE)),
        _ => format!("{} hours", seconds.div_ceil(HOUR)),
    }
}

/// Writes the body of a problem that a handler answered; handlers do not know the id of the request, which stands in it.
pub(crate) fn write_body(response: &mut Response, request_id: &str) {
    let Some(mut problem) = response.extensions_mut().remove::<Problem>() else {
        return;
    };
    problem.request_id = Some(request_id.to_owned());
    // The length of no body may have been noted already.
    response.headers_mut().remove(CONTENT_LENGTH);
    *response.body_mut() = problem.body();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_said_in_the_unit_that_people_use() {
        let said = [0, 1, 35, 120, 121, 900, 7200, 7201, 86_400].map(wait_in_words);

        assert_eq!(
            said,
            [
                "1 second",
                "1 second",
                "35 seconds",
                "120 seconds",
                "3 minutes",
                "15 minutes",
                "120 minutes",
                "3 hours",
                "24 hours"
            ]
        );
    }
}
