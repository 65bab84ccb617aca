//! The program `transcription-service`.

use std::process::ExitCode;

/// With glibc's a request takes more of the processor, and what Whisper needs for moments would be kept: docs/design.md has the numbers. For
/// C++ too; it is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    transcription_service::program::run()
}
