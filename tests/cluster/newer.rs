//! The operator as it will be when there is a newer release: the same program, which can run one more.

use std::process::ExitCode;

use transcription_operator::program;
use transcription_operator::release::{Release, Releases};

fn main() -> ExitCode {
    program::main(Releases::default().and(Release::new("0.2.0")))
}
