//! The routes of the service (contract §2).

use axum::Router;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{DefaultBodyLimit, Multipart, State};
use axum::middleware;
use axum::routing::{get, post};
use serde::Serialize;
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use transcription_common::json::Json;
use transcription_common::jwt::AuthUser;
use transcription_common::problem::Problem;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::admission::Admission;
use crate::early;
use crate::engine::Engine;
use crate::error::{Error, Failure};
use crate::job::{Complete, Job};
use crate::manifest::Manifest;
use crate::storage::Storage;
use crate::{AppState, Limits};

/// The route table.
pub fn table() -> Router<AppState> {
    Router::new()
        .route("/", get(greeting))
        // Both spellings: the old backend redirected one to the other, and clients use either.
        .route("/transcribe", post(transcribe))
        .route("/transcribe/", post(transcribe))
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
    transcription: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_seconds: Option<f64>,
    engine: String,
    model: String,
    audio_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    transcript_key: Option<String>,
}

impl From<Complete> for TranscriptionView {
    fn from(complete: Complete) -> Self {
        let Complete { manifest, text } = complete;
        let Manifest {
            id,
            filename,
            language,
            engine,
            model,
            audio,
            transcript,
            ..
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
        }
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
    State(storage): State<Storage>,
    State(engine): State<Engine>,
    State(limits): State<Limits>,
    State(admission): State<Admission>,
    State(jobs): State<TaskTracker>,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<TranscriptionView>, Failure> {
    let form = form.map_err(|rejection| Error::BrokenForm(rejection.body_text()))?;
    let job = Job {
        place: admission.admit(&user.id)?,
        user: user.id,
        storage,
        engine,
        max_upload_bytes: limits.max_upload_bytes,
        engine_limit: limits.engine,
    };
    let complete = jobs
        .spawn(job.run(form).in_current_span())
        .await
        .map_err(|error| Error::Internal(error.into()))??;
    Ok(Json(complete.into()))
}
