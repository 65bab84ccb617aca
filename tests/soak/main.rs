//! Minutes of mixed traffic with mixed faults, and what is left of them: nothing that grows, nothing that is lost, and the same numbers
//! wherever something is counted.
//!
//! [`steady`] is the run without kills, [`killed`] the one with them. Clients are in [`accounts`], [`recordings`] and [`leavers`], what
//! they share in [`people`], their notes in [`notes`]. [`faults`] is what goes wrong. [`bucket`] and [`ledger`] compare.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

mod accounts;
mod bucket;
mod faults;
mod killed;
mod lab;
mod leavers;
mod ledger;
mod measures;
mod metrics;
mod notes;
mod people;
mod recordings;
mod steady;
mod tell;
mod wire;

/// The part of the time in which the services are killed.
const KILLED_PART: f64 = 0.2;

/// How long, and what.
#[derive(Parser)]
struct Settings {
    /// Minutes of traffic; rests and the comparison come to it.
    #[arg(long, env = "SOAK_MINUTES", default_value = "10")]
    minutes: f64,
    /// Repeats the order of the faults of another run.
    #[arg(long, env = "SOAK_SEED")]
    seed: Option<u64>,
    /// Whether the services are killed.
    #[arg(long, env = "SOAK_KILLS", default_value = "last")]
    kills: Kills,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kills {
    /// In the last fifth, which is a run of its own.
    Last,
    /// Never.
    #[value(alias = "0")]
    No,
    /// All the time.
    #[value(alias = "1")]
    Only,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Settings {
        minutes,
        seed,
        kills,
    } = Settings::parse();
    let seed = seed.unwrap_or_else(|| rand::random_range(0..1_000_000));
    println!("{minutes} minutes, SOAK_SEED={seed}");
    let killed_part = match kills {
        Kills::Last => KILLED_PART,
        Kills::No => 0.0,
        Kills::Only => 1.0,
    };
    let part = |part: f64| Duration::from_secs_f64(60.0 * minutes * part);
    let mut wrong = Vec::new();
    if killed_part < 1.0 {
        wrong.extend(steady::run(seed, part(1.0 - killed_part)).await);
    }
    if killed_part > 0.0 {
        wrong.extend(killed::run(seed, part(killed_part)).await);
    }
    if wrong.is_empty() {
        println!("\nAll of it holds.");
        return ExitCode::SUCCESS;
    }
    println!("\n{} things do not hold (SOAK_SEED={seed}):", wrong.len());
    for what in &wrong {
        println!("- {what}");
    }
    ExitCode::FAILURE
}
