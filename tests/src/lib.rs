//! The lab of the black-box tests: real servers on free ports, each with its own data, and a client that knows no more
//! than the contract.
//!
//! [`process`] starts and ends programs, [`stack`] starts ours, [`auth`] an auth service alone, [`transcription`] a
//! transcription service with Gemini's stand-in, [`seaweedfs`] an S3 server
//! and [`s3_proxy`] its faults,
//! [`collector`] takes traces, [`python`] runs what others wrote, [`charts`] runs Helm, [`client`] speaks HTTP, [`traffic`] does so all the time,
//! [`arbitrary`] tries input that nobody would think of, [`errors`] knows every error, [`speech`] has recordings and counts
//! word errors, [`sound`] makes other sounds and other files of them.

#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a lab that fails must fail its test, at once and with the reason"
)]

pub mod api_proxy;
pub mod arbitrary;
pub mod auth;
pub mod charts;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod errors;
pub mod files;
pub mod generated;
pub mod images;
pub mod python;
pub mod relay;
pub mod rendered;
pub mod s3_proxy;
pub mod seaweedfs;
pub mod sound;
pub mod speech;
pub mod stack;
pub mod traffic;
pub mod transcription;

pub use transcription_lab::process;
