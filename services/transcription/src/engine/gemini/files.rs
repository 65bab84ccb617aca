//! The Files API: for recordings that are too large for a request. A file lives 48 hours at Google unless it is deleted, and it
//! always is.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::header::{CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use url::Url;
use uuid::Uuid;

use super::ask::Asker;
use super::refusal::Refusal;
use super::{read, request};
use crate::error::Error;
use crate::metrics::RetryReason;
use crate::storage::Recording;

/// As Google's own client has it: a multiple of the 256 KiB that all chunks but the last have to be multiples of.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;
const FIRST_POLL: Duration = Duration::from_secs(1);
const LONGEST_POLL: Duration = Duration::from_secs(10);
/// How long one attempt to delete may take; with the word before it that there is no more to upload. Both have to be within the
/// time that there is at the end of the service.
const DELETE_LIMIT: Duration = Duration::from_secs(4);
const CANCEL_LIMIT: Duration = Duration::from_secs(1);
const FIRST_DELETE_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_DELETE_PAUSE: Duration = Duration::from_mins(5);
/// Then Google has deleted the file.
const LIFE: Duration = Duration::from_hours(48);

const PROTOCOL: &str = "x-goog-upload-protocol";
const COMMAND: &str = "x-goog-upload-command";
const OFFSET: &str = "x-goog-upload-offset";
const STATUS: &str = "x-goog-upload-status";
const UPLOAD_URL: &str = "x-goog-upload-url";
const RECEIVED: &str = "x-goog-upload-size-received";

/// A file at Google. The name is ours, so that it can be deleted even if the answer to its upload was lost.
pub struct File {
    name: String,
    /// Where it is uploaded to, once that has begun.
    session: OnceLock<Url>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    uri: String,
    state: Option<String>,
}

/// With another base URL than Google's the upload goes there too, as Google's own client does it.
fn upload_url(asker: &Asker, headers: &HeaderMap) -> Result<Url, Error> {
    let url = headers.get(UPLOAD_URL).and_then(|url| url.to_str().ok());
    let parsed = url.and_then(|url| Url::parse(url).ok());
    let mut url = parsed
        .context("Gemini named no address for the upload")
        .map_err(Error::Engine)?;
    let base = &asker.base_url;
    let is_google = base
        .host_str()
        .is_some_and(|host| host.ends_with(".googleapis.com"));
    if !is_google {
        let moved = url.set_scheme(base.scheme()).is_ok()
            && url.set_host(base.host_str()).is_ok()
            && url.set_port(base.port()).is_ok();
        if !moved {
            return Err(Error::Engine(anyhow::anyhow!(
                "the address for the upload is no address"
            )));
        }
    }
    Ok(url)
}

/// Sends all chunks. Google says what it has after each failure; from there it goes on.
async fn send_chunks(asker: &Asker, recording: &Recording, url: &Url) -> Result<(), Error> {
    let size_bytes = recording.size_bytes();
    let mut offset = 0;
    let mut attempt = 0;
    loop {
        let length = CHUNK_BYTES.min(size_bytes - offset);
        let is_last = offset + length == size_bytes;
        match send_chunk(asker, recording, url, offset, length).await? {
            None if is_last => return Ok(()),
            None => {
                offset += length;
                attempt = 0;
            }
            Some(refusal) => {
                attempt += 1;
                asker.pause(attempt, refusal).await?;
                match received(asker, url, size_bytes).await? {
                    Some(received) => offset = received,
                    // It is complete: only the answer was lost.
                    None => return Ok(()),
                }
            }
        }
    }
}

/// Sends one chunk; if all bytes are there already, none of them but the word that this is all.
async fn send_chunk(
    asker: &Asker,
    recording: &Recording,
    url: &Url,
    offset: u64,
    length: u64,
) -> Result<Option<Refusal>, Error> {
    let is_last = offset + length == recording.size_bytes();
    let (command, expected) = match (is_last, length) {
        (true, 0) => ("finalize", "final"),
        (true, _) => ("upload, finalize", "final"),
        (false, _) => ("upload", "active"),
    };
    let chunk = request::pieces(recording.clone(), offset, length);
    // Without the key: the address itself is the permission.
    let sent = asker
        .client
        .post(url.clone())
        .header(COMMAND, command)
        .header(OFFSET, offset)
        .header(CONTENT_LENGTH, length)
        .timeout(asker.left()?)
        .body(Body::wrap_stream(chunk))
        .send()
        .await;
    match sent {
        Ok(response) if response.status().is_success() => {
            let is_as_expected = status_of(&response) == Some(expected);
            Ok((!is_as_expected).then(not_taken))
        }
        Ok(response) => Ok(Some(asker.refusal_of(response).await)),
        Err(error) => asker.refusal_of_connection(error).map(Some),
    }
}

fn not_taken() -> Refusal {
    Refusal::Again {
        reason: RetryReason::Server,
        delay: None,
        last: Error::Engine(anyhow::anyhow!("Gemini did not take a part of the upload")),
    }
}

fn status_of(response: &Response) -> Option<&str> {
    response.headers().get(STATUS)?.to_str().ok()
}

