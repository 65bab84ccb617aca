//! The program `transcription-service` of the images without Whisper.

use std::process::ExitCode;

/// It takes less of the processor than glibc's: docs/design.md has the numbers. It is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    transcription_service::program::run()
}
