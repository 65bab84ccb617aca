//! Clients that go on asking while something happens to the services, and what they saw.
//!
//! Every second one keeps its connections, as programs and proxies do; the others make a new one for each request.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use self::report::Attempt;
pub use self::report::{Ask, Outcome, Report};
use crate::auth::{account, credentials};
use crate::client::{Answer, PASSWORD, User, http, post};
use crate::errors;
use crate::transcription::heard;

mod report;

/// The pause of a client between two requests, but for those who send recordings.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client waits for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a client waits for an answer.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// A recording that nobody has sent.
const NO_RECORDING: &str = "01a20442-4fb7-71e2-bd64-ded8192ca8b9";

/// Clients at work. They are: somebody who makes accounts and logs in with them, somebody who shows all tokens to both services again and
/// again, and people who send recordings.
pub struct Traffic {
    shared: Arc<Shared>,
    speakers: Vec<Arc<Speaker>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Where clients ask.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The auth service.
    pub auth: String,
    /// The transcription service.
    pub transcription: String,
}

/// A recording that was answered with an id.
struct Accepted {
    id: String,
    speaker: usize,
}

struct Shared {
    addresses: Addresses,
    start: Instant,
    is_over: AtomicBool,
    uploads: AtomicUsize,
    attempts: Mutex<Vec<Attempt>>,
    /// The names of accounts whose registration was answered.
    registered: Mutex<Vec<String>>,
    tokens: Mutex<Vec<String>>,
    accepted: Mutex<Vec<Accepted>>,
}

struct Speaker {
    user: User,
    name: String,
    recording: Vec<u8>,
    pause: Duration,
}

