//! What can go wrong, and the tables that say how it is answered and counted.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::error;
use transcription_common::problem::{FieldError, Problem};

use crate::metrics::{LoginResult, RegistrationResult};

/// Seconds after which a place in the queue, or the database, may be free again.
const RETRY_SECONDS: u32 = 1;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The body cannot be read.
    #[error("the body is not taken")]
    Body(Box<Problem>),
    /// Fields of the request break a rule.
    #[error("invalid fields")]
    InvalidFields(Vec<FieldError>),
    /// `password` and `confirm_password` differ.
    #[error("the passwords differ")]
    PasswordsDiffer,
    /// Nobody can register here.
    #[error("registration is closed")]
    RegistrationClosed,
    /// Another user has the user name.
    #[error("the user name is taken")]
    UsernameTaken,
    /// Another user has the e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// No such user, or the wrong password: nobody is told which.
    #[error("bad credentials")]
    BadCredentials,
    /// The password is right, but the user is disabled: nobody is told that either.
    #[error("the user is disabled")]
    UserDisabled,
    /// Too many failures before: the next attempt has to wait.
    #[error("too many failures")]
    Throttled {
        /// How long.
        wait: Duration,
    },
    /// The token is good, but its user is gone.
    #[error("the token's user is gone")]
    UserGone,
    /// Too many passwords wait to be hashed.
    #[error("the hashing queue is full")]
    HashingBusy,
    /// The database does not answer.
    #[error("the database does not answer: {0:#}")]
    Database(anyhow::Error),
    /// A fault of ours.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// The database failed at `what`.
    pub fn database(what: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |error| Self::Database(anyhow::Error::new(error).context(what))
    }

    /// How an attempt to log in that ends so is counted; one whose body cannot be read is none.
    pub fn as_login_result(&self) -> Option<LoginResult> {
        match self {
            Self::Body(_) | Self::InvalidFields(_) => None,
            Self::BadCredentials => Some(LoginResult::BadCredentials),
            Self::UserDisabled => Some(LoginResult::Disabled),
            Self::Throttled { .. } => Some(LoginResult::Throttled),
            Self::HashingBusy => Some(LoginResult::Busy),
            Self::PasswordsDiffer
            | Self::RegistrationClosed
            | Self::UsernameTaken
            | Self::EmailTaken
            | Self::UserGone
            | Self::Database(_)
            | Self::Internal(_) => Some(LoginResult::Error),
        }
    }

    /// How an attempt to register that ends so is counted.
    pub fn as_registration_result(&self) -> RegistrationResult {
        match self {
            Self::Body(_) | Self::InvalidFields(_) | Self::PasswordsDiffer => {
                RegistrationResult::Invalid
            }
            Self::RegistrationClosed => RegistrationResult::Closed,
            Self::UsernameTaken | Self::EmailTaken => RegistrationResult::Taken,
            Self::Throttled { .. } | Self::HashingBusy => RegistrationResult::Busy,
            Self::BadCredentials
            | Self::UserDisabled
            | Self::UserGone
            | Self::Database(_)
            | Self::Internal(_) => RegistrationResult::Error,
        }
    }

    /// The seconds after which another attempt may do better, if waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::Throttled { wait } => {
                let seconds = wait.as_millis().div_ceil(1000);
                Some(u32::try_from(seconds).unwrap_or(u32::MAX))
            }
            Self::HashingBusy | Self::Database(_) => Some(RETRY_SECONDS),
            Self::Body(_)
            | Self::InvalidFields(_)
            | Self::PasswordsDiffer
            | Self::RegistrationClosed
            | Self::UsernameTaken
            | Self::EmailTaken
            | Self::BadCredentials
            | Self::UserDisabled
            | Self::UserGone
            | Self::Internal(_) => None,
        }
    }

    /// Writes the cause into the log if someone should look; no client sees it.
    pub fn log(&self) {
        match self {
            Self::Database(cause) => error!(cause = format!("{cause:#}"), "the database failed"),
            Self::Internal(cause) => error!(
                cause = format!("{cause:#}"),
                "a request failed by a fault of ours"
            ),
            // The line of the request has the code.
            _ => {}
        }
    }
}

impl From<Problem> for Error {
    /// A body that was not taken.
    fn from(problem: Problem) -> Self {
        Self::Body(Box::new(problem))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let retry_after = error.retry_after_seconds();
        let problem = match error {
            Error::Body(problem) => *problem,
            Error::InvalidFields(errors) => Self::invalid_fields(errors),
            Error::PasswordsDiffer => Self::new(
                StatusCode::BAD_REQUEST,
                "passwords_differ",
                "password and confirm_password differ: send the same in both.",
            ),
            Error::RegistrationClosed => Self::new(
                StatusCode::FORBIDDEN,
                "registration_closed",
                "Nobody can register here: ask the operator for an account.",
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
            Error::BadCredentials | Error::UserDisabled => {
                Self::unauthorized("bad_credentials", "User name or password is wrong.")
            }
            Error::Throttled { .. } => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failures",
                format!(
                    "Too many failed attempts: try again in {} s.",
                    retry_after.unwrap_or(RETRY_SECONDS)
                ),
            ),
            Error::UserGone => Self::unauthorized(
                "token_invalid",
                "The token is not one of ours: log in again.",
            ),
            Error::HashingBusy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "Too many log-ins and registrations at once: try again in a moment.",
            ),
            Error::Database(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_unavailable",
                "The database does not answer: try again in a moment.",
            ),
            Error::Internal(_) => Self::internal(),
        };
        match retry_after {
            Some(seconds) => problem.with_retry_after(seconds),
            None => problem,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        Problem::from(self).into_response()
    }
}
