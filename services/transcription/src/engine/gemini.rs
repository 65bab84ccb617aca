//! Google's Gemini API, by its REST contract (<https://ai.google.dev/api/generate-content>).
//!
//! Small recordings go inline, as base64 in a stream; larger ones by the Files API, and are deleted there afterwards. A request is
//! billed, so it is asked again only as long as nothing of an answer has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span, warn};
use transcription_common::tls::TlsSettings;
use url::Url;

use super::{Asked, Transcription};
use crate::audio::AudioFormat;
use crate::config::GeminiSettings;
use crate::error::Error;
use crate::metrics::TranscriptionMetrics;

mod answer;
mod ask;
mod files;
mod quota;
mod refusal;
mod request;

use answer::Answer;
use ask::{Asker, WithBody};
use request::{Audio, GenerateRequest};

/// The model that is made for transcription: it takes its settings, and no words.
const TRANSCRIBE_MODEL: &str = "gemini-3.5-transcribe";
/// Larger recordings go by the Files API. In base64 this is within the 20 MB that Google once named as the limit of a request.
const MAX_INLINE_BYTES: u64 = 14 * 1024 * 1024;
/// What the transcribing model takes, and what the others take.
const MAX_TRANSCRIBE_SECONDS: u64 = 60 * 60;
const MAX_PROMPTED_SECONDS: u64 = 9 * 60 * 60 + 30 * 60;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer; a text of 65,536 tokens with its words is some megabytes.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// The engine.
#[derive(Clone)]
pub struct Gemini {
    client: Client,
    key: HeaderValue,
    base_url: Url,
    model: Arc<str>,
    metrics: TranscriptionMetrics,
    told_of_retirement: Arc<AtomicBool>,
    /// Files that are being deleted.
    leftovers: TaskTracker,
}

impl Gemini {
    /// Prepares the client. Asks nobody: a wrong key is found by the first request.
    pub fn new(
        settings: &GeminiSettings,
        tls: &TlsSettings,
        metrics: TranscriptionMetrics,
    ) -> anyhow::Result<Self> {
        let GeminiSettings {
            gemini_api_key,
            gemini_model,
            gemini_base_url,
        } = settings;
        let key = gemini_api_key.as_ref().context(
            "GEMINI_API_KEY: needed by the engine gemini and not set; Google AI Studio gives one",
        )?;
        let mut key = HeaderValue::from_str(key.expose_secret())
            .map_err(|_| anyhow::anyhow!("GEMINI_API_KEY: it has characters that no key has"))?;
        key.set_sensitive(true);
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(Policy::none())
            .tls_certs_merge(tls.certificates()?)
            .build()
            .context("preparing the client for Gemini")?;
        Ok(Self {
            client,
            key,
            base_url: gemini_base_url.clone(),
            model: gemini_model.as_str().into(),
            metrics,
            told_of_retirement: Arc::default(),
            leftovers: TaskTracker::new(),
        })
    }

    /// The name of the model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What is left to do after answers.
    pub fn leftovers(&self) -> TaskTracker {
        self.leftovers.clone()
    }

    /// Transcribes a recording within its limit.
    pub async fn transcribe(&self, asked: Asked) -> Result<Transcription, Error> {
        let span = info_span!(
            "generate_content",
            otel.name = format!("generate_content {}", self.model),
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.operation.name = "generate_content",
            gen_ai.provider.name = "gcp.gemini",
            gen_ai.request.model = &*self.model,
            gen_ai.response.model = Empty,
            gen_ai.response.id = Empty,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            http.request.resend_count = Empty,
            error.r#type = Empty,
        );
        let start = Instant::now();
        let duration = asked.duration;
        let result = self.transcribe_in(asked).instrument(span.clone()).await;
        match &result {
            Ok(_) => {
                let seconds = duration.unwrap_or_default().as_secs_f64();
                self.metrics.realtime_factor(start.elapsed(), seconds);
            }
            Err(error) => {
                span.record("otel.status_code", "ERROR");
                span.record("error.type", error.code());
            }
        }
        result
    }

