//! One transcription from the first byte of its form to its end. It runs as a task of its own: a client that hangs up
//! stops the upload, but never a recording that was accepted.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::Multipart;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, error, info, instrument, warn};
use transcription_common::clock;
use transcription_common::jwt::UserId;
use transcription_common::request::RequestLog;
use uuid::{NoContext, Timestamp, Uuid};

use crate::admission::Place;
use crate::audio::{self, AudioFormat};
use crate::early::Unread;
use crate::engine::{Asked, Engine, Options, Transcription};
use crate::error::{Error, Failure};
use crate::manifest::{Audio, Manifest, SCHEMA_VERSION, State, Transcript};
use crate::metrics::{Outcome, Stage, TranscriptionMetrics};
use crate::pending::{Pending, Room};
use crate::storage::{ObjectKey, Recording, Storage, StorageError};
use crate::upload::{self, Details, Terms};

/// Between two attempts to store a text.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// About five minutes.
const MANIFEST_ATTEMPTS: usize = 14;
/// How long finding the length may take, before a recording is accepted.
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// Everything a transcription needs, taken along into its task.
pub struct Job {
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
    /// Whose transcription it is.
    pub user: UserId,
    /// The largest recording that is taken.
    pub max_upload_bytes: u64,
    /// How long the engine may take, waiting included.
    pub engine_limit: Duration,
    /// The place in the limits, kept until the end.
    pub place: Place,
    /// Where what is left to do after the answer is done.
    pub jobs: TaskTracker,
    /// What the reader of the form holds.
    pub unread: Unread,
    /// What the lines of the request tell.
    pub log: RequestLog,
    /// How the service ends.
    pub ending: Ending,
}

/// How the service ends, as far as jobs have to know.
#[derive(Clone, Default)]
pub struct Ending {
    /// It was told to: what waits should not wait long.
    pub begun: CancellationToken,
    /// The grace is over: there is a moment left to clean up.
    pub cut: CancellationToken,
}

/// A transcription that is complete: its manifest and its text.
#[derive(Clone)]
pub struct Complete {
    /// The manifest as it is in the bucket, or is going to be.
    pub manifest: Manifest,
    /// The text, UTF-8.
    pub text: Bytes,
    /// Whether the text is not yet in the bucket.
    pub is_pending: bool,
}

/// A recording that was accepted: it is in the bucket and so is its manifest.
struct Accepted {
    /// How long that took.
    stored_within: Duration,
    manifest: Manifest,
    audio_key: ObjectKey,
    recording: Recording,
    format: AudioFormat,
    options: Options,
}