impl Traffic {
    /// Starts with so many people who send these recordings, each with this pause between two.
    pub async fn start(
        addresses: Addresses,
        people: usize,
        recordings: &[Vec<u8>],
        pause: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            start: Instant::now(),
            is_over: AtomicBool::new(false),
            uploads: AtomicUsize::new(0),
            attempts: Mutex::default(),
            registered: Mutex::default(),
            tokens: Mutex::default(),
            accepted: Mutex::default(),
            addresses,
        });
        let mut speakers = Vec::new();
        for number in 0..people {
            let name = format!("speaker{number}");
            let Addresses {
                auth,
                transcription,
            } = &shared.addresses;
            let user = User::register(auth, transcription, &name).await;
            shared.tokens.lock().unwrap().push(user.token.clone());
            let recording = recordings[number % recordings.len()].clone();
            speakers.push(Arc::new(Speaker {
                user,
                name,
                recording,
                pause,
            }));
        }
        let mut tasks = Vec::new();
        for (number, speaker) in speakers.iter().enumerate() {
            let worker = Worker::new(&shared, number % 2 == 0);
            tasks.push(tokio::spawn(worker.send(number, Arc::clone(speaker))));
        }
        for keeps_connections in [true, false] {
            let worker = || Worker::new(&shared, keeps_connections);
            let name = if keeps_connections { "kept" } else { "new" };
            tasks.push(tokio::spawn(worker().make_accounts(name)));
            tasks.push(tokio::spawn(worker().ask_who_they_are()));
            tasks.push(tokio::spawn(worker().look_for_recordings()));
        }
        Self {
            shared,
            speakers,
            tasks,
        }
    }

    /// The time of the clients, to tell later what they have seen since.
    pub fn now(&self) -> Duration {
        self.shared.start.elapsed()
    }

    /// What clients have seen since a time.
    pub fn report(&self, since: Duration) -> Report {
        let attempts = self.shared.attempts.lock().unwrap();
        let later = attempts.iter().filter(|attempt| attempt.ended >= since);
        Report::new(since, self.now(), later.cloned().collect())
    }

    /// How many recordings are being sent and not answered yet.
    pub fn uploads_in_flight(&self) -> usize {
        self.shared.uploads.load(Ordering::SeqCst)
    }

    /// A token that is as old as all this.
    pub fn oldest_token(&self) -> String {
        self.shared.tokens.lock().unwrap()[0].clone()
    }

    /// Lets the clients finish what they are at.
    pub async fn stop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            let ended = timeout(ANSWER_LIMIT * 2, task).await;
            ended.expect("clients end").unwrap();
        }
    }

    /// Fails the test if somebody whose registration was answered cannot log in. Gives how many there are.
    pub async fn assert_nobody_is_lost(&self) -> usize {
        let names = self.shared.registered.lock().unwrap().clone();
        let (http, url) = (http(), format!("{}/login", self.shared.addresses.auth));
        for name in &names {
            let answer = post(&http, &url, &credentials(name, PASSWORD)).await;
            assert_eq!(answer.status, 200, "{name} is lost: {answer:?}");
        }
        names.len()
    }

    /// Fails the test if a recording that was accepted is not there with its text, or if something in the bucket, whose keys these are,
    /// belongs to no recording that is complete. Gives how many recordings there are.
    pub async fn assert_no_recording_is_lost(&self, keys: &[String]) -> usize {
        let accepted = std::mem::take(&mut *self.shared.accepted.lock().unwrap());
        for Accepted { id, speaker } in &accepted {
            let speaker = &self.speakers[*speaker];
            let found = self.recording(speaker, id).await;
            assert_eq!(found.json["state"], "complete", "{found:?}");
            assert_eq!(found.json["transcription"], heard(&speaker.recording));
        }
        // Those, too, whose answer nobody heard.
        let mut manifests = Vec::new();
        for key in keys {
            let parts = key.split('/').collect::<Vec<_>>();
            let ["private", user, _, file] = parts[..] else {
                panic!("{key} is nobody's");
            };
            let (id, _) = file.split_once('.').unwrap();
            let manifest = format!("private/{user}/manifests/{id}.json");
            assert!(keys.contains(&manifest), "{key} has no manifest");
            if *key == manifest {
                manifests.push((user.to_owned(), id.to_owned()));
            }
        }
        for (user, id) in &manifests {
            let is_theirs = |speaker: &&Arc<Speaker>| speaker.user.id.to_string() == *user;
            let speaker = self.speakers.iter().find(is_theirs).unwrap();
            let found = self.recording(speaker, id).await;
            assert_eq!(found.json["state"], "complete", "{found:?}");
        }
        assert!(manifests.len() >= accepted.len(), "{manifests:?}");
        manifests.len()
    }

    async fn recording(&self, speaker: &Speaker, id: &str) -> Answer {
        let address = &self.shared.addresses.transcription;
        let request = http()
            .get(format!("{address}/transcriptions/{id}"))
            .bearer_auth(&speaker.user.token);
        let answer = Answer::of(request.send().await.unwrap()).await;
        let name = &speaker.name;
        assert_eq!(answer.status, 200, "{id} of {name} is lost: {answer:?}");
        answer
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One client.
struct Worker {
    shared: Arc<Shared>,
    http: Client,
}

impl Worker {
    fn new(shared: &Arc<Shared>, keeps_connections: bool) -> Self {
        let http = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .pool_max_idle_per_host(if keeps_connections { usize::MAX } else { 0 })
            .no_proxy();
        Self {
            shared: Arc::clone(shared),
            http: http.build().unwrap(),
        }
    }

    fn goes_on(&self) -> bool {
        !self.shared.is_over.load(Ordering::SeqCst)
    }

    async fn make_accounts(self, name: &str) {
        let address = self.shared.addresses.auth.clone();
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            let name = format!("{name}{number}");
            let url = format!("{address}/register");
            let register = self.http.post(url).json(&account(&name));
            if self.ask(Ask::Register, register, 201).await.is_some() {
                self.shared.registered.lock().unwrap().push(name.clone());
                let url = format!("{address}/login");
                let log_in = self.http.post(url).json(&credentials(&name, PASSWORD));
                if let Some(answer) = self.ask(Ask::LogIn, log_in, 200).await {
                    let token = answer["access_token"].as_str().unwrap().to_owned();
                    self.shared.tokens.lock().unwrap().push(token);
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn ask_who_they_are(self) {
        let url = format!("{}/me", self.shared.addresses.auth);
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let request = self.http.get(&url).bearer_auth(self.token(number));
            self.ask(Ask::Me, request, 200).await;
            sleep(PAUSE).await;
        }
    }

    /// Whose token is not good gets another answer.
    async fn look_for_recordings(self) {
        let address = &self.shared.addresses.transcription;
        let url = format!("{address}/transcriptions/{NO_RECORDING}");
        for number in 0.. {
            if !self.goes_on() {
                return;
            }
            let request = self.http.get(&url).bearer_auth(self.token(number));
            self.ask(Ask::Look, request, 404).await;
            sleep(PAUSE).await;
        }
    }

    /// The oldest token, the newest, and all between by and by.
    fn token(&self, number: usize) -> String {
        let tokens = self.shared.tokens.lock().unwrap();
        let which = match number % 3 {
            0 => 0,
            1 => tokens.len() - 1,
            _ => (number / 3) % tokens.len(),
        };
        tokens[which].clone()
    }

    async fn send(self, number: usize, speaker: Arc<Speaker>) {
        let address = &self.shared.addresses.transcription;
        let url = format!("{address}/transcribe");
        while self.goes_on() {
            let part = Part::bytes(speaker.recording.clone()).file_name("speech.wav");
            let request = self
                .http
                .post(&url)
                .bearer_auth(&speaker.user.token)
                .multipart(Form::new().part("file", part));
            self.shared.uploads.fetch_add(1, Ordering::SeqCst);
            let answer = self.ask(Ask::Transcribe, request, 200).await;
            self.shared.uploads.fetch_sub(1, Ordering::SeqCst);
            if let Some(answer) = answer {
                assert_eq!(answer["transcription"], heard(&speaker.recording));
                let id = answer["id"].as_str().unwrap().to_owned();
                let mut accepted = self.shared.accepted.lock().unwrap();
                accepted.push(Accepted {
                    id,
                    speaker: number,
                });
            } else {
                sleep(PAUSE).await;
            }
            sleep(speaker.pause).await;
        }
    }

    /// Sends a request, and keeps what came of it in mind. Gives the answer if it is as wanted.
    async fn ask(&self, ask: Ask, request: RequestBuilder, wanted: u16) -> Option<Value> {
        let began = self.shared.start.elapsed();
        let (outcome, answer) = match answered(request).await {
            Ok((status, answer)) if status == wanted => (Outcome::AsWanted, Some(answer)),
            Ok((status, answer)) => {
                let code = answer["code"].as_str().unwrap_or_default().to_owned();
                (Outcome::Refused(status, code), None)
            }
            Err(error) => (Outcome::of(&error), None),
        };
        let attempt = Attempt {
            ask,
            began,
            ended: self.shared.start.elapsed(),
            outcome,
        };
        self.shared.attempts.lock().unwrap().push(attempt);
        answer
    }
}

async fn answered(request: RequestBuilder) -> reqwest::Result<(u16, Value)> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    let answer = serde_json::from_slice::<Value>(&body).unwrap_or_default();
    if answer["code"].is_string() {
        errors::assert_problem_is_listed(&answer);
    }
    Ok((status, answer))
}
