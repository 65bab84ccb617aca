//! The lab of the black-box tests: real servers on free ports, each with its own data, and a client that knows no more
//! than the contract.
//!
//! [`process`] starts and ends programs, [`stack`] starts ours, [`seaweedfs`] an S3 server, [`client`] speaks HTTP,
//! [`speech`] has recordings and counts word errors.

#![expect(
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a lab that fails must fail its test, at once and with the reason"
)]

pub mod client;
pub mod files;
pub mod process;
pub mod seaweedfs;
pub mod speech;
pub mod stack;
