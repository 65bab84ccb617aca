//! A strict stand-in for Google's Gemini API: `generateContent` and the Files API.
//!
//! It refuses what Google refuses, and where the documents are silent it is the stricter of the two: a client that passes
//! here has nothing to fear there. It hears no speech: a transcript names the length and the hash of the audio, so that a
//! test can tell whether exactly the right bytes arrived.
//!
//! [`wire`] knows the fields of a request, [`generate`] answers it, [`files`] takes uploads, [`faults`] has what can go wrong
//! on demand, [`counts`] what a test asks afterwards, [`refusal`] the errors as Google words them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tokio::net::TcpListener;

use crate::counts::Counts;
use crate::faults::{Faults, Lost};
use crate::files::Files;
use crate::refusal::Refusal;

pub mod counts;
pub mod faults;
pub mod files;
pub mod generate;
pub mod refusal;
pub mod wire;

/// What all requests share.
#[derive(Clone)]
pub struct StandIn(Arc<Parts>);

struct Parts {
    /// The API keys that are good.
    keys: Mutex<Vec<String>>,
    counts: Counts,
    faults: Faults,
    files: Files,
}

/// The header that has the API key.
const KEY: &str = "x-goog-api-key";
/// Our traces end at this border: what Google would get of them helps nobody and tells of our users.
const TRACE_HEADERS: [&str; 3] = ["traceparent", "tracestate", "baggage"];
/// The parameters that an address may have, in all.
const PARAMETERS: [&str; 5] = [
    "alt",
    "pageSize",
    "pageToken",
    "upload_id",
    "upload_protocol",
];

/// Serves the API until the program ends.
pub async fn serve(listener: TcpListener, key: &str) -> std::io::Result<()> {
    axum::serve(listener, router(key)).await
}

/// The API, and beside it `/_stand-in/counts`, `/_stand-in/faults` and `/_stand-in/keys`, which ask for no key.
pub fn router(key: &str) -> Router {
    let stand_in = StandIn(Arc::new(Parts {
        keys: Mutex::new(vec![key.to_owned()]),
        counts: Counts::default(),
        faults: Faults::default(),
        files: Files::default(),
    }));
    let mut google = Router::new();
    for version in ["v1", "v1beta"] {
        let (files, file) = (
            format!("/{version}/files"),
            format!("/{version}/files/{{id}}"),
        );
        google = google
            .route(&format!("/{version}/models/{{call}}"), post(generate::call))
            .route(&format!("/upload{files}"), post(files::upload))
            .route(&files, get(files::list))
            .route(&file, get(files::get).delete(files::delete));
    }
    let google = google
        .fallback(async || Refusal::page_not_found())
        .layer(middleware::from_fn_with_state(stand_in.clone(), admit));
    let control = Router::new()
        .route("/_stand-in/counts", get(counts::show).delete(counts::reset))
        .route(
            "/_stand-in/faults",
            get(faults::show).post(faults::add).delete(faults::clear),
        )
        .route("/_stand-in/keys", put(set_keys))
        // A text in it may be as long as an answer.
        .layer(DefaultBodyLimit::disable());
    google.merge(control).with_state(stand_in)
}

/// Records a request, and lets it in if its headers and its address are in order.
async fn admit(State(stand_in): State<StandIn>, request: Request, next: Next) -> Response {
    let number = stand_in.counts().request_arrives(&request);
    let response = match refuse(&stand_in, &request) {
        None => next.run(request).await,
        Some(refusal) => {
            // A client that is still sending would find its connection broken instead of the reason.
            let _ = wire::receive(request.into_body(), 0).await;
            refusal.into_response()
        }
    };
    if response.extensions().get::<Lost>().is_none() {
        stand_in
            .counts()
            .request_is_answered(number, response.status());
    }
    response
}

fn refuse(stand_in: &StandIn, request: &Request) -> Option<Refusal> {
    let traced = TRACE_HEADERS
        .iter()
        .find(|name| request.headers().contains_key(**name));
    if let Some(name) = traced {
        stand_in.counts().trace_header();
        let message = format!("The header {name} must not leave the product.");
        return Some(Refusal::invalid(message));
    }
    let query = wire::query(request.uri());
    if query.contains_key("key") {
        let message = "An API key in the address ends up in logs: send it as x-goog-api-key.";
        return Some(Refusal::invalid(message));
    }
    let is_known = |name: &String| PARAMETERS.contains(&name.as_str());
    if let Some(name) = query.keys().find(|name| !is_known(name)) {
        let message = format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter."
        );
        return Some(Refusal::invalid(message));
    }
    let key = request.headers().get(KEY);
    let is_upload = request.uri().path().starts_with("/upload/");
    let of_upload = query.contains_key("upload_id");
    if of_upload && !is_upload {
        return Some(Refusal::invalid(
            "Invalid JSON payload received. Unknown name \"upload_id\": Cannot bind query parameter.",
        ));
    }
    match key {
        Some(_) if of_upload => Some(Refusal::invalid(
            "The upload URL is a credential by itself: the API key must not be sent to it.",
        )),
        None if of_upload => None,
        None => Some(Refusal::unregistered()),
        Some(key) if !stand_in.takes(key) => Some(Refusal::bad_key()),
        Some(_) => None,
    }
}

/// Makes these the keys that are good, and no others: as a person does on Google's page who changes a key.
async fn set_keys(State(stand_in): State<StandIn>, Json(keys): Json<Vec<String>>) -> StatusCode {
    *lock(&stand_in.0.keys) = keys;
    StatusCode::NO_CONTENT
}

impl StandIn {
    fn takes(&self, key: &HeaderValue) -> bool {
        lock(&self.0.keys)
            .iter()
            .any(|good| good.as_bytes() == key.as_bytes())
    }

    fn counts(&self) -> &Counts {
        &self.0.counts
    }

    fn faults(&self) -> &Faults {
        &self.0.faults
    }

    fn files(&self) -> &Files {
        &self.0.files
    }
}

/// A handler that panicked has left nothing half done that would matter to the next one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
