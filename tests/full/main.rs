//! What takes longer than `make e2e` may, on a real node as there.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod autoscaling;
mod crowd;
mod helm;
mod helm_operator;
#[path = "../node/helm_services.rs"]
mod helm_services;
#[path = "../node/images.rs"]
mod images;
#[path = "../node/objects.rs"]
mod objects;
#[path = "../node/recorded.rs"]
mod recorded;
#[path = "../node/release.rs"]
mod release;
#[path = "../node/stack.rs"]
#[expect(dead_code, reason = "the tests of `make e2e` use the rest")]
mod stack;
mod traffic;
#[path = "../node/witness.rs"]
mod witness;
