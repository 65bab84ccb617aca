//! The routes of the service (contract §2).

use anyhow::Context;
use axum::Extension;
use axum::Router;
use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Multipart, Path, State};
use axum::middleware;
use axum::routing::{get, post};
use serde::Serialize;
use serde_json::Value;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use transcription_common::documentation::{self, TokenSource};
use transcription_common::json::Json;
use transcription_common::jwt::{AuthUser, UserId};
use transcription_common::management;
use transcription_common::problem::Problem;
use transcription_common::request::RequestLog;
use utoipa::{OpenApi, ToSchema};
use uuid::Uuid;

use crate::admission::Admission;
use crate::early::{self, Unread};
use crate::engine::Engine;
use crate::error::{Error, Failure};
use crate::job::{Complete, Ending, Job};
use crate::manifest::{self, Manifest};
use crate::metrics::TranscriptionMetrics;
use crate::pending::Pending;
use crate::storage::{ObjectKey, Storage};
use crate::{AppState, Limits};

/// The route table.
pub fn table() -> Router<AppState> {
    Router::new()
        .route("/", get(greeting))
        // Both spellings: the old backend redirected one to the other, and clients use either.
        .route("/transcribe", post(transcribe))
        .route("/transcribe/", post(transcribe))
        .route("/transcriptions/{id}", get(transcription))
        // The upload is read in a stream and limited by MAX_UPLOAD_BYTES.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(early::drain))
}

/// What the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Audio Transcription API",
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

/// The service's description.
pub fn document() -> anyhow::Result<Value> {
    let mut document = Documentation::openapi();
    management::describe(&mut document);
    documentation::complete(&document, &TokenSource::Elsewhere)
}

/// A sentence for people who open the address.
#[derive(Serialize, ToSchema)]
struct Greeting {
    #[schema(example = "Audio Transcription API is running.")]
    message: &'static str,
}

/// Says that the service runs.
#[utoipa::path(get, path = "/", tag = "operation", responses((status = 200, description = "It runs.", body = Greeting)))]
async fn greeting() -> Json<Greeting> {
    Json(Greeting {
        message: "Audio Transcription API is running.",
    })
}

/// What to transcribe.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form; crate::upload reads it")]
struct TranscribeForm {
    /// The recording: WAV, FLAC, MP3, Ogg (Vorbis, Opus), WebM, Matroska, M4A, MP4, AIFF or AAC, whatever its name or label says;
    /// at most `MAX_UPLOAD_BYTES` (200 MiB).
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// The language that is spoken (BCP-47); found out if left out.
    #[schema(value_type = String, required = false, example = "en")]
    language: Option<String>,
    /// Words that the recording may hold.
    #[schema(value_type = String, required = false, example = "Dashwood, Norland")]
    prompt: Option<String>,
}

