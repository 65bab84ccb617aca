//! What the person who waits is told.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use transcription_tests::process::{Process, memory_kib};

use crate::faults::Moment;
use crate::lab::Lab;
use crate::ledger::Row;
use crate::measures::Held;
use crate::notes::Notes;
use crate::steady::Line;

const TELL_EVERY: Duration = Duration::from_secs(10);

/// Says every ten seconds how far it is, and what else there is to say. Never ends by itself.
pub async fn progress(notes: &Notes, moment: &Moment, more: impl Fn() -> String) {
    let start = Instant::now();
    loop {
        sleep(TELL_EVERY).await;
        println!(
            "{:>5} s of this part, {:>7} requests, {}, fault: {}",
            start.elapsed().as_secs(),
            notes.requests(),
            more(),
            moment.name(),
        );
    }
}

/// The memory of both services.
pub fn memory(lab: &Lab) -> String {
    let resident = |process: &Process| memory_kib(process.id(), "VmRSS:");
    let (auth, transcription) = (&lab.auth.process, &lab.transcription.process);
    format!(
        "memory: auth {} KiB, transcription {} KiB",
        resident(auth),
        resident(transcription)
    )
}

/// Says what is held at rest.
pub fn rest(requests: u64, auth: &Held, transcription: &Held) {
    println!("at rest after {requests} requests:");
    for (name, held) in [("auth", auth), ("transcription", transcription)] {
        let Held {
            resident_kib,
            threads,
            descriptors,
            database,
            upstream,
        } = held;
        println!(
            "    {name}: {resident_kib} KiB, {threads} threads, {descriptors} descriptors, {database} of the database, {upstream} connections to bucket and engine"
        );
    }
}

/// Says what has grown, and what has not.
pub fn growth(lines: &[Line]) {
    println!(
        "\n{:<56}{:>12}{:>12}{:>12}",
        "what", "warmed up", "at the end", "at most"
    );
    for line in lines {
        println!("{line}");
    }
}

/// Says what all sides have counted.
pub fn books(rows: &[Row]) {
    println!("\n{}", Row::heading());
    for row in rows {
        println!("{row}");
    }
    println!(
        "stored: in the database and the bucket; others: Google's stand-in and the proxy in front of S3"
    );
}
