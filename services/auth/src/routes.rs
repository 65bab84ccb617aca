//! The routes of the service (contract §1).

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use serde::Serialize;
use transcription_common::json::Json;
use transcription_common::jwt::AuthUser;
use transcription_common::problem::Problem;
use utoipa::ToSchema;

use crate::AppState;
use crate::error::Error;
use crate::users::{User, Users};

mod fields;
mod login;
mod register;
mod token;

/// Bytes of a request body: names and passwords are short.
const MAX_BODY_BYTES: usize = 64 * 1024;

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

/// A user.
#[derive(Serialize, ToSchema)]
struct UserView {
    id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
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
#[utoipa::path(get, path = "/me", responses(
    (status = 200, body = UserView),
    (status = 401, body = Problem),
    (status = 503, body = Problem),
))]
#[tracing::instrument(name = "users.me", skip_all, fields(user.id = %user.id))]
async fn me(user: AuthUser, State(users): State<Users>) -> Result<Json<UserView>, Error> {
    let id = user.id.as_str().parse().map_err(|_| Error::UserGone)?;
    let user = users.by_id(id).await?;
    let user = user.filter(|user| !user.disabled).ok_or(Error::UserGone)?;
    Ok(Json(user.into()))
}
