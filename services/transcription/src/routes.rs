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
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use transcription_common::json::Json;
use transcription_common::jwt::{AuthUser, UserId};
use transcription_common::problem::Problem;
use utoipa::ToSchema;
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

/// A sentence for people who open the address.
#[derive(Serialize, ToSchema)]
struct Greeting {
    message: &'static str,
}

#[utoipa::path(get, path = "/", responses((status = 200, body = Greeting)))]
async fn greeting() -> Json<Greeting> {
    Json(Greeting {
        message: "Audio Transcription API is running.",
    })
}

/// What to transcribe.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes the form; crate::upload reads it")]
struct TranscribeForm {
    /// The recording.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// The language that is spoken (BCP-47); found out if left out.
    language: Option<String>,
    /// Words that the recording may hold.
    prompt: Option<String>,
}

/// A recording and its text.
#[derive(Serialize, ToSchema)]
struct TranscriptionView {
    id: Uuid,
    filename: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcription: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    engine: String,
    model: String,
    audio_key: String,
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
    fn job(&self, user: UserId, unread: Unread) -> Result<Job, Error> {
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
            ending: self.ending.clone(),
        })
    }
}

/// Stores a recording, transcribes it and stores the text.
#[utoipa::path(post, path = "/transcribe",
    request_body(content = TranscribeForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, body = TranscriptionView),
        (status = "4XX", body = Problem),
        (status = "5XX", body = Problem),
    ))]
#[tracing::instrument(name = "transcriptions.create", skip_all, fields(user.id = %user.id))]
async fn transcribe(
    user: AuthUser,
    State(workshop): State<Workshop>,
    Extension(unread): Extension<Unread>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<TranscriptionView>, Failure> {
    let form = form.map_err(|rejection| Error::BrokenForm(rejection.body_text()));
    let prepared = form.and_then(|form| Ok((form, workshop.job(user.id, unread)?)));
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
#[utoipa::path(get, path = "/transcriptions/{id}", responses(
    (status = 200, body = TranscriptionView),
    (status = 401, body = Problem),
    (status = 404, description = "There is none, or it is another user's.", body = Problem),
    (status = 503, body = Problem),
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
