//! Black-box tests of Whisper. Each needs all cores, and some compare times: they are run one after another.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod formats;
mod long;
mod models;
mod sounds;
mod speech;
mod turns;
