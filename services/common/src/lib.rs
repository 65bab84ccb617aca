//! What the services share, and nothing that names a user or a recording:
//!
//! - [`settings`]: the environment and `.env` read into one typed struct, with one-line errors.
//! - [`code`]: the kinds of errors. [`problem`]: RFC 9457 answers, and [`json`], the extractor that gives them for a rejected body.
//! - [`jwt`]: the token, its signing and its verification, and the extractor for handlers.
//! - [`request`]: what every answer gets: a request id, a span, a log line, a metric, a problem body.
//! - [`server`]: listens, limits and ends connections. [`management`]: health, readiness, metrics on request.
//! - [`telemetry`]: logs and traces. [`metrics`]: the registry of a service. [`clock`]: the time of day.
//! - [`documentation`] describes a service by `OpenAPI`. [`pages`]: what people see with a browser.
//! - [`tls`]: whom the services' clients trust. [`smoke`]: a client that shows that a service works. [`files`]: names of files.

pub mod clock;
pub mod code;
pub mod documentation;
pub mod files;
pub mod json;
pub mod jwt;
pub mod management;
pub mod metrics;
pub mod pages;
pub mod problem;
pub mod request;
pub mod server;
pub mod settings;
pub mod smoke;
pub mod telemetry;
pub mod tls;

/// Lets handlers take parts of a state that is shared behind one pointer.
#[macro_export]
macro_rules! state_of {
    ($state:ty { $($part:ident: $kind:ty),+ $(,)? }) => {
        $(
            impl axum::extract::FromRef<$state> for $kind {
                fn from_ref(state: &$state) -> Self {
                    state.0.$part.clone()
                }
            }
        )+
    };
}
