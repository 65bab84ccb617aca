//! The program `transcription-service` of the images without Whisper.

use std::process::ExitCode;

/// With glibc's a request takes more of the processor: docs/design.md has the numbers. It is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    transcription_service::program::run()
}
