//! Logs on standard error: JSON lines for machines, short lines for people.

use std::io::{self, IsTerminal};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Clone, Debug, Args)]
pub struct LogSettings {
    /// How log lines are written.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// Which log lines are written, for example `info,sqlx=warn`.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub rust_log: Filter,
}

/// A filter for log lines, in the syntax of `RUST_LOG`.
#[derive(Clone, Debug)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = String;

    fn from_str(filter: &str) -> Result<Self, String> {
        EnvFilter::try_new(filter)
            .map_err(|error| format!("{error}; for example: info,sqlx=warn"))?;
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

/// Starts logging.
///
/// Fails when logging was started before in this process.
pub fn init(settings: &LogSettings) -> anyhow::Result<()> {
    let LogSettings {
        log_format,
        rust_log: Filter(filter),
    } = settings;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(filter)?)
        .with_writer(io::stderr)
        // Colours are for terminals; in a file or a pipe they are noise.
        .with_ansi(io::stderr().is_terminal());
    match log_format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Pretty => builder.compact().try_init(),
    }
    .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}