/// A recording and its text.
#[derive(Serialize, ToSchema)]
struct TranscriptionView {
    #[schema(example = "01a20442-4fb7-71e2-bd64-ded8192ca8b9")]
    id: Uuid,
    #[schema(example = "meeting.mp3")]
    filename: String,
    #[schema(example = "And Mr. John Dashwood had then leisure.")]
    #[serde(skip_serializing_if = "Option::is_none")]
    transcription: Option<String>,
    #[schema(example = "en")]
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[schema(example = 7.1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    #[schema(example = "whisper")]
    engine: String,
    #[schema(example = "base")]
    model: String,
    #[schema(example = "private/1/audio/01a20442-4fb7-71e2-bd64-ded8192ca8b9.mp3")]
    audio_key: String,
    #[schema(example = "private/1/transcripts/01a20442-4fb7-71e2-bd64-ded8192ca8b9.txt")]
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_key: Option<String>,
    /// Only when asked by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<manifest::State>,
    /// Why there is no text, with state `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// `pending` while the text is not in the bucket yet.
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

/// Stores a recording, transcribes it and stores the text. `/transcribe/` is the same.
///
/// Once the recording is accepted every answer, errors too, has its `id` and `audio_key`: the recording is kept, and
/// `GET /transcriptions/{id}` tells what became of it.
#[utoipa::path(post, path = "/transcribe",
    request_body(content = TranscribeForm, content_type = "multipart/form-data"),
    tag = "transcriptions",
    security(("token" = [])),
    responses(
        (status = 200, description = "The text; it is stored too, or will be (`storage`).", body = TranscriptionView),
        (status = 400, description = "`broken_form`, `no_file`, `two_files`, `empty_file`: The form has no file: send the audio in the field file.", body = Problem),
        (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`: Log in again.", body = Problem),
        (status = 408, description = "`slow_upload`: No byte of the upload arrived for 30 seconds: send it again.", body = Problem),
        (status = 413, description = "`too_large`: The file is larger than is taken.", body = Problem),
        (status = 415, description = "`not_audio`: The file is not audio that is taken, whatever its name or label says.", body = Problem),
        (status = 422, description = "`invalid_field`, `audio_undecodable`, `audio_too_long`, `content_blocked`: What is wrong with a field or with the recording.", body = Problem),
        (status = 429, description = "`user_busy`: You have as many transcriptions in flight as one user may: wait for one to end.", body = Problem),
        (status = 502, description = "`engine_failed`: The recording is stored, but the engine failed to transcribe it.", body = Problem),
        (status = 503, description = "`busy`, `engine_quota`, `engine_misconfigured`, `storage_unavailable`, `stopping`: As many transcriptions are in flight as this service takes: try again in a moment.", body = Problem),
        (status = 504, description = "`engine_timeout`: The recording is stored, but transcribing it took too long.", body = Problem),
    ))]
#[tracing::instrument(name = "transcriptions.create", skip_all, fields(user.id = %user.id))]
async fn transcribe(
    user: AuthUser,
    State(workshop): State<Workshop>,
    Extension(unread): Extension<Unread>,
    log: RequestLog,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<TranscriptionView>, Failure> {
    let form = form.map_err(|rejection| Error::BrokenForm(rejection.body_text()));
    let prepared = form.and_then(|form| Ok((form, workshop.job(user.id, unread, log)?)));
    let (form, job) = prepared.inspect_err(|error| workshop.metrics.request(error.outcome()))?;
    let ran = workshop.jobs.spawn(job.run(form).in_current_span()).await;
    let complete = ran.map_err(|_| {
        let error = Error::fault();
        workshop.metrics.request(error.outcome());
        error
    })??;
    Ok(Json(complete.into()))
}

/// Tells the state of one transcription, with its text once there is one.
#[utoipa::path(get, path = "/transcriptions/{id}", tag = "transcriptions", security(("token" = [])),
    params(("id" = String, Path, description = "The id that `/transcribe` gave.", example = "01a20442-4fb7-71e2-bd64-ded8192ca8b9")),
    responses(
        (status = 200, description = "How far it is, with its text once there is one.", body = TranscriptionView),
        (status = 401, description = "`token_missing`, `token_invalid`, `token_expired`: Log in again.", body = Problem),
        (status = 404, description = "`transcription_not_found`: You have no transcription with this id.", body = Problem),
        (status = 503, description = "`storage_unavailable`: The storage does not answer as it should: try again in a moment.", body = Problem),
    ))]
#[tracing::instrument(name = "transcriptions.get", skip_all, fields(user.id = %user.id))]
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
    let text = match manifest.state {
        manifest::State::Complete => storage.get(&ObjectKey::transcript(&user.id, id)).await?,
        manifest::State::Stored | manifest::State::Failed => None,
    };
    let text = text.map(|text| text_of(&text));
    Ok(Json(TranscriptionView {
        state: Some(manifest.state),
        code: manifest.code.clone(),
        ..TranscriptionView::new(manifest, text)
    }))
}
