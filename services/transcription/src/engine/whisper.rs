//! Whisper in process, by CTranslate2.
//!
//! A window of 30 s is turned into a log-mel spectrogram, the model predicts text with timestamps, and the next window
//! begins where the last whole sentence ended, as in OpenAI's `transcribe.py`.

use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context;
use ct2rs::sys::{self, ComputeType, StorageView, WhisperOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::{debug, info};
use transcription_common::problem::FieldError;

use super::{Asked, Options, Transcription};
use crate::audio::AudioFormat;
use crate::audio::decode::{DecodeError, SAMPLE_RATE, Samples};
use crate::error::Error;
use crate::metrics::TranscriptionMetrics;
use crate::storage::Recording;

mod mel;
mod tokens;
mod windows;

use mel::{FRAMES, LogMel, WINDOW_SAMPLES};
use tokens::Tokens;

/// A window is left out as silent if the model says so with this probability and is unsure of its text besides
/// (OpenAI's `no_speech_threshold` and `logprob_threshold`).
const NO_SPEECH_PROBABILITY: f32 = 0.6;
const UNSURE_LOG_PROBABILITY: f32 = -1.0;
/// Alternatives that are followed at once, as OpenAI's command does.
const BEAM_SIZE: usize = 5;
/// The files of a model's directory that are needed beside the vocabulary.
const MODEL_FILES: [&str; 3] = ["model.bin", "config.json", "tokenizer.json"];

/// A loaded model. One recording is transcribed at a time, on all cores; the others wait in order of arrival.
#[derive(Clone)]
pub struct Whisper {
    name: Arc<str>,
    model: Arc<Model>,
    turns: Arc<Semaphore>,
    metrics: TranscriptionMetrics,
}

struct Model {
    whisper: sys::Whisper,
    tokens: Tokens,
    mel: LogMel,
}

impl Whisper {
    /// Loads the model in `directory`.
    pub async fn load(directory: &Path, metrics: TranscriptionMetrics) -> anyhow::Result<Self> {
        let start = Instant::now();
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let name = Arc::<str>::from(name);
        let directory = directory.to_owned();
        let model = tokio::task::spawn_blocking(move || Model::load(&directory))
            .await
            .context("loading the model on its thread")??;
        let multilingual = model.tokens.is_multilingual();
        info!(
            model = &*name,
            multilingual,
            duration_seconds = start.elapsed().as_secs_f64(),
            "the Whisper model is loaded"
        );
        Ok(Self {
            name,
            model: Arc::new(model),
            turns: Arc::new(Semaphore::new(1)),
            metrics,
        })
    }

    /// The name of the model: that of its directory.
    pub fn model(&self) -> &str {
        &self.name
    }

    /// Whether the model knows the language that is asked for.
    pub fn check(&self, options: &Options) -> Result<(), Error> {
        let Some(language) = &options.language else {
            return Ok(());
        };
        if self.model.tokens.knows_language(language.primary()) {
            return Ok(());
        }
        let message = format!(
            "the model {} does not know the language {}: leave the field out, or use another model.",
            self.name,
            language.primary()
        );
        Err(Error::InvalidField(FieldError::new("language", message)))
    }

    /// Transcribes a recording within its limit, waiting for its turn included.
    pub async fn transcribe(&self, asked: Asked) -> Result<Transcription, Error> {
        let Asked {
            recording,
            format,
            duration: _,
            options,
            limit,
            cut: _,
        } = asked;
        if !matches!(format, AudioFormat::Wav | AudioFormat::Flac) {
            return Err(Error::no_decoder(format, "whisper", "WAV or FLAC"));
        }
        let deadline = Instant::now() + limit;
        let too_late = || Error::EngineTimeout {
            limit_seconds: limit.as_secs(),
        };
        let turn = self.turn(limit).await?.ok_or_else(too_late)?;
        let model = Arc::clone(&self.model);
        let work = tokio::task::spawn_blocking(move || {
            let result = model.transcribe(&recording, format, &options, deadline);
            drop(turn);
            result
        });
        let result = work.await.context("transcribing on its thread")?;
        result.map_err(|failure| match failure {
            Failure::TooLate => too_late(),
            Failure::Decode(DecodeError::Undecodable(why)) => Error::Undecodable(why),
            Failure::Decode(DecodeError::Read(error)) => Error::Storage(error),
            Failure::Engine(error) => Error::Engine(error),
        })
    }
}

impl Whisper {
    /// The next turn, unless the time is over before.
    async fn turn(&self, limit: Duration) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let waiting = Instant::now();
        self.metrics.queue_depth.inc();
        let turn = timeout(limit, Arc::clone(&self.turns).acquire_owned()).await;
        self.metrics.queue_depth.dec();
        let waited = waiting.elapsed().as_secs_f64();
        self.metrics.queue_seconds.observe(waited);
        let turn = turn.ok().transpose();
        Ok(turn.context("waiting for a turn")?)
    }
}