    async fn transcribe_in(&self, asked: Asked) -> Result<Transcription, Error> {
        self.check_length(&asked)?;
        let media_type = self.media_type(asked.format)?;
        let google = Asker {
            client: self.client.clone(),
            key: self.key.clone(),
            base_url: self.base_url.clone(),
            metrics: self.metrics.clone(),
            deadline: Instant::now() + asked.limit,
            limit: asked.limit,
        };
        if asked.recording.size_bytes() <= MAX_INLINE_BYTES {
            let audio = Audio::Inline {
                media_type,
                recording: asked.recording.clone(),
            };
            return tokio::select! {
                result = self.generate(&google, audio, &asked) => result,
                () = asked.cut.cancelled() => Err(Error::Stopping),
            };
        }
        let file = files::File::new();
        let by_file = async {
            let uri = file.upload(&google, &asked.recording, media_type).await?;
            let audio = Audio::File { media_type, uri };
            self.generate(&google, audio, &asked).await
        };
        let generated = tokio::select! {
            result = by_file => result,
            () = asked.cut.cancelled() => Err(Error::Stopping),
        };
        // Whatever came of it: a recording must not stay at Google. The text, which is paid for, does not wait for that.
        let deleted = file.delete(google, asked.cut);
        self.leftovers.spawn(deleted.in_current_span());
        generated
    }

    async fn generate(
        &self,
        google: &Asker,
        audio: Audio,
        asked: &Asked,
    ) -> Result<Transcription, Error> {
        let request = GenerateRequest::new(self.is_transcriber(), audio, &asked.options);
        let path = format!("v1beta/models/{}:generateContent", self.model);
        let response = google
            .send(|| {
                Ok(self
                    .client
                    .post(google.url(&path)?)
                    .with_body(request.body()))
            })
            .await?;
        let answer: Answer = read(response, google).await?;
        self.note(&answer);
        answer.into_transcription(self.is_transcriber(), &asked.options)
    }

    fn note(&self, answer: &Answer) {
        let (input, output) = answer.tokens();
        self.metrics.tokens(input, output);
        let span = Span::current();
        span.record("gen_ai.usage.input_tokens", input);
        span.record("gen_ai.usage.output_tokens", output);
        span.record("gen_ai.response.id", answer.id());
        span.record("gen_ai.response.model", answer.model());
        span.record("gen_ai.response.finish_reasons", answer.finish_reason());
        if let Some(retirement) = answer.retirement()
            && !self.told_of_retirement.swap(true, Ordering::Relaxed)
        {
            warn!(
                model = &*self.model,
                retirement, "Google retires this model: set GEMINI_MODEL to another one"
            );
        }
    }

    fn is_transcriber(&self) -> bool {
        &*self.model == TRANSCRIBE_MODEL
    }

    /// Google would refuse it, or bill it and stop half way.
    fn check_length(&self, asked: &Asked) -> Result<(), Error> {
        let limit_seconds = if self.is_transcriber() {
            MAX_TRANSCRIBE_SECONDS
        } else {
            MAX_PROMPTED_SECONDS
        };
        let limit = Duration::from_secs(limit_seconds);
        match asked.duration {
            Some(duration) if duration > limit => Err(Error::AudioTooLong {
                limit_seconds: Some(limit_seconds),
            }),
            _ => Ok(()),
        }
    }

    /// The name of the format as Google has it, if the model takes it.
    fn media_type(&self, format: AudioFormat) -> Result<&'static str, Error> {
        let all = "WAV, MP3, AIFF, AAC, Ogg or FLAC";
        match format {
            AudioFormat::Wav => Ok("audio/wav"),
            AudioFormat::Mp3 => Ok("audio/mp3"),
            AudioFormat::Aiff => Ok("audio/aiff"),
            AudioFormat::Aac => Ok("audio/aac"),
            AudioFormat::Ogg => Ok("audio/ogg"),
            AudioFormat::Flac => Ok("audio/flac"),
            AudioFormat::Mp4 if self.is_transcriber() => Ok("audio/m4a"),
            AudioFormat::WebM if self.is_transcriber() => Ok("audio/webm"),
            AudioFormat::Mp4 | AudioFormat::WebM | AudioFormat::Matroska => {
                Err(Error::no_decoder(format, "gemini", all))
            }
        }
    }
}

/// Reads an answer to its end. That of a model is billed from its first byte on, so whatever is wrong with it is final.
async fn read<T: DeserializeOwned>(mut response: Response, google: &Asker) -> Result<T, Error> {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) if error.is_timeout() => return Err(google.too_late()),
            Err(error) => {
                let error = anyhow::Error::new(error.without_url());
                return Err(Error::Engine(error.context("Gemini's answer broke off")));
            }
        }
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(Error::Engine(anyhow::anyhow!("Gemini's answer has no end")));
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::Engine(anyhow::anyhow!("Gemini's answer cannot be read ({place})"))
    })
}
