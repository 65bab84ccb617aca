//! The end of a service under load: asked for, and by force.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONNECTION;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use transcription_tests::auth::{Auth, account};
use transcription_tests::client::{Answer, http};
use transcription_tests::files::sha256_of;
use transcription_tests::process::eventually;
use transcription_tests::transcription::{Transcription, heard, silent_wav, token};

/// What became of the requests of one client, until one was not answered.
struct Client {
    answers: Vec<Answer>,
    /// The last one had gone out, and no word came back. Else no connection was to be had.
    was_cut: bool,
}

/// Sends requests one after another until one is not answered. Each has a connection of its own, so that none of them meets the end of
/// a connection that was kept.
async fn ask_until_the_end(
    request: impl Fn(usize) -> reqwest::RequestBuilder,
    answered: Arc<AtomicUsize>,
) -> Client {
    let mut answers = Vec::new();
    for number in 0..10_000 {
        match request(number).header(CONNECTION, "close").send().await {
            Ok(answer) => {
                answers.push(Answer::of(answer).await);
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let was_cut = !error.is_connect();
                return Client { answers, was_cut };
            }
        }
    }
    panic!("the service never ended");
}

fn registering(auth: &Auth, answered: &Arc<AtomicUsize>) -> Vec<JoinHandle<Client>> {
    let clients = (0..16).map(|client| {
        let (http, url) = (http(), auth.url.clone());
        let request = move |number| {
            let name = format!("user-{client}-{number}");
            http.post(format!("{url}/register")).json(&account(&name))
        };
        tokio::spawn(ask_until_the_end(request, Arc::clone(answered)))
    });
    clients.collect()
}

async fn ended(clients: Vec<JoinHandle<Client>>) -> Vec<Client> {
    let mut all = Vec::new();
    for client in clients {
        all.push(client.await.unwrap());
    }
    all
}

#[tokio::test]
async fn sigterm_under_load_answers_every_registration_that_is_made() {
    let mut auth = Auth::start_with([("BCRYPT_COST", "8")]).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients = registering(&auth, &answered);
    eventually("there is load", async || {
        answered.load(Ordering::SeqCst) > 100
    })
    .await;

    let status = auth.process.terminate().await;

    assert!(status.success(), "{status}");
    let clients = ended(clients).await;
    let cut = clients.iter().filter(|client| client.was_cut).count();
    let answers = clients.iter().flat_map(|client| &client.answers);
    let mut made = 0;
    for answer in answers {
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        made += 1;
    }
    let stored = auth.succeed(&["user", "list"], "").await.lines().count() - 1;
    println!(
        "{made} registrations were answered, {stored} are stored; {cut} connections ended before a word was read"
    );
    assert_eq!(
        stored, made,
        "one that was made was not answered, or one that was answered was not made"
    );
}

fn transcribing(stack: &Transcription, answered: &Arc<AtomicUsize>) -> Vec<JoinHandle<Client>> {
    let clients = (0..12).map(|client| {
        let (http, url) = (http(), stack.url.clone());
        let request = move |number| {
            let part = Part::bytes(silent_wav(size_of(client, number))).file_name("a.wav");
            http.post(format!("{url}/transcribe"))
                .bearer_auth(token(&client.to_string()))
                .multipart(Form::new().part("file", part))
        };
        tokio::spawn(ask_until_the_end(request, Arc::clone(answered)))
    });
    clients.collect()
}

/// Every recording has a size of its own. Some are uploaded in parts.
fn size_of(client: usize, number: usize) -> usize {
    let large = if number % 3 == 2 { 9 << 20 } else { 3000 };
    large + 2 * (client * 1000 + number)
}

/// The manifests in the bucket, each with a true word of the audio, and of the text if there is to be one.
async fn manifests(stack: &Transcription) -> Vec<Value> {
    let keys = stack.s3.keys().await;
    let mut manifests = Vec::new();
    for key in keys.iter().filter(|key| key.contains("/manifests/")) {
        let (bytes, _) = stack.s3.object(key).await;
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let (audio, _) = stack
            .s3
            .object(manifest["audio"]["key"].as_str().unwrap())
            .await;
        assert_eq!(manifest["audio"]["sha256"], sha256_of(&audio), "{manifest}");
        if manifest["state"] == "complete" {
            let (text, _) = stack
                .s3
                .object(manifest["transcript"]["key"].as_str().unwrap())
                .await;
            assert_eq!(
                String::from_utf8(text).unwrap(),
                heard(&audio),
                "{manifest}"
            );
        }
        manifests.push(manifest);
    }
    manifests
}

fn in_state(manifests: &[Value], state: &str) -> usize {
    manifests
        .iter()
        .filter(|manifest| manifest["state"] == state)
        .count()
}

/// Every answer of 200 is in the bucket as complete.
fn assert_all_there(clients: &[Client], manifests: &[Value]) -> usize {
    let mut complete = 0;
    for answer in clients.iter().flat_map(|client| &client.answers) {
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let manifest = manifests
            .iter()
            .find(|manifest| manifest["id"] == answer.json["id"]);
        assert_eq!(manifest.unwrap()["state"], "complete", "{answer:?}");
        complete += 1;
    }
    complete
}

async fn load(stack: &Transcription) -> (Vec<JoinHandle<Client>>, Arc<AtomicUsize>) {
    let slow = json!({"delay_milliseconds": 150});
    stack.google.fail_to_generate(100_000, slow).await;
    let answered = Arc::new(AtomicUsize::new(0));
    let clients = transcribing(stack, &answered);
    eventually("there is load", async || {
        answered.load(Ordering::SeqCst) > 40
    })
    .await;
    (clients, answered)
}

#[tokio::test]
async fn sigterm_under_load_finishes_what_is_in_flight_and_leaves_nothing_half_done() {
    let mut stack = Transcription::start().await;
    let (clients, _) = load(&stack).await;

    let status = stack.process.terminate().await;

    assert!(status.success(), "{status}");
    let clients = ended(clients).await;
    let manifests = manifests(&stack).await;
    let answered = assert_all_there(&clients, &manifests);
    let cut = clients.iter().filter(|client| client.was_cut).count();
    println!(
        "{answered} were answered, {} are complete; {cut} connections ended before a word was read",
        manifests.len()
    );
    // Nobody was left without an answer, and nothing is stored that nobody knows of.
    assert_eq!(in_state(&manifests, "complete"), manifests.len());
    assert_eq!(manifests.len(), answered);
    assert_eq!(stack.s3.keys().await.len(), 3 * answered);
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(stack.google.counts().await["billed_calls"], answered);
}

#[tokio::test]
async fn sigkill_under_load_loses_nothing_that_was_answered_and_nothing_lies() {
    let mut stack = Transcription::start().await;
    let (clients, _) = load(&stack).await;

    stack.process.signal("KILL");
    stack.process.ended().await;

    let clients = ended(clients).await;
    // What was on its way to the bucket arrives, or does not.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let manifests = manifests(&stack).await;
    let answered = assert_all_there(&clients, &manifests);
    let complete = in_state(&manifests, "complete");
    let stored = in_state(&manifests, "stored");
    println!(
        "{answered} were answered; {complete} are complete, and {stored} are stored and wait to be sent again"
    );
    assert_eq!(complete + stored, manifests.len());
    // Of twelve clients each had one in flight at most.
    assert!(
        (answered..=answered + 12).contains(&manifests.len()),
        "{}",
        manifests.len()
    );
    let billed = stack.google.counts().await["billed_calls"]
        .as_u64()
        .unwrap();
    assert!(billed <= manifests.len() as u64, "{billed}");
}
