//! The part of the lab that knows nothing of the product: it starts programs, and a Kubernetes cluster, for tests.
//!
//! [`process`] starts and ends programs, [`guard`] ends them when the test program is killed, [`files`] knows where
//! `tests/lab/fetch.sh` puts what it fetched, and [`kubernetes`] starts a cluster.
//!
//! It needs few crates on purpose: `make cluster` builds no more than this.

#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a lab that fails must fail its test, at once and with the reason"
)]

pub mod docker;
pub mod files;
pub mod guard;
pub mod images;
pub mod kubernetes;
pub mod process;
