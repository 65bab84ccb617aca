//! The kinds of errors: each `code` that an answer can have, with what it means and what to do about it.
//!
//! [`codes!`](crate::codes) makes a kind and the list that it stands in at once, and a [`Problem`](crate::problem::Problem) is made
//! from a kind: so no answer has a code that the page of all errors (docs/errors.md) and the descriptions of the services do not
//! explain. What the kinds of one service alone are, that service says.

/// A kind of error. Its sentences are for people: what happened, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    name: &'static str,
    status: u16,
    meaning: &'static str,
    remedy: &'static str,
    operator: Option<&'static str>,
    accepted: Accepted,
}

/// Whether what the caller sent was accepted before this error: then it is kept, and the answer has the names it is kept under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Nothing is kept.
    Never,
    /// That depends on when it happened. The answer tells: it has an `id`, or none.
    Sometimes,
    /// It is kept.
    Always,
}

impl Code {
    /// For [`codes!`](crate::codes) alone.
    #[doc(hidden)]
    pub const fn define(
        name: &'static str,
        status: u16,
        meaning: &'static str,
        remedy: &'static str,
    ) -> Self {
        Self {
            name,
            status,
            meaning,
            remedy,
            operator: None,
            accepted: Accepted::Never,
        }
    }

    /// For [`codes!`](crate::codes) alone.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_operator(mut self, operator: &'static str) -> Self {
        self.operator = Some(operator);
        self
    }

    /// For [`codes!`](crate::codes) alone.
    #[doc(hidden)]
    #[must_use]
    pub const fn with_accepted(mut self, accepted: Accepted) -> Self {
        self.accepted = accepted;
        self
    }

    /// The stable name, in `snake_case`, for programs.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        self.status
    }

    /// What happened, as a sentence.
    pub const fn meaning(self) -> &'static str {
        self.meaning
    }

    /// What the caller can do, as a sentence.
    pub const fn remedy(self) -> &'static str {
        self.remedy
    }

    /// What the operator can do, where that is something else. Markdown.
    pub const fn operator(self) -> Option<&'static str> {
        self.operator
    }

    /// Whether what the caller sent is kept.
    pub const fn accepted(self) -> Accepted {
        self.accepted
    }

    /// What happened and what to do.
    pub fn sentence(self) -> String {
        format!("{} {}", self.meaning, self.remedy)
    }
}

/// Makes kinds of errors and the list of them: whatever is made here is in the list.
///
/// ```
/// transcription_common::codes! {
///     /// The kinds of errors of a tea house.
///     pub const ALL;
///
///     TEAPOT: 418 "teapot" {
///         meaning: "This is a teapot.",
///         caller: "Ask for tea.",
///         operator: "Buy a coffee machine.", // may be left out
///         accepted: Never, // or Sometimes, or Always; may be left out
///     }
/// }
/// assert_eq!(ALL, &[TEAPOT]);
/// ```
#[macro_export]
macro_rules! codes {
    (
        $(#[$about:meta])*
        pub const $list:ident;
        $($code:ident: $status:literal $name:literal {
            meaning: $meaning:literal,
            caller: $caller:literal
            $(, operator: $operator:literal)?
            $(, accepted: $accepted:ident)?
            $(,)?
        })*
    ) => {
        $(
            #[doc = concat!("`", $name, "`, answered with ", $status, ".")]
            pub const $code: $crate::code::Code =
                $crate::code::Code::define($name, $status, $meaning, $caller)
                    $(.with_operator($operator))?
                    $(.with_accepted($crate::code::Accepted::$accepted))?;
        )*
        $(#[$about])*
        pub const $list: &[$crate::code::Code] = &[$($code),*];
    };
}

codes! {
    /// What both services can answer.
    pub const BOTH;

    NOT_FOUND: 404 "not_found" {
        meaning: "There is nothing at this address.",
        caller: "Check the path: /openapi.json lists every address.",
        operator: "With `MANAGEMENT_ADDR` set, `/healthz`, `/readyz` and `/metrics` are at that address alone.",
    }
    METHOD_NOT_ALLOWED: 405 "method_not_allowed" {
        meaning: "This address does not take this method.",
        caller: "Use one of those that the header Allow lists.",
    }
    TOKEN_MISSING: 401 "token_missing" {
        meaning: "This address needs a token, and the request has none.",
        caller: "Send the header Authorization: Bearer TOKEN with the access_token that /login of the auth service gives.",
    }
    TOKEN_INVALID: 401 "token_invalid" {
        meaning: "The token is not valid.",
        caller: "Log in again.",
        operator: "If every token is refused, the services have different values of `JWT_SECRET_KEY` or `ALGORITHM`; the log says `reason`, `jwt_rejected_total` counts them. `/me` says the same of a user who is disabled or deleted.",
    }
    TOKEN_EXPIRED: 401 "token_expired" {
        meaning: "The token's time is over.",
        caller: "Log in again.",
        operator: "`ACCESS_TOKEN_EXPIRE_MINUTES` is how long a token is good for. If new tokens are refused, the clocks of the two machines differ.",
    }
    INVALID_FIELD: 422 "invalid_field" {
        meaning: "A field of the request breaks a rule.",
        caller: "Correct the fields that errors names; each message says what is taken.",
    }
    BUSY: 503 "busy" {
        meaning: "The service has as much to do as it takes at once.",
        caller: "Try again after the seconds in the header Retry-After.",
        operator: "Auth: more passwords wait to be hashed than the queue holds; more cores, or a lower `BCRYPT_COST`. Transcription: every place of `MAX_CONCURRENT_TRANSCRIPTIONS` is taken; more places, if the engine and the memory have room, or more replicas.",
    }
    NOT_READY: 503 "not_ready" {
        meaning: "The service cannot do its work now.",
        caller: "Wait: the service asks again by itself, and is ready as soon as every part is.",
        operator: "`parts` says which part fails; the log line that begins with `not ready` has the cause. Database: the file of `DATABASE_URL`, its disk and its permissions. Bucket: `S3_BUCKET_NAME`, the credentials, the endpoint. A service that was told to stop is not ready either.",
    }
    INTERNAL: 500 "internal" {
        meaning: "Something went wrong on our side.",
        caller: "Try again; if it stays so, tell the operator the request_id, which leads to the cause in the log.",
        operator: "Search the log for the `request_id`: a line of level `error` names the cause. It is a fault of ours: please report it.",
    }
}

codes! {
    /// What is answered to a JSON body that is not taken.
    pub const BODY;

    INCOMPLETE_BODY: 400 "incomplete_body" {
        meaning: "The body broke off before its end.",
        caller: "Send the request again.",
    }
    SLOW_BODY: 408 "slow_body" {
        meaning: "The body was not there within 30 seconds.",
        caller: "Send the request again, over a steadier connection.",
    }
    BODY_TOO_LARGE: 413 "body_too_large" {
        meaning: "The body is larger than the 64 KiB that are taken.",
        caller: "Send only the fields that /openapi.json describes.",
    }
    UNSUPPORTED_MEDIA_TYPE: 415 "unsupported_media_type" {
        meaning: "The body is not labelled as JSON.",
        caller: "Send JSON with the header Content-Type: application/json.",
    }
    INVALID_BODY: 422 "invalid_body" {
        meaning: "The body is not a JSON object.",
        caller: "Send one JSON object with the fields that /openapi.json describes.",
    }
}
