//! The program `transcription-service`.

use std::process::ExitCode;

/// Whisper needs much memory for moments, and glibc would keep it. For C++ too; set in `.cargo/config.toml`.
#[cfg(feature = "whisper")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    transcription_service::program::run()
}
