//! The releases of the two services that this operator can run.
//!
//! What a release renders never changes: a stack keeps its release until its spec asks for another, so that a new operator alone
//! restarts nothing.

use std::fmt::{self, Display, Formatter};

use crate::api::transcription::Engine;
use crate::names::Component;

/// Where images are by default.
pub const IMAGE_PREFIX: &str = "ghcr.io/transcription-stack";

/// A release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// The first.
    V0_1_0,
}

impl Release {
    /// All of them, the oldest first.
    pub const ALL: [Self; 1] = [Self::V0_1_0];
    /// What a new stack is made with.
    pub const NEWEST: Self = Self::V0_1_0;

    /// Its number.
    pub const fn number(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
        }
    }

    /// The release with this number, if this operator knows it.
    pub fn of(number: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|release| release.number() == number)
    }

    /// The image of a component.
    pub fn image(self, prefix: &str, component: Component, engine: &Engine) -> String {
        let with_whisper = component == Component::Transcription && engine.whisper.is_some();
        let variant = if with_whisper { "-whisper" } else { "" };
        format!("{prefix}/{}:{self}{variant}", component.program())
    }
}

impl Display for Release {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.number())
    }
}
