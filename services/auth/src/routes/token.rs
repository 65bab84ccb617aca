//! `POST /token`: the password grant of OAuth 2 (RFC 6749 §4.3), for Swagger UI and every OAuth client.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;
use transcription_common::json::{self, Json};
use transcription_common::problem::Problem;
use transcription_common::request::{RefusalCode, RequestLog};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::login::{NOT_STORED, TokenView};
use crate::accounts::Authenticator;
use crate::client_address::ClientAddress;
use crate::error::Error;

const FORM: &str = "application/x-www-form-urlencoded";

/// The request of the password grant. Further parameters, such as `scope` and `client_id`, are ignored, and one without a value
/// counts as left out (RFC 6749 §3.2).
#[derive(Default, ToSchema)]
pub struct TokenRequest {
    /// `password`.
    #[schema(value_type = String, required = true, pattern = "^password$", example = "password")]
    grant_type: Option<String>,
    /// The user name or e-mail address.
    #[schema(value_type = String, required = true, min_length = 1, example = "ada")]
    username: Option<String>,
    #[schema(value_type = String, required = true, format = Password, min_length = 1, example = "correct horse battery staple")]
    password: Option<SecretString>,
}

/// An error of OAuth 2 (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
pub struct OAuthError {
    #[schema(example = "invalid_grant")]
    error: &'static str,
    #[schema(example = "User name or password is wrong.")]
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

/// Gives a token for a user name (or e-mail) and a password, the OAuth 2 way.
#[utoipa::path(post, path = "/token",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    tag = "users",
    responses(
        (status = 200, description = "A token.", body = TokenView),
        (status = 400, description = "`invalid_grant`, `invalid_request`, `unsupported_grant_type`: Wrong credentials, or a wrong request.", body = OAuthError),
        (status = 408, description = "`invalid_request`: The body was not there within 30 s.", body = OAuthError),
        (status = 413, description = "`invalid_request`: The body is larger than the 64 KiB that are taken.", body = OAuthError),
        (status = 429, description = "`temporarily_unavailable`: Too many failed attempts: try again later.", body = OAuthError),
        (status = 500, description = "`server_error`: Something went wrong on our side.", body = OAuthError),
        (status = 503, description = "`temporarily_unavailable`: Too many log-ins and registrations at once: try again in a moment.", body = OAuthError),
    ))]
#[tracing::instrument(name = "users.token", skip_all)]
pub async fn token(
    State(authenticator): State<Authenticator>,
    client: ClientAddress,
    log: RequestLog,
    request: Request,
) -> Result<impl IntoResponse, OAuthError> {
    let is_form = is_form(request.headers());
    let body = json::read(request, &()).await?;
    let request = TokenRequest::parse(&body).filter(|_| is_form);
    let (name, password) = request.ok_or_else(not_a_form)?.check()?;
    let token = authenticator.log_in(&name, password, client).await?;
    log.user(&token.user_id);
    Ok((NOT_STORED, Json(TokenView::from(token))))
}

fn is_form(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE);
    let media_type = value
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next());
    media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FORM))
}

impl TokenRequest {
    /// Nothing if a parameter comes twice.
    fn parse(body: &[u8]) -> Option<Self> {
        let mut request = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            let value = value.into_owned();
            let is_second = match name.as_ref() {
                "grant_type" => request.grant_type.replace(value).is_some(),
                "username" => request.username.replace(value).is_some(),
                "password" => request.password.replace(value.into()).is_some(),
                _ => false,
            };
            if is_second {
                return None;
            }
        }
        Some(request)
    }

    fn check(self) -> Result<(String, SecretString), OAuthError> {
        let Self {
            grant_type,
            username,
            password,
        } = self;
        match grant_type.as_deref() {
            Some("password") => {}
            Some(_) => {
                return Err(OAuthError {
                    error: "unsupported_grant_type",
                    ..invalid("Only grant_type=password is taken.")
                });
            }
            None => return Err(invalid("grant_type is missing: send grant_type=password.")),
        }
        let username = username.ok_or_else(|| invalid("username is missing."))?;
        let password = password.ok_or_else(|| invalid("password is missing."))?;
        Ok((username, password))
    }
}

fn not_a_form() -> OAuthError {
    invalid(&format!(
        "The body must be a form ({FORM}) with grant_type, username and password, each once."
    ))
}

fn invalid(description: &str) -> OAuthError {
    OAuthError {
        error: "invalid_request",
        error_description: description.to_owned(),
        status: StatusCode::BAD_REQUEST,
        retry_after_seconds: None,
    }
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        Self {
            status: problem.status(),
            ..invalid(problem.detail())
        }
    }
}

impl From<Error> for OAuthError {
    fn from(error: Error) -> Self {
        error.log();
        let (name, status) = match &error {
            // §5.2 wants 400 where the other routes say 401.
            Error::BadCredentials | Error::UserDisabled => {
                ("invalid_grant", Some(StatusCode::BAD_REQUEST))
            }
            // Not in §5.2, which has no word for it; §4.1.2.1 has.
            Error::Throttled { .. } | Error::HashingBusy | Error::Database(_) => {
                ("temporarily_unavailable", None)
            }
            Error::Body(_) | Error::InvalidFields(_) => ("invalid_request", None),
            Error::PasswordsDiffer
            | Error::RegistrationClosed
            | Error::UsernameTaken
            | Error::EmailTaken
            | Error::UserGone
            | Error::Internal(_) => ("server_error", None),
        };
        let retry_after_seconds = error.retry_after_seconds();
        let problem = Problem::from(error);
        Self {
            error: name,
            error_description: problem.detail().to_owned(),
            status: status.unwrap_or(problem.status()),
            retry_after_seconds,
        }
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let mut response = (self.status, NOT_STORED, Json(&self)).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(RefusalCode(self.error));
        response
    }
}
