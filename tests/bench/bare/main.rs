//! What a service would cost without ours: the same work made bare. `bench` starts it beside the services and compares.
//!
//! - `serve` answers `/me` and `/transcribe` by a handler each, with nothing around them;
//! - `calls` makes the calls of a transcription: four objects and a question to the engine;
//! - `parts` uploads the parts of large objects.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for bench, which has to stop at what it does not expect"
)]

mod calls;
mod serve;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// As in the services.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The work of the services without the services.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answers requests, and prints its address first.
    Serve {
        /// The database with the users.
        database: PathBuf,
    },
    /// Stores recordings and their texts, and asks the engine in between.
    Calls {
        #[command(flatten)]
        target: calls::Target,
        /// The address of the engine.
        #[arg(long)]
        engine: String,
        /// How many at once.
        #[arg(long)]
        concurrency: usize,
        /// For how long.
        #[arg(long)]
        seconds: f64,
        /// The size of a recording.
        #[arg(long)]
        size_bytes: usize,
    },
    /// Uploads objects in parts of 5 MiB, one part of an object after another.
    Parts {
        #[command(flatten)]
        target: calls::Target,
        /// How many objects at once.
        #[arg(long)]
        concurrency: usize,
        /// The size of an object.
        #[arg(long)]
        size_bytes: usize,
    },
}

#[tokio::main]
async fn main() {
    match Options::parse().command {
        Command::Serve { database } => serve::serve(&database).await,
        Command::Calls {
            target,
            engine,
            concurrency,
            seconds,
            size_bytes,
        } => {
            let turn = calls::Turn {
                concurrency,
                seconds,
                size_bytes,
            };
            calls::calls(&target, &engine, &turn).await;
        }
        Command::Parts {
            target,
            concurrency,
            size_bytes,
        } => calls::parts(&target, concurrency, size_bytes).await,
    }
}