impl Job {
    /// Receives, accepts and transcribes, and counts what came of it.
    pub async fn run(self, form: Multipart) -> Result<Complete, Failure> {
        let metrics = self.metrics.clone();
        let work = Box::pin(self.accept_and_transcribe(form));
        let result = unless_it_panics(work).await;
        metrics.request(match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => failure.outcome(),
        });
        result
    }

    async fn accept_and_transcribe(self, form: Multipart) -> Result<Complete, Failure> {
        let accepted = self.accept(form).await?;
        self.metrics
            .stage(Stage::StoreAudio, accepted.stored_within);
        let id = accepted.manifest.id;
        let audio_key = accepted.audio_key.clone();
        let log = self.log.clone();
        let transcribed = self.transcribe(accepted).await;
        transcribed
            .map_err(|error| Failure::of_accepted(error, (id, audio_key), log.is_abandoned()))
    }

    #[instrument(name = "transcriptions.store_audio", skip_all)]
    async fn accept(&self, form: Multipart) -> Result<Accepted, Error> {
        let start = Instant::now();
        let id = new_id();
        let terms = Terms {
            storage: &self.storage,
            user: &self.user,
            id,
            max_upload_bytes: self.max_upload_bytes,
            unread: &self.unread,
            cut: &self.ending.cut,
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
        let duration_seconds = audio.duration_seconds;
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
                .map(|language| language.tag().to_owned()),
            engine: self.engine_name.to_owned(),
            model: self.engine.model().to_owned(),
            audio,
            transcript: None,
            truncated: false,
            created_at: clock::now(),
            completed_at: None,
        };
        if let Err(error) = write(&self.storage, &self.user, &manifest).await {
            // Without a manifest it is not accepted, and nobody would ever find the audio.
            self.storage
                .remove(&ObjectKey::manifest(&self.user, id))
                .await;
            self.storage.remove(&audio_key).await;
            return Err(error.into());
        }
        self.log.transcription(id);
        debug!(size_bytes, "a recording was accepted");
        self.metrics.audio_bytes.inc_by(size_bytes);
        self.metrics
            .audio_seconds
            .inc_by(duration_seconds.unwrap_or_default());
        Ok(Accepted {
            stored_within: start.elapsed(),
            manifest,
            audio_key,
            recording,
            format,
            options,
        })
    }

    async fn transcribe(self, accepted: Accepted) -> Result<Complete, Error> {
        let Accepted {
            stored_within,
            manifest,
            audio_key: _,
            recording,
            format,
            options,
        } = accepted;
        let asked = Asked {
            recording,
            format,
            duration: manifest
                .audio
                .duration_seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            options,
            limit: self.engine_limit,
            cut: self.ending.cut.clone(),
        };
        let heard = match self.pending.reserve() {
            Some(room) => self.hear(asked).await.map(|heard| (heard, room)),
            // Better not to ask an engine that may be paid for.
            None => Err(Error::PendingFull),
        };
        let (heard, room) = match heard {
            Ok(heard) => heard,
            // It stays in state stored, as after a crash.
            Err(Error::Stopping) => return Err(Error::Stopping),
            Err(error) => {
                self.record_failure(manifest, &error).await;
                return Err(error);
            }
        };
        self.finish(manifest, heard, room, stored_within).await
    }

    #[instrument(name = "transcriptions.engine", skip_all)]
    async fn hear(&self, asked: Asked) -> Result<Transcription, Error> {
        let start = Instant::now();
        let heard = unless_it_panics(Box::pin(self.engine.transcribe(asked))).await;
        self.metrics.stage(Stage::Engine, start.elapsed());
        heard
    }

    #[instrument(name = "transcriptions.store_transcript", skip_all)]
    async fn finish(
        self,
        manifest: Manifest,
        heard: Transcription,
        room: Room,
        audio_stored_within: Duration,
    ) -> Result<Complete, Error> {
        let Transcription {
            text,
            language,
            truncated,
        } = heard;
        let key = ObjectKey::transcript(&self.user, manifest.id);
        let transcript = Transcript {
            key: key.to_string(),
            size_bytes: text.len() as u64,
            sha256: upload::sha256_of(text.as_bytes()),
        };
        let complete = Complete {
            manifest: Manifest {
                state: State::Complete,
                language,
                transcript: Some(transcript),
                truncated,
                completed_at: Some(clock::now()),
                ..manifest
            },
            text: text.into(),
            is_pending: false,
        };
        let start = Instant::now();
        let stored = store(&self.storage, &self.user, &complete).await;
        let took = start.elapsed();
        self.metrics.stage(Stage::StoreTranscript, took);
        let own = audio_stored_within + took;
        self.metrics.own_seconds.observe(own.as_secs_f64());
        let id = complete.manifest.id;
        let Err(error) = stored else {
            if self.log.is_abandoned() {
                // The line of the request said no more than that.
                info!("a transcription is complete, though its caller has gone");
            } else {
                debug!("a transcription is complete");
            }
            return Ok(complete);
        };
        warn!(%error, "a text could not be stored and is kept in memory, will try again");
        let complete = Complete {
            is_pending: true,
            ..complete
        };
        if !room.hold(&self.user, complete.clone()) {
            // The caller has it at least.
            error!("a text is neither stored nor kept, since too many wait: look after the bucket");
            let manifest = Manifest {
                transcript: None,
                ..complete.manifest.clone()
            };
            self.record_failure(manifest, &error.into()).await;
            return Ok(complete);
        }
        let (storage, pending, user) = (self.storage, self.pending, self.user);
        let (ending, stored) = (self.ending, complete.clone());
        let later = async move {
            let attempt = || store(&storage, &user, &stored);
            if keep_trying(attempt, &ending, usize::MAX).await {
                pending.remove(&user, id);
                info!("a text that had waited is stored");
            } else {
                error!(
                    "a text is lost: the bucket did not take it before the service ended, and its recording stays in state stored"
                );
            }
        };
        self.jobs.spawn(later.in_current_span());
        Ok(complete)
    }

    async fn record_failure(&self, manifest: Manifest, error: &Error) {
        let manifest = Manifest {
            state: State::Failed,
            code: Some(error.code().to_owned()),
            completed_at: Some(clock::now()),
            ..manifest
        };
        if let Err(error) = write(&self.storage, &self.user, &manifest).await {
            warn!(%error, "that a transcription failed could not be stored, will try again");
            let (storage, user) = (self.storage.clone(), self.user.clone());
            let ending = self.ending.clone();
            let later = async move {
                let attempt = || write(&storage, &user, &manifest);
                if !keep_trying(attempt, &ending, MANIFEST_ATTEMPTS).await {
                    error!(
                        "a failed transcription stays in state stored, since the bucket took no word of it"
                    );
                }
            };
            self.jobs.spawn(later.in_current_span());
        }
    }
}

