//! Faults that are caused: what a client sees of each, and what is stored.
//!
//! - `kill`: the transcription service is killed at each step of an upload and a transcription.
//! - `surroundings`: what is around the services fails, and clients behave badly.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod kill;
mod surroundings;
