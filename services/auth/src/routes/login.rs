//! `POST /login`.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, PRAGMA};
use axum::http::{HeaderName, HeaderValue};
use axum::response::IntoResponse;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use transcription_common::json::Json;
use transcription_common::problem::Problem;
use transcription_common::request::RequestLog;
use utoipa::ToSchema;

use super::fields;
use crate::accounts::{Authenticator, Token};
use crate::client_address::ClientAddress;
use crate::error::Error;

/// Who logs in, and with which password.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Login {
    /// Either; `username` or `email` may be sent instead.
    #[schema(value_type = String, required = true, example = "ada")]
    username_or_email: Value,
    #[schema(ignore)]
    username: Value,
    #[schema(ignore)]
    email: Value,
    #[schema(value_type = String, required = true, format = Password, example = "correct horse battery staple")]
    password: Value,
}

/// A token, as OAuth 2 words it (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
pub struct TokenView {
    /// A JSON Web Token (RFC 7519): `sub` is the user's id.
    access_token: String,
    #[schema(example = "bearer", pattern = "^bearer$")]
    token_type: &'static str,
    /// Seconds from now.
    #[schema(example = 1800)]
    expires_in: u64,
}

impl From<Token> for TokenView {
    fn from(token: Token) -> Self {
        let Token {
            user_id: _,
            access_token,
            expires_in,
        } = token;
        Self {
            access_token,
            token_type: "bearer",
            expires_in,
        }
    }
}

/// A token is for who asked for it and not for a cache (RFC 6749 §5.1).
pub const NOT_STORED: [(HeaderName, HeaderValue); 2] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (PRAGMA, HeaderValue::from_static("no-cache")),
];

/// Gives a token for a user name (or e-mail) and a password.
#[utoipa::path(post, path = "/login", tag = "users", request_body = Login, responses(
    (status = 200, description = "A token.", body = TokenView),
    (status = 400, description = "`incomplete_body`", body = Problem),
    (status = 401, description = "`bad_credentials`", body = Problem),
    (status = 408, description = "`slow_body`", body = Problem),
    (status = 413, description = "`body_too_large`", body = Problem),
    (status = 415, description = "`unsupported_media_type`", body = Problem),
    (status = 422, description = "`invalid_field`, `invalid_body`", body = Problem),
    (status = 429, description = "`too_many_failures`", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`", body = Problem),
))]
#[tracing::instrument(name = "users.login", skip_all)]
pub async fn login(
    State(authenticator): State<Authenticator>,
    client: ClientAddress,
    log: RequestLog,
    body: Result<Json<Login>, Problem>,
) -> Result<impl IntoResponse, Error> {
    let Json(login) = body?;
    let (name, password) = login.check()?;
    let token = authenticator.log_in(&name, password, client).await?;
    log.user(&token.user_id);
    Ok((NOT_STORED, Json(TokenView::from(token))))
}

impl Login {
    fn check(self) -> Result<(String, SecretString), Error> {
        let Self {
            username_or_email,
            username,
            email,
            password,
        } = self;
        let name = [username_or_email, username, email]
            .into_iter()
            .find(|name| !name.is_null());
        let name = fields::required("username_or_email", name.unwrap_or_default());
        let password = fields::required_secret("password", password);
        match (name, password) {
            (Ok(name), Ok(password)) => Ok((name, password)),
            (name, password) => Err(Error::InvalidFields(
                name.err().into_iter().chain(password.err()).collect(),
            )),
        }
    }
}
