//! What the clients note: every answer, every recording that was taken, every account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Which of our services was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Auth,
    Transcription,
}

/// What was asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    pub service: Service,
    pub method: &'static str,
    /// As the metric has it.
    pub template: &'static str,
}

/// An answer as a client counts it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub route: Route,
    pub status: u16,
    /// The code of an error; nothing otherwise.
    pub code: String,
}

/// A recording as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub size_bytes: u64,
    pub sha256: String,
}

/// A recording that was answered with an id.
#[derive(Clone, Debug)]
pub struct Kept {
    pub user_id: i64,
    pub id: String,
    pub sent: Sent,
    /// The text came, and was not said to be waiting for the bucket.
    pub is_complete: bool,
}

/// The notes of all clients.
#[derive(Default)]
pub struct Notes {
    answers: Mutex<BTreeMap<Seen, u64>>,
    left_unheard: AtomicU64,
    gone: AtomicU64,
    broken: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    kept: Mutex<Vec<Kept>>,
    registered: Mutex<Vec<String>>,
    /// What those sent who left before the answer, by its hash.
    left: Mutex<BTreeMap<String, Sent>>,
    requests: AtomicU64,
}

impl Service {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Transcription => "transcription",
        }
    }
}

impl Route {
    pub const fn auth(method: &'static str, template: &'static str) -> Self {
        Self {
            service: Service::Auth,
            method,
            template,
        }
    }

    pub const fn transcription(method: &'static str, template: &'static str) -> Self {
        Self {
            service: Service::Transcription,
            method,
            template,
        }
    }
}

impl Notes {
    /// An answer came.
    pub fn answer(&self, route: Route, status: u16, body: &Value) {
        if status == 500 {
            self.wrong(format!("{route:?} failed by a fault of ours: {body}"));
        }
        let code = code_of(status, body);
        let seen = Seen {
            route,
            status,
            code,
        };
        *lock(&self.answers).entry(seen).or_default() += 1;
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A client left before its answer, and nothing is left of what it wanted.
    pub fn hear_nothing(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A client sent a recording whole and left before its answer, as it meant to.
    pub fn leave_unheard(&self) {
        self.left_unheard.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A client was gone in the middle of its upload, as it meant to be.
    pub fn be_gone(&self) {
        self.gone.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// No answer came, though the client waited for it.
    pub fn broke(&self, what: String) {
        lock(&self.broken).push(what);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// An answer is not as it has to be.
    pub fn wrong(&self, what: String) {
        lock(&self.wrong).push(what);
    }

    pub fn keep(&self, kept: Kept) {
        lock(&self.kept).push(kept);
    }

    pub fn leave(&self, sent: Sent) {
        lock(&self.left).insert(sent.sha256.clone(), sent);
    }

    pub fn register(&self, name: String) {
        lock(&self.registered).push(name);
    }

    /// How many requests there were so far, answered or not.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub fn answers(&self) -> BTreeMap<Seen, u64> {
        lock(&self.answers).clone()
    }

    /// How many clients sent everything and left before their answer.
    pub fn left_unheard(&self) -> u64 {
        self.left_unheard.load(Ordering::Relaxed)
    }

    /// How many clients were gone in the middle of their upload.
    pub fn gone(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }

    pub fn broken(&self) -> Vec<String> {
        lock(&self.broken).clone()
    }

    /// What was wrong, each once.
    pub fn wrongs(&self) -> BTreeSet<String> {
        lock(&self.wrong).iter().cloned().collect()
    }

    pub fn kept(&self) -> Vec<Kept> {
        lock(&self.kept).clone()
    }

    pub fn left(&self) -> BTreeMap<String, Sent> {
        lock(&self.left).clone()
    }

    pub fn registered(&self) -> Vec<String> {
        lock(&self.registered).clone()
    }
}

/// The code in an answer. The form of someone who hung up is broken too, but is counted apart.
fn code_of(status: u16, body: &Value) -> String {
    if status < 400 {
        return String::new();
    }
    let detail = body["detail"].as_str().unwrap_or_default();
    if detail.starts_with("The upload broke off") {
        return "client_gone".to_owned();
    }
    let code = body["code"].as_str().or(body["error"].as_str());
    code.unwrap_or_default().to_owned()
}

/// A client that panicked ends the program anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
