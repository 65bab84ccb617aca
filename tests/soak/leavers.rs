//! Clients who do not wait: they hang up in the middle of an upload or before the answer, stall, or only take a connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::notes::Route;
use crate::people::{Person, Worker};
use crate::wire::Manner;

const MIB: usize = 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(300);
/// One hang-up in so many is in the middle of a large recording.
const LARGE_EVERY: u32 = 60;
/// A service closes a connection without a request by then.
const IDLE_LIMIT: Duration = Duration::from_secs(12);
const IDLE_CONNECTIONS: usize = 30;
/// The service waits so long for the next byte.
pub const STALL_LIMIT: Duration = Duration::from_secs(30);

/// Hangs up. Who has left when the recording was sent whole is one of those of whom only the bucket tells what came of it: they are
/// people of their own.
pub async fn hang_up(mut worker: Worker, person: Person, leavers: Vec<Person>) {
    let mut number = 0;
    while worker.goes_on() {
        number += 1;
        let is_large = number % LARGE_EVERY == 0;
        let recording = worker.recording(if is_large { 9 * MIB } else { 20_000 });
        let bytes = worker
            .random
            .random_range(recording.form.len() / 2..recording.form.len() - 40);
        // Whoever is turned away for a crowd would be counted as that.
        let shared = Arc::clone(&worker.shared);
        let no_crowd = shared.crowd.read().await;
        match worker.random.random_range(0..3) {
            0 if !is_large => {
                let manner = Manner::Gone { bytes };
                worker
                    .send_form(&person.token, &recording.form, manner)
                    .await;
            }
            1 if !is_large => {
                let after = Duration::from_millis(worker.random.random_range(0..30));
                let leaver = worker.random.random_range(0..leavers.len());
                worker.shared.notes.leave(recording.sent.clone());
                let manner = Manner::Leaving { after };
                worker.send(&leavers[leaver], &recording, manner).await;
            }
            _ => {
                let manner = Manner::Stopping { bytes };
                worker
                    .send_form(&person.token, &recording.form, manner)
                    .await;
            }
        }
        drop(no_crowd);
        worker.pause(PAUSE).await;
    }
}

/// Stops sending, and waits for what the service says to that.
pub async fn stall(worker: Worker, person: Person) {
    let recording = worker.recording(20_000);
    let manner = Manner::Stalling { bytes: 10_000 };
    worker
        .send_form(&person.token, &recording.form, manner)
        .await;
}

/// Takes connections and asks nothing, or half a question.
pub async fn only_connect(mut worker: Worker) {
    while worker.goes_on() {
        let begins = worker.random.random_range(0..2) == 0;
        let patience = Duration::from_millis(worker.random.random_range(500..11_000));
        let addresses = [worker.shared.auth(), worker.shared.transcription()];
        let all = (0..IDLE_CONNECTIONS).map(|number| {
            let address = addresses[number % 2]
                .trim_start_matches("http://")
                .to_owned();
            async move {
                let Ok(mut stream) = TcpStream::connect(address).await else {
                    return;
                };
                if begins {
                    // The rest never comes.
                    let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: a").await;
                }
                let mut byte = [0];
                let _ = timeout(patience.min(IDLE_LIMIT), stream.read(&mut byte)).await;
            }
        });
        join_all(all).await;
        worker.pause(PAUSE).await;
    }
}

/// Asks for everything that needs no token, and for what is not there.
pub async fn read_pages(mut worker: Worker) {
    const SHARED: [(&str, &str); 9] = [
        ("/", "/"),
        ("/docs", "/docs"),
        ("/docs/", "/docs/"),
        ("/docs/swagger-ui.css", "/docs/{*path}"),
        ("/docs/no-such-file", "/docs/{*path}"),
        ("/openapi.json", "/openapi.json"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
        ("/metrics", "/metrics"),
    ];
    while worker.goes_on() {
        for (path, template) in SHARED {
            get(&worker, path, Route::auth("GET", template)).await;
            get(&worker, path, Route::transcription("GET", template)).await;
        }
        get(&worker, "/wp-admin/setup.php", Route::auth("GET", "")).await;
        get(&worker, "/login", Route::auth("GET", "/login")).await;
        get(&worker, "/no/such/page", Route::transcription("GET", "")).await;
        let pause = Duration::from_millis(worker.random.random_range(100..500));
        worker.pause(pause).await;
    }
}

async fn get(worker: &Worker, path: &str, route: Route) {
    let address = match route.service {
        crate::notes::Service::Auth => worker.shared.auth(),
        crate::notes::Service::Transcription => worker.shared.transcription(),
    };
    worker
        .ask(route, worker.http.get(format!("{address}{path}")))
        .await;
}
