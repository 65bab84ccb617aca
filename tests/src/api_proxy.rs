//! A proxy in front of an API server, which fails on demand: it refuses requests, answers them late or not at all, lets watches break
//! off, expire or fall silent, and can be away altogether.
//!
//! To its clients it speaks plain HTTP, so that it sees what passes. The token that tells who they are goes on to the API server.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{self, State};
use axum::http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use futures_util::stream;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use transcription_lab::kubernetes::ControlPlane;

use self::watched::{failure, watched};
use crate::process::PATIENCE;

mod watched;

/// The Lease whose times can be shifted.
const LEASE: &str = "/leases/transcription-operator";

/// A running proxy. It ends when this is dropped.
pub struct ApiProxy {
    /// Its address, for a kubeconfig.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
}

/// A request that came to the proxy.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, with the query.
    pub path: String,
    /// When it came.
    pub came: Instant,
    /// With what it was answered, though the answer may have been lost. Nothing while it is not.
    pub status: Option<StatusCode>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is refused: somebody else has changed the object (409).
    Conflict,
    /// It is refused: what it asks for is no longer known (410).
    Expired,
    /// It is refused, and may be made again after a second (429).
    TooManyRequests,
    /// It is refused: the API server is broken (500).
    InternalError,
    /// It is carried out after this time, or once nothing fails any more; and never if the client does not wait so long.
    Late(Duration),
    /// It is carried out, and answered as if it were not (500).
    Lost,
    /// It is carried out, and the connection closed before any byte of the answer.
    Unanswered,
}

impl ApiProxy {
    /// Starts a proxy in front of the API server of a control plane.
    pub async fn start(plane: &ControlPlane) -> Self {
        let authority = reqwest::Certificate::from_pem(plane.ca_pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            // The only limit: a watch may be quiet for minutes.
            .connect_timeout(PATIENCE)
            .http1_only()
            .no_proxy()
            .tls_certs_only([authority])
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            upstream: plane.url().to_owned(),
            client,
            rules: Mutex::default(),
            requests: Mutex::default(),
            trouble: watch::Sender::new(Trouble::default()),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // An answer in two pieces would wait for the client to confirm the first.
        let listener = listener.tap_io(|connection| {
            let _ = connection.set_nodelay(true);
        });
        let router = Router::new()
            .fallback(forward)
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared, task }
    }

    /// From now on requests with this method and this part in their path fail.
    pub fn fail(&self, method: Method, path_part: &str, fault: Fault) {
        self.rule(None, method, path_part, fault);
    }

    /// The next so many of them do.
    pub fn fail_times(&self, times: u32, method: Method, path_part: &str, fault: Fault) {
        self.rule(Some(times), method, path_part, fault);
    }

    /// All watches that are open break off.
    pub fn cut_watches(&self) {
        self.change(|trouble| trouble.cuts += 1);
    }

    /// All watches that are open are told that they asked for what is no longer known, and end.
    pub fn expire_watches(&self) {
        self.change(|trouble| trouble.expiries += 1);
    }

    /// From now on watches tell nothing, not even that they are over; what they would have told is kept back.
    pub fn silence_watches(&self) {
        self.change(|trouble| trouble.is_silent = true);
    }

    /// From now on watches hear something each second, unless they are silent. An API server lets them hear something once a minute,
    /// which takes a test too long.
    pub fn keep_watches_lively(&self) {
        self.change(|trouble| trouble.is_lively = true);
    }

    /// From now on every connection is closed, and nothing reaches the API server.
    pub fn go_away(&self) {
        self.change(|trouble| trouble.is_away = true);
    }

    /// From now on the operator's Lease looks as if it had been renewed so much later, or earlier, than it was.
    pub fn shift_renew_time(&self, seconds: i64) {
        self.change(|trouble| trouble.renew_time_shift_seconds = seconds);
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.change(|trouble| {
            trouble.is_away = false;
            trouble.is_silent = false;
            trouble.renew_time_shift_seconds = 0;
            trouble.heals += 1;
        });
    }

    /// The requests so far with this method and this part in their path, in the order in which they came.
    pub fn requests(&self, method: &Method, path_part: &str) -> Vec<Request> {
        let requests = self.shared.requests.lock().unwrap();
        let fitting = requests
            .iter()
            .filter(|request| request.method == *method && request.path.contains(path_part));
        fitting.cloned().collect()
    }

    fn rule(&self, left: Option<u32>, method: Method, path_part: &str, fault: Fault) {
        self.shared.rules.lock().unwrap().push(Rule {
            left,
            method,
            path_part: path_part.to_owned(),
            fault,
        });
    }

