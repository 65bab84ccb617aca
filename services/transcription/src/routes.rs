//! The routes of the service (contract §2).

use anyhow::Context;
use axum::Extension;
use axum::Router;
use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::http::HeaderMap;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;
use tokio_util::task::TaskTracker;
use tower::ServiceBuilder;
use tracing::Instrument;
use transcription_common::documentation::{self, TokenSource};
use transcription_common::json::Json;
use transcription_common::jwt::{AuthUser, UserId};
use transcription_common::management;
use transcription_common::pages::{About, Greeting, Link, Welcome};
use transcription_common::problem::Problem;
use transcription_common::request::RequestLog;
use url::Url;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::admission::Admission;
use crate::early::{self, Unread};
use crate::engine::Engine;
use crate::error::{self, Error, Failure};
use crate::job::{Complete, Ending, Job};
use crate::manifest::{self, Manifest};
use crate::metrics::TranscriptionMetrics;
use crate::pending::Pending;
use crate::storage::{ObjectKey, Storage, StorageError};
use crate::{AppState, Limits, upload};

const TITLE: &str = "Audio Transcription API";

/// The route table.
pub fn table() -> Router<AppState> {
    Router::new()
        .route("/", get(greeting))
        // Both spellings: the old backend redirected one to the other, and clients use either.
        .route("/transcribe", post(transcribe))
        .route("/transcribe/", post(transcribe))
        .route("/transcriptions/{id}", get(transcription))
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn(early::drain))
                // The upload is read in a stream and limited by MAX_UPLOAD_BYTES.
                .layer(DefaultBodyLimit::disable()),
        )
}

/// What the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = TITLE,
        description = "Takes a recording, stores it in the user's own folder of the bucket, transcribes it, stores the text beside it.",
    ),
    paths(greeting, transcribe, transcription),
    components(schemas(Problem)),
    tags(
        (name = "transcriptions", description = "Recordings and their texts. The token is one of the auth service's."),
        (name = "operation", description = "For those who run the service. With MANAGEMENT_ADDR set they are at that address."),
    ),
)]
struct Documentation;

/// The service's description. Tokens come from `token_url`, if it is known.
pub fn document(token_url: Option<&Url>) -> anyhow::Result<Value> {
    let mut document = Documentation::openapi();
    management::describe(&mut document);
    let tokens = token_url.map_or(TokenSource::Elsewhere, |url| {
        TokenSource::PasswordGrant(url.to_string())
    });
    documentation::complete(&document, &tokens, &error::examples()?)
}

/// Says that the service runs: a sentence for programs, a page for browsers.
#[utoipa::path(get, path = "/", tag = "operation", responses((status = 200, description = "It runs.", content(
    (Greeting = "application/json", example = json!({"message": "Audio Transcription API is running."})),
    (String = "text/html"),
))))]
async fn greeting(State(welcome): State<Welcome>, headers: HeaderMap) -> Response {
    welcome.answer(&headers)
}

/// What the service says of itself at `/`.
pub fn welcome(token_url: Option<&Url>, is_managed_apart: bool) -> anyhow::Result<Welcome> {
    let accounts = token_url.map(|url| Link {
        address: format!("{}/", url.origin().ascii_serialization()),
        name: "Accounts",
        about: "where users register, and get the token that is needed here",
    });
    Welcome::new(About {
        title: TITLE,
        message: "Audio Transcription API is running.",
        about: "Send a recording, get its text. Both stay in your own folder of the operator's bucket.",
        version: env!("CARGO_PKG_VERSION"),
        further: accounts.into_iter().collect(),
        is_managed_apart,
    })
}

/// What to transcribe.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form; crate::upload reads it")]
struct TranscribeForm {
    /// The recording: WAV, FLAC, MP3, Ogg (Vorbis, Opus), WebM, Matroska, M4A, MP4, AIFF or AAC, whatever its name or label says;
    /// at most `MAX_UPLOAD_BYTES` (209715200, which is 200 MiB).
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// The language that is spoken (BCP-47); found out if left out or empty.
    // Without an example Swagger UI makes one up and sends it.
    #[schema(value_type = String, required = false, example = "", pattern = "^([A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*)?$")]
    language: Option<String>,
    /// Words that the recording may hold, for example names.
    #[schema(value_type = String, required = false, example = "", max_length = 2000)]
    prompt: Option<String>,
}