/// A fault in the program ends one transcription, which then has failed like others.
async fn unless_it_panics<T, E: From<Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(Error::fault().into()))
}

/// Stores the text, and then the manifest that says so.
async fn store(storage: &Storage, user: &UserId, complete: &Complete) -> Result<(), StorageError> {
    let key = ObjectKey::transcript(user, complete.manifest.id);
    let text = complete.text.clone();
    let transcript = complete.manifest.transcript.as_ref();
    let sha256 = transcript.map(|transcript| transcript.sha256.as_str());
    storage
        .put(&key, "text/plain; charset=utf-8", text, sha256)
        .await?;
    write(storage, user, &complete.manifest).await
}

/// Tries until it is done, so many times at most; whether it is. At the end of the service it is tried every second, for as long as
/// the grace lasts.
async fn keep_trying<F>(attempt: impl Fn() -> F, ending: &Ending, attempts: usize) -> bool
where
    F: Future<Output = Result<(), StorageError>>,
{
    let mut pause = FIRST_PAUSE;
    for _ in 0..attempts {
        if ending.begun.is_cancelled() {
            pause = FIRST_PAUSE;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = ending.begun.cancelled(), if !ending.begun.is_cancelled() => {}
        }
        tokio::select! {
            result = attempt() => match result {
                Ok(()) => return true,
                Err(error) => debug!(%error, "the bucket still fails"),
            },
            () = ending.cut.cancelled() => return false,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    false
}

async fn write(storage: &Storage, user: &UserId, manifest: &Manifest) -> Result<(), StorageError> {
    let key = ObjectKey::manifest(user, manifest.id);
    // Strings and numbers: this cannot fail, and an empty manifest would be found at once.
    let body = serde_json::to_vec(manifest).unwrap_or_default();
    storage
        .put(&key, "application/json", body.into(), None)
        .await
}

/// The length is a courtesy: a recording whose headers cannot be read is taken without it.
async fn duration_seconds(recording: Recording, format: AudioFormat) -> Option<f64> {
    let probe = move || audio::duration_seconds(recording.open(), format, PROBE_LIMIT);
    // It ends by itself soon after.
    let probe = tokio::task::spawn_blocking(probe);
    timeout(PROBE_LIMIT, probe).await.ok()?.ok().flatten()
}

/// A `UUIDv7` (RFC 9562 §5.7): its order is that of the uploads.
fn new_id() -> Uuid {
    let now = clock::now();
    let seconds = u64::try_from(now.unix_timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_in_an_engine_is_an_error_like_others() {
        let broken = async {
            assert!(clock::now().year() < 2000, "a fault, caused on purpose");
            Ok(())
        };

        let error = unless_it_panics::<(), Error>(broken).await.unwrap_err();

        assert_eq!(error.code(), "internal");
        unless_it_panics::<_, Error>(async { Ok(()) })
            .await
            .unwrap();
    }
}
