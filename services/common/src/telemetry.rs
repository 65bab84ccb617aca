//! Logs on standard error, as JSON lines for machines or short lines for people, and traces by OTLP.

use std::str::FromStr;

use anyhow::Context;
use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use url::Url;

use self::lines::Lines;
pub use self::trace::{Telemetry, record_context};
use crate::tls::TlsSettings;

mod json;
mod lines;
mod pretty;
mod trace;

/// The form of OTLP that is spoken, and OpenTelemetry's default.
const HTTP_PROTOBUF: &str = "http/protobuf";
/// Which log lines are written if nobody says.
const DEFAULT_FILTER: &str = "info";
/// The same, without what the AWS SDK tells of the places where it looks for a region and for credentials, answers of theirs and
/// all: what comes of it is told by our own line about the bucket.
const QUIET_FILTER: &str = "info,aws_config=error";

/// How to log and where to send traces.
#[derive(Clone, Debug, Args)]
pub struct TelemetrySettings {
    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Which log lines are written, for example `info,sqlx=warn`.
    #[arg(long, env = "RUST_LOG", default_value = DEFAULT_FILTER)]
    pub rust_log: Filter,
    /// Where traces are sent, as OTLP over HTTP, for example `http://collector:4318`. Without it none are made. Further
    /// `OTEL_*` variables are taken as OpenTelemetry defines them.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = http_url)]
    pub otel_exporter_otlp_endpoint: Option<Url>,
    /// The same for traces alone, with the whole path, for example `http://collector:4318/v1/traces`.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_parser = http_url)]
    pub otel_exporter_otlp_traces_endpoint: Option<Url>,
    /// The form of OTLP. Only `http/protobuf` is spoken.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_PROTOCOL",
        default_value = HTTP_PROTOBUF
    )]
    pub otel_exporter_otlp_protocol: String,
    /// The same for traces alone.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")]
    pub otel_exporter_otlp_traces_protocol: Option<String>,
    /// How traces are compressed. The library reads it too, and would send them as they are if it did not know the value.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_COMPRESSION",
        default_value = "none",
        ignore_case = true
    )]
    pub otel_exporter_otlp_compression: TracesCompression,
    /// `none` makes no traces, whatever else is set.
    #[arg(long, env = "OTEL_TRACES_EXPORTER", default_value = "otlp")]
    pub otel_traces_exporter: TracesExporter,
    /// How long sending traces may take, in milliseconds.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TIMEOUT", default_value = "10000")]
    pub otel_exporter_otlp_timeout: std::num::NonZeroU64,
    /// `true` makes no traces, whatever else is set.
    #[arg(long, env = "OTEL_SDK_DISABLED", default_value = "false")]
    pub otel_sdk_disabled: String,
}

/// A filter for log lines, in the syntax of `RUST_LOG`.
#[derive(Clone, Debug)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = String;

    fn from_str(filter: &str) -> Result<Self, String> {
        EnvFilter::try_new(filter)
            .map_err(|error| format!("{error}; for example RUST_LOG=info,sqlx=warn"))?;
        Ok(Self(filter.to_owned()))
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// Lines for people.
    Pretty,
}

/// Where traces go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TracesExporter {
    /// To a collector.
    #[default]
    Otlp,
    /// Nowhere.
    None,
}

/// How traces are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TracesCompression {
    /// Not at all.
    #[default]
    None,
    /// By gzip.
    Gzip,
}

/// Takes an address that is asked by HTTP.
pub fn http_url(url: &str) -> Result<Url, String> {
    let example = "for example http://collector:4318";
    let url = Url::parse(url).map_err(|error| format!("{error}; {example}"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(format!("it is no http address; {example}"));
    }
    Ok(url)
}

/// Starts logging, and tracing if it is asked for, in the name of `program`. Call it outside the async runtime: what sends
/// the traces is a thread of its own.
///
/// Fails when the bundle of certificates cannot be read, or when logging was started before in this process.
pub fn init(
    settings: &TelemetrySettings,
    tls: &TlsSettings,
    program: &'static str,
) -> anyhow::Result<Telemetry> {
    // Also where there are no traces to be sent: a file that is not one is found at the start.
    tls.certificates()?;
    let filter = match &settings.rust_log {
        Filter(filter) if filter == DEFAULT_FILTER => QUIET_FILTER,
        Filter(filter) => filter,
    };
    let filter = EnvFilter::try_new(filter)?;
    // Whatever the filter: a line that it lets through tells its request.
    let our_spans = filter_fn(|metadata| metadata.is_span() && trace::is_ours(metadata));
    let (telemetry, spans) = trace::start(settings, tls, program)?;
    // A span that tells a line nothing is for the traces alone: where there are none, it costs nothing. Where there are, the lines have to
    // know all of them: a line finds no span beyond one that its layer does not know, once a task has been left to itself.
    let is_traced = spans.is_some();
    let telling =
        filter_fn(move |metadata| is_traced || !metadata.is_span() || lines::tells(metadata));
    let filter = filter
        .or(our_spans.with_max_level_hint(LevelFilter::INFO))
        .and(telling.with_max_level_hint(LevelFilter::TRACE));
    let lines = Lines::new(settings.log_format).context("opening the log")?;
    let lines = lines.with_filter(filter);
    let lines = tracing_subscriber::registry().with(lines);
    // No layer at all, since one that is empty wants to know all spans.
    let started = match spans {
        Some(spans) => lines.with(spans).try_init(),
        None => lines.try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("starting the log: {error}"))?;
    Ok(telemetry)
}
