//! The stack on a real node: the images that users get, the manifests that users apply, real speech, and the text of it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets something unexpected has to fail, and says what it measured"
)]

mod helm;
mod helm_services;
mod images;
mod journey;
mod objects;
mod recorded;
mod release;
mod restore;
mod stack;
mod witness;
