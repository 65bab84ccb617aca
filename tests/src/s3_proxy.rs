//! A proxy in front of the S3 server, which fails on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat as Format};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{self, State};
use axum::http::header::{CONTENT_LENGTH, DATE, ETAG, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::time::sleep;
use transcription_common::clock;

use crate::files::sha256_of;

/// The header that says what S3 is to find in a body.
const CONTENT_HASH: &str = "x-amz-content-sha256";
const HOUR_SECONDS: i64 = 3600;

mod stop;

use stop::Stopping;
pub use stop::{Moment, Stop};

/// A running proxy.
pub struct S3Proxy {
    /// Its address, for `AWS_ENDPOINT_URL_S3`.
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    client: reqwest::Client,
    rules: Mutex<Vec<Rule>>,
    stops: Mutex<Vec<Stopping>>,
    requests: Mutex<Vec<Request>>,
    /// By the SDK's own number for it, which all its attempts have.
    operations: Mutex<HashMap<String, Operation>>,
}

/// What was asked of S3, in however many attempts, and how the last of them ended: in the words of the service's metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Operation {
    /// The SDK's name for it.
    pub name: &'static str,
    /// `ok`, `client_error` or `server_error`.
    pub outcome: &'static str,
}

/// Marks an answer that the client does not get, or cannot understand.
#[derive(Clone)]
struct Useless;

/// A request that came to the proxy.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method and the path.
    pub line: String,
    /// The headers.
    pub headers: HeaderMap,
}

#[derive(Clone)]
struct Rule {
    method: Method,
    path_part: &'static str,
    fault: Fault,
    /// Of the requests that fit it is for each so-and-so-many-th.
    every: usize,
    seen: Arc<AtomicUsize>,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// `503 SlowDown`, as S3 says it.
    SlowDown,
    /// The request arrives, and is answered late.
    Late(Duration),
    /// The request waits until nothing fails any more.
    Held,
    /// The answer breaks off in the middle of its body.
    Cut,
    /// The request is done, and the connection closed before any byte of the answer.
    Gone,
    /// The request is done, and its answer is lost on the way: `503`.
    Lost,
    /// A bit of the last byte that is sent is another one when it arrives, or of the last byte that is answered.
    Changed,
    /// The server's clock is an hour behind ours: `403 RequestTimeTooSkewed`, as S3 says it, for whoever signs by another clock. What is
    /// signed by that one is answered as if it were stored.
    Skewed,
}

impl S3Proxy {
    /// Starts a proxy in front of this server.
    pub async fn start(upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client: crate::client::http(),
            rules: Mutex::default(),
            stops: Mutex::default(),
            requests: Mutex::default(),
            operations: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(attend)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { endpoint, shared }
    }

    /// From now on requests with this method and this part in their path fail.
    pub fn fail(&self, method: Method, path_part: &'static str, fault: Fault) {
        self.fail_every(1, method, path_part, fault);
    }

    /// From now on each so-and-so-many-th request with this method and this part in its path fails.
    pub fn fail_every(&self, every: usize, method: Method, path_part: &'static str, fault: Fault) {
        self.shared.rules.lock().unwrap().push(Rule {
            method,
            path_part,
            fault,
            every,
            seen: Arc::default(),
        });
    }

    /// From now on nothing fails, and nothing more stops.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
        self.shared.stops.lock().unwrap().clear();
    }

    /// Holds one request with this method and this part in its path at a moment, after so many others that fit; it never goes on.
    pub fn stop(
        &self,
        method: Method,
        path_part: &'static str,
        skipped: usize,
        moment: Moment,
    ) -> Stop {
        let stop = Stop::new(moment);
        self.shared.stops.lock().unwrap().push(Stopping {
            method,
            path_part,
            skipped,
            stop: stop.clone(),
        });
        stop
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// Forgets the requests so far, so that a long run does not fill the memory with them.
    pub fn forget_requests(&self) {
        self.shared.requests.lock().unwrap().clear();
    }

    /// How often each thing was asked and ended so, attempts of one and the same not counted apart.
    pub fn operations(&self) -> BTreeMap<Operation, u64> {
        let mut counts = BTreeMap::new();
        for operation in self.shared.operations.lock().unwrap().values() {
            *counts.entry(*operation).or_default() += 1;
        }
        counts
    }

    /// How many requests so far have this in their method and path.
    pub fn count(&self, part: &str) -> usize {
        let requests = self.requests();
        requests
            .iter()
            .filter(|seen| seen.line.contains(part))
            .count()
    }
}

