//! The releases of the two services that this operator can run.
//!
//! What a release renders never changes: a stack keeps its release until its spec asks for another, so that a new operator alone
//! restarts nothing. The files in `tests/data/rendered` hold it to that.

use std::fmt::{self, Display, Formatter};

use crate::api::transcription::Engine;
use crate::names::Component;

/// Where images are by default.
pub const IMAGE_PREFIX: &str = "ghcr.io/transcription-stack";

/// A release, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release(&'static str);

impl Release {
    /// The first.
    pub const V0_1_0: Self = Self("0.1.0");
    /// The one that this operator was released with.
    pub const NEWEST: Self = Self::V0_1_0;

    /// The release with this number.
    pub const fn new(number: &'static str) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> &'static str {
        self.0
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

/// The releases that an operator can run, the oldest first.
#[derive(Clone, Debug)]
pub struct Releases {
    older: Vec<Release>,
    newest: Release,
}

impl Default for Releases {
    fn default() -> Self {
        Self {
            older: Vec::new(),
            newest: Release::NEWEST,
        }
    }
}

impl Releases {
    /// With a release that is newer than all of them.
    #[must_use]
    pub fn and(mut self, newest: Release) -> Self {
        self.older.push(self.newest);
        self.newest = newest;
        self
    }

    /// What a new stack is made with.
    pub const fn newest(&self) -> Release {
        self.newest
    }

    /// The release with this number, if it can be run.
    pub fn of(&self, number: &str) -> Option<Release> {
        self.all().find(|release| release.number() == number)
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> impl Iterator<Item = Release> {
        self.older.iter().copied().chain([self.newest])
    }
}