/// A recording and its text.
#[derive(Serialize, ToSchema)]
struct TranscriptionView {
    #[schema(example = "01a20442-4fb7-71e2-bd64-ded8192ca8b9")]
    id: Uuid,
    /// As the client named it, without what could deceive.
    #[schema(example = "meeting.mp3")]
    filename: String,
    /// Empty if nothing was said; left out while there is none.
    #[schema(value_type = String, required = false, example = "And Mr. John Dashwood had then leisure.")]
    #[serde(skip_serializing_if = "Option::is_none")]
    transcription: Option<String>,
    /// The language that was asked for or found (BCP-47).
    #[schema(value_type = String, required = false, example = "en")]
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    /// As the container's headers tell it; left out if they do not.
    #[schema(value_type = f64, required = false, example = 7.1, minimum = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    /// `gemini` or `whisper`.
    #[schema(example = "whisper")]
    engine: String,
    #[schema(example = "base")]
    model: String,
    /// Where the recording is in the bucket.
    #[schema(example = "private/1/audio/01a20442-4fb7-71e2-bd64-ded8192ca8b9.mp3")]
    audio_key: String,
    /// Where the text is in the bucket, once it is there.
    #[schema(value_type = String, required = false, example = "private/1/transcripts/01a20442-4fb7-71e2-bd64-ded8192ca8b9.txt")]
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_key: Option<String>,
    /// Only when asked by its id.
    #[schema(value_type = manifest::State, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<manifest::State>,
    /// Why there is no text, with state `failed`: the code of an error (docs/errors.md).
    #[schema(value_type = String, required = false, example = "engine_timeout")]
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// `pending` while the text is not in the bucket yet.
    #[schema(value_type = String, required = false, pattern = "^pending$")]
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<&'static str>,
    /// `true` when the engine stopped at its output limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl TranscriptionView {
    fn new(manifest: Manifest, text: Option<String>) -> Self {
        let Manifest {
            schema_version: _,
            id,
            user_id: _,
            state: _,
            code: _,
            filename,
            language,
            engine,
            model,
            audio,
            transcript,
            truncated,
            created_at: _,
            completed_at: _,
        } = manifest;
        Self {
            id,
            filename,
            transcription: text,
            language,
            duration_seconds: audio.duration_seconds,
            engine,
            model,
            audio_key: audio.key,
            transcript_key: transcript.map(|transcript| transcript.key),
            state: None,
            code: None,
            storage: None,
            truncated,
        }
    }
}

impl From<Complete> for TranscriptionView {
    fn from(complete: Complete) -> Self {
        let Complete {
            manifest,
            text,
            is_pending,
        } = complete;
        Self {
            storage: is_pending.then_some("pending"),
            ..Self::new(manifest, Some(text_of(&text)))
        }
    }
}

fn text_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// What a transcription works with.
#[derive(Clone)]
pub struct Workshop {
    /// The bucket.
    pub storage: Storage,
    /// The engine.
    pub engine: Engine,
    /// The engine's name in answers and manifests.
    pub engine_name: &'static str,
    /// Texts that could not be stored yet.
    pub pending: Pending,
    /// What to count in.
    pub metrics: TranscriptionMetrics,
    /// How much is taken, and how long it may take.
    pub limits: Limits,
    /// Who may start.
    pub admission: Admission,
    /// What is in flight.
    pub jobs: TaskTracker,
    /// How the service ends.
    pub ending: Ending,
}

impl Workshop {
    fn job(&self, user: UserId, unread: Unread, log: RequestLog) -> Result<Job, Error> {
        let place = self.admission.admit(&user)?;
        unread.expect_form(self.limits.max_upload_bytes);
        Ok(Job {
            place,
            user,
            storage: self.storage.clone(),
            engine: self.engine.clone(),
            engine_name: self.engine_name,
            pending: self.pending.clone(),
            metrics: self.metrics.clone(),
            max_upload_bytes: self.limits.max_upload_bytes,
            engine_limit: self.limits.engine,
            jobs: self.jobs.clone(),
            unread,
            log,
            ending: self.ending.clone(),
        })
    }
}