/// How much of the upload has arrived; nothing if it is complete.
async fn received(asker: &Asker, url: &Url, size_bytes: u64) -> Result<Option<u64>, Error> {
    for attempt in 1.. {
        let sent = asker
            .client
            .post(url.clone())
            .header(COMMAND, "query")
            .header(CONTENT_LENGTH, 0)
            .timeout(asker.left()?)
            .send()
            .await;
        let refusal = match sent {
            Ok(response) if response.status().is_success() => {
                if status_of(&response) == Some("final") {
                    return Ok(None);
                }
                let received = response.headers().get(RECEIVED);
                let received = received.and_then(|received| received.to_str().ok()?.parse().ok());
                match received.filter(|received| *received <= size_bytes) {
                    Some(received) => return Ok(Some(received)),
                    None => not_taken(),
                }
            }
            Ok(response) => asker.refusal_of(response).await,
            Err(error) => asker.refusal_of_connection(error)?,
        };
        asker.pause(attempt, refusal).await?;
    }
    Err(asker.too_late())
}

impl File {
    /// A file that is not yet there.
    pub fn new() -> Self {
        Self {
            name: format!("files/{}", Uuid::new_v4().simple()),
            session: OnceLock::new(),
        }
    }

    /// Uploads a recording, in chunks that are read from where it is, and waits until Google has processed it; gives its address.
    /// Whatever comes of it, and of the future itself, the file has to be deleted.
    pub async fn upload(
        &self,
        asker: &Asker,
        recording: &Recording,
        media_type: &'static str,
    ) -> Result<String, Error> {
        let size_bytes = recording.size_bytes();
        let metadata = json!({"file": {"name": self.name, "mimeType": media_type, "sizeBytes": size_bytes.to_string()}});
        let started = asker
            .send(|| {
                Ok(asker
                    .client
                    .post(asker.url("upload/v1beta/files")?)
                    .header(PROTOCOL, "resumable")
                    .header(COMMAND, "start")
                    .header("x-goog-upload-header-content-length", size_bytes)
                    .header("x-goog-upload-header-content-type", media_type)
                    .json(&metadata))
            })
            .await?;
        let url = upload_url(asker, started.headers())?;
        asker.metrics.gemini_files_open.inc();
        let url = self.session.get_or_init(|| url);
        send_chunks(asker, recording, url).await?;
        self.ready(asker).await
    }

    /// Waits until Google has processed the file; gives its address.
    async fn ready(&self, asker: &Asker) -> Result<String, Error> {
        let mut pause = FIRST_POLL;
        loop {
            let Resource { uri, state } = self.poll(asker).await?;
            match state.as_deref() {
                Some("ACTIVE") => return Ok(uri),
                Some("FAILED") => {
                    return Err(Error::Undecodable(
                        "The engine gemini cannot decode the recording: check that it plays, convert it, for example to WAV or FLAC, and send it again.".to_owned(),
                    ));
                }
                // Also what it has not learnt to say yet.
                _ => {}
            }
            if Instant::now() + pause >= asker.deadline {
                return Err(asker.too_late());
            }
            sleep(pause).await;
            pause = pause.mul_f64(1.5).min(LONGEST_POLL);
        }
    }

    /// Asks for the state of the file. The answer costs nothing: one that breaks off is asked for again.
    async fn poll(&self, asker: &Asker) -> Result<Resource, Error> {
        let path = format!("v1beta/{}", self.name);
        for attempt in 1.. {
            let response = asker
                .send(|| Ok(asker.client.get(asker.url(&path)?)))
                .await?;
            let broken = match read(response, asker).await {
                Err(error @ Error::Engine(_)) => error,
                read => return read,
            };
            let refusal = Refusal::Again {
                reason: RetryReason::Connection,
                delay: None,
                last: broken,
            };
            asker.pause(attempt, refusal).await?;
        }
        Err(asker.too_late())
    }

    /// Deletes the file, if there may be one, however long that takes; when the service ends it is tried once more. Google does it
    /// after 48 hours.
    pub async fn delete(self, asker: Asker, cut: CancellationToken) {
        let Some(session) = self.session.get() else {
            return;
        };
        // Else what is still under way could become a file afterwards. It answers an error if there is nothing to cancel.
        let cancel = asker.client.post(session.clone()).header(COMMAND, "cancel");
        let _ = cancel
            .header(CONTENT_LENGTH, 0)
            .timeout(CANCEL_LIMIT)
            .send()
            .await;
        let start = Instant::now();
        let mut pause = FIRST_DELETE_PAUSE;
        while start.elapsed() < LIFE {
            let is_last = cut.is_cancelled();
            if self.try_delete(&asker).await {
                break;
            }
            if is_last {
                warn!(
                    file = self.name,
                    "a recording could not be deleted at Google, which does it after 48 hours"
                );
                return;
            }
            if pause == FIRST_DELETE_PAUSE {
                warn!(
                    file = self.name,
                    "a recording could not be deleted at Google, will try again"
                );
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = cut.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_DELETE_PAUSE);
        }
        asker.metrics.gemini_files_open.dec();
    }

    /// Whether the file is gone. Google says of one that is not there that it "may not exist".
    async fn try_delete(&self, asker: &Asker) -> bool {
        let Ok(url) = asker.url(&format!("v1beta/{}", self.name)) else {
            return false;
        };
        let request = asker
            .client
            .delete(url)
            .header("x-goog-api-key", asker.key.clone())
            .timeout(DELETE_LIMIT);
        let Ok(response) = request.send().await else {
            return false;
        };
        if response.status().is_success() {
            return true;
        }
        let status = response.status().as_u16();
        let said = response.text().await.unwrap_or_default();
        status == 404 || (status == 403 && said.contains("may not exist"))
    }
}
