//! The program `transcription-operator`.

use std::process::ExitCode;

use transcription_operator::program;
use transcription_operator::release::Releases;

fn main() -> ExitCode {
    program::main(Releases::default())
}
