//! What can go wrong, and the tables that say how it is answered and counted.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use tracing::error;
use transcription_common::code::{BUSY, TOKEN_INVALID};
use transcription_common::documentation::Example;
use transcription_common::management::{self, Part};
use transcription_common::problem::{FieldError, Problem, wait_in_words};

use crate::code;
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

    /// Writes the cause into the log if someone should look.
    pub fn log(&self) {
        if let Self::Database(cause) | Self::Internal(cause) = self {
            error!(cause = format!("{cause:#}"), "a request failed");
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
            Error::PasswordsDiffer => code::PASSWORDS_DIFFER.into(),
            Error::RegistrationClosed => code::REGISTRATION_CLOSED.into(),
            Error::UsernameTaken => code::USERNAME_TAKEN.into(),
            Error::EmailTaken => code::EMAIL_TAKEN.into(),
            Error::BadCredentials | Error::UserDisabled => code::BAD_CREDENTIALS.into(),
            Error::Throttled { .. } => Self::new(
                code::TOO_MANY_FAILURES,
                format!(
                    "Too many failed attempts: try again in {}. Until then no password is checked and no account is made.",
                    wait_in_words(retry_after.unwrap_or(RETRY_SECONDS))
                ),
            ),
            Error::UserGone => TOKEN_INVALID.into(),
            Error::HashingBusy => Self::new(
                BUSY,
                "Too many log-ins and registrations at once: try again in a moment.",
            ),
            Error::Database(_) => Self::new(
                code::DATABASE_UNAVAILABLE,
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

/// Every problem that the service answers, as it looks.
pub fn examples() -> Vec<Example> {
    let short = FieldError::new("password", "must have at least 8 characters.");
    let database = Part {
        name: "database",
        state: Err("it does not answer.".to_owned()),
    };
    let wait = Duration::from_mins(15);
    let own = [
        Error::InvalidFields(vec![short]),
        Error::Throttled { wait },
        Error::HashingBusy,
        Error::Database(anyhow::anyhow!("an example")),
    ];
    let own = own.map(Problem::from).into_iter();
    let own = own.chain([management::not_ready(vec![database])]);
    Example::problems(&code::problems(), own)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        Problem::from(self).into_response()
    }
}
