//! Black-box tests of what clients rely on.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected has to fail"
)]

mod accounts;
mod journey;
mod refusals;
mod speech;
mod standalone;
mod start;
