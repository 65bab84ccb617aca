//! What can go wrong, and the one table that says how it is answered.

use axum::response::{IntoResponse, Response};
use tracing::{error, warn};
use transcription_common::code::{BUSY, Code, INTERNAL, INVALID_FIELD};
use transcription_common::documentation::Example;
use transcription_common::jwt::UserId;
use transcription_common::management::{self, Part};
use transcription_common::problem::{FieldError, Problem, wait_in_words};
use uuid::Uuid;

use crate::audio::{AudioFormat, TAKEN};
use crate::code;
use crate::engine::Language;
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
            "The recording is {}, which the engine {engine} cannot decode: convert it to {decoded}, and send it again.",
            format.name()
        ))
    }

    /// The program panicked. Where is in the log already; the message, which may hold a secret, is nowhere.
    pub fn fault() -> Self {
        Self::Internal(anyhow::anyhow!("a fault in the program"))
    }

    /// The stable code of the answer, as the manifest of a failed transcription keeps it.
    pub fn code(&self) -> &'static str {
        self.kind().name()
    }

    fn kind(&self) -> Code {
        match self {
            Self::ClientGone | Self::BrokenForm(_) => code::BROKEN_FORM,
            Self::NoFile => code::NO_FILE,
            Self::TwoFiles => code::TWO_FILES,
            Self::EmptyFile => code::EMPTY_FILE,
            Self::SlowUpload => code::SLOW_UPLOAD,
            Self::TooLarge { .. } => code::TOO_LARGE,
            Self::NotAudio => code::NOT_AUDIO,
            Self::InvalidField(_) => INVALID_FIELD,
            Self::Undecodable(_) => code::AUDIO_UNDECODABLE,
            Self::AudioTooLong { .. } => code::AUDIO_TOO_LONG,
            Self::ContentBlocked { .. } => code::CONTENT_BLOCKED,
            Self::EngineQuota { .. } => code::ENGINE_QUOTA,
            Self::EngineMisconfigured(_) => code::ENGINE_MISCONFIGURED,
            Self::TranscriptionNotFound => code::TRANSCRIPTION_NOT_FOUND,
            Self::UserBusy => code::USER_BUSY,
            Self::Busy => BUSY,
            Self::Engine(_) => code::ENGINE_FAILED,
            Self::EngineTimeout { .. } | Self::EngineSlow => code::ENGINE_TIMEOUT,
            Self::Storage(_) | Self::PendingFull => code::STORAGE_UNAVAILABLE,
            Self::Stopping => code::STOPPING,
            Self::Internal(_) => INTERNAL,
        }
    }

    /// What happened and what to do; that the recording is stored, if it is, is said before this.
    fn detail(&self) -> String {
        match self {
            Self::ClientGone => "The upload broke off: send it again.".to_owned(),
            Self::BrokenForm(why) => format!("The form cannot be read: {why}. {}", self.kind().remedy()),
            Self::TooLarge { limit_bytes } => format!("The file is larger than the {} that are taken: send it in parts, or compressed, for example as MP3 or Opus.", size_in_words(*limit_bytes)),
            Self::NotAudio => format!("The file is not audio that is taken, whatever its name or label says. Taken are: {TAKEN}."),
            Self::InvalidField(FieldError { field, message }) => format!("{field}: {message}"),
            Self::Undecodable(why) => why.clone(),
            Self::AudioTooLong { limit_seconds: Some(seconds) } => format!("The recording is longer than the {} minutes that the engine takes: send it in parts.", seconds / 60),
            Self::ContentBlocked { reason } => format!("The engine refuses the content of the recording ({reason}): sending it again does not help."),
            Self::EngineQuota { retry_after_seconds: Some(seconds) } => format!("The engine's quota is used up for now: send the recording again in {}.", wait_in_words(*seconds)),
            Self::EngineQuota { retry_after_seconds: None } => "The engine's quota is used up for now: send the recording again later.".to_owned(),
            Self::Stopping => "The service is stopping: send the recording again in a moment.".to_owned(),
            Self::Storage(_) | Self::PendingFull => "The storage does not answer as it should: try again in a moment.".to_owned(),
            Self::Busy => "As many transcriptions are in flight as this service takes: try again in a moment.".to_owned(),
            Self::EngineTimeout { limit_seconds } => format!("Transcribing the recording took longer than {limit_seconds} seconds, waiting for its turn included: send it again later, or in shorter parts."),
            Self::EngineSlow => "The engine said again and again that it ran out of time: send the recording again later, or in shorter parts.".to_owned(),
            Self::NoFile
            | Self::TwoFiles
            | Self::EmptyFile
            | Self::SlowUpload
            | Self::AudioTooLong { limit_seconds: None }
            | Self::EngineMisconfigured(_)
            | Self::TranscriptionNotFound
            | Self::UserBusy
            | Self::Engine(_)
            | Self::Internal(_) => self.kind().sentence(),
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

/// A limit as programs and as people read it.
fn size_in_words(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes / MIB {
        0 => format!("{bytes} bytes"),
        mebibytes if bytes.is_multiple_of(MIB) => format!("{bytes} bytes ({mebibytes} MiB)"),
        mebibytes => format!("{bytes} bytes (about {mebibytes} MiB)"),
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut problem = match &error {
            Error::InvalidField(field) => Self::invalid_fields(vec![field.clone()]),
            other => Self::new(other.kind(), other.detail()),
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

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let Failure { error, accepted } = failure;
        let problem = Self::from(error);
        match accepted {
            None => problem,
            Some((id, audio_key)) => problem
                .after("The recording is stored, but it has no text.")
                .with_member("id", id.to_string())
                .with_member("audio_key", audio_key.as_str()),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// Every problem that the service answers, as it looks.
pub fn examples() -> anyhow::Result<Vec<Example>> {
    let example = || anyhow::anyhow!("an example");
    let early = [
        Error::BrokenForm("incomplete multipart stream".to_owned()),
        Error::TooLarge {
            limit_bytes: 200 * 1024 * 1024,
        },
        Error::NotAudio,
        Error::InvalidField(FieldError::new("language", Language::RULE)),
        Error::UserBusy,
        Error::Busy,
        Error::PendingFull,
        Error::Stopping,
    ];
    let late = [
        Error::no_decoder(AudioFormat::Matroska, "gemini", "WAV, MP3 or FLAC"),
        Error::AudioTooLong {
            limit_seconds: Some(3600),
        },
        Error::ContentBlocked {
            reason: "PROHIBITED_CONTENT".to_owned(),
        },
        Error::Engine(example()),
        Error::EngineQuota {
            retry_after_seconds: Some(35),
        },
        Error::EngineMisconfigured(example()),
        Error::EngineTimeout { limit_seconds: 600 },
    ];
    let user = "1".parse::<UserId>();
    let user = user.map_err(|rejection| anyhow::anyhow!("{rejection}"))?;
    let id = Uuid::from_u128(0x01a2_0442_4fb7_71e2_bd64_ded8_192c_a8b9);
    let late = late.map(|error| Failure {
        error,
        accepted: Some((id, ObjectKey::audio(&user, id, AudioFormat::Mp3))),
    });
    let bucket = Part {
        name: "bucket",
        state: Err("it does not answer as it should.".to_owned()),
    };
    let own = early.map(Problem::from).into_iter();
    let own = own.chain(late.map(Problem::from));
    let own = own.chain([management::not_ready(vec![bucket])]);
    Ok(Example::problems(&code::problems(), own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use transcription_common::code::Accepted;

    #[test]
    fn the_kinds_that_are_always_accepted_are_shown_with_their_recording() {
        for example in examples().unwrap() {
            let name = example.code().name();
            let accepted = example.code().accepted() == Accepted::Always;
            assert_eq!(example.body()["id"].is_string(), accepted, "{name}");
            assert_eq!(example.body()["audio_key"].is_string(), accepted, "{name}");
        }
    }

    #[test]
    fn a_limit_is_said_in_bytes_and_in_a_unit_for_people() {
        assert_eq!(size_in_words(3000), "3000 bytes");
        assert_eq!(size_in_words(209_715_200), "209715200 bytes (200 MiB)");
        assert_eq!(size_in_words(9_000_000), "9000000 bytes (about 8 MiB)");
    }
}
