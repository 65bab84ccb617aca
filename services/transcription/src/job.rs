//! One transcription from the first byte of its form to its end. It runs as a task of its own: a client that hangs up
//! stops the upload, but never a recording that was accepted.

use std::time::Duration;

use axum::extract::Multipart;
use bytes::Bytes;
use tracing::{error, info, warn};
use transcription_common::clock;
use transcription_common::jwt::UserId;
use uuid::{NoContext, Timestamp, Uuid};

use crate::admission::Place;
use crate::audio::{self, AudioFormat};
use crate::engine::{Engine, Options, Transcription};
use crate::error::{Error, Failure};
use crate::manifest::{Audio, Manifest, SCHEMA_VERSION, State, Transcript};
use crate::storage::{ObjectKey, Recording, Storage, StorageError};
use crate::upload::{self, Details, Terms};

/// Everything a transcription needs, taken along into its task.
pub struct Job {
    /// The bucket.
    pub storage: Storage,
    /// The engine.
    pub engine: Engine,
    /// Whose transcription it is.
    pub user: UserId,
    /// The largest recording that is taken.
    pub max_upload_bytes: u64,
    /// How long the engine may take, waiting included.
    pub engine_limit: Duration,
    /// The place in the limits, kept until the end.
    pub place: Place,
}

/// A transcription that is complete: its manifest and its text.
pub struct Complete {
    /// The manifest as it is in the bucket.
    pub manifest: Manifest,
    /// The text.
    pub text: String,
}

/// A recording that was accepted: it is in the bucket and so is its manifest.
struct Accepted {
    manifest: Manifest,
    audio_key: ObjectKey,
    recording: Recording,
    format: AudioFormat,
    options: Options,
}

impl Job {
    /// Receives, accepts and transcribes.
    pub async fn run(self, form: Multipart) -> Result<Complete, Failure> {
        let accepted = self.accept(form).await?;
        let id = accepted.manifest.id;
        let audio_key = accepted.audio_key.clone();
        self.transcribe(accepted).await.map_err(|error| Failure {
            error,
            accepted: Some((id, audio_key)),
        })
    }

    async fn accept(&self, form: Multipart) -> Result<Accepted, Error> {
        let id = new_id();
        let terms = Terms {
            storage: &self.storage,
            user: &self.user,
            id,
            max_upload_bytes: self.max_upload_bytes,
        };
        let upload = upload::receive(form, terms).await?;
        if let Err(error) = self.engine.check(&upload.details.options) {
            upload.discard().await;
            return Err(error);
        }
        let (details, recording) = upload.store(&self.storage).await?;
        let Details {
            filename,
            format,
            size_bytes,
            sha256,
            key: audio_key,
            options,
        } = details;
        let audio = Audio {
            key: audio_key.to_string(),
            size_bytes,
            sha256,
            content_type: format.content_type().to_owned(),
            duration_seconds: duration_seconds(recording.clone(), format).await,
        };
        let manifest = Manifest {
            schema_version: SCHEMA_VERSION,
            id,
            user_id: self.user.to_string(),
            state: State::Stored,
            code: None,
            filename,
            language: options
                .language
                .as_ref()
                .map(|language| language.primary().to_owned()),
            engine: self.engine.name().to_owned(),
            model: self.engine.model().to_owned(),
            audio,
            transcript: None,
            created_at: clock::now(),
            completed_at: None,
        };
        if let Err(error) = self.write(&manifest).await {
            // Without a manifest it is not accepted, and nobody would ever find the audio.
            if let Err(error) = self.storage.delete(&audio_key).await {
                warn!(%error, key = %audio_key, "the audio of a recording that was not accepted stays in the bucket");
            }
            return Err(error.into());
        }
        info!(transcription.id = %id, user.id = %self.user, size_bytes, "a recording was accepted");
        Ok(Accepted {
            manifest,
            audio_key,
            recording,
            format,
            options,
        })
    }

    async fn transcribe(&self, accepted: Accepted) -> Result<Complete, Error> {
        let Accepted {
            manifest,
            audio_key: _,
            recording,
            format,
            options,
        } = accepted;
        let transcribed = self
            .engine
            .transcribe(recording, format, options, self.engine_limit)
            .await;
        let Transcription { text, language } = match transcribed {
            Ok(transcription) => transcription,
            Err(error) => {
                self.record_failure(manifest, &error).await;
                return Err(error);
            }
        };
        let key = ObjectKey::transcript(&self.user, manifest.id);
        let bytes = Bytes::from(text.clone());
        let transcript = Transcript {
            key: key.to_string(),
            size_bytes: bytes.len() as u64,
            sha256: upload::sha256_of(&bytes),
        };
        self.storage
            .put(&key, "text/plain; charset=utf-8", bytes)
            .await?;
        let manifest = Manifest {
            state: State::Complete,
            language,
            transcript: Some(transcript),
            completed_at: Some(clock::now()),
            ..manifest
        };
        self.write(&manifest).await?;
        info!(transcription.id = %manifest.id, user.id = %self.user, "a transcription is complete");
        Ok(Complete { manifest, text })
    }

    async fn record_failure(&self, manifest: Manifest, error: &Error) {
        let id = manifest.id;
        let manifest = Manifest {
            state: State::Failed,
            code: Some(error.code().to_owned()),
            completed_at: Some(clock::now()),
            ..manifest
        };
        if let Err(error) = self.write(&manifest).await {
            error!(%error, transcription.id = %id, "a failed transcription stays in state stored");
        }
    }

    async fn write(&self, manifest: &Manifest) -> Result<(), StorageError> {
        let key = ObjectKey::manifest(&self.user, manifest.id);
        // Strings and numbers: this cannot fail, and an empty manifest would be found at once.
        let body = serde_json::to_vec(manifest).unwrap_or_default();
        self.storage
            .put(&key, "application/json", body.into())
            .await
    }
}

/// The length is a courtesy: a recording whose headers cannot be read is taken without it.
async fn duration_seconds(recording: Recording, format: AudioFormat) -> Option<f64> {
    tokio::task::spawn_blocking(move || audio::duration_seconds(recording.open(), format))
        .await
        .ok()
        .flatten()
}

/// A `UUIDv7` (RFC 9562 §5.7): its order is that of the uploads.
fn new_id() -> Uuid {
    let now = clock::now();
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond()))
}
