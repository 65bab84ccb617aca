//! What the services cost on top of what bounds them: bcrypt, the database, the bucket, the engine. Every figure is a ratio within
//! one run, or a size.
//!
//! `bench [CASE...]` measures all cases or these: logins, requests, calls, uploads, users, starts. [`wrk`] makes the requests,
//! `bench-bare` the same work without the services, [`table`] the table.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

mod calls;
mod logins;
mod requests;
mod services;
mod starts;
mod table;
mod uploads;
mod users;
mod wrk;

use std::time::Instant;

/// Each case is measured so often, in turns with what it is compared with; the median counts.
const ROUNDS: usize = 3;

/// Whether ours is first in this round: what comes first may be at an advantage. The other is first in two of three.
fn is_first(round: usize) -> bool {
    !round.is_multiple_of(2)
}

#[tokio::main]
async fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let start = Instant::now();
    let before = table::committed();
    println!("{}", table::HEAD);
    let mut rows = Vec::new();
    for case in ["requests", "calls", "logins", "users", "starts", "uploads"] {
        if !asked.is_empty() && !asked.iter().any(|name| name == case) {
            continue;
        }
        let measured = match case {
            "logins" => logins::measure().await,
            "requests" => requests::measure().await,
            "calls" => calls::measure().await,
            "uploads" => uploads::measure().await,
            "users" => users::measure().await,
            _ => starts::measure().await,
        };
        for row in measured {
            let before = before.get(&row.case).map(String::as_str);
            println!("{}", row.line(before));
            rows.push(row);
        }
    }
    println!();
    if asked.is_empty() {
        table::write(&rows, start.elapsed().as_secs());
    }
    let missed = rows.iter().filter(|row| !row.is_met());
    let (known, new): (Vec<_>, Vec<_>) = missed.partition(|row| row.is_known_miss());
    for row in known {
        println!("missed, docs/measurements.md says why: {}", row.case);
    }
    for row in &new {
        println!("missed: {}", row.case);
    }
    println!("{} lines in {} s", rows.len(), start.elapsed().as_secs());
    if !new.is_empty() {
        std::process::exit(1);
    }
}
