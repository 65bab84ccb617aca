//! `POST /register`.

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use transcription_common::json::Json;
use transcription_common::problem::{FieldError, Problem};
use transcription_common::request::RequestLog;
use utoipa::ToSchema;

use super::{UserView, fields};
use crate::Rules;
use crate::account::{Email, NewPassword, Username};
use crate::accounts::{NewAccount, Registrar};
use crate::client_address::ClientAddress;
use crate::error::Error;

/// A new account.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub struct Registration {
    /// No control characters, no `@`, no white space at its ends. Unique without regard to case.
    #[schema(value_type = String, required = true, min_length = 1, max_length = 64, example = "ada")]
    username: Value,
    /// Unique without regard to case.
    #[schema(value_type = String, required = true, format = Email, max_length = 254, example = "ada@example.com")]
    email: Value,
    /// At least 8 characters (`PASSWORD_MIN_LENGTH`), at most 72 bytes of UTF-8, no NUL.
    #[schema(value_type = String, required = true, format = Password, max_length = 72, example = "correct horse battery staple")]
    password: Value,
    /// May be left out; if sent it must be the password once more.
    #[schema(value_type = Option<String>, format = Password)]
    confirm_password: Value,
}

/// Makes an account.
#[utoipa::path(post, path = "/register", tag = "users", request_body = Registration, responses(
    (status = 201, description = "The new user.", body = UserView),
    (status = 400, description = "`passwords_differ`, `incomplete_body`: password and confirm_password differ: send the same in both.", body = Problem),
    (status = 403, description = "`registration_closed`: Nobody can register here: ask the operator for an account.", body = Problem),
    (status = 408, description = "`slow_body`: The body was not there within 30 s.", body = Problem),
    (status = 409, description = "`username_taken`, `email_taken`: This user name is taken: choose another.", body = Problem),
    (status = 413, description = "`body_too_large`: The body is larger than the 64 KiB that are taken.", body = Problem),
    (status = 415, description = "`unsupported_media_type`: The body must be JSON: send the header Content-Type: application/json.", body = Problem),
    (status = 422, description = "`invalid_field`, `invalid_body`: Which fields break a rule, and which rule.", body = Problem),
    (status = 429, description = "`too_many_failures`: Too many names that are taken were tried: try again later.", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`: Too many log-ins and registrations at once: try again in a moment.", body = Problem),
))]
#[tracing::instrument(name = "users.register", skip_all)]
pub async fn register(
    State(registrar): State<Registrar>,
    State(rules): State<Rules>,
    client: ClientAddress,
    log: RequestLog,
    body: Result<Json<Registration>, Problem>,
) -> Result<(StatusCode, Json<UserView>), Error> {
    let account = || {
        let Json(registration) = body?;
        registration.check(rules)
    };
    let user = registrar.register(account, client).await?;
    log.user(&user.id);
    Ok((StatusCode::CREATED, Json(user.into())))
}

impl Registration {
    fn check(self, rules: Rules) -> Result<NewAccount, Error> {
        let Self {
            username,
            email,
            password,
            confirm_password,
        } = self;
        let note = |field| move |message: String| FieldError::new(field, message);
        let username = fields::required("username", username)
            .and_then(|name| Username::new(name).map_err(note("username")));
        let email = fields::required("email", email)
            .and_then(|email| Email::new(email).map_err(note("email")));
        let password = fields::required_secret("password", password);
        let again = fields::optional("confirm_password", confirm_password)
            .map(|again| again.map(SecretString::from));
        if let (Ok(password), Ok(Some(again))) = (&password, &again)
            && password.expose_secret() != again.expose_secret()
        {
            return Err(Error::PasswordsDiffer);
        }
        let password = password.and_then(|password| {
            NewPassword::new(password, rules.password_min_length).map_err(note("password"))
        });
        match (username, email, password, again) {
            (Ok(username), Ok(email), Ok(password), Ok(_)) => Ok(NewAccount {
                username,
                email,
                password,
            }),
            (username, email, password, again) => {
                let errors = [username.err(), email.err(), password.err(), again.err()];
                Err(Error::InvalidFields(errors.into_iter().flatten().collect()))
            }
        }
    }
}
