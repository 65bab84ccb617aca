//! Errors, as Google words them.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An answer that is an error.
#[derive(Clone, Debug)]
pub struct Refusal {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

/// The code and the name of an error.
pub type Kind = (StatusCode, &'static str);
/// The request is wrong, whatever the state of the server.
pub const INVALID_ARGUMENT: Kind = (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT");
/// The request cannot be served in the state that things are in.
pub const FAILED_PRECONDITION: Kind = (StatusCode::BAD_REQUEST, "FAILED_PRECONDITION");
/// Not with this key, or not without one.
pub const PERMISSION_DENIED: Kind = (StatusCode::FORBIDDEN, "PERMISSION_DENIED");
/// There is no such thing.
pub const NOT_FOUND: Kind = (StatusCode::NOT_FOUND, "NOT_FOUND");
/// There is such a thing already.
pub const ALREADY_EXISTS: Kind = (StatusCode::CONFLICT, "ALREADY_EXISTS");
/// Too many requests.
pub const RESOURCE_EXHAUSTED: Kind = (StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED");
/// It went wrong.
pub const INTERNAL: Kind = (StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL");
/// Overloaded.
pub const UNAVAILABLE: Kind = (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE");

impl Refusal {
    /// An error in the shape of `google.rpc.Status`.
    pub fn new(kind: Kind, message: impl AsRef<str>) -> Self {
        Self::with_details(kind, message, &json!(null))
    }

    /// The same with `details`.
    pub fn with_details((status, name): Kind, message: impl AsRef<str>, details: &Value) -> Self {
        let message = message.as_ref();
        let mut error = json!({ "code": status.as_u16(), "message": message, "status": name });
        if !details.is_null() {
            error["details"] = details.clone();
        }
        Self {
            status,
            content_type: "application/json; charset=UTF-8",
            body: json!({ "error": error }).to_string(),
        }
    }

    /// The request is wrong, whatever the state of the server.
    pub fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(INVALID_ARGUMENT, message)
    }

    /// The request is wrong if this is true.
    pub fn invalid_if(is_wrong: bool, message: &str) -> Result<(), Self> {
        if is_wrong {
            Err(Self::invalid(message))
        } else {
            Ok(())
        }
    }

    /// The body has a field that nobody knows, or a value that does not fit its field.
    pub fn bad_field(field: &str, message: &str) -> Self {
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": message }],
        }]);
        Self::with_details(INVALID_ARGUMENT, message, &details)
    }

    /// There is no API key.
    pub fn unregistered() -> Self {
        let message = "Method doesn't allow unregistered callers (callers without established identity). \
            Please use API Key or other form of API consumer identity to call this API.";
        Self::new(PERMISSION_DENIED, message)
    }

    /// The API key is not the right one: a 400, not a 401.
    pub fn bad_key() -> Self {
        let message = "API key not valid. Please pass a valid API key.";
        let details = json!([
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": { "service": "generativelanguage.googleapis.com" },
            },
            {
                "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
                "locale": "en-US",
                "message": message,
            },
        ]);
        Self::with_details(INVALID_ARGUMENT, message, &details)
    }

    /// There is no such file, or it is somebody else's: Google does not tell which.
    pub fn no_file(id: &str) -> Self {
        let message =
            format!("You do not have permission to access the File {id} or it may not exist.");
        Self::new(PERMISSION_DENIED, message)
    }

    /// There is no such model.
    pub fn no_model(model: &str) -> Self {
        let message = format!(
            "models/{model} is not found for API version v1beta, or is not supported for generateContent. \
             Call ListModels to see the list of available models and their supported methods."
        );
        Self::new(NOT_FOUND, message)
    }

    /// A page of Google's front end, which knows no JSON.
    pub fn page(status: StatusCode) -> Self {
        let (code, phrase) = (
            status.as_u16(),
            status.canonical_reason().unwrap_or("Error"),
        );
        Self {
            status,
            content_type: "text/html; charset=UTF-8",
            body: format!(
                "<!DOCTYPE html>\n<html lang=en>\n<title>Error {code} ({phrase})!!1</title>\n\
                 <p><b>{code}.</b> <ins>That's an error.</ins>\n"
            ),
        }
    }

    /// There is nothing at this address.
    pub fn page_not_found() -> Self {
        Self::page(StatusCode::NOT_FOUND)
    }

    /// The same error as an array of one, as some of Google's servers send it.
    #[must_use]
    pub fn in_array(mut self) -> Self {
        self.body = format!("[{}]", self.body);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, [(CONTENT_TYPE, self.content_type)], self.body).into_response()
    }
}
