//! Who asks: users with a token, and the tools that all clients have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::sync::RwLock;
use tokio::time::sleep;
use transcription_tests::client::{FILE_HEAD, User, form_head};
use transcription_tests::files::sha256_of;
use transcription_tests::traffic::Addresses;
use transcription_tests::transcription::{heard, wav_header};

use crate::notes::{Kept, Notes, Route, Sent};
use crate::wire::{self, Manner, Reply};

/// A client that got no answer waits so long.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// What follows the file in a form.
const FORM_END: &[u8] = b"\r\n--frontier--\r\n";
pub const TRANSCRIBE: Route = Route::transcription("POST", "/transcribe");

/// What all clients share.
pub struct Shared {
    pub addresses: std::sync::Mutex<Addresses>,
    pub notes: Notes,
    /// A crowd wants all places; who must not be turned away for that keeps it out for a moment.
    pub crowd: RwLock<()>,
    numbers: AtomicU64,
}

/// A user of the transcription service.
#[derive(Clone)]
pub struct Person {
    pub id: i64,
    pub token: String,
}

/// A client at work until a moment.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub http: Client,
    pub random: StdRng,
    until: Instant,
}

/// A recording that nobody has sent before.
pub struct Recording {
    pub form: Vec<u8>,
    pub sent: Sent,
    heard: String,
}

impl Shared {
    pub fn new(addresses: Addresses) -> Self {
        Self {
            addresses: std::sync::Mutex::new(addresses),
            notes: Notes::default(),
            crowd: RwLock::default(),
            numbers: AtomicU64::new(1),
        }
    }

    pub fn auth(&self) -> String {
        self.addresses.lock().unwrap().auth.clone()
    }

    pub fn transcription(&self) -> String {
        self.addresses.lock().unwrap().transcription.clone()
    }

    /// The auth service is at another address now.
    pub fn move_auth(&self, url: &str) {
        url.clone_into(&mut self.addresses.lock().unwrap().auth);
    }

    /// The transcription service is at another address now.
    pub fn move_transcription(&self, url: &str) {
        url.clone_into(&mut self.addresses.lock().unwrap().transcription);
    }

    /// Another number each time.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers so many people, and notes what was answered.
    pub async fn people(&self, group: &str, count: usize) -> Vec<Person> {
        let mut people = Vec::new();
        for number in 0..count {
            let name = format!("{group}{number}");
            let user = User::register(&self.auth(), &self.transcription(), &name).await;
            let notes = &self.notes;
            notes.answer(Route::auth("POST", "/register"), 201, &Value::Null);
            notes.answer(Route::auth("POST", "/login"), 200, &Value::Null);
            notes.register(name);
            people.push(Person {
                id: user.id,
                token: user.token,
            });
        }
        people
    }
}

impl Worker {
    /// A client that keeps its connections, or makes one for each request.
    pub fn new(shared: &Arc<Shared>, seed: u64, until: Instant, keeps: bool) -> Self {
        let number = seed.wrapping_mul(31).wrapping_add(u64::from(keeps));
        // Others guess from other addresses: any of 127.0.0.0/8 is this machine's.
        let address = [127, 0, 0, 1 + u8::try_from(seed % 40).unwrap_or(1)];
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_mins(3))
            .pool_idle_timeout(Duration::from_secs(20))
            .pool_max_idle_per_host(if keeps { usize::MAX } else { 0 })
            .local_address(std::net::IpAddr::from(address))
            .redirect(Policy::none())
            .no_proxy();
        Self {
            shared: Arc::clone(shared),
            http: http.build().unwrap(),
            random: StdRng::seed_from_u64(number),
            until,
        }
    }

    pub fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Waits, but not longer than there is to do.
    pub async fn pause(&self, pause: Duration) {
        sleep(pause.min(self.until.saturating_duration_since(Instant::now()))).await;
    }

    /// Asks, and notes what is answered.
    pub async fn ask(&self, route: Route, request: RequestBuilder) -> Option<Reply> {
        match answered(request).await {
            Ok(reply) => {
                self.shared.notes.answer(route, reply.status, &reply.body);
                Some(reply)
            }
            Err(error) => {
                self.shared.notes.broke(format!("{route:?}: {error:?}"));
                // Whoever is killed is not back at once.
                self.pause(AFTER_FAILURE).await;
                None
            }
        }
    }

    /// Asks for a page, and notes the answer.
    pub async fn read(&self, route: Route, request: RequestBuilder) -> String {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        self.shared.notes.answer(route, status, &Value::Null);
        text
    }

    /// Sends a recording whole, and notes what is answered.
    pub async fn transcribe(&self, person: &Person, recording: &Recording) -> Option<Reply> {
        self.send(person, recording, Manner::Whole).await
    }

    /// The same in some manner.
    pub async fn send(
        &self,
        person: &Person,
        recording: &Recording,
        manner: Manner,
    ) -> Option<Reply> {
        let reply = self
            .send_form(&person.token, &recording.form, manner)
            .await?;
        self.note(person, recording, &reply);
        Some(reply)
    }

    /// Sends a form, whatever is in it.
    pub async fn send_form(&self, token: &str, form: &[u8], manner: Manner) -> Option<Reply> {
        let url = self.shared.transcription();
        let mut head = form_head(&url, token, form.len());
        if token.is_empty() {
            head = head.replace("Authorization: Bearer \r\n", "");
        }
        let notes = &self.shared.notes;
        match wire::send(&url, &head, form, manner).await {
            Ok(Some(reply)) => {
                notes.answer(TRANSCRIBE, reply.status, &reply.body);
                return Some(reply);
            }
            Ok(None) if matches!(manner, Manner::Leaving { .. }) => notes.leave_unheard(),
            Ok(None) if matches!(manner, Manner::Gone { .. }) => notes.be_gone(),
            Ok(None) => notes.broke(format!("POST /transcribe, {manner:?}: no answer")),
            Err(error) => notes.broke(format!("POST /transcribe, {manner:?}: {error}")),
        }
        self.pause(AFTER_FAILURE).await;
        None
    }

    fn note(&self, person: &Person, recording: &Recording, reply: &Reply) {
        let notes = &self.shared.notes;
        let body = &reply.body;
        // Google may have heard nothing.
        let text = body["transcription"].as_str().unwrap_or_default();
        if reply.status == 200 && !text.is_empty() && text != recording.heard {
            notes.wrong(format!("another text than was heard: {body}"));
        }
        if reply.status == 200 && !body["id"].is_string() {
            notes.wrong(format!("a text without an id: {body}"));
        }
        if let Some(id) = body["id"].as_str() {
            notes.keep(Kept {
                user_id: person.id,
                id: id.to_owned(),
                sent: recording.sent.clone(),
                is_complete: reply.status == 200 && body["storage"].is_null(),
            });
        }
    }

    /// A recording of this size.
    pub fn recording(&self, size_bytes: usize) -> Recording {
        let mut wav = wav_header(size_bytes);
        wav.extend(self.shared.number().to_le_bytes());
        wav.resize(size_bytes, 0);
        let sha256 = sha256_of(&wav);
        Recording {
            heard: heard(&wav),
            sent: Sent {
                size_bytes: size_bytes as u64,
                sha256,
            },
            form: form(&wav),
        }
    }
}

/// A form with this file.
pub fn form(file: &[u8]) -> Vec<u8> {
    [FILE_HEAD, file, FORM_END].concat()
}

async fn answered(request: RequestBuilder) -> reqwest::Result<Reply> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Reply { status, body })
}
