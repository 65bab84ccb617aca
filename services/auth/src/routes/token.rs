//! `POST /token`: the password grant of OAuth 2 (RFC 6749 §4.3), for Swagger UI and every OAuth client.

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;
use transcription_common::code::Code;
use transcription_common::documentation::Example;
use transcription_common::json::{self, Json, Unread};
use transcription_common::problem::Problem;
use transcription_common::request::{RefusalCode, RequestLog};
use url::form_urlencoded;
use utoipa::ToSchema;

use super::login::{NOT_STORED, TokenView};
use crate::accounts::Authenticator;
use crate::client_address::ClientAddress;
use crate::code::oauth;
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
    /// A stable word, for programs.
    #[schema(example = "invalid_grant")]
    error: &'static str,
    /// Sentences that a person can act on: what happened, and what to do.
    #[schema(example = "User name or password is wrong. Check both and try again.")]
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
        (status = 400, description = "`invalid_grant`, `invalid_request`, `unsupported_grant_type`", body = OAuthError),
        (status = 408, description = "`invalid_request`", body = OAuthError),
        (status = 413, description = "`invalid_request`", body = OAuthError),
        (status = 429, description = "`temporarily_unavailable`", body = OAuthError),
        (status = 500, description = "`server_error`", body = OAuthError),
        (status = 503, description = "`temporarily_unavailable`", body = OAuthError),
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
    let (name, password) = request.ok_or(oauth::INVALID_REQUEST)?.check()?;
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
                return Err(oauth::UNSUPPORTED_GRANT_TYPE.into());
            }
            None => return Err(invalid("grant_type is missing: send grant_type=password.")),
        }
        let username = username.ok_or_else(|| {
            invalid("username is missing: send the user name or the e-mail address.")
        })?;
        let password =
            password.ok_or_else(|| invalid("password is missing: send the user's password."))?;
        Ok((username, password))
    }
}

impl OAuthError {
    fn new(code: Code, description: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(code.status());
        Self {
            error: code.name(),
            error_description: description.into(),
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            retry_after_seconds: None,
        }
    }
}

impl From<Code> for OAuthError {
    fn from(code: Code) -> Self {
        Self::new(code, code.sentence())
    }
}

fn invalid(description: &str) -> OAuthError {
    OAuthError::new(oauth::INVALID_REQUEST, description)
}

impl From<Unread> for OAuthError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Incomplete => Self::new(oauth::INVALID_REQUEST, Problem::from(unread).detail()),
            Unread::TooLarge => oauth::BODY_TOO_LARGE.into(),
            Unread::Slow => oauth::SLOW_BODY.into(),
        }
    }
}

impl From<Error> for OAuthError {
    fn from(error: Error) -> Self {
        error.log();
        let code = match &error {
            // §5.2 wants 400 where the other routes say 401.
            Error::BadCredentials | Error::UserDisabled => oauth::INVALID_GRANT,
            Error::Throttled { .. } => oauth::THROTTLED,
            Error::HashingBusy | Error::Database(_) => oauth::UNAVAILABLE,
            Error::Body(_) | Error::InvalidFields(_) => oauth::INVALID_REQUEST,
            Error::PasswordsDiffer
            | Error::RegistrationClosed
            | Error::UsernameTaken
            | Error::EmailTaken
            | Error::UserGone
            | Error::Internal(_) => return oauth::SERVER_ERROR.into(),
        };
        let retry_after_seconds = error.retry_after_seconds();
        Self {
            retry_after_seconds,
            ..Self::new(code, Problem::from(error).detail())
        }
    }
}

/// Every error of this address, as it looks.
pub fn examples() -> Vec<Example> {
    let example = |code: &Code| Example::new(*code, json!(OAuthError::from(*code)));
    oauth::ALL.iter().map(example).collect()
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
