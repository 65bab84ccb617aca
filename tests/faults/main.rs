//! Faults that are caused: what a client sees of each, and what is stored.
//!
//! - `kill`: the transcription service is killed at each step of an upload and a transcription.
//! - `surroundings`: what is around the services fails, and clients behave badly.

mod kill;
mod surroundings;
