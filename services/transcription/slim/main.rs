//! The program `transcription-service` of the images without Whisper.

use std::process::ExitCode;

fn main() -> ExitCode {
    transcription_service::program::run()
}