impl Shared {
    fn fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let rules = self.rules.lock().unwrap();
        let mut fitting = rules.iter().filter(|rule| {
            rule.method == method
                && path.contains(rule.path_part)
                && (rule.seen.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(rule.every)
        });
        fitting.next().map(|rule| rule.fault)
    }

    /// Whether this request is one that stops.
    fn stop(&self, method: &Method, path: &str) -> Option<Stop> {
        let mut stops = self.stops.lock().unwrap();
        let index = stops
            .iter()
            .position(|it| it.method == method && path.contains(it.path_part))?;
        if stops[index].skipped > 0 {
            stops[index].skipped -= 1;
            return None;
        }
        Some(stops.remove(index).stop)
    }
}

async fn attend(State(shared): State<Arc<Shared>>, request: extract::Request) -> Response {
    let name = operation(request.method(), request.uri().query().unwrap_or_default());
    let invocation = request.headers().get("amz-sdk-invocation-id");
    let invocation = invocation.and_then(|id| Some(id.to_str().ok()?.to_owned()));
    let end = |outcome| {
        if let Some(id) = &invocation {
            let mut operations = shared.operations.lock().unwrap();
            operations.insert(id.clone(), Operation { name, outcome });
        }
    };
    end("server_error");
    let response = forward(&shared, request).await;
    end(match response.status() {
        _ if response.extensions().get::<Useless>().is_some() => "server_error",
        status if status.is_success() => "ok",
        status if status.is_client_error() => "client_error",
        _ => "server_error",
    });
    response
}

/// The SDK's name for a request.
fn operation(method: &Method, query: &str) -> &'static str {
    let has = |name: &str| {
        query
            .split('&')
            .any(|pair| pair == name || pair.split('=').next() == Some(name))
    };
    match method.as_str() {
        "PUT" if has("partNumber") => "upload_part",
        "PUT" => "put_object",
        "POST" if has("uploads") => "create_multipart_upload",
        "POST" => "complete_multipart_upload",
        "DELETE" if has("uploadId") => "abort_multipart_upload",
        "DELETE" => "delete_object",
        _ if has("list-type") => "list_objects_v2",
        _ => "get_object",
    }
}

async fn forward(shared: &Shared, request: extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.to_string();
    shared.requests.lock().unwrap().push(Request {
        line: format!("{} {path}", parts.method),
        headers: parts.headers.clone(),
    });
    let is_read = parts.method == Method::GET;
    let fault = shared.fault(&parts.method, &path);
    match fault {
        Some(Fault::SlowDown) => {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Reduce your request rate.",
            );
        }
        Some(Fault::Late(pause)) => sleep(pause).await,
        Some(Fault::Held) => {
            while let Some(Fault::Held) = shared.fault(&parts.method, &path) {
                sleep(Duration::from_millis(20)).await;
            }
        }
        Some(Fault::Skewed) => return skewed(&parts),
        Some(Fault::Cut | Fault::Lost | Fault::Gone | Fault::Changed) | None => {}
    }
    let stop = shared.stop(&parts.method, &path);
    if let Some(stop) = &stop
        && stop.moment == Moment::Before
    {
        stop.hold().await;
        return gone();
    }
    // Signed with the host that the client asked for: the headers go on as they came.
    let mut forwarded = shared
        .client
        .request(parts.method.clone(), format!("{}{path}", shared.upstream));
    for (name, value) in &parts.headers {
        if name != TRANSFER_ENCODING {
            forwarded = forwarded.header(name, value);
        }
    }
    debug_assert!(parts.headers.contains_key(HOST));
    let is_changed = matches!(fault, Some(Fault::Changed));
    let body = match &stop {
        Some(stop) if stop.moment == Moment::During => {
            let half = stop.clone().half(body, length_of(&parts.headers)).await;
            reqwest::Body::wrap_stream(half)
        }
        _ if is_changed && !is_read => {
            let body = changed(&to_bytes(body, usize::MAX).await.unwrap_or_default());
            if parts.headers[CONTENT_HASH] != sha256_of(&body)
                && parts.headers[CONTENT_HASH] != "UNSIGNED-PAYLOAD"
            {
                // As S3 does; SeaweedFS does not look.
                let message =
                    "The provided 'x-amz-content-sha256' header does not match what was computed.";
                return refuse(
                    StatusCode::BAD_REQUEST,
                    "XAmzContentSHA256Mismatch",
                    message,
                );
            }
            body.into()
        }
        _ => reqwest::Body::wrap_stream(body.into_data_stream()),
    };
    let Ok(answer) = forwarded.body(body).send().await else {
        return match stop {
            Some(_) => gone(),
            None => StatusCode::BAD_GATEWAY.into_response(),
        };
    };
    if let Some(stop) = stop {
        // Read, so that the server has given all of it.
        let _ = answer.bytes().await;
        stop.hold().await;
        return gone();
    }
    answered(answer, fault, is_read).await
}

