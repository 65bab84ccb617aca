//! Black-box tests of what clients rely on.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod accounts;
mod bad_settings;
mod bombs;
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
mod headers;
mod hostile;
mod journey;
mod login;
mod logs;
mod monitoring;
mod observing;
mod pictures;
mod readme;
mod refusals;
mod secrets;
mod serving;
mod small;
mod smoke;
mod smuggling;
mod standalone;
mod start;
mod tokens;
mod uploads;
