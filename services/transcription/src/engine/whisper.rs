//! Whisper in process, by CTranslate2.
//!
//! A window of 30 s is turned into a log-mel spectrogram, the model predicts text with timestamps, and the next window
//! begins where the last whole sentence ended, as in OpenAI's `transcribe.py`.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tokio_util::task::TaskTracker;
use tracing::{Span, debug, info};
use transcription_common::problem::FieldError;

use super::{Asked, Options, Transcription};
use crate::audio::decode::Samples;
use crate::error::Error;
use crate::metrics::TranscriptionMetrics;
use crate::stop::Stop;

mod fallback;
mod listen;
mod mel;
mod model;
mod tokens;
mod voice;
mod windows;

use listen::{Failure, Heard, listen};
use model::Model;

/// A loaded model. Each worker transcribes one recording at a time; the other recordings wait in order of arrival.
#[derive(Clone)]
pub struct Whisper {
    name: Arc<str>,
    model: Arc<Model>,
    turns: Arc<Semaphore>,
    leftovers: TaskTracker,
    metrics: TranscriptionMetrics,
}

impl Whisper {
    /// Loads the model in `directory` for so many workers.
    pub async fn load(
        directory: &Path,
        workers: NonZeroUsize,
        metrics: TranscriptionMetrics,
    ) -> anyhow::Result<Self> {
        let start = Instant::now();
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let name = Arc::<str>::from(name);
        let directory = directory.to_owned();
        // A model that is none stops the start with one line, which is not to be the second.
        debug!(
            model = &*name,
            directory = %directory.display(),
            "loading the Whisper model"
        );
        let load = move || Model::load(&directory, workers.get());
        let model = tokio::task::spawn_blocking(load)
            .await
            .context("loading the model on its thread")??;
        let multilingual = model.tokens.is_multilingual();
        info!(
            model = &*name,
            multilingual,
            workers,
            duration_seconds = start.elapsed().as_secs_f64(),
            "the Whisper model is loaded"
        );
        Ok(Self {
            name,
            model: Arc::new(model),
            turns: Arc::new(Semaphore::new(workers.get())),
            leftovers: TaskTracker::new(),
            metrics,
        })
    }

    /// The name of the model: that of its directory.
    pub fn model(&self) -> &str {
        &self.name
    }

    /// Windows that are still heard though their clients have been answered.
    pub fn leftovers(&self) -> TaskTracker {
        self.leftovers.clone()
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
            "the model {} does not know the language {}: leave the field out, or ask the operator for a model that does.",
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
            duration,
            options,
            limit,
            cut,
        } = asked;
        let deadline = Instant::now() + limit;
        let too_late = || Error::EngineTimeout {
            limit_seconds: limit.as_secs(),
        };
        let turn = tokio::select! {
            turn = self.turn(deadline) => turn?.ok_or_else(too_late)?,
            () = cut.cancelled() => return Err(Error::Stopping),
        };
        let start = Instant::now();
        let model = Arc::clone(&self.model);
        let span = Span::current();
        // At the end of the service its window is waited for: the process must not end while the library computes.
        let stop = Stop {
            deadline,
            cut: cut.clone(),
        };
        let left_over = self.leftovers.token();
        let work = tokio::task::spawn_blocking(move || {
            let _in_span = span.entered();
            let heard = Samples::open(|| recording.open_until(&stop), format, stop.clone())
                .map_err(Failure::from)
                .and_then(|mut samples| listen(&model, &mut samples, &options, &stop));
            // Not with the answer: a client whose time is over does not wait for the window that is being heard.
            drop((turn, left_over));
            heard
        });
        // The client hears at once that it took too long; the worker is free again after the window that it is in.
        let heard = timeout_at(deadline.into(), work).await;
        let heard = heard.map_err(|_| too_late())?;
        let heard = heard.context("transcribing on its thread")?;
        let heard = heard.map_err(|failure| match failure {
            Failure::Stopped if cut.is_cancelled() => Error::Stopping,
            Failure::Stopped => too_late(),
            Failure::Undecodable(why) => Error::Undecodable(why),
            Failure::Read(error) => Error::Storage(error),
            Failure::Engine(error) => Error::Engine(error),
        })?;
        let Heard {
            text,
            language,
            seconds,
        } = heard;
        self.metrics.realtime_factor(start.elapsed(), seconds);
        if duration.is_none() {
            // Its headers did not tell, so that nobody has counted them yet.
            self.metrics.audio_seconds.inc_by(seconds);
        }
        Ok(Transcription {
            text,
            language,
            truncated: false,
        })
    }

    /// The next turn, unless the time is over before.
    async fn turn(&self, deadline: Instant) -> Result<Option<OwnedSemaphorePermit>, Error> {
        let waiting = Instant::now();
        let _waits = Waits::new(&self.metrics);
        let turn = timeout_at(deadline.into(), Arc::clone(&self.turns).acquire_owned()).await;
        let waited: Duration = waiting.elapsed();
        self.metrics.queue_seconds.observe(waited.as_secs_f64());
        let turn = turn.ok().transpose();
        Ok(turn.context("waiting for a turn")?)
    }
}

/// One that waits for its turn, counted even if it is given up meanwhile.
struct Waits(TranscriptionMetrics);

impl Waits {
    fn new(metrics: &TranscriptionMetrics) -> Self {
        metrics.queue_depth.inc();
        Self(metrics.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.queue_depth.dec();
    }
}
