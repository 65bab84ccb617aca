//! The routes of the service (contract §1).

use axum::Router;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tracing::info;
use transcription_common::json::Json;
use transcription_common::jwt::{AuthUser, Signer};
use transcription_common::problem::{FieldError, Problem};
use utoipa::ToSchema;

use crate::account::{Email, NewPassword, Username};
use crate::error::Error;
use crate::passwords::Passwords;
use crate::users::{Credentials, User, Users};
use crate::{AppState, Rules};

/// Bytes of a request body: names and passwords are short.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The route table.
pub fn table() -> Router<AppState> {
    Router::new()
        .route("/", get(greeting))
        .route("/register", post(register))
        .route("/login", post(login))
        .route("/me", get(me))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// A sentence for people who open the address.
#[derive(Serialize, ToSchema)]
struct Greeting {
    message: &'static str,
}

#[utoipa::path(get, path = "/", responses((status = 200, body = Greeting)))]
async fn greeting() -> Json<Greeting> {
    Json(Greeting {
        message: "Authentication Service is running.",
    })
}

/// A new account.
#[derive(Deserialize, ToSchema)]
struct Registration {
    username: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
    /// May be left out; if sent it must be the password once more.
    #[schema(value_type = Option<String>, format = Password)]
    confirm_password: Option<SecretString>,
}

/// A user.
#[derive(Serialize, ToSchema)]
struct UserView {
    id: i64,
    username: String,
    email: String,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User {
            id,
            username,
            email,
        } = user;
        Self {
            id,
            username,
            email,
        }
    }
}

/// Makes an account.
#[utoipa::path(post, path = "/register", request_body = Registration, responses(
    (status = 201, body = UserView),
    (status = "4XX", body = Problem),
))]
#[tracing::instrument(name = "users.register", skip_all)]
async fn register(
    State(users): State<Users>,
    State(passwords): State<Passwords>,
    State(rules): State<Rules>,
    Json(registration): Json<Registration>,
) -> Result<(StatusCode, Json<UserView>), Error> {
    let (username, email, password) = check(registration, rules)?;
    let hashed_password = passwords.hash(password).await?;
    let user = users.add(&username, &email, &hashed_password).await?;
    info!(user.id = user.id, "a user registered");
    Ok((StatusCode::CREATED, Json(user.into())))
}

fn check(
    registration: Registration,
    rules: Rules,
) -> Result<(Username, Email, NewPassword), Error> {
    let Registration {
        username,
        email,
        password,
        confirm_password,
    } = registration;
    if let Some(again) = confirm_password
        && again.expose_secret() != password.expose_secret()
    {
        return Err(Error::PasswordsDiffer);
    }
    let username = Username::new(username);
    let email = Email::new(email);
    let password = NewPassword::new(password, rules.password_min_length);
    match (username, email, password) {
        (Ok(username), Ok(email), Ok(password)) => Ok((username, email, password)),
        (username, email, password) => {
            let errors = [
                ("username", username.err()),
                ("email", email.err()),
                ("password", password.err()),
            ];
            let errors = errors.into_iter().filter_map(|(field, message)| {
                message.map(|message| FieldError::new(field, message))
            });
            Err(Error::InvalidFields(errors.collect()))
        }
    }
}

/// Who logs in, and with which password.
#[derive(Deserialize, ToSchema)]
struct Login {
    #[serde(alias = "username", alias = "email")]
    username_or_email: String,
    #[schema(value_type = String, format = Password)]
    password: SecretString,
}

/// A token, as OAuth 2 words it (RFC 6749 §5.1).
#[derive(Serialize, ToSchema)]
struct TokenView {
    access_token: String,
    token_type: &'static str,
    /// Seconds from now.
    expires_in: u64,
}

/// Gives a token for a user name (or e-mail) and a password.
#[utoipa::path(post, path = "/login", request_body = Login, responses(
    (status = 200, body = TokenView),
    (status = "4XX", body = Problem),
))]
#[tracing::instrument(name = "users.login", skip_all)]
async fn login(
    State(users): State<Users>,
    State(passwords): State<Passwords>,
    State(signer): State<Arc<Signer>>,
    State(rules): State<Rules>,
    Json(login): Json<Login>,
) -> Result<Json<TokenView>, Error> {
    let credentials = users.by_login(&login.username_or_email).await?;
    let hash = credentials.as_ref().map(Credentials::hash);
    let matches = passwords.verify(login.password, hash).await?;
    let Some(credentials) = credentials.filter(|_| matches) else {
        return Err(Error::BadCredentials);
    };
    let User { id, username, .. } = credentials.user;
    let expires_in = rules.token_lifetime_seconds;
    let access_token = signer
        .sign(id, &username, expires_in)
        .map_err(anyhow::Error::from)?;
    info!(user.id = id, "a user logged in");
    Ok(Json(TokenView {
        access_token,
        token_type: "bearer",
        expires_in,
    }))
}

/// Tells who the token's user is.
#[utoipa::path(get, path = "/me", responses(
    (status = 200, body = UserView),
    (status = 401, body = Problem),
))]
#[tracing::instrument(name = "users.me", skip_all, fields(user.id = %user.id))]
async fn me(user: AuthUser, State(users): State<Users>) -> Result<Json<UserView>, Error> {
    let id = user.id.as_str().parse().map_err(|_| Error::UserGone)?;
    let user = users.by_id(id).await?.ok_or(Error::UserGone)?;
    Ok(Json(user.into()))
}
