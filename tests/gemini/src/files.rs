//! The Files API: resumable uploads, and what became of them. No content is kept, only its length and its hash.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::faults::{Fault, On};
use crate::refusal::{self, Refusal};
use crate::{StandIn, lock, wire};

/// All chunks but the last are a multiple of this.
const GRANULARITY: u64 = 262_144;
const LARGEST_FILE: u64 = 2_000_000_000;
const LIFE: Duration = Duration::hours(48);

/// The files and the uploads under way.
#[derive(Default)]
pub struct Files(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// By id, without `files/`.
    files: BTreeMap<String, File>,
    uploads: HashMap<String, Upload>,
}

/// Audio, as far as it is kept.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The MIME type.
    pub mime_type: String,
    /// The length in bytes.
    pub length: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

#[derive(Clone)]
struct File {
    id: String,
    uri: String,
    display_name: Option<String>,
    heard: Heard,
    created: OffsetDateTime,
    state: FileState,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum FileState {
    Processing {
        polls: u32,
        fails: bool,
    },
    #[default]
    Active,
    Failed,
}

/// An upload that was started. It stays when it is finished, to say so.
#[derive(Clone, Default)]
struct Upload {
    id: String,
    host: String,
    display_name: Option<String>,
    mime_type: String,
    length: u64,
    received: u64,
    hash: Sha256,
    state: FileState,
    is_final: bool,
}

impl Heard {
    /// Audio that is here.
    pub fn new(mime_type: &str, bytes: &[u8]) -> Self {
        Self {
            mime_type: mime_type.to_owned(),
            length: bytes.len() as u64,
            sha256: hexadecimal(&Sha256::digest(bytes)),
        }
    }
}

impl Files {
    /// The audio behind an address that an upload gave.
    pub fn heard(&self, uri: &str) -> Result<Heard, Refusal> {
        let inner = lock(&self.0);
        let Some(file) = inner.files.values().find(|file| file.uri == uri) else {
            return Err(Refusal::no_file(uri.rsplit('/').next().unwrap_or(uri)));
        };
        if file.state != FileState::Active {
            let message = format!(
                "The File {} is not in an ACTIVE state and usage is not allowed.",
                file.id
            );
            return Err(Refusal::new(refusal::FAILED_PRECONDITION, message));
        }
        Ok(file.heard.clone())
    }

    /// How many files there are.
    pub fn existing(&self) -> usize {
        lock(&self.0).files.len()
    }
}

impl File {
    fn json(&self) -> Value {
        let time = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
        let mut json = json!({
            "name": format!("files/{}", self.id),
            "mimeType": self.heard.mime_type,
            "sizeBytes": self.heard.length.to_string(),
            "createTime": time(self.created),
            "updateTime": time(self.created),
            "expirationTime": time(self.created + LIFE),
            // Google encodes the hexadecimal digits, not the bytes.
            "sha256Hash": BASE64_STANDARD.encode(&self.heard.sha256),
            "uri": self.uri,
            "state": match self.state {
                FileState::Processing { .. } => "PROCESSING",
                FileState::Active => "ACTIVE",
                FileState::Failed => "FAILED",
            },
            "source": "UPLOADED",
        });
        if let Some(display_name) = &self.display_name {
            json["displayName"] = json!(display_name);
        }
        if self.state == FileState::Failed {
            json["error"] = json!({ "code": 3, "message": "The file could not be processed." });
        }
        json
    }
}

impl FileState {
    /// A file is as a fault says; without one it can be used at once.
    fn after(self, fault: &Fault) -> Self {
        match (fault.processing_polls, fault.file_failed) {
            (None, false) => self,
            (polls, fails) => Self::Processing {
                polls: polls.unwrap_or(0),
                fails,
            },
        }
    }