enum Failure {
    TooLate,
    Decode(DecodeError),
    Engine(anyhow::Error),
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Engine(error)
    }
}

impl Model {
    fn load(directory: &Path) -> anyhow::Result<Self> {
        let shown = directory.display();
        for file in MODEL_FILES {
            anyhow::ensure!(
                directory.join(file).is_file(),
                "WHISPER_MODEL: {shown} is no Whisper model in CTranslate2's format: the file {file} is missing"
            );
        }
        let tokens = Tokens::load(&directory.join("tokenizer.json"))?;
        let config = sys::Config {
            compute_type: ComputeType::INT8,
            num_threads_per_replica: available_parallelism().map_or(1, usize::from),
            ..sys::Config::default()
        };
        let whisper = sys::Whisper::new(directory, config)
            .with_context(|| format!("WHISPER_MODEL: {shown} cannot be loaded"))?;
        let mel = LogMel::new(whisper.n_mels());
        Ok(Self {
            whisper,
            tokens,
            mel,
        })
    }

    fn transcribe(
        &self,
        recording: &Recording,
        format: AudioFormat,
        options: &Options,
        deadline: Instant,
    ) -> Result<Transcription, Failure> {
        let mut samples = Samples::open(recording.open(), format)?;
        let mut language = options
            .language
            .as_ref()
            .map(|language| language.primary().to_owned());
        let mut text = String::new();
        let mut window = Vec::with_capacity(WINDOW_SAMPLES);
        loop {
            if Instant::now() >= deadline {
                return Err(Failure::TooLate);
            }
            samples.fill(&mut window, WINDOW_SAMPLES)?;
            if window.is_empty() {
                break;
            }
            let in_window = window.len().min(WINDOW_SAMPLES);
            let mut features = self.mel.of(&window[..in_window]);
            let shape = [1, self.mel.bands(), FRAMES];
            let features = StorageView::new(&shape, &mut features, sys::Device::CPU)
                .context("handing the spectrogram over")?;
            // Encoded once, for the language and for the text: it is a third of the work.
            let encoded = self.whisper.encode(&features, false)?;
            let language = match &language {
                Some(language) => language,
                None => language.insert(self.detect_language(&encoded)?),
            };
            let heard = self.hear(&encoded, language, options, in_window)?;
            for segment in &heard.segments {
                text.push_str(&self.tokens.decode(segment)?);
            }
            window.drain(..heard.next_window.clamp(1, in_window));
        }
        Ok(Transcription {
            text: text.trim().to_owned(),
            language,
            truncated: false,
        })
    }

    fn detect_language(&self, encoded: &StorageView) -> anyhow::Result<String> {
        if !self.tokens.is_multilingual() {
            return Ok("en".to_owned());
        }
        let detected = self.whisper.detect_language(encoded)?;
        let best = detected
            .into_iter()
            .flatten()
            .next()
            .context("the model named no language")?;
        debug!(
            language = best.language,
            probability = best.probability,
            "language detected"
        );
        Ok(best
            .language
            .trim_matches(['<', '|', '>'].as_slice())
            .to_owned())
    }

    /// What is said in one window.
    fn hear(
        &self,
        encoded: &StorageView,
        language: &str,
        options: &Options,
        window_samples: usize,
    ) -> anyhow::Result<windows::Heard> {
        let prompt = self.tokens.prompt(language, options.prompt.as_ref())?;
        let settings = WhisperOptions {
            beam_size: BEAM_SIZE,
            return_scores: true,
            return_no_speech_prob: true,
            ..WhisperOptions::default()
        };
        let result = self
            .whisper
            .generate(encoded, &[prompt], &settings)?
            .into_iter()
            .next()
            .context("the model gave no result")?;
        let tokens = result.sequences_ids.first().map_or(&[][..], Vec::as_slice);
        // CTranslate2 divides the score by the length of the text; the reference counts the end token too.
        #[expect(clippy::cast_precision_loss, reason = "at most 448 tokens")]
        let (length, score) = (
            tokens.len() as f32,
            result.scores.first().copied().unwrap_or(0.0),
        );
        let log_probability = score * length / (length + 1.0);
        if result.no_speech_prob > NO_SPEECH_PROBABILITY && log_probability < UNSURE_LOG_PROBABILITY
        {
            return Ok(windows::Heard::nothing(window_samples));
        }
        Ok(windows::follow(
            tokens,
            self.tokens.first_timestamp(),
            window_samples,
        ))
    }
}

/// Samples between two timestamps of the model: 20 ms.
const TIMESTAMP_SAMPLES: usize = SAMPLE_RATE as usize / 50;
