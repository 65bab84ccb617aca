//! The metrics of the service (contract §5).

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts,
};
use transcription_common::metrics::Metrics;

/// Upper bounds in seconds, from a small object to a long recording.
const SECONDS: [f64; 14] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 300.0, 600.0,
];
/// Upper bounds of seconds of work a second of sound.
const FACTORS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0, 5.0,
];

/// What happens to recordings.
#[derive(Clone)]
pub struct TranscriptionMetrics(Arc<Parts>);

/// The metrics themselves.
pub struct Parts {
    engine: &'static str,
    requests: IntCounterVec,
    /// Bytes of recordings that were accepted.
    pub audio_bytes: IntCounter,
    /// Seconds of recordings that were accepted, where their headers tell.
    pub audio_seconds: prometheus::Counter,
    stages: HistogramVec,
    /// The time that transcriptions took besides the engine's.
    pub own_seconds: Histogram,
    /// Transcriptions that have a place.
    pub in_flight: IntGauge,
    /// Places there are.
    pub capacity: IntGauge,
    /// Bytes of texts that are not stored yet.
    pub pending_bytes: IntGauge,
    /// Transcriptions that wait for the engine.
    pub queue_depth: IntGauge,
    /// The time that they waited.
    pub queue_seconds: Histogram,
    realtime_factor: HistogramVec,
    retries: IntCounterVec,
    gemini_tokens: IntCounterVec,
    /// Files that are at Google and not deleted yet.
    pub gemini_files_open: IntGauge,
    s3_operations: HistogramVec,
}

/// How a request to transcribe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The text was answered.
    Ok,
    /// The form is broken, or a field is.
    BadRequest,
    /// The file is too large.
    TooLarge,
    /// No byte arrived for a while.
    SlowUpload,
    /// The file is not audio that is taken.
    Unsupported,
    /// The recording cannot be decoded, or is too long for the engine.
    Undecodable,
    /// The engine refused the content.
    Blocked,
    /// No place was free.
    Busy,
    /// The engine's quota is used up.
    Quota,
    /// The engine failed.
    Engine,
    /// The engine's settings are wrong.
    EngineConfig,
    /// The engine was too slow.
    Timeout,
    /// The bucket failed.
    Storage,
    /// The client hung up before the recording was accepted.
    ClientGone,
}

impl Outcome {
    const ALL: [Self; 14] = [
        Self::Ok,
        Self::BadRequest,
        Self::TooLarge,
        Self::SlowUpload,
        Self::Unsupported,
        Self::Undecodable,
        Self::Blocked,
        Self::Busy,
        Self::Quota,
        Self::Engine,
        Self::EngineConfig,
        Self::Timeout,
        Self::Storage,
        Self::ClientGone,
    ];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::SlowUpload => "slow_upload",
            Self::Unsupported => "unsupported",
            Self::Undecodable => "undecodable",
            Self::Blocked => "blocked",
            Self::Busy => "busy",
            Self::Quota => "quota",
            Self::Engine => "engine",
            Self::EngineConfig => "engine_config",
            Self::Timeout => "timeout",
            Self::Storage => "storage",
            Self::ClientGone => "client_gone",
        }
    }
}

/// A part of the way from a recording to its text.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The audio goes to the bucket, at the speed of the client.
    StoreAudio,
    /// The engine hears it.
    Engine,
    /// The text goes to the bucket.
    StoreTranscript,
}

impl Stage {
    const ALL: [Self; 3] = [Self::StoreAudio, Self::Engine, Self::StoreTranscript];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StoreAudio => "store_audio",
            Self::Engine => "engine",
            Self::StoreTranscript => "store_transcript",
        }
    }
}

/// Why an engine was asked again.
#[derive(Clone, Copy, Debug)]
pub enum RetryReason {
    /// It said that it ran out of time.
    Timeout,
    /// Too many requests a minute.
    Rate,
    /// It failed.
    Server,
    /// The connection failed.
    Connection,
}

impl RetryReason {
    const ALL: [Self; 4] = [Self::Timeout, Self::Rate, Self::Server, Self::Connection];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Rate => "rate",
            Self::Server => "server",
            Self::Connection => "connection",
        }
    }
}

/// What is asked of S3.
const S3_OPERATIONS: [&str; 8] = [
    "abort_multipart_upload",
    "complete_multipart_upload",
    "create_multipart_upload",
    "delete_object",
    "get_object",
    "list_objects_v2",
    "put_object",
    "upload_part",
];
/// How a request to S3 ended.
const S3_OUTCOMES: [&str; 4] = ["ok", "client_error", "server_error", "timeout"];

