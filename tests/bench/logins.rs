//! Log-ins next to bcrypt alone, and what others feel of them.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use transcription_tests::auth::{Auth, credentials};
use transcription_tests::client::PASSWORD;

use crate::table::{Goal, Row, median_round, ratio};
use crate::wrk::Load;
use crate::{ROUNDS, is_first};

/// The default of the service.
const COST: u32 = 12;
const TURN: Duration = Duration::from_secs(5);
const WAITING: usize = 64;

/// Measures.
pub async fn measure() -> Vec<Row> {
    let auth = Auth::start_with([("BCRYPT_COST", "12")]).await;
    auth.register("ada").await;
    let mut rows = Vec::new();
    for clients in [1, 8, 32] {
        rows.push(rate(&auth, clients).await);
    }
    rows.push(neighbour(&auth).await);
    rows
}

async fn rate(auth: &Auth, clients: usize) -> Row {
    let threads = clients.min(available_parallelism().unwrap().get());
    let hash: Arc<str> = bcrypt::hash(PASSWORD, COST).unwrap().into();
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        rounds.push(if is_first(round) {
            let served = log_ins(auth, clients).await;
            (served, bcrypt_alone(threads, &hash).await)
        } else {
            let alone = bcrypt_alone(threads, &hash).await;
            (log_ins(auth, clients).await, alone)
        });
    }
    let ((served, alone), figure) = median_round(&rounds, ratio);
    Row {
        case: format!("log-ins, {clients} at once"),
        ours: format!("{served:.2}/s"),
        against: format!("bcrypt alone on {threads} threads: {alone:.2}/s"),
        figure,
        goal: Goal::AtLeast(0.95),
        unit: "",
    }
}

async fn bcrypt_alone(threads: usize, hash: &Arc<str>) -> f64 {
    let (count, end) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
    let start = Instant::now();
    let threads = hashing(threads, hash, &count, &end);
    tokio::time::sleep(TURN).await;
    end.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.await.unwrap();
    }
    f64::from(count.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64()
}

/// Threads that check a password until the end.
fn hashing(
    threads: usize,
    hash: &Arc<str>,
    count: &Arc<AtomicU32>,
    end: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let threads = (0..threads).map(|_| {
        let (hash, count, end) = (Arc::clone(hash), Arc::clone(count), Arc::clone(end));
        tokio::task::spawn_blocking(move || {
            while !end.load(Ordering::Relaxed) {
                assert!(black_box(bcrypt::verify(PASSWORD, &hash).unwrap()));
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    threads.collect()
}

async fn log_ins(auth: &Auth, clients: usize) -> f64 {
    let (count, end) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
    let start = Instant::now();
    let clients = logging_in(auth, clients, &count, &end);
    tokio::time::sleep(TURN).await;
    end.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    f64::from(count.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64()
}

/// Clients that log in one time after another until the end. None may fail.
fn logging_in(
    auth: &Auth,
    clients: usize,
    count: &Arc<AtomicU32>,
    end: &Arc<AtomicBool>,
) -> Vec<tokio::task::JoinHandle<()>> {
    let clients = (0..clients).map(|_| {
        let (http, url) = (auth.http.clone(), format!("{}/login", auth.url));
        let (count, end) = (Arc::clone(count), Arc::clone(end));
        tokio::spawn(async move {
            while !end.load(Ordering::Relaxed) {
                let sent = http.post(&url).json(&credentials("ada", PASSWORD)).send();
                assert_eq!(sent.await.unwrap().status(), 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    clients.collect()
}

/// What a request that needs no hash feels of the log-ins.
async fn neighbour(auth: &Auth) -> Row {
    let token = auth.token("ada").await;
    let hash: Arc<str> = bcrypt::hash(PASSWORD, COST).unwrap().into();
    let (mut alone, mut served, mut log_ins) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        for is_served in [is_first(round), !is_first(round)] {
            let (count, end) = (Arc::<AtomicU32>::default(), Arc::<AtomicBool>::default());
            let work = if is_served {
                logging_in(auth, WAITING, &count, &end)
            } else {
                hashing(available_parallelism().unwrap().get(), &hash, &count, &end)
            };
            tokio::time::sleep(Duration::from_millis(500)).await;
            let load = Load {
                url: &format!("{}/me", auth.url),
                method: "GET",
                headers: &[("Authorization", format!("Bearer {token}"))],
                body: b"",
                connections: 1,
                duration: Duration::from_secs(6),
            };
            let seen = load.send().await;
            assert!(seen.refused == 0 && seen.failed == 0, "{seen:?}");
            end.store(true, Ordering::Relaxed);
            for one in work {
                one.await.unwrap();
            }
            if is_served {
                log_ins += count.load(Ordering::Relaxed);
                served.push(seen.p99_seconds * 1e3);
            } else {
                alone.push(seen.p99_seconds * 1e3);
            }
        }
    }
    let rounds: Vec<_> = served.into_iter().zip(alone).collect();
    let ((served, alone), figure) = median_round(&rounds, ratio);
    Row {
        case: format!("`GET /me` while {WAITING} log-ins wait, p99"),
        ours: format!("{served:.2} ms; 0 of {log_ins} log-ins failed"),
        against: format!("beside bcrypt alone: {alone:.2} ms"),
        figure,
        goal: Goal::AtMost(2.0),
        unit: "",
    }
}
