//! The settings of the service. Each is an environment variable and a flag.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use transcription_common::jwt;
use transcription_common::telemetry::LogSettings;
use url::Url;

/// Takes recordings, stores them in S3, transcribes them and stores the text.
#[derive(Debug, Parser)]
#[command(name = "transcription-service", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answers requests until it is told to stop (the default). `transcription-service serve --help` lists the settings.
    Serve(Config),
}

/// Everything `serve` needs.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The address to listen on.
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:8000")]
    pub listen_addr: SocketAddr,
    /// How tokens are verified.
    #[command(flatten)]
    pub jwt: jwt::Settings,
    /// Where recordings and texts are stored.
    #[command(flatten)]
    pub s3: S3Settings,
    /// How recordings are transcribed.
    #[command(flatten)]
    pub engine: EngineSettings,
    /// How long to finish requests in flight after SIGTERM, in seconds.
    #[arg(long, env = "SHUTDOWN_GRACE_SECONDS", default_value = "30")]
    pub shutdown_grace_seconds: NonZeroU64,
    /// How to log.
    #[command(flatten)]
    pub log: LogSettings,
}

/// The bucket and how to reach it.
#[derive(Clone, Debug, Args)]
pub struct S3Settings {
    /// The bucket. It must exist.
    #[arg(long, env = "S3_BUCKET_NAME")]
    pub s3_bucket_name: String,
    /// The access key; without one the AWS SDK looks where it usually does.
    #[arg(
        long,
        env = "AWS_ACCESS_KEY_ID",
        hide_env_values = true,
        requires = "aws_secret_access_key"
    )]
    pub aws_access_key_id: Option<String>,
    /// The secret of the access key.
    #[arg(
        long,
        env = "AWS_SECRET_ACCESS_KEY",
        hide_env_values = true,
        requires = "aws_access_key_id"
    )]
    pub aws_secret_access_key: Option<SecretString>,
    /// The region, for example us-east-1.
    #[arg(long, env = "AWS_REGION")]
    pub aws_region: Option<String>,
    /// Another S3 than Amazon's, for example `http://127.0.0.1:9000`.
    #[arg(long, env = "AWS_ENDPOINT_URL_S3")]
    pub aws_endpoint_url_s3: Option<Url>,
    /// Put the bucket in the path and not in the host name: most other S3 stores need it.
    #[arg(long, env = "S3_FORCE_PATH_STYLE", default_value_t = false, action = clap::ArgAction::Set)]
    pub s3_force_path_style: bool,
}

/// The engine and its limits.
#[derive(Clone, Debug, Args)]
pub struct EngineSettings {
    /// The directory of a Whisper model in CTranslate2's format.
    #[arg(long, env = "WHISPER_MODEL")]
    pub whisper_model: PathBuf,
    /// The largest recording that is taken, in bytes.
    #[arg(long, env = "MAX_UPLOAD_BYTES", default_value = "209715200")]
    pub max_upload_bytes: NonZeroU64,
    /// How long a transcription may take, waiting included, in seconds.
    #[arg(long, env = "ENGINE_TIMEOUT_SECONDS", default_value = "600")]
    pub engine_timeout_seconds: NonZeroU64,
    /// How many transcriptions are taken at once in all; the next one is told to come back.
    #[arg(long, env = "MAX_CONCURRENT_TRANSCRIPTIONS", default_value = "4")]
    pub max_concurrent_transcriptions: NonZeroUsize,
    /// How many of them may be one user's.
    #[arg(long, env = "MAX_CONCURRENT_PER_USER", default_value = "4")]
    pub max_concurrent_per_user: NonZeroUsize,
}
