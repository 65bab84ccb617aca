//! The record of a transcription in the bucket: what was taken, what came of it. There is no other database.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// The version of this layout.
pub const SCHEMA_VERSION: u32 = 1;

/// What the bucket's manifest of a transcription says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the layout.
    pub schema_version: u32,
    /// The id of the transcription.
    pub id: Uuid,
    /// The id of the user whose it is.
    pub user_id: String,
    /// How far it is.
    pub state: State,
    /// Why it failed, with state `failed`: the `code` of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The name that the client gave the file.
    pub filename: String,
    /// The language of the text, or the one that was asked for, as BCP-47 has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The engine: `gemini` or `whisper`.
    pub engine: String,
    /// The engine's model.
    pub model: String,
    /// The recording.
    pub audio: Audio,
    /// The text, with state `complete`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// Whether the engine stopped at its output limit: the text is not all that was said. Left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// When the recording was accepted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it was complete or had failed.
    #[serde(
        default,
        with = "time::serde::rfc3339::option",
        skip_serializing_if = "Option::is_none"
    )]
    pub completed_at: Option<OffsetDateTime>,
}

/// How far a transcription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The recording is accepted; there is no text yet.
    Stored,
    /// The text is stored.
    Complete,
    /// There will be no text; `code` says why.
    Failed,
}

/// A recording in the bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Audio {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// Its media type, from the bytes.
    pub content_type: String,
    /// Its length in seconds, as the container's headers tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
}

/// A text in the bucket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transcript {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}
