//! Black-box tests of what clients rely on.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod accounts;
mod journey;
mod refusals;
mod speech;
mod standalone;
mod start;
