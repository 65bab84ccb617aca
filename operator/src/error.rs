//! What can go wrong while a stack is worked on.

use std::sync::Arc;
use std::time::Duration;

use crate::reason::Reason;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server said no, or nothing.
    #[error("{doing}: {source}")]
    Api {
        /// What was being done.
        doing: String,
        /// What came of it.
        source: Box<kube::Error>,
    },
    /// Nothing came in time.
    #[error("{doing}: no answer within {} s", .limit.as_secs())]
    TimedOut {
        /// What was being done.
        doing: String,
        /// How long it could take.
        limit: Duration,
    },
    /// What a person has to mend.
    #[error("{message}")]
    Stalled {
        /// In one word.
        reason: Reason,
        /// In a sentence.
        message: String,
    },
    /// What goes by itself.
    #[error("{0}")]
    Waiting(String),
    /// One of several, which the conditions tell.
    #[error("{0}")]
    Several(Arc<Error>),
    /// An object of ours cannot be written as JSON.
    #[error("writing an object as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// Something that the API server refuses for good: asking again changes nothing.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Stalled { .. } => true,
            Self::Several(error) => error.is_final(),
            Self::Api { source, .. } => {
                matches!(&**source, kube::Error::Api(status) if matches!(status.code, 400 | 413 | 422))
            }
            Self::TimedOut { .. } | Self::Waiting(_) | Self::Json(_) => false,
        }
    }

    /// What the API server takes for wrong in itself.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 422))
    }

    /// In one word, for the conditions.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Stalled { reason, .. } => *reason,
            Self::Waiting(_) => Reason::Waiting,
            Self::Several(error) => error.reason(),
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status)
                    if (400..500).contains(&status.code)
                        && ![408, 409, 429].contains(&status.code) =>
                {
                    Reason::Refused
                }
                _ => Reason::ApiUnavailable,
            },
            Self::TimedOut { .. } | Self::Json(_) => Reason::ApiUnavailable,
        }
    }

    /// In a sentence, for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Api { doing, source } => match &**source {
                kube::Error::Api(status) => {
                    format!("{doing}: the API server says: {}", status.message)
                }
                other => format!("{doing}: {other}"),
            },
            Self::Several(error) => error.sentence(),
            Self::Stalled { .. } | Self::TimedOut { .. } | Self::Waiting(_) | Self::Json(_) => {
                self.to_string()
            }
        }
    }
}
