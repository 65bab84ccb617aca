//! Engines turn a recording into text.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use transcription_common::tls::TlsSettings;

use crate::audio::AudioFormat;
use crate::config::{EngineKind, EngineSettings};
use crate::error::Error;
use crate::memory;
use crate::metrics::TranscriptionMetrics;
use crate::storage::Recording;

mod gemini;
#[cfg(feature = "whisper")]
mod whisper;

/// Longest prompt in characters. An engine may use less of it.
const MAX_PROMPT_CHARS: usize = 2000;

/// An engine, ready to be asked.
#[derive(Clone)]
pub enum Engine {
    /// Google's API.
    Gemini(Box<gemini::Gemini>),
    /// Whisper in process.
    #[cfg(feature = "whisper")]
    Whisper(whisper::Whisper),
}

/// A recording, and what is asked of it.
pub struct Asked {
    /// Where its bytes are.
    pub recording: Recording,
    /// What they are.
    pub format: AudioFormat,
    /// Its length, where its headers tell.
    pub duration: Option<Duration>,
    /// What the client asks.
    pub options: Options,
    /// How long it may take, waiting included.
    pub limit: Duration,
    /// The service ends now.
    pub cut: CancellationToken,
}

/// What the client asks of the engine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The language that is spoken; without it the engine finds out.
    pub language: Option<Language>,
    /// Words that the recording may hold: names, spellings, style.
    pub prompt: Option<Prompt>,
}

/// A language tag (BCP-47, RFC 5646).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    tag: String,
    primary: String,
}

impl Language {
    /// What a language must be.
    pub const RULE: &str = "must be a language tag (BCP-47), for example en or pt-BR.";

    /// Takes a tag such as `en` or `pt-BR`, or says why not.
    pub fn parse(tag: &str) -> Result<Self, String> {
        let mut subtags = tag.split('-');
        let primary = subtags.next().unwrap_or_default();
        let is_alphanumeric = |subtag: &str| subtag.bytes().all(|b| b.is_ascii_alphanumeric());
        let well_formed = (2..=3).contains(&primary.len())
            && primary.bytes().all(|b| b.is_ascii_alphabetic())
            && subtags.all(|subtag| (1..=8).contains(&subtag.len()) && is_alphanumeric(subtag));
        if !well_formed {
            return Err(Self::RULE.to_owned());
        }
        let primary = primary.to_ascii_lowercase();
        let tag = tag.to_owned();
        Ok(Self { tag, primary })
    }

    /// The tag as the client wrote it.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The language without region and script, in lower case.
    pub fn primary(&self) -> &str {
        &self.primary
    }
}

/// Words that help the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(String);

impl Prompt {
    /// Takes a prompt, or says why not.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_PROMPT_CHARS {
            return Err(format!("must have at most {MAX_PROMPT_CHARS} characters."));
        }
        Ok(Self(text.to_owned()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an engine heard.
#[derive(Clone, Debug)]
pub struct Transcription {
    /// The text; empty if nothing was said.
    pub text: String,
    /// The language that was asked for or found.
    pub language: Option<String>,
    /// Whether the engine stopped at its output limit.
    pub truncated: bool,
}

impl Engine {
    /// Makes the engine ready: it can be asked once this returns.
    pub async fn start(
        settings: &EngineSettings,
        tls: &TlsSettings,
        metrics: &TranscriptionMetrics,
    ) -> anyhow::Result<Self> {
        match settings.kind() {
            EngineKind::Gemini => {
                // Whisper does so when its model is loaded.
                memory::give_back();
                let gemini = gemini::Gemini::new(&settings.gemini, tls, metrics.clone())?;
                Ok(Self::Gemini(Box::new(gemini)))
            }
            EngineKind::Whisper => Self::start_whisper(settings, metrics).await,
        }
    }

    #[cfg(feature = "whisper")]
    async fn start_whisper(
        settings: &EngineSettings,
        metrics: &TranscriptionMetrics,
    ) -> anyhow::Result<Self> {
        let directory = settings.whisper_model.as_deref().ok_or_else(|| {
            anyhow::anyhow!("WHISPER_MODEL: needed by the engine whisper and not set; for example WHISPER_MODEL=/models/base (or set GEMINI_API_KEY for the engine gemini)")
        })?;
        let whisper =
            whisper::Whisper::load(directory, settings.whisper_workers, metrics.clone()).await?;
        Ok(Self::Whisper(whisper))
    }

    #[cfg(not(feature = "whisper"))]
    #[expect(clippy::unused_async, reason = "with the engine it loads a model")]
    async fn start_whisper(_: &EngineSettings, _: &TranscriptionMetrics) -> anyhow::Result<Self> {
        anyhow::bail!(
            "this program was built without Whisper: set GEMINI_API_KEY for the engine gemini, or use the image with -whisper in its tag"
        )
    }

    /// The model's name in answers and manifests.
    pub fn model(&self) -> &str {
        match self {
            Self::Gemini(gemini) => gemini.model(),
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.model(),
        }
    }

    /// Whether the engine can do what is asked; asked before a recording is accepted.
    #[cfg_attr(
        not(feature = "whisper"),
        expect(unused_variables, reason = "Gemini takes any language")
    )]
    pub fn check(&self, options: &Options) -> Result<(), Error> {
        match self {
            // It takes any language.
            Self::Gemini(_) => Ok(()),
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.check(options),
        }
    }

    /// What is left to do after answers; to be waited for when the service ends.
    pub fn leftovers(&self) -> TaskTracker {
        match self {
            Self::Gemini(gemini) => gemini.leftovers(),
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.leftovers(),
        }
    }

    /// Transcribes a recording.
    pub async fn transcribe(&self, asked: Asked) -> Result<Transcription, Error> {
        match self {
            Self::Gemini(gemini) => gemini.transcribe(asked).await,
            #[cfg(feature = "whisper")]
            Self::Whisper(whisper) => whisper.transcribe(asked).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_a_tag_and_its_primary_subtag_is_used() {
        assert_eq!(Language::parse("pt-BR").unwrap().primary(), "pt");
        assert_eq!(Language::parse("EN").unwrap().primary(), "en");
        for bad in [
            "e",
            "english",
            "e1",
            "en_US",
            "en-",
            "<|en|>",
            "en-toolongsubtag",
        ] {
            assert!(Language::parse(bad).is_err(), "{bad}");
        }
    }
}