    /// What it is when a client asks.
    fn poll(&mut self) {
        *self = match *self {
            Self::Processing {
                polls: 0,
                fails: true,
            } => Self::Failed,
            Self::Processing {
                polls: 0,
                fails: false,
            } => Self::Active,
            Self::Processing { polls, fails } => Self::Processing {
                polls: polls - 1,
                fails,
            },
            ended => ended,
        };
    }
}

/// Starts an upload, or takes a chunk of one: the upload URL differs by its query only.
///
/// The body is taken before anything else, so that a client hears of a fault instead of finding its connection broken.
pub(crate) async fn upload(State(stand_in): State<StandIn>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let Some(id) = wire::query(&parts.uri).remove("upload_id") else {
        let body = wire::receive(body, 1_000_000).await;
        let work = async |fault: &Fault| start(&stand_in, fault, headers, &body?);
        return stand_in.faults().under(On::UploadStart, work).await;
    };
    let before = lock(&stand_in.files().0).uploads.get(&id).cloned();
    let after = advance(before, body).await;
    let work = async |fault: &Fault| chunk(&stand_in, fault, &id, headers, after?);
    stand_in.faults().under(On::UploadChunk, work).await
}

#[derive(Default, Deserialize)]
struct CreateFile {
    #[serde(default)]
    file: NewFile,
}

#[derive(Default, Deserialize)]
struct NewFile {
    name: Option<String>,
    display_name: Option<String>,
    mime_type: Option<String>,
    size_bytes: Option<Value>,
}

fn start(
    stand_in: &StandIn,
    fault: &Fault,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Refusal::invalid_if(
        header("x-goog-upload-protocol") != Some("resumable")
            || header("x-goog-upload-command") != Some("start"),
        "X-Goog-Upload-Protocol is resumable, X-Goog-Upload-Command is start.",
    )?;
    let CreateFile { file } = if body.is_empty() {
        CreateFile::default()
    } else {
        expect_json(headers)?;
        wire::parse(body, wire::CREATE_FILE)?
    };
    let length =
        header("x-goog-upload-header-content-length").and_then(|length| length.parse().ok());
    let length = length
        .ok_or_else(|| Refusal::invalid("X-Goog-Upload-Header-Content-Length is missing."))?;
    let announced = match &file.size_bytes {
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
        None => Some(length),
    };
    Refusal::invalid_if(
        announced != Some(length) || !(1..=LARGEST_FILE).contains(&length),
        "The size of the file is contradictory, 0, or over 2 GB.",
    )?;
    let mime_type = header("x-goog-upload-header-content-type").unwrap_or_default();
    Refusal::invalid_if(
        !mime_type.contains('/')
            || file
                .mime_type
                .as_ref()
                .is_some_and(|given| given != mime_type),
        "The MIME type of the file is missing or contradictory.",
    )?;
    Refusal::invalid_if(
        file.display_name
            .as_ref()
            .is_some_and(|name| name.chars().count() > 512),
        "display_name has more than 512 characters.",
    )?;
    let mut inner = lock(&stand_in.files().0);
    let id = match &file.name {
        Some(name) => file_id(name)?.to_owned(),
        None => random_id(),
    };
    if inner.files.contains_key(&id) {
        let message = format!("Resource files/{id} already exists.");
        return Err(Refusal::new(refusal::ALREADY_EXISTS, message));
    }
    let host = header(HOST.as_str()).unwrap_or_default().to_owned();
    let upload_id = random_id();
    let url = format!(
        "http://{host}/upload/v1beta/files?upload_id={upload_id}&upload_protocol=resumable"
    );
    let upload = Upload {
        id,
        host,
        display_name: file.display_name,
        mime_type: mime_type.to_owned(),
        length,
        received: 0,
        hash: Sha256::new(),
        state: FileState::Active.after(fault),
        is_final: false,
    };
    inner.uploads.insert(upload_id, upload);
    let headers = [
        ("x-goog-upload-url", url),
        ("x-goog-upload-status", "active".to_owned()),
        ("x-goog-upload-chunk-granularity", GRANULARITY.to_string()),
    ];
    Ok(headers.into_response())
}

/// An upload as it would be after a chunk, and the length of the chunk.
async fn advance(upload: Option<Upload>, mut body: Body) -> Result<(Upload, u64), Refusal> {
    let is_known = upload.is_some();
    let mut upload = upload.unwrap_or_default();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::invalid("The chunk broke off."))?;
        let data = frame.into_data().unwrap_or_default();
        upload.hash.update(&data);
        length += data.len() as u64;
    }
    upload.received += length;
    if is_known {
        Ok((upload, length))
    } else {
        Err(Refusal::page_not_found())
    }
}

