//! Engines turn a recording into text.

use std::time::Duration;

use crate::audio::AudioFormat;
use crate::config::EngineSettings;
use crate::error::Error;
use crate::storage::Recording;

#[cfg(feature = "whisper")]
mod whisper;

/// Longest prompt in characters. An engine may use less of it.
const MAX_PROMPT_CHARS: usize = 2000;

/// An engine, ready to be asked.
#[derive(Clone)]
pub enum Engine {
    /// Whisper in process.
    #[cfg(feature = "whisper")]
    Whisper(whisper::Whisper),
}

/// What the client asks of the engine.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The language that is spoken; without it the engine finds out.
    pub language: Option<Language>,
    /// Words that the recording may hold: names, spellings, style.
    pub prompt: Option<Prompt>,
}

/// A language tag (BCP-47, RFC 5646), of which engines use the primary subtag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    primary: String,
}

impl Language {
    /// Takes a tag such as `en` or `pt-BR`, or says why not.
    pub fn parse(tag: &str) -> Result<Self, String> {
        let mut subtags = tag.split('-');
        let primary = subtags.next().unwrap_or_default();
        let is_alphanumeric = |subtag: &str| subtag.bytes().all(|b| b.is_ascii_alphanumeric());
        let well_formed = (2..=3).contains(&primary.len())
            && primary.bytes().all(|b| b.is_ascii_alphabetic())
            && subtags.all(|subtag| (1..=8).contains(&subtag.len()) && is_alphanumeric(subtag));
        if !well_formed {
            return Err("must be a language tag (BCP-47), for example en or pt-BR.".to_owned());
        }
        let primary = primary.to_ascii_lowercase();
        Ok(Self { primary })
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
}

#[cfg_attr(
    not(feature = "whisper"),
    expect(
        unused_variables,
        clippy::unused_async,
        reason = "there is no engine to ask"
    )
)]
impl Engine {
    /// Makes the engine ready: it can be asked once this returns.
    pub async fn start(settings: &EngineSettings) -> anyhow::Result<Self> {
        #[cfg(feature = "whisper")]
        return Ok(Self::Whisper(
            whisper::Whisper::load(&settings.whisper_model).await?,
        ));
        #[cfg(not(feature = "whisper"))]
        anyhow::bail!(
            "this program was built without an engine that could use {}: build it with --features whisper",
            settings.whisper_model.display()
        );
    }

    /// The engine's name in answers and manifests.
    pub fn name(&self) -> &'static str {
        match *self {
            #[cfg(feature = "whisper")]
            Self::Whisper(_) => "whisper",
        }
    }

    /// The model's name in answers and manifests.
    pub fn model(&self) -> &str {
        match *self {
            #[cfg(feature = "whisper")]
            Self::Whisper(ref whisper) => whisper.model(),
        }
    }

    /// Whether the engine can do what is asked; asked before a recording is accepted.
    pub fn check(&self, options: &Options) -> Result<(), Error> {
        match *self {
            #[cfg(feature = "whisper")]
            Self::Whisper(ref whisper) => whisper.check(options),
        }
    }

    /// Transcribes a recording within `limit`, waiting for its turn included.
    pub async fn transcribe(
        &self,
        recording: Recording,
        format: AudioFormat,
        options: Options,
        limit: Duration,
    ) -> Result<Transcription, Error> {
        match *self {
            #[cfg(feature = "whisper")]
            Self::Whisper(ref whisper) => {
                whisper.transcribe(recording, format, options, limit).await
            }
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
