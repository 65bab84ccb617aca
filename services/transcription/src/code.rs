//! The kinds of errors that only this service has.
//!
//! `accepted` is whether the recording is kept (contract §2): once it is, every answer has its `id` and `audio_key`.

use transcription_common::code::{BOTH, Code};
use transcription_common::codes;

codes! {
    /// What this service answers and the other does not.
    pub const OWN;

    BROKEN_FORM: 400 "broken_form" {
        meaning: "The form cannot be read.",
        caller: "Send multipart/form-data with the audio in the field file.",
    }
    NO_FILE: 400 "no_file" {
        meaning: "The form has no field file.",
        caller: "Send the audio in the field file.",
    }
    TWO_FILES: 400 "two_files" {
        meaning: "The form has more than one field file.",
        caller: "Send one recording in each request.",
    }
    EMPTY_FILE: 400 "empty_file" {
        meaning: "The file has no bytes.",
        caller: "Check that the recording was saved, and send it again.",
    }
    TRANSCRIPTION_NOT_FOUND: 404 "transcription_not_found" {
        meaning: "You have no transcription with this id.",
        caller: "Check the id, and that you are logged in as the one who sent the recording.",
    }
    SLOW_UPLOAD: 408 "slow_upload" {
        meaning: "No byte of the upload arrived for 30 seconds.",
        caller: "Send it again, over a steadier connection.",
    }
    TOO_LARGE: 413 "too_large" {
        meaning: "The file is larger than this service takes.",
        caller: "Send it in parts, or compressed, for example as MP3 or Opus; detail says the limit.",
        operator: "`MAX_UPLOAD_BYTES` is the limit; a proxy before the service has one of its own.",
    }
    NOT_AUDIO: 415 "not_audio" {
        meaning: "The file is not audio that this service takes, whatever its name or label says.",
        caller: "Convert it to one of the formats that detail lists.",
    }
    AUDIO_UNDECODABLE: 422 "audio_undecodable" {
        meaning: "The recording cannot be decoded: it is damaged, or the engine does not know its codec.",
        caller: "Check that it plays; convert it, for example to WAV or FLAC, and send it again.",
        accepted: Always,
    }
    AUDIO_TOO_LONG: 422 "audio_too_long" {
        meaning: "The recording is longer than the engine takes.",
        caller: "Send it in parts.",
        operator: "gemini-3.5-transcribe takes 60 minutes, other Gemini models 9.5 hours. Whisper takes any length that `ENGINE_TIMEOUT_SECONDS` allows.",
        accepted: Always,
    }
    CONTENT_BLOCKED: 422 "content_blocked" {
        meaning: "The engine refuses the content of the recording.",
        caller: "Sending it again does not help; detail has the engine's reason.",
        operator: "The reason is Gemini's, and so are the rules. Whisper refuses nothing.",
        accepted: Always,
    }
    USER_BUSY: 429 "user_busy" {
        meaning: "You have as many transcriptions in flight as one user may.",
        caller: "Wait for one of them to end, and send this one again.",
        operator: "`MAX_CONCURRENT_PER_USER` is the limit. A transcription whose caller has gone counts until it ends.",
    }
    ENGINE_FAILED: 502 "engine_failed" {
        meaning: "The engine failed to transcribe the recording.",
        caller: "Send it again later; if it fails again, tell the operator the request_id.",
        operator: "The log line with the `request_id` says what the engine answered.",
        accepted: Always,
    }
    ENGINE_QUOTA: 503 "engine_quota" {
        meaning: "The engine's quota is used up for now.",
        caller: "Send the recording again after the seconds in the header Retry-After.",
        operator: "The quota is that of the project of `GEMINI_API_KEY`: ask Google for more, or use Whisper.",
        accepted: Always,
    }
    ENGINE_MISCONFIGURED: 503 "engine_misconfigured" {
        meaning: "The engine is not set up rightly.",
        caller: "Tell the operator the request_id; sending the recording again does not help before.",
        operator: "The log line with the `request_id` says what the engine answered: look at `GEMINI_API_KEY`, `GEMINI_MODEL`, `GEMINI_BASE_URL`, and at the account behind the key.",
        accepted: Always,
    }
    STORAGE_UNAVAILABLE: 503 "storage_unavailable" {
        meaning: "The storage does not answer as it should.",
        caller: "Send the request again after the seconds in the header Retry-After.",
        operator: "The log says which call failed and how: look at `S3_BUCKET_NAME`, the credentials and their rights, the endpoint. `s3_operation_duration_seconds` counts them by `outcome`. If `transcription_pending_bytes` is high, texts wait for the bucket and nothing more is transcribed.",
        accepted: Sometimes,
    }
    STOPPING: 503 "stopping" {
        meaning: "The service is stopping.",
        caller: "Send the recording again after the seconds in the header Retry-After.",
        operator: "It was told to stop and the grace is over. `SHUTDOWN_GRACE_SECONDS` should be longer than `ENGINE_TIMEOUT_SECONDS`.",
        accepted: Sometimes,
    }
    ENGINE_TIMEOUT: 504 "engine_timeout" {
        meaning: "Transcribing the recording took too long.",
        caller: "Send it again later, or in shorter parts.",
        operator: "`ENGINE_TIMEOUT_SECONDS` is the limit, waiting for a turn included. Whisper: more cores, a smaller model, fewer `MAX_CONCURRENT_TRANSCRIPTIONS`.",
        accepted: Always,
    }
}

/// What this service can answer.
pub fn problems() -> Vec<Code> {
    [BOTH, OWN].concat()
}
