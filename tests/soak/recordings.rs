//! Clients of the transcription service who wait for their answer: with small and large recordings, and with what is none.

use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt;

use crate::notes::Route;
use crate::people::{Person, Worker, form};
use crate::wire::Manner;

const LOOK: Route = Route::transcription("GET", "/transcriptions/{id}");

/// The largest recording that the service takes here. It is just above what goes by the Files API.
pub const MAX_UPLOAD_BYTES: usize = 15 * MIB;
/// More than one object at once, and more than one request to Google.
const LARGE_BYTES: [usize; 2] = [9 * MIB, 14 * MIB + 64 * 1024];
const MIB: usize = 1024 * 1024;
/// Between two requests of one client.
const PAUSE: Duration = Duration::from_millis(60);
const CROWD_PAUSE: Duration = Duration::from_secs(7);
/// So many of one person at once; it is more than one may have.
const CROWD_OF_ONE: usize = 6;

/// Sends small recordings, and asks for them afterwards.
pub async fn send_small(mut worker: Worker, person: Person, other: Person) {
    while worker.goes_on() {
        let size_bytes = 2 * worker.random.random_range(700..6_000);
        let recording = worker.recording(size_bytes);
        let reply = worker.transcribe(&person, &recording).await;
        let id = reply.and_then(|reply| Some(reply.body["id"].as_str()?.to_owned()));
        if let Some(id) = id {
            look(&worker, &person.token, &id).await;
            if worker.random.random_range(0..4) == 0 {
                look(&worker, &other.token, &id).await;
            }
        }
        if worker.random.random_range(0..4) == 0 {
            look(&worker, &person.token, "nothing").await;
            look(&worker, "no token", "nothing").await;
        }
        worker.pause(PAUSE).await;
    }
}

/// Sends large recordings, with so long from the start of one to that of the next: the lab's disk is not endless.
pub async fn send_large(worker: Worker, person: Person, every: Duration) {
    for size_bytes in LARGE_BYTES.into_iter().cycle() {
        let recording = worker.recording(size_bytes);
        let sent = worker.transcribe(&person, &recording);
        let (reply, ()) = tokio::join!(sent, worker.pause(every));
        drop(recording);
        if let Some(id) = reply.and_then(|reply| Some(reply.body["id"].as_str()?.to_owned())) {
            look(&worker, &person.token, &id).await;
        }
        // It is one that the service reads to its end.
        let too_large = worker.recording(MAX_UPLOAD_BYTES + 4096).form;
        worker
            .send_form(&person.token, &too_large, Manner::Whole)
            .await;
        worker.pause(every / 2).await;
        if !worker.goes_on() {
            return;
        }
    }
}

/// Sends what is refused.
pub async fn send_refused(mut worker: Worker, person: Person) {
    let good = worker.recording(2_000).form;
    while worker.goes_on() {
        let two_files = [&good[..good.len() - 4], &good["--frontier".len()..]].concat();
        let with_language = [LANGUAGE, &good].concat();
        let (token, form) = match worker.random.random_range(0..8) {
            0 => ("", good.clone()),
            1 => ("no token", good.clone()),
            2 => (
                &*person.token,
                form(b"no audio at all, whatever its name says"),
            ),
            3 => (&*person.token, form(b"")),
            4 => (&*person.token, good[..good.len() - 20].to_vec()),
            5 => (&*person.token, two_files),
            6 => (&*person.token, NO_FILE.to_vec()),
            _ => (&*person.token, with_language),
        };
        worker.send_form(token, &form, Manner::Whole).await;
        worker.pause(PAUSE * 4).await;
    }
}

const LANGUAGE: &[u8] =
    b"--frontier\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\nno language!\r\n";
const NO_FILE: &[u8] =
    b"--frontier\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\na\r\n--frontier--\r\n";

/// Comes with more recordings at once than there are places, now and then.
pub async fn come_in_crowds(worker: Worker, people: Vec<Person>, count: usize) {
    while worker.goes_on() {
        worker.pause(CROWD_PAUSE).await;
        let _all = worker.shared.crowd.write().await;
        let of_many = (0..count).map(|number| &people[number % (people.len() - 1)]);
        let of_one = [&people[people.len() - 1]; CROWD_OF_ONE];
        let sent = of_many.chain(of_one).map(|person| {
            let recording = worker.recording(3_000);
            let worker = &worker;
            async move { drop(worker.transcribe(person, &recording).await) }
        });
        join_all(sent).await;
    }
}

/// Sends recordings slowly.
pub async fn send_slowly(mut worker: Worker, person: Person) {
    while worker.goes_on() {
        let recording = worker.recording(8_000);
        let pause = Duration::from_millis(worker.random.random_range(50..400));
        let manner = Manner::Slowly {
            bytes: 1_000,
            pause,
        };
        worker.send(&person, &recording, manner).await;
    }
}

async fn look(worker: &Worker, token: &str, id: &str) {
    let address = worker.shared.transcription();
    let url = format!("{address}/transcriptions/{id}");
    worker
        .ask(LOOK, worker.http.get(url).bearer_auth(token))
        .await;
}