/// Stores a recording, transcribes it and stores the text.
///
/// `/transcribe/` is the same. Once the recording is accepted every answer, errors too, has its `id` and `audio_key`: the recording is kept, and
/// `GET /transcriptions/{id}` tells what became of it.
#[utoipa::path(post, path = "/transcribe",
    request_body(content = TranscribeForm, content_type = "multipart/form-data"),
    tag = "transcriptions",
    security(("token" = [])),
    responses(
        (status = 200, description = "The text; it is stored too, or will be (`storage`).", body = TranscriptionView),
        (status = 400, description = "`broken_form`, `no_file`, `two_files`, `empty_file`", body = Problem),
        (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`", body = Problem),
        (status = 408, description = "`slow_upload`", body = Problem),
        (status = 413, description = "`too_large`", body = Problem),
        (status = 415, description = "`not_audio`", body = Problem),
        (status = 422, description = "`invalid_field`, `audio_undecodable`, `audio_too_long`, `content_blocked`", body = Problem),
        (status = 429, description = "`user_busy`", body = Problem),
        (status = 502, description = "`engine_failed`", body = Problem),
        (status = 503, description = "`busy`, `engine_quota`, `engine_misconfigured`, `storage_unavailable`, `stopping`", body = Problem),
        (status = 504, description = "`engine_timeout`", body = Problem),
    ))]
#[tracing::instrument(name = "transcriptions.create", skip_all)]
async fn transcribe(
    user: AuthUser,
    State(workshop): State<Workshop>,
    Extension(unread): Extension<Unread>,
    log: RequestLog,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<TranscriptionView>, Failure> {
    let form = form.map_err(|_| {
        let why = "the header Content-Type is not multipart/form-data with a boundary";
        Error::BrokenForm(why.to_owned())
    });
    let prepared = form.and_then(|form| Ok((form, workshop.job(user.id, unread, log)?)));
    let (form, job) = prepared.inspect_err(|error| workshop.metrics.request(error.outcome()))?;
    let ran = workshop.jobs.spawn(job.run(form).in_current_span()).await;
    let complete = ran.map_err(|_| Error::fault())??;
    Ok(Json(complete.into()))
}

/// Tells the state of one transcription, with its text once there is one.
#[utoipa::path(get, path = "/transcriptions/{id}", tag = "transcriptions", security(("token" = [])),
    params(("id" = String, Path, description = "The id that `/transcribe` gave.", example = "01a20442-4fb7-71e2-bd64-ded8192ca8b9")),
    responses(
        (status = 200, description = "How far it is, with its text once there is one.", body = TranscriptionView),
        (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`", body = Problem),
        (status = 404, description = "`transcription_not_found`", body = Problem),
        (status = 503, description = "`storage_unavailable`", body = Problem),
    ))]
#[tracing::instrument(name = "transcriptions.get", skip_all)]
async fn transcription(
    user: AuthUser,
    State(storage): State<Storage>,
    State(pending): State<Pending>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<TranscriptionView>, Failure> {
    let Path(id) = id.map_err(|_| Error::TranscriptionNotFound)?;
    let id = id.parse().map_err(|_| Error::TranscriptionNotFound)?;
    if let Some(complete) = pending.get(&user.id, id) {
        return Ok(Json(TranscriptionView {
            state: Some(manifest::State::Stored),
            transcript_key: None,
            ..complete.into()
        }));
    }
    let stored = storage.get(&ObjectKey::manifest(&user.id, id)).await?;
    let stored = stored.ok_or(Error::TranscriptionNotFound)?;
    let manifest: Manifest =
        serde_json::from_slice(&stored).context("reading a manifest from the bucket")?;
    let text = match &manifest.transcript {
        Some(transcript) => stored_text(&storage, &user.id, id, transcript).await?,
        None => None,
    };
    Ok(Json(TranscriptionView {
        state: Some(manifest.state),
        code: manifest.code.clone(),
        ..TranscriptionView::new(manifest, text)
    }))
}

/// The text that a manifest tells of, if it is there. Not another one: bytes can change on the way, or in the bucket.
async fn stored_text(
    storage: &Storage,
    user: &UserId,
    id: Uuid,
    transcript: &manifest::Transcript,
) -> Result<Option<String>, Error> {
    let Some(text) = storage.get(&ObjectKey::transcript(user, id)).await? else {
        return Ok(None);
    };
    if upload::sha256_of(&text) != transcript.sha256 {
        let cause = "its SHA-256 is not the one in its manifest";
        return Err(StorageError::new("reading a text", cause).into());
    }
    Ok(Some(text_of(&text)))
}
