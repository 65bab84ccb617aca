//! The run without a kill: everything is counted by all sides, and what the services hold must not grow.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use sqlx::{Connection, SqliteConnection};
use tokio::time::{sleep, timeout};

use crate::bucket::Bucket;
use crate::faults::{self, Moment};
use crate::lab::Lab;
use crate::ledger::{Books, Row, kept_bytes};
use crate::measures::{Held, median, port, slope, wal_bytes};
use crate::metrics::Metrics;
use crate::notes::Service;
use crate::tell;

/// One part is to warm up; what is held after it is what is compared.
const SHORTEST_PART: Duration = Duration::from_secs(15);
const MOST_PARTS: u32 = 10;
const LEAST_PARTS: u32 = 5;
/// A thread for blocking work ends after 10 s without any, and jemalloc gives back in 10 s what is not used.
const REST: Duration = Duration::from_secs(13);
const SAMPLES: usize = 5;
/// What is left to do when the traffic stops: the last clients wait for the engine, texts for the bucket.
const END_LIMIT: Duration = Duration::from_mins(3);
/// Every 90 s connections to the bucket and to the engine are closed that were idle for so long.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(190);

/// What may be added to the memory after the warm-up, in KiB. See docs/measurements.md for where it comes from.
const MORE_RESIDENT_KIB: [(Service, u64); 2] = [
    (Service::Auth, 12 * 1024),
    (Service::Transcription, 8 * 1024),
];
/// SQLite begins its log anew once it has so many pages, and the file stays as large as it was: 1000 pages, and what one more
/// transaction adds.
const MOST_WAL_BYTES: u64 = 4_500_000;

/// What there is at rest.
#[derive(Clone, Debug)]
struct Rest {
    requests: u64,
    auth: Held,
    transcription: Held,
    open_uploads: usize,
    files: u64,
    wal_bytes: u64,
}

/// Runs for so long, and gives what does not hold.
pub async fn run(seed: u64, lasts: Duration) -> Vec<String> {
    let mut lab = Lab::start(seed, lasts).await;
    let auth_before = lab.metrics(Service::Auth).await;
    let transcription_before = lab.metrics(Service::Transcription).await;
    lab.gather().await;
    let count = u32::try_from(lasts.as_secs() / SHORTEST_PART.as_secs()).unwrap_or(MOST_PARTS);
    let count = count.clamp(LEAST_PARTS, MOST_PARTS) / 5 * 5;
    let mut random = StdRng::seed_from_u64(seed);
    let mut rests = Vec::new();
    for part in 0..count {
        // The first fifth is for warming up, and in one piece.
        let pieces = if part == 0 { count / 5 } else { 1 };
        if part == 0 || part >= count / 5 {
            work(&lab, u64::from(part), lasts / count * pieces, &mut random).await;
            rests.push(rest(&lab).await);
        }
    }
    let quiet = Instant::now();
    let mut wrong = books(&lab, auth_before, transcription_before).await;
    wrong.extend(growth(&lab, &mut rests, quiet).await);
    wrong
}

/// Traffic with faults for a while.
async fn work(lab: &Lab, part: u64, lasts: Duration, random: &mut StdRng) {
    let until = Instant::now() + lasts;
    let moment = Moment::default();
    let tasks = lab.work(part, until);
    let (proxy, google) = (&lab.transcription.proxy, &lab.transcription.google);
    let all = async {
        faults::change(proxy, google, random, &moment, until).await;
        for task in tasks {
            task.await.unwrap();
        }
    };
    tokio::select! {
        ended = timeout(lasts + END_LIMIT, all) => ended.expect("clients end"),
        () = tell::progress(&lab.shared.notes, &moment, || tell::memory(lab)) => {}
    }
}

/// Waits until nothing is left to do, and measures.
async fn rest(lab: &Lab) -> Rest {
    let proxy = &lab.transcription.proxy;
    proxy.forget_requests();
    let start = Instant::now();
    loop {
        let metrics = lab.metrics(Service::Transcription).await;
        if open_work(&metrics) == 0 || start.elapsed() > END_LIMIT {
            break;
        }
        sleep(Duration::from_millis(500)).await;
    }
    sleep(REST).await;
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        samples.push((
            held_by(lab, Service::Auth),
            held_by(lab, Service::Transcription),
        ));
        sleep(Duration::from_millis(400)).await;
    }
    let resident = |of: &dyn Fn(&(Held, Held)) -> Held| {
        let last = of(&samples[SAMPLES - 1]);
        let resident_kib = median(samples.iter().map(|it| of(it).resident_kib).collect());
        Held {
            resident_kib,
            ..last
        }
    };
    let counts = lab.transcription.google.counts().await;
    let rest = Rest {
        requests: lab.shared.notes.requests(),
        auth: resident(&|it| it.0),
        transcription: resident(&|it| it.1),
        open_uploads: lab.transcription.s3.open_uploads().await,
        files: counts["files_existing"].as_u64().unwrap(),
        wal_bytes: wal_bytes(&lab.auth.database()),
    };
    tell::rest(rest.requests, &rest.auth, &rest.transcription);
    rest
}

fn held_by(lab: &Lab, service: Service) -> Held {
    let ports = [
        port(&lab.transcription.proxy.endpoint),
        port(&lab.transcription.google.url),
    ];
    let process = match service {
        Service::Auth => &lab.auth.process,
        Service::Transcription => &lab.transcription.process,
    };
    Held::of(process.id(), &ports)
}

