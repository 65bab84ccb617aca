//! Log-ins a second, next to what bcrypt alone can do on the same cores in the same run.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use transcription_tests::auth::{Auth, credentials};
use transcription_tests::client::PASSWORD;

/// One turn of each; the turns alternate, so that whatever else the machine does meets both.
const TURN: Duration = Duration::from_secs(5);
const TURNS: u32 = 4;
const COST: u32 = 12;

#[tokio::main]
async fn main() {
    let auth = Auth::start_with([("BCRYPT_COST", "12"), ("RUST_LOG", "warn")]).await;
    auth.register("ada").await;
    let cores = available_parallelism().unwrap().get();
    println!(
        "bcrypt cost {COST}, {cores} cores, {TURNS} turns of {} s each",
        TURN.as_secs()
    );
    let (mut raw, mut served) = (0.0, 0.0);
    for turn in 1..=TURNS {
        let hashes = bcrypt_alone(cores).await;
        let logins = log_ins(&auth, cores * 2).await;
        println!("turn {turn}: bcrypt alone {hashes:.2}/s, log-ins {logins:.2}/s");
        raw += hashes;
        served += logins;
    }
    let turns = f64::from(TURNS);
    println!(
        "bcrypt alone {:.2}/s, log-ins {:.2}/s: {:.1} %",
        raw / turns,
        served / turns,
        100.0 * served / raw
    );
}

async fn bcrypt_alone(threads: usize) -> f64 {
    let hash: Arc<str> = bcrypt::hash(PASSWORD, COST).unwrap().into();
    let count = Arc::new(AtomicU32::new(0));
    let start = Instant::now();
    let threads = (0..threads).map(|_| {
        let (hash, count) = (Arc::clone(&hash), Arc::clone(&count));
        tokio::task::spawn_blocking(move || {
            while start.elapsed() < TURN {
                assert!(black_box(bcrypt::verify(PASSWORD, &hash).unwrap()));
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.await.unwrap();
    }
    rate(&count, start)
}

/// `clients` at once, so that no core ever waits for the next request.
async fn log_ins(auth: &Auth, clients: usize) -> f64 {
    let count = Arc::new(AtomicU32::new(0));
    let start = Instant::now();
    let clients = (0..clients).map(|_| {
        let (http, url) = (auth.http.clone(), format!("{}/login", auth.url));
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            while start.elapsed() < TURN {
                let answer = http
                    .post(&url)
                    .json(&credentials("ada", PASSWORD))
                    .send()
                    .await;
                assert_eq!(answer.unwrap().status(), 200);
                count.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    rate(&count, start)
}

fn rate(count: &AtomicU32, start: Instant) -> f64 {
    f64::from(count.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64()
}