impl TranscriptionMetrics {
    /// Registers them, all at zero. `engine` is the name of the engine in use.
    pub fn new(metrics: &Metrics, engine: &'static str) -> anyhow::Result<Self> {
        let counters =
            |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histograms = |name, help, buckets: &[f64], labels: &[&str]| {
            HistogramVec::new(
                HistogramOpts::new(name, help).buckets(buckets.to_vec()),
                labels,
            )
        };
        let own = Parts {
            engine,
            requests: counters(
                "transcription_requests_total",
                "Authenticated requests to transcribe, by how they ended.",
                &["outcome", "engine"],
            )?,
            audio_bytes: IntCounter::new(
                "transcription_audio_bytes_total",
                "Bytes of recordings that were accepted.",
            )?,
            audio_seconds: prometheus::Counter::new(
                "transcription_audio_seconds_total",
                "Seconds of recordings that were accepted, where their headers tell.",
            )?,
            stages: histograms(
                "transcription_stage_duration_seconds",
                "Time that a stage of a transcription took.",
                &SECONDS,
                &["stage"],
            )?,
            own_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "transcription_own_duration_seconds",
                    "Time that a transcription took besides the engine's: storing its audio and its text.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            in_flight: IntGauge::new(
                "transcription_in_flight",
                "Transcriptions that have a place.",
            )?,
            capacity: IntGauge::new("transcription_capacity", "Places for transcriptions.")?,
            pending_bytes: IntGauge::new(
                "transcription_pending_bytes",
                "Bytes of texts that are in memory because they could not be stored yet.",
            )?,
            queue_depth: IntGauge::new(
                "transcription_queue_depth",
                "Accepted recordings that wait for the engine.",
            )?,
            queue_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "transcription_queue_seconds",
                    "Time that recordings waited for the engine.",
                )
                .buckets(SECONDS.to_vec()),
            )?,
            realtime_factor: histograms(
                "transcription_realtime_factor",
                "Seconds that the engine took for a second of sound.",
                &FACTORS,
                &["engine"],
            )?,
            retries: counters(
                "engine_retries_total",
                "Times that an engine was asked again, by reason.",
                &["engine", "reason"],
            )?,
            gemini_tokens: counters(
                "gemini_tokens_total",
                "Tokens that Google counted.",
                &["type"],
            )?,
            gemini_files_open: IntGauge::new(
                "gemini_files_open",
                "Files that are at Google and not deleted yet.",
            )?,
            s3_operations: histograms(
                "s3_operation_duration_seconds",
                "Time that a request to S3 took, retries included.",
                &SECONDS,
                &["operation", "outcome"],
            )?,
        };
        own.preset();
        metrics.register(own.requests.clone())?;
        metrics.register(own.audio_bytes.clone())?;
        metrics.register(own.audio_seconds.clone())?;
        metrics.register(own.stages.clone())?;
        metrics.register(own.own_seconds.clone())?;
        metrics.register(own.in_flight.clone())?;
        metrics.register(own.capacity.clone())?;
        metrics.register(own.pending_bytes.clone())?;
        metrics.register(own.queue_depth.clone())?;
        metrics.register(own.queue_seconds.clone())?;
        metrics.register(own.realtime_factor.clone())?;
        metrics.register(own.retries.clone())?;
        metrics.register(own.gemini_tokens.clone())?;
        metrics.register(own.gemini_files_open.clone())?;
        metrics.register(own.s3_operations.clone())?;
        Ok(Self(Arc::new(own)))
    }
}

impl Deref for TranscriptionMetrics {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Parts {
    /// A first event is then an increase.
    fn preset(&self) {
        for outcome in Outcome::ALL {
            self.requests
                .with_label_values(&[outcome.name(), self.engine]);
        }
        for stage in Stage::ALL {
            self.stages.with_label_values(&[stage.name()]);
        }
        for reason in RetryReason::ALL {
            self.retries
                .with_label_values(&[self.engine, reason.name()]);
        }
        for kind in ["input", "output"] {
            self.gemini_tokens.with_label_values(&[kind]);
        }
        self.realtime_factor.with_label_values(&[self.engine]);
        for operation in S3_OPERATIONS {
            for outcome in S3_OUTCOMES {
                self.s3_operations.with_label_values(&[operation, outcome]);
            }
        }
    }

    /// Counts a request.
    pub fn request(&self, outcome: Outcome) {
        let labels = [outcome.name(), self.engine];
        self.requests.with_label_values(&labels).inc();
    }

    /// Notes what a stage took.
    pub fn stage(&self, stage: Stage, took: Duration) {
        let stage = self.stages.with_label_values(&[stage.name()]);
        stage.observe(took.as_secs_f64());
    }

    /// Notes how long the engine took for so many seconds of sound.
    pub fn realtime_factor(&self, took: Duration, audio_seconds: f64) {
        if audio_seconds > 0.0 {
            let factor = self.realtime_factor.with_label_values(&[self.engine]);
            factor.observe(took.as_secs_f64() / audio_seconds);
        }
    }

    /// Counts that the engine is asked again.
    pub fn retry(&self, reason: RetryReason) {
        let labels = [self.engine, reason.name()];
        self.retries.with_label_values(&labels).inc();
    }

    /// Counts what Google counted.
    pub fn tokens(&self, input: u64, output: u64) {
        self.gemini_tokens
            .with_label_values(&["input"])
            .inc_by(input);
        self.gemini_tokens
            .with_label_values(&["output"])
            .inc_by(output);
    }

    /// Notes a request to S3: one of [`S3_OPERATIONS`], with one of [`S3_OUTCOMES`].
    pub fn s3_operation(&self, operation: &'static str, outcome: &'static str, took: Duration) {
        let labels = [operation, outcome];
        let operations = self.s3_operations.with_label_values(&labels);
        operations.observe(took.as_secs_f64());
    }
}
