//! What can go wrong, and the one table that says how it is answered.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tracing::{error, warn};
use transcription_common::problem::{FieldError, Problem};
use uuid::Uuid;

use crate::audio::{AudioFormat, TAKEN};
use crate::metrics::Outcome;
use crate::storage::{ObjectKey, StorageError};

/// Seconds after which storage or a place may be free again.
const RETRY_SECONDS: u32 = 5;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client hung up while it sent the form.
    #[error("the client hung up")]
    ClientGone,
    /// The form cannot be read to its end.
    #[error("the form is broken: {0}")]
    BrokenForm(String),
    /// There is no field `file`.
    #[error("the form has no file")]
    NoFile,
    /// There is more than one field `file`.
    #[error("the form has two files")]
    TwoFiles,
    /// The file has no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// The client sent nothing for a while.
    #[error("the upload stalled")]
    SlowUpload,
    /// The file is larger than is taken.
    #[error("the file has more than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The bytes are no audio that is taken.
    #[error("the bytes are no audio that is taken")]
    NotAudio,
    /// A field breaks a rule.
    #[error("an invalid field: {}: {}", .0.field, .0.message)]
    InvalidField(FieldError),
    /// The recording cannot be decoded.
    #[error("{0}")]
    Undecodable(String),
    /// The user has as many transcriptions in flight as one may.
    #[error("the user has too many transcriptions in flight")]
    UserBusy,
    /// There are as many transcriptions in flight as there may be.
    #[error("every place is taken")]
    Busy,
    /// The engine failed.
    #[error("the engine failed: {0:#}")]
    Engine(anyhow::Error),
    /// The recording is longer than the engine takes.
    #[error("the recording is too long for the engine")]
    AudioTooLong {
        /// The limit, where it is known.
        limit_seconds: Option<u64>,
    },
    /// The engine refused the content.
    #[error("the engine refused the content: {reason}")]
    ContentBlocked {
        /// Why, in the engine's word.
        reason: String,
    },
    /// The engine's quota is used up.
    #[error("the engine's quota is used up")]
    EngineQuota {
        /// When there will be more, if it is known.
        retry_after_seconds: Option<u32>,
    },
    /// The engine's settings are wrong: the key, the model, the account.
    #[error("the engine's settings are wrong: {0:#}")]
    EngineMisconfigured(anyhow::Error),
    /// The service ends before this is done.
    #[error("the service ends")]
    Stopping,
    /// So many texts wait to be stored that no more can be made.
    #[error("too many texts wait to be stored")]
    PendingFull,
    /// There is no such transcription of this user's.
    #[error("there is no such transcription")]
    TranscriptionNotFound,
    /// The engine did not end in time.
    #[error("the engine took longer than {limit_seconds} s")]
    EngineTimeout {
        /// The limit.
        limit_seconds: u64,
    },
    /// The engine says, again and again, that it ran out of time.
    #[error("the engine ran out of time on its side")]
    EngineSlow,
    /// The bucket does not answer as it should.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A fault of ours.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// A recording in a format that the engine has no decoder for.
    pub fn no_decoder(format: AudioFormat, engine: &str, decoded: &str) -> Self {
        Self::Undecodable(format!(
            "The recording is {}, which the engine {engine} cannot decode yet: convert it to {decoded}.",
            format.name()
        ))
    }

    /// The program panicked. Where is in the log already; the message, which may hold a secret, is nowhere.
    pub fn fault() -> Self {
        Self::Internal(anyhow::anyhow!("a fault in the program"))
    }

    /// The stable code of the answer, as the manifest of a failed transcription keeps it.
    pub fn code(&self) -> &'static str {
        self.parts().1
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ClientGone | Self::BrokenForm(_) => (StatusCode::BAD_REQUEST, "broken_form"),
            Self::NoFile => (StatusCode::BAD_REQUEST, "no_file"),
            Self::TwoFiles => (StatusCode::BAD_REQUEST, "two_files"),
            Self::EmptyFile => (StatusCode::BAD_REQUEST, "empty_file"),
            Self::SlowUpload => (StatusCode::REQUEST_TIMEOUT, "slow_upload"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::NotAudio => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_audio"),
            Self::InvalidField(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_field"),
            Self::Undecodable(_) => (StatusCode::UNPROCESSABLE_ENTITY, "audio_undecodable"),
            Self::AudioTooLong { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "audio_too_long"),
            Self::ContentBlocked { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "content_blocked"),
            Self::EngineQuota { .. } => (StatusCode::SERVICE_UNAVAILABLE, "engine_quota"),
            Self::EngineMisconfigured(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "engine_misconfigured")
            }
            Self::TranscriptionNotFound => (StatusCode::NOT_FOUND, "transcription_not_found"),
            Self::UserBusy => (StatusCode::TOO_MANY_REQUESTS, "user_busy"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Engine(_) => (StatusCode::BAD_GATEWAY, "engine_failed"),
            Self::EngineTimeout { .. } | Self::EngineSlow => {
                (StatusCode::GATEWAY_TIMEOUT, "engine_timeout")
            }
            Self::Storage(_) | Self::PendingFull => {
                (StatusCode::SERVICE_UNAVAILABLE, "storage_unavailable")
            }
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::ClientGone => "The upload broke off: send it again.".to_owned(),
            Self::BrokenForm(why) => format!("The form cannot be read: {why}. Send multipart/form-data with the audio in the field file."),
            Self::NoFile => "The form has no file: send the audio in the field file.".to_owned(),
            Self::TwoFiles => "The form has more than one field file: send one recording a request.".to_owned(),
            Self::EmptyFile => "The file is empty.".to_owned(),
            Self::SlowUpload => "No byte of the upload arrived for 30 seconds: send it again.".to_owned(),
            Self::TooLarge { limit_bytes } => format!("The file is larger than the {limit_bytes} bytes that are taken."),
            Self::NotAudio => format!("The file is not audio that is taken, whatever its name or label says. Taken are: {TAKEN}."),
            Self::InvalidField(FieldError { field, message }) => format!("{field}: {message}"),
            Self::Undecodable(why) => why.clone(),
            Self::AudioTooLong { limit_seconds: Some(seconds) } => format!("The recording is longer than the {} minutes that the engine takes: send it in parts.", seconds / 60),
            Self::AudioTooLong { limit_seconds: None } => "The recording is longer than the engine takes: send it in parts.".to_owned(),
            Self::ContentBlocked { reason } => format!("The recording is stored, but the engine refuses to transcribe it ({reason})."),
            Self::EngineQuota { .. } => "The recording is stored, but the engine's quota is used up for now.".to_owned(),
            Self::EngineMisconfigured(_) => "The recording is stored, but the engine is not set up rightly; the request id tells the operator where to look.".to_owned(),
            Self::TranscriptionNotFound => "You have no transcription with this id.".to_owned(),
            Self::UserBusy => "You have as many transcriptions in flight as one user may: wait for one to end.".to_owned(),
            Self::Busy => "As many transcriptions are in flight as this service takes: try again in a moment.".to_owned(),
            Self::Engine(_) => "The recording is stored, but the engine failed to transcribe it; the request id tells the operator where to look.".to_owned(),
            Self::EngineTimeout { limit_seconds } => format!("The recording is stored, but transcribing it took longer than {limit_seconds} seconds: send shorter recordings."),
            Self::EngineSlow => "The recording is stored, but the engine said again and again that it ran out of time: try again later, or send shorter recordings.".to_owned(),
            Self::Stopping => "The service ends now: try again in a moment.".to_owned(),
            Self::Storage(_) | Self::PendingFull => "The storage does not answer as it should: try again in a moment.".to_owned(),
            Self::Internal(_) => "Something went wrong on our side; the request id tells the operator where to look.".to_owned(),
        }
    }

    /// The seconds after which another attempt may do better, if waiting helps.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        match self {
            Self::EngineQuota {
                retry_after_seconds,
            } => *retry_after_seconds,
            Self::UserBusy | Self::Busy | Self::Storage(_) | Self::PendingFull | Self::Stopping => {
                Some(RETRY_SECONDS)
            }
            _ => None,
        }
    }

    /// How a request that ends so is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::ClientGone => Outcome::ClientGone,
            Self::BrokenForm(_)
            | Self::NoFile
            | Self::TwoFiles
            | Self::EmptyFile
            | Self::InvalidField(_)
            | Self::TranscriptionNotFound => Outcome::BadRequest,
            Self::SlowUpload => Outcome::SlowUpload,
            Self::TooLarge { .. } => Outcome::TooLarge,
            Self::NotAudio => Outcome::Unsupported,
            Self::Undecodable(_) | Self::AudioTooLong { .. } => Outcome::Undecodable,
            Self::ContentBlocked { .. } => Outcome::Blocked,
            Self::UserBusy | Self::Busy => Outcome::Busy,
            Self::EngineQuota { .. } => Outcome::Quota,
            Self::EngineMisconfigured(_) => Outcome::EngineConfig,
            Self::EngineTimeout { .. } | Self::EngineSlow => Outcome::Timeout,
            Self::Storage(_) | Self::PendingFull => Outcome::Storage,
            Self::Engine(_) | Self::Internal(_) | Self::Stopping => Outcome::Engine,
        }
    }

    /// Writes the cause into the log if someone should look; no client sees it. All else is in the line of the request, unless that
    /// says no more than that the client hung up.
    fn log(&self, is_abandoned: bool) {
        match self {
            Self::Internal(cause) => error!(
                cause = format!("{cause:#}"),
                "a request failed by a fault of ours"
            ),
            Self::EngineMisconfigured(cause) => error!(
                cause = format!("{cause:#}"),
                "the engine's settings are wrong: check its key and its model"
            ),
            Self::Engine(cause) => error!(cause = format!("{cause:#}"), "the engine failed"),
            Self::Storage(cause) => error!(%cause, "the bucket failed"),
            other if is_abandoned => warn!(
                code = other.code(),
                "a recording is stored but not transcribed, and its caller has gone"
            ),
            _ => {}
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = error.parts();
        let mut problem = match &error {
            Error::InvalidField(field) => Self::invalid_fields(vec![field.clone()]),
            _ => Self::new(status, code, error.detail()),
        };
        if let Some(seconds) = error.retry_after_seconds() {
            problem = problem.with_retry_after(seconds);
        }
        problem
    }
}

/// An error and what caused it, the outermost first.
pub fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The outermost cause of this kind.
pub fn find_cause<'a, T: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error as it is answered: with the names of the recording, if that was accepted before. It is logged when it is made, and not
/// when it is answered: the caller may have gone.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    accepted: Option<(Uuid, ObjectKey)>,
}

impl Failure {
    /// What is said of a recording that was accepted under this id and key; is there still someone to hear it?
    pub fn of_accepted(error: Error, accepted: (Uuid, ObjectKey), is_abandoned: bool) -> Self {
        error.log(is_abandoned);
        Self {
            error,
            accepted: Some(accepted),
        }
    }

    /// How a request that ends so is counted.
    pub fn outcome(&self) -> Outcome {
        self.error.outcome()
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        error.log(false);
        Self {
            error,
            accepted: None,
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut problem = Problem::from(self.error);
        if let Some((id, audio_key)) = self.accepted {
            problem = problem
                .with_member("id", id.to_string())
                .with_member("audio_key", audio_key.as_str());
        }
        problem.into_response()
    }
}