fn chunk(
    stand_in: &StandIn,
    fault: &Fault,
    id: &str,
    headers: &HeaderMap,
    (mut after, length): (Upload, u64),
) -> Result<Response, Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Refusal::invalid_if(
        header(CONTENT_LENGTH.as_str()).is_none(),
        "Content-Length is missing.",
    )?;
    let finalizes = match header("x-goog-upload-command") {
        Some("query") if length == 0 => return Ok(progress(&after)),
        Some("upload") => false,
        Some("upload, finalize") => true,
        _ => {
            let message =
                "X-Goog-Upload-Command is upload, or upload, finalize, or query without a body.";
            return Err(Refusal::invalid(message));
        }
    };
    let offset = header("x-goog-upload-offset").and_then(|offset| offset.parse().ok());
    let mut inner = lock(&stand_in.files().0);
    // Another chunk may have come while this one did.
    let before = inner.uploads.get(id).map(|upload| upload.received);
    Refusal::invalid_if(
        after.is_final || offset != before || offset != Some(after.received - length),
        "X-Goog-Upload-Offset is not the number of bytes received, or the upload is final.",
    )?;
    Refusal::invalid_if(
        !finalizes && (length == 0 || !length.is_multiple_of(GRANULARITY)),
        "All chunks but the last are a multiple of 262144 bytes.",
    )?;
    Refusal::invalid_if(
        after.received > after.length || (finalizes && after.received < after.length),
        "The file was announced with another length.",
    )?;
    after.is_final = finalizes;
    after.state = after.state.after(fault);
    inner.uploads.insert(id.to_owned(), after.clone());
    if !finalizes {
        return Ok([("x-goog-upload-status", "active")].into_response());
    }
    let file = File {
        uri: format!("http://{}/v1beta/files/{}", after.host, after.id),
        id: after.id,
        display_name: after.display_name,
        heard: Heard {
            mime_type: after.mime_type,
            length: after.length,
            sha256: hexadecimal(&after.hash.finalize()),
        },
        created: now(),
        state: after.state,
    };
    let answer = json!({ "file": file.json() });
    inner.files.insert(file.id.clone(), file);
    stand_in.counts().file_uploaded();
    Ok(([("x-goog-upload-status", "final")], Json(answer)).into_response())
}

/// The answer to a client that lost track.
fn progress(upload: &Upload) -> Response {
    let status = if upload.is_final { "final" } else { "active" };
    let headers = [
        ("x-goog-upload-status", status.to_owned()),
        ("x-goog-upload-size-received", upload.received.to_string()),
    ];
    headers.into_response()
}

/// Tells the state of a file.
pub(crate) async fn get(State(stand_in): State<StandIn>, Path(id): Path<String>) -> Response {
    let work = async |fault: &Fault| {
        let mut inner = lock(&stand_in.files().0);
        let file = inner
            .files
            .get_mut(&id)
            .ok_or_else(|| Refusal::no_file(&id))?;
        file.state = file.state.after(fault);
        file.state.poll();
        Ok(Json(file.json()).into_response())
    };
    stand_in.faults().under(On::FileGet, work).await
}

/// Deletes a file.
pub(crate) async fn delete(State(stand_in): State<StandIn>, Path(id): Path<String>) -> Response {
    let work = async |_: &Fault| {
        let file = lock(&stand_in.files().0).files.remove(&id);
        file.ok_or_else(|| Refusal::no_file(&id))?;
        stand_in.counts().file_deleted();
        Ok(Json(json!({})).into_response())
    };
    stand_in.faults().under(On::FileDelete, work).await
}

/// Lists files by name. A page token is the last name of the page before.
pub(crate) async fn list(State(stand_in): State<StandIn>, uri: Uri) -> Response {
    let query = wire::query(&uri);
    let size = query.get("pageSize").map_or(Ok(10), |size| size.parse());
    let size = size.unwrap_or(0);
    if !(1..=100).contains(&size) {
        return Refusal::invalid("page_size is from 1 to 100.").into_response();
    }
    let inner = lock(&stand_in.files().0);
    let last = query.get("pageToken").map_or("", String::as_str);
    let mut rest = inner.files.values().filter(|file| *file.id > *last);
    let page = rest.by_ref().take(size).collect::<Vec<_>>();
    let mut answer = json!({});
    if let Some(last) = page.last() {
        answer["files"] = page.iter().map(|file| file.json()).collect();
        if rest.next().is_some() {
            answer["nextPageToken"] = json!(last.id);
        }
    }
    Json(answer).into_response()
}

/// Refuses a body that is not said to be JSON.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = content_type
        .and_then(|text| text.split(';').next())
        .unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::invalid("Content-Type is application/json."))
}

fn file_id(name: &str) -> Result<&str, Refusal> {
    let id = name.strip_prefix("files/").filter(|id| {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=40).contains(&id.len())
            && id.bytes().all(known)
            && !id.starts_with('-')
            && !id.ends_with('-')
    });
    id.ok_or_else(|| {
        Refusal::invalid(
            "The file name is files/ and up to 40 of a-z, 0-9 and -, with no dash at its ends.",
        )
    })
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    // A system without random numbers gives the same id twice, and the second file is refused.
    let _ = getrandom::fill(&mut bytes);
    hexadecimal(&bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    digits.collect::<Vec<_>>().concat()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the stand-in shares no code with what it tests"
)]
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}
