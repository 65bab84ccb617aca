//! Tests of the container images: each is started as a cluster starts it, read-only and as its own user, and asked something real.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails must say so at once"
)]

mod auth;
mod content;
mod names;
mod operator;
mod transcription;
