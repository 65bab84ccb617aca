//! docker-compose.yml on a Docker Engine, by the commands of the README.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod backup;
mod configuration;
mod engine;
mod fresh;
mod old_backend;
mod project;
mod readme;