/// The server's answer, or what is left of it.
async fn answered(answer: reqwest::Response, fault: Option<Fault>, is_read: bool) -> Response {
    if let Some(Fault::Lost) = fault {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if let Some(Fault::Gone) = fault {
        return gone();
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        response = response.header(name, value);
    }
    let answer_status = answer.status();
    if matches!(fault, Some(Fault::Changed)) && is_read {
        let body = changed(&answer.bytes().await.unwrap_or_default());
        return response.body(Body::from(body)).unwrap();
    }
    if let Some(Fault::Cut) = fault {
        let length = answer.headers().get(CONTENT_LENGTH).cloned();
        let half = answer.bytes().await.unwrap_or_default();
        let half = half.slice(..half.len() / 2);
        if let Some(length) = length {
            response = response.header(CONTENT_LENGTH, length);
        }
        // What was given so far leaves the machine while nothing more comes.
        let cut = async {
            sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("cut"))
        };
        if !answer_status.is_success() {
            // The SDK needs the body of an error to know what it is.
            response = response.extension(Useless);
        }
        let pieces = stream::iter([Ok(half)]).chain(stream::once(cut));
        return response.body(Body::from_stream(pieces)).unwrap();
    }
    let body = Body::from_stream(answer.bytes_stream());
    response.body(body).unwrap()
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    (status, body).into_response()
}

/// The same with one bit that is another.
fn changed(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    bytes.into()
}

/// What a server says whose clock is an hour behind. It keeps nothing: the one behind the proxy would refuse such a signature.
fn skewed(parts: &Parts) -> Response {
    let mut response = if is_signed_an_hour_ago(parts) {
        [(ETAG, "\"stored\"")].into_response()
    } else {
        let message = "The difference between the request time and the current time is too large.";
        refuse(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", message)
    };
    let date = DateTime::from_secs(clock::now().unix_timestamp() - HOUR_SECONDS);
    let date = date.fmt(Format::HttpDate).unwrap().parse().unwrap();
    response.headers_mut().insert(DATE, date);
    response
}

/// Whether a request was signed by a clock that is an hour behind, give or take as much as S3 allows.
fn is_signed_an_hour_ago(parts: &Parts) -> bool {
    const MOST_SKEW_SECONDS: i64 = 15 * 60;
    let signed = parts.headers["x-amz-date"].to_str().unwrap();
    let (day, time) = signed.split_once('T').unwrap();
    let signed = format!(
        "{}-{}-{}T{}:{}:{}",
        &day[..4],
        &day[4..6],
        &day[6..],
        &time[..2],
        &time[2..4],
        &time[4..]
    );
    let signed = DateTime::from_str(&signed, Format::DateTime);
    let of_server = clock::now().unix_timestamp() - HOUR_SECONDS;
    (of_server - signed.unwrap().secs()).abs() <= MOST_SKEW_SECONDS
}

/// The server closes the connection on an error, and at the first one it has written nothing.
fn gone() -> Response {
    let gone = [Err::<Bytes, _>(std::io::Error::other("gone"))];
    let mut response = Body::from_stream(stream::iter(gone)).into_response();
    response.extensions_mut().insert(Useless);
    response
}

fn length_of(headers: &HeaderMap) -> usize {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    length.expect("a request that is held in its middle says its length")
}
