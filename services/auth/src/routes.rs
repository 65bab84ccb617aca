//! The routes of the service (contract §1).

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;
use transcription_common::documentation::{self, TokenSource};
use transcription_common::json::{Json, MAX_BODY_BYTES};
use transcription_common::jwt::AuthUser;
use transcription_common::management;
use transcription_common::pages::{About, Greeting, Welcome};
use transcription_common::problem::Problem;
use utoipa::{OpenApi, ToSchema};

use crate::AppState;
use crate::error::{self, Error};
use crate::users::{User, Users};

mod fields;
mod login;
mod register;
mod token;

const TITLE: &str = "Authentication Service";

/// The route table.
pub fn table() -> Router<AppState> {
    Router::new()
        .route("/", get(greeting))
        .route("/register", post(register::register))
        .route("/login", post(login::login))
        .route("/token", post(token::token))
        .route("/me", get(me))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

/// What the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = TITLE,
        description = "Registers users, checks passwords, gives tokens (JWT) that the transcription service takes.",
    ),
    paths(greeting, register::register, login::login, token::token, me),
    components(schemas(Problem)),
    tags(
        (name = "users", description = "Accounts and tokens."),
        (name = "operation", description = "For those who run the service. With MANAGEMENT_ADDR set they are at that address."),
    ),
)]
struct Documentation;

/// The service's description.
pub fn document() -> anyhow::Result<Value> {
    let mut document = Documentation::openapi();
    management::describe(&mut document);
    let tokens = TokenSource::PasswordGrant("token".to_owned());
    let mut errors = error::examples();
    errors.extend(token::examples());
    documentation::complete(&document, &tokens, &errors)
}

/// Says that the service runs: a sentence for programs, a page for browsers.
#[utoipa::path(get, path = "/", tag = "operation", responses((status = 200, description = "It runs.", content(
    (Greeting = "application/json", example = json!({"message": "Authentication Service is running."})),
    (String = "text/html"),
))))]
async fn greeting(State(welcome): State<Welcome>, headers: HeaderMap) -> Response {
    welcome.answer(&headers)
}

/// What the service says of itself at `/`.
pub fn welcome(is_managed_apart: bool) -> anyhow::Result<Welcome> {
    Welcome::new(About {
        title: TITLE,
        message: "Authentication Service is running.",
        about: "Accounts of the transcription stack: register, log in, and get the token that the transcription service takes.",
        version: env!("CARGO_PKG_VERSION"),
        further: Vec::new(),
        is_managed_apart,
    })
}

/// A user.
#[derive(Serialize, ToSchema)]
struct UserView {
    /// Never given twice.
    #[schema(example = 1, minimum = 1)]
    id: i64,
    #[schema(value_type = String, required = false, example = "ada")]
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[schema(value_type = String, required = false, example = "ada@example.com")]
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        let User {
            id,
            username,
            email,
            disabled: _,
        } = user;
        Self {
            id,
            username,
            email,
        }
    }
}

/// Tells who the token's user is.
#[utoipa::path(get, path = "/me", tag = "users", security(("token" = [])), responses(
    (status = 200, description = "The user.", body = UserView),
    (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`", body = Problem),
    (status = 503, description = "`database_unavailable`", body = Problem),
))]
#[tracing::instrument(name = "users.me", skip_all)]
async fn me(user: AuthUser, State(users): State<Users>) -> Result<Json<UserView>, Error> {
    let id = user.id.as_str().parse().map_err(|_| Error::UserGone)?;
    let user = users.by_id(id).await?;
    let user = user.filter(|user| !user.disabled).ok_or(Error::UserGone)?;
    Ok(Json(user.into()))
}
