//! Black-box tests of what clients rely on.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod accounts;
mod bad_settings;
mod browser;
mod bucket;
mod credentials;
mod database;
mod documentation;
mod documents;
mod env_file;
mod first_minutes;
mod gemini;
mod generated;
mod guessing;
mod hostile;
mod journey;
mod login;
mod logs;
mod monitoring;
mod observing;
mod pictures;
mod readme;
mod refusals;
mod serving;
mod small;
mod smoke;
mod standalone;
mod start;
mod tokens;
mod uploads;
