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
    #[schema(
        value_type = String, required = true, min_length = 1, max_length = 64, example = "ada",
        pattern = r"^[^@\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]([^@\u0000-\u001f\u007f-\u009f]*[^@\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000])?$",
    )]
    username: Value,
    /// At most 254 bytes of UTF-8. Unique without regard to case.
    #[schema(value_type = String, required = true, format = "idn-email", max_length = 254, example = "ada@example.com")]
    email: Value,
    /// At least 8 characters (`PASSWORD_MIN_LENGTH`), at most 72 bytes of UTF-8, no NUL.
    #[schema(
        value_type = String, required = true, format = Password, min_length = 8, max_length = 72, pattern = r"^[^\u0000]*$",
        example = "correct horse battery staple",
    )]
    password: Value,
    /// May be left out; if sent it must be the password once more.
    #[schema(value_type = Option<String>, format = Password, example = "correct horse battery staple")]
    confirm_password: Value,
}

/// Makes an account.
#[utoipa::path(post, path = "/register", tag = "users", request_body = Registration, responses(
    (status = 201, description = "The new user.", body = UserView),
    (status = 400, description = "`passwords_differ`, `incomplete_body`", body = Problem),
    (status = 403, description = "`registration_closed`", body = Problem),
    (status = 408, description = "`slow_body`", body = Problem),
    (status = 409, description = "`username_taken`, `email_taken`", body = Problem),
    (status = 413, description = "`body_too_large`", body = Problem),
    (status = 415, description = "`unsupported_media_type`", body = Problem),
    (status = 422, description = "`invalid_field`, `invalid_body`", body = Problem),
    (status = 429, description = "`too_many_failures`", body = Problem),
    (status = 503, description = "`busy`, `database_unavailable`", body = Problem),
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
