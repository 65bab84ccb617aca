//! `POST /token`: the password grant of OAuth 2 (RFC 6749 §4.3), for Swagger UI and every OAuth client.

use axum::Form;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use transcription_common::json::{self, Json};
use transcription_common::problem::Problem;
use utoipa::ToSchema;

use super::login::{NOT_STORED, TokenView};
use crate::accounts::Authenticator;
use crate::client_address::ClientAddress;
use crate::error::Error;

/// The request of the password grant. Further parameters, such as `scope` and `client_id`, are ignored (RFC 6749 §3.2).
#[derive(Deserialize, ToSchema)]
pub struct TokenRequest {
    /// `password`.
    grant_type: Option<String>,
    /// The user name or e-mail address.
    username: Option<String>,
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<SecretString>,
}

/// An error of OAuth 2 (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
pub struct OAuthError {
    error: &'static str,
    error_description: String,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after_seconds: Option<u32>,
}

/// Gives a token for a user name (or e-mail) and a password, the OAuth 2 way.
#[utoipa::path(post, path = "/token",
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, body = TokenView),
        (status = 400, description = "Wrong credentials, or a wrong request.", body = OAuthError),
        (status = 429, description = "Too many failures.", body = OAuthError),
        (status = 503, description = "Too much to do; come back.", body = OAuthError),
    ))]
#[tracing::instrument(name = "users.token", skip_all)]
pub async fn token(
    State(authenticator): State<Authenticator>,
    client: ClientAddress,
    request: Request,
) -> Result<impl IntoResponse, OAuthError> {
    let (name, password) = read(request).await?;
    let token = authenticator.log_in(&name, password, client).await?;
    Ok((NOT_STORED, Json(TokenView::from(token))))
}

async fn read(request: Request) -> Result<(String, SecretString), OAuthError> {
    let (parts, body) = request.into_parts();
    let body = json::read(Request::from_parts(parts.clone(), body), &()).await?;
    let request = Request::from_parts(parts, body.into());
    let Form(request) = Form::<TokenRequest>::from_request(request, &())
        .await
        .map_err(|_| {
            invalid("The body must be a form (application/x-www-form-urlencoded) with grant_type, username and password, each once.")
        })?;
    let TokenRequest {
        grant_type,
        username,
        password,
    } = request;
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
        let name = match &error {
            Error::BadCredentials | Error::UserDisabled => "invalid_grant",
            // Not in §5.2, which has no word for it; §4.1.2.1 has.
            Error::Throttled { .. } | Error::HashingBusy | Error::Database(_) => {
                "temporarily_unavailable"
            }
            Error::Body(_) | Error::InvalidFields(_) => "invalid_request",
            Error::PasswordsDiffer
            | Error::RegistrationClosed
            | Error::UsernameTaken
            | Error::EmailTaken
            | Error::UserGone
            | Error::Internal(_) => "server_error",
        };
        let retry_after_seconds = error.retry_after_seconds();
        let problem = Problem::from(error);
        let status = match name {
            "invalid_grant" => StatusCode::BAD_REQUEST,
            _ => problem.status(),
        };
        Self {
            error: name,
            error_description: problem.detail().to_owned(),
            status,
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
        response
    }
}