/// What the transcription service has not finished, by its own word.
fn open_work(metrics: &Metrics) -> u64 {
    let names = [
        "transcription_in_flight",
        "transcription_pending_bytes",
        "transcription_queue_depth",
        "gemini_files_open",
    ];
    names.iter().map(|name| metrics.sum(name, &[])).sum()
}

/// What has grown from the first rest to the last. Nothing was asked since `quiet`.
async fn growth(lab: &Lab, rests: &mut [Rest], quiet: Instant) -> Vec<String> {
    while held_by(lab, Service::Transcription).upstream > 0 && quiet.elapsed() < UPSTREAM_LIMIT {
        sleep(Duration::from_secs(1)).await;
    }
    let last = rests.last_mut().expect("there are several");
    last.auth = Held {
        resident_kib: last.auth.resident_kib,
        ..held_by(lab, Service::Auth)
    };
    let held = held_by(lab, Service::Transcription);
    last.transcription = Held {
        resident_kib: last.transcription.resident_kib,
        ..held
    };
    let mut lines = Vec::new();
    for (service, more_kib) in MORE_RESIDENT_KIB {
        lines.extend(lines_of(service, rests, more_kib));
    }
    let (first, last) = (&rests[0], &rests[rests.len() - 1]);
    let (before, after) = (first.open_uploads as u64, last.open_uploads as u64);
    lines.push(Line::same("open uploads", before, after));
    lines.push(Line::same("files at Google", first.files, last.files));
    let (before, after) = (first.wal_bytes, last.wal_bytes);
    lines.push(Line::new(
        "bytes of SQLite's log",
        before,
        after,
        MOST_WAL_BYTES,
    ));
    let metrics = lab.metrics(Service::Transcription).await;
    lines.push(Line::new(
        "unfinished, by the metrics",
        0,
        open_work(&metrics),
        0,
    ));
    let active = "http_server_active_requests";
    // The one that asks for it.
    lines.push(Line::new(
        "requests in flight: transcription",
        1,
        metrics.sum(active, &[]),
        1,
    ));
    let metrics = lab.metrics(Service::Auth).await;
    lines.push(Line::new(
        "requests in flight: auth",
        1,
        metrics.sum(active, &[]),
        1,
    ));
    tell::growth(&lines);
    let grown = lines.iter().filter(|line| !line.holds());
    grown.map(Line::to_string).collect()
}

/// What one service holds.
fn lines_of(service: Service, rests: &[Rest], more_kib: u64) -> Vec<Line> {
    let of = |rest: &Rest| match service {
        Service::Auth => rest.auth,
        Service::Transcription => rest.transcription,
    };
    let (before, after) = (of(&rests[0]), of(&rests[rests.len() - 1]));
    let points = rests
        .iter()
        .map(|rest| (rest.requests, of(rest).resident_kib));
    let a_request = slope(&points.collect::<Vec<_>>()) * 1024.0;
    let name = service.name();
    let line = |what: &str, of: &dyn Fn(&Held) -> u64, more: u64| {
        let (before, after) = (of(&before), of(&after));
        Line::new(format!("{name}: {what}"), before, after, before + more)
    };
    let memory = format!("memory in KiB ({a_request:.0} bytes a request)");
    let mut lines = vec![
        line(&memory, &|it| it.resident_kib, more_kib),
        line("threads", &|it| it.threads, 0),
        line("descriptors", &|it| it.descriptors as u64, 0),
    ];
    match service {
        Service::Auth => lines.push(line(
            "descriptors of the database",
            &|it| it.database as u64,
            0,
        )),
        Service::Transcription => lines.push(Line::new(
            "transcription: connections to bucket and engine",
            before.upstream as u64,
            after.upstream as u64,
            0,
        )),
    }
    lines
}

/// One thing that must not grow.
pub struct Line {
    what: String,
    first: u64,
    last: u64,
    most: u64,
}

impl Line {
    fn new(what: impl Into<String>, first: u64, last: u64, most: u64) -> Self {
        let what = what.into();
        Self {
            what,
            first,
            last,
            most,
        }
    }

    fn same(what: impl Into<String>, first: u64, last: u64) -> Self {
        Self::new(what, first, last, first)
    }

    fn holds(&self) -> bool {
        self.last <= self.most
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            what,
            first,
            last,
            most,
        } = self;
        let end = if self.holds() { "" } else { "  HAS GROWN" };
        write!(formatter, "{what:<56}{first:>12}{last:>12}{most:>12}{end}")
    }
}

/// Compares what all sides have counted.
async fn books(lab: &Lab, auth_before: Metrics, transcription_before: Metrics) -> Vec<String> {
    let notes = &lab.shared.notes;
    let bucket = Bucket::read(&lab.transcription.s3, notes, false).await;
    let answers = notes.answers();
    let books = Books {
        answers,
        gone: notes.gone(),
        left_unheard: notes.left_unheard(),
        kept: notes.kept().len() as u64,
        kept_bytes: kept_bytes(notes, &bucket),
        auth: lab.metrics(Service::Auth).await,
        transcription: lab.metrics(Service::Transcription).await,
        auth_before,
        transcription_before,
        users: users(lab).await,
        bucket,
        operations: lab.transcription.proxy.operations(),
        google: lab.transcription.google.counts().await,
    };
    let rows = books.rows();
    tell::books(&rows);
    let mut wrong = Vec::new();
    let differing = rows.iter().filter(|row| !row.holds());
    wrong.extend(differing.map(Row::to_string));
    wrong.extend(notes.broken());
    wrong.extend(notes.wrongs());
    wrong.extend(books.bucket.wrong);
    wrong
}

async fn users(lab: &Lab) -> u64 {
    let url = format!("sqlite://{}", lab.auth.database().display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    u64::try_from(count).unwrap()
}
