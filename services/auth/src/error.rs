//! What can go wrong, and the one table that says how it is answered.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::error;
use transcription_common::problem::{FieldError, Problem};

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request break a rule.
    #[error("invalid fields")]
    InvalidFields(Vec<FieldError>),
    /// `password` and `confirm_password` differ.
    #[error("the passwords differ")]
    PasswordsDiffer,
    /// Another user has the user name.
    #[error("the user name is taken")]
    UsernameTaken,
    /// Another user has the e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// No such user, or the wrong password: nobody is told which.
    #[error("bad credentials")]
    BadCredentials,
    /// The token is good, but its user is gone.
    #[error("the token's user is gone")]
    UserGone,
    /// Too many passwords wait to be hashed.
    #[error("the hashing queue is full")]
    HashingBusy,
    /// A fault of ours.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidFields(errors) => Self::invalid_fields(errors),
            Error::PasswordsDiffer => Self::new(
                StatusCode::BAD_REQUEST,
                "passwords_differ",
                "password and confirm_password differ: send the same in both.",
            ),
            Error::UsernameTaken => Self::new(
                StatusCode::CONFLICT,
                "username_taken",
                "This user name is taken: choose another.",
            ),
            Error::EmailTaken => Self::new(
                StatusCode::CONFLICT,
                "email_taken",
                "This e-mail address has an account: log in, or use another.",
            ),
            Error::BadCredentials => {
                Self::unauthorized("bad_credentials", "User name or password is wrong.")
            }
            Error::UserGone => Self::unauthorized(
                "token_invalid",
                "The token is not one of ours: log in again.",
            ),
            Error::HashingBusy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many log-ins and registrations at once: try again in a moment.",
            )
            .with_retry_after(1),
            Error::Internal(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong on our side; the request id tells the operator where to look.",
            ),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            error!(cause = format!("{cause:#}"), "a request failed");
        }
        Problem::from(self).into_response()
    }
}
