//! Arbitrary input, for as long as it is asked to: nothing may panic, hang, or be taken that is not right.
//!
//! `FUZZ_SECONDS` says for how long each kind is tried (600 by default). Each run tries other input; what fails is made as small as can
//! be and shown. [`audio`] changes recordings, [`forms`] uploads, [`tokens`] JSON Web Tokens, [`stacks`] the custom resource.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

use std::time::Duration;

mod audio;
mod change;
mod forms;
mod stacks;
mod tokens;

/// How long each kind of input is tried.
fn time() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "who runs the tests says for how long"
    )]
    let asked = std::env::var("FUZZ_SECONDS").ok();
    let seconds = asked.map(|seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds.unwrap_or(600))
}
