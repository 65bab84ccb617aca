//! The settings of the program. They are those of the two services, but for what the program knows by itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use auth_service::config::{Accounts, DatabaseUrl};
use clap::{Args, Parser, Subcommand};
use transcription_common::jwt::{Algorithm, SecretKey};
use transcription_common::server::ServerSettings;
use transcription_common::telemetry::TelemetrySettings;
use transcription_common::tls::TlsSettings;
use transcription_service::config::{EngineSettings, token_url};
use url::Url;

/// The whole transcription stack in one process: accounts, uploads, S3 on the local disk, Whisper.
#[derive(Debug, Parser)]
#[command(name = "transcription-standalone", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answers requests until it is told to stop (the default). `transcription-standalone serve --help` lists the
    /// settings.
    Serve {
        /// First transcribe this recording as a new user, and show how it is done.
        #[arg(long, value_name = "RECORDING")]
        demo: Option<PathBuf>,
        /// Settings.
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Starts, transcribes a recording as a new user, prints its text and ends.
    Demo {
        /// A WAV or FLAC file.
        recording: PathBuf,
        /// Settings.
        #[command(flatten)]
        config: Box<Config>,
    },
}

/// Everything the stack needs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The address of the auth service.
    #[arg(long, env = "AUTH_LISTEN_ADDR", default_value = "127.0.0.1:8001")]
    pub auth_listen_addr: SocketAddr,
    /// The address of the transcription service.
    #[arg(
        long,
        env = "TRANSCRIPTION_LISTEN_ADDR",
        default_value = "127.0.0.1:8000"
    )]
    pub transcription_listen_addr: SocketAddr,
    /// The folder for users, recordings and texts. It is made if it is not there.
    #[arg(long, env = "DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,
    /// The SQLite file, if it is not auth.db in the data folder.
    #[arg(long, env = "DATABASE_URL")]
    pub database_url: Option<DatabaseUrl>,
    /// The key that signs tokens; without one it is made once and kept in the data folder.
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    pub jwt_secret_key: Option<SecretKey>,
    /// The key before this one: tokens that it signed are taken until they expire, none is signed by it any more.
    #[arg(long, env = "JWT_SECRET_KEY_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_key_previous: Option<SecretKey>,
    /// The algorithm of the tokens.
    #[arg(long, env = "ALGORITHM", default_value = "HS256", ignore_case = true)]
    pub algorithm: Algorithm,
    /// Rules for accounts.
    #[command(flatten)]
    pub accounts: Accounts,
    /// How recordings are transcribed.
    #[command(flatten)]
    pub engine: EngineSettings,
    /// Where the page /docs of the transcription service asks for tokens, if browsers reach the auth service at another address
    /// than this machine's own.
    #[arg(long, env = "AUTH_TOKEN_URL", value_parser = token_url)]
    pub auth_token_url: Option<Url>,
    /// How the services are served and stopped. `MANAGEMENT_ADDR` is ignored: each has its own port.
    #[command(flatten)]
    pub server: ServerSettings,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Whom to trust.
    #[command(flatten)]
    pub tls: TlsSettings,
}

/// What sets the bucket of the transcription service. Other `AWS_*` are for the user's own tools and say nothing of it.
const OTHER_S3: [&str; 7] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
];

/// The variables that are set for another S3 than the one in the process, or for another process than this one.
pub fn ignored_variables() -> Vec<String> {
    let mut names = std::env::vars_os()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| {
            name.starts_with("S3_")
                || OTHER_S3.contains(&name.as_str())
                || name == "MANAGEMENT_ADDR"
        })
        .collect::<Vec<_>>();
    names.sort_unstable();
    names
}