    fn change(&self, change: impl FnOnce(&mut Trouble)) {
        self.shared.trouble.send_modify(change);
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
    trouble: watch::Sender<Trouble>,
}

struct Rule {
    /// How often it still holds; always without it.
    left: Option<u32>,
    method: Method,
    path_part: String,
    fault: Fault,
}

/// What is wrong with all connections at once. What happens at a moment is counted: a watch looks whether it happened since it began.
#[derive(Clone, Copy, Default)]
struct Trouble {
    is_away: bool,
    is_silent: bool,
    is_lively: bool,
    renew_time_shift_seconds: i64,
    cuts: u32,
    expiries: u32,
    heals: u32,
}

impl Shared {
    fn is_away(&self) -> bool {
        self.trouble.borrow().is_away
    }

    /// Keeps a request in mind, and gives its number.
    fn note(&self, method: &Method, path: &str) -> usize {
        let mut requests = self.requests.lock().unwrap();
        requests.push(Request {
            method: method.clone(),
            path: path.to_owned(),
            came: Instant::now(),
            status: None,
        });
        requests.len() - 1
    }

    fn answered(&self, number: usize, status: StatusCode) {
        self.requests.lock().unwrap()[number].status = Some(status);
    }

    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let place = rules
            .iter()
            .position(|rule| rule.method == *method && path.contains(&rule.path_part))?;
        let rule = &mut rules[place];
        let fault = rule.fault;
        let is_last = rule.left == Some(1);
        rule.left = rule.left.map(|left| left - 1);
        if is_last {
            rules.remove(place);
        }
        Some(fault)
    }

    /// Waits until the time is over, or nothing fails any more.
    async fn pause(&self, time: Duration) {
        let mut trouble = self.trouble.subscribe();
        let heals = trouble.borrow().heals;
        let _ = timeout(time, trouble.wait_for(|now| now.heals != heals)).await;
    }
}

impl Fault {
    /// The answer of a fault that keeps the request from the API server.
    fn refusal(self) -> Option<(StatusCode, &'static str)> {
        match self {
            Self::Conflict => Some((StatusCode::CONFLICT, "Conflict")),
            Self::Expired => Some((StatusCode::GONE, "Expired")),
            Self::TooManyRequests => Some((StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")),
            Self::InternalError => Some((StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Self::Late(_) | Self::Lost | Self::Unanswered => None,
        }
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    let number = shared.note(&parts.method, &path);
    // To its end: a client that is refused while it still writes may not see the answer. Only answers are streams here.
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return closed();
    };
    if shared.is_away() {
        return closed();
    }
    let fault = shared.fault(&parts.method, &path);
    if let Some((status, reason)) = fault.and_then(Fault::refusal) {
        shared.answered(number, status);
        return refused(status, reason);
    }
    if let Some(Fault::Late(time)) = fault {
        shared.pause(time).await;
    }
    let mut forwarded = shared
        .client
        .request(parts.method, format!("{}{path}", shared.upstream));
    for (name, value) in &parts.headers {
        if name != HOST && name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            forwarded = forwarded.header(name, value);
        }
    }
    let Ok(answer) = forwarded.body(body).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    shared.answered(number, answer.status());
    if let Some(Fault::Lost) = fault {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    }
    if let Some(Fault::Unanswered) = fault {
        return closed();
    }
    if shared.is_away() {
        return closed();
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != CONTENT_LENGTH && name != TRANSFER_ENCODING {
            response = response.header(name, value);
        }
    }
    let shift_seconds = shared.trouble.borrow().renew_time_shift_seconds;
    let body = if path.contains("watch=true") {
        Body::from_stream(watched(answer, shared.trouble.subscribe()))
    } else if shift_seconds != 0 && path.contains(LEASE) {
        let lease = answer.bytes().await.unwrap_or_default();
        Body::from(renewed_at_another_time(&lease, shift_seconds))
    } else {
        Body::from_stream(answer.bytes_stream())
    };
    response.body(body).unwrap()
}

/// No answer: the server closes the connection on an error in a body, and at the first one it has written nothing.
fn closed() -> Response {
    let error = Err::<Bytes, _>(io::Error::other("closed"));
    Body::from_stream(stream::iter([error])).into_response()
}

fn refused(status: StatusCode, reason: &str) -> Response {
    let mut response = (status, Json(failure(status, reason))).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        let second = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, second);
    }
    response
}

/// A Lease that looks as if it had been renewed at another time. What is no Lease, such as a refusal, stays as it is.
fn renewed_at_another_time(answer: &[u8], shift_seconds: i64) -> Vec<u8> {
    let Ok(mut lease) = serde_json::from_slice::<Value>(answer) else {
        return answer.to_vec();
    };
    let time = lease["spec"]["renewTime"].as_str();
    let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) else {
        return answer.to_vec();
    };
    let shifted = time + SignedDuration::from_secs(shift_seconds);
    lease["spec"]["renewTime"] = Value::from(format!("{shifted:.6}"));
    serde_json::to_vec(&lease).unwrap()
}
