//! The kinds of errors that only this service has.

use transcription_common::code::{BODY, BOTH, Code};
use transcription_common::codes;

codes! {
    /// What this service answers and the other does not.
    pub const OWN;

    PASSWORDS_DIFFER: 400 "passwords_differ" {
        meaning: "The fields password and confirm_password differ.",
        caller: "Send the same password in both, or leave confirm_password out.",
    }
    BAD_CREDENTIALS: 401 "bad_credentials" {
        meaning: "User name or password is wrong.",
        caller: "Check both and try again.",
        operator: "An unknown user, a wrong password and a disabled user are answered alike, so that nobody learns who has an account. `auth-service user list` tells; `auth-service user set-password` and `user enable` help.",
    }
    REGISTRATION_CLOSED: 403 "registration_closed" {
        meaning: "Nobody can register here.",
        caller: "Ask the operator for an account.",
        operator: "`auth-service user add` makes an account; with `REGISTRATION=open` everybody can.",
    }
    USERNAME_TAKEN: 409 "username_taken" {
        meaning: "This user name is taken.",
        caller: "Choose another; if it is yours, log in.",
    }
    EMAIL_TAKEN: 409 "email_taken" {
        meaning: "This e-mail address has an account.",
        caller: "Log in, or register with another one.",
        operator: "For someone who has forgotten the password: `auth-service user set-password`.",
    }
    TOO_MANY_FAILURES: 429 "too_many_failures" {
        meaning: "Too many failed attempts.",
        caller: "Try again after the seconds in the header Retry-After; until then no password is checked and no account is made.",
        operator: "Counted for each account and client address, and at `/register` for each address that tries taken names; forgotten after 15 quiet minutes. If it happens to many at once behind a proxy, set `TRUSTED_PROXIES`: without it all of them have the proxy's address.",
    }
    DATABASE_UNAVAILABLE: 503 "database_unavailable" {
        meaning: "The database does not answer.",
        caller: "Try again after the seconds in the header Retry-After.",
        operator: "The log has the cause: look at the file of `DATABASE_URL`, its disk (is it full?) and its permissions.",
    }
}

/// The errors of `/token`, in the words of RFC 6749 §5.2 (and §4.1.2.1, where that has none). One word can have more than one status.
pub mod oauth {
    use super::codes;

    codes! {
        /// What `/token` answers. No sentence here has a character that RFC 6749 §5.2 does not allow.
        pub const ALL;

        INVALID_REQUEST: 400 "invalid_request" {
            meaning: "The form is not that of a password grant.",
            caller: "Send grant_type=password, username and password, each once, as application/x-www-form-urlencoded.",
        }
        UNSUPPORTED_GRANT_TYPE: 400 "unsupported_grant_type" {
            meaning: "This grant_type is not taken.",
            caller: "Send grant_type=password.",
        }
        INVALID_GRANT: 400 "invalid_grant" {
            meaning: "User name or password is wrong.",
            caller: "Check both and try again.",
            operator: "As `bad_credentials`.",
        }
        SLOW_BODY: 408 "invalid_request" {
            meaning: "The body was not there within 30 seconds.",
            caller: "Send the request again, over a steadier connection.",
        }
        BODY_TOO_LARGE: 413 "invalid_request" {
            meaning: "The body is larger than the 64 KiB that are taken.",
            caller: "Send grant_type, username and password alone.",
        }
        THROTTLED: 429 "temporarily_unavailable" {
            meaning: "Too many failed attempts.",
            caller: "Try again after the seconds in the header Retry-After; until then no password is checked and no account is made.",
            operator: "As `too_many_failures`.",
        }
        SERVER_ERROR: 500 "server_error" {
            meaning: "Something went wrong on our side.",
            caller: "Try again; if it stays so, tell the operator the id in the header x-request-id, which leads to the cause in the log.",
            operator: "As `internal`.",
        }
        UNAVAILABLE: 503 "temporarily_unavailable" {
            meaning: "Too many log in at once, or the database does not answer.",
            caller: "Try again after the seconds in the header Retry-After.",
            operator: "As `busy` and `database_unavailable`; `error_description` says which.",
        }
    }
}

/// What this service can answer, but for `/token`.
pub fn problems() -> Vec<Code> {
    [BOTH, BODY, OWN].concat()
}
