//! The settings of the service. Each is an environment variable and a flag.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;
use transcription_common::jwt;
use transcription_common::server::{ServerSettings, management_address};
use transcription_common::smoke::{Visitor, service_address};
use transcription_common::telemetry::TelemetrySettings;
use transcription_common::tls::TlsSettings;
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
    Serve(Box<Config>),
    /// Makes the bucket if it is not there, and a rule that drops uploads that were left open.
    InitBucket {
        /// The bucket.
        #[command(flatten)]
        s3: S3Settings,
        /// Whom to trust.
        #[command(flatten)]
        tls: TlsSettings,
    },
    /// Logs in and transcribes a second of speech that is in the program: shows that a whole stack works.
    Smoke(SmokeSettings),
    /// Asks the service of this container whether it is ready.
    Healthcheck(HealthcheckSettings),
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
    /// Where the page /docs asks for tokens: /token of the auth service, as browsers reach it, for example
    /// `https://auth.example.com/token`. Without it a token is pasted there. The auth service has to allow this service's origin
    /// (`CORS_ALLOWED_ORIGINS`).
    #[arg(long, env = "AUTH_TOKEN_URL", value_parser = token_url)]
    pub auth_token_url: Option<Url>,
    /// How the service is served and stopped.
    #[command(flatten)]
    pub server: ServerSettings,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Whom to trust.
    #[command(flatten)]
    pub tls: TlsSettings,
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
    /// The token that belongs to an access key for a short time.
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    pub aws_session_token: Option<SecretString>,
    /// The region, for example us-east-1.
    #[arg(long, env = "AWS_REGION")]
    pub aws_region: Option<String>,
    /// Another S3 than Amazon's, for example `http://127.0.0.1:9000`.
    #[arg(long, env = "AWS_ENDPOINT_URL_S3", value_parser = s3_endpoint)]
    pub aws_endpoint_url_s3: Option<Url>,
    /// Put the bucket in the path and not in the host name: most other S3 stores need it.
    #[arg(long, env = "S3_FORCE_PATH_STYLE", default_value_t = false, action = clap::ArgAction::Set)]
    pub s3_force_path_style: bool,
}

/// The engine and its limits.
#[derive(Clone, Debug, Args)]
pub struct EngineSettings {
    /// The engine. Without it: gemini if its key is set, else whisper.
    #[arg(long, env = "TRANSCRIPTION_ENGINE")]
    pub transcription_engine: Option<EngineKind>,
    /// How Gemini is asked.
    #[command(flatten)]
    pub gemini: GeminiSettings,
    /// The directory of a Whisper model in CTranslate2's format, for example /models/base.
    #[arg(long, env = "WHISPER_MODEL")]
    pub whisper_model: Option<PathBuf>,
    /// How many recordings Whisper transcribes at once. They share the cores, so that more are rarely faster.
    #[arg(long, env = "WHISPER_WORKERS", default_value = "1", value_parser = workers)]
    pub whisper_workers: NonZeroUsize,
    /// The largest recording that is taken, in bytes.
    #[arg(long, env = "MAX_UPLOAD_BYTES", default_value = "209715200", value_parser = upload_bytes)]
    pub max_upload_bytes: NonZeroU64,
    /// How long a transcription may take, waiting included, in seconds.
    #[arg(long, env = "ENGINE_TIMEOUT_SECONDS", default_value = "600")]
    pub engine_timeout_seconds: NonZeroU64,
    /// How many transcriptions are taken at once in all; the next one is told to come back. 32 by default, 4 with Whisper.
    #[arg(long, env = "MAX_CONCURRENT_TRANSCRIPTIONS", value_parser = places)]
    pub max_concurrent_transcriptions: Option<NonZeroUsize>,
    /// How many of them may be one user's.
    #[arg(long, env = "MAX_CONCURRENT_PER_USER", default_value = "4")]
    pub max_concurrent_per_user: NonZeroUsize,
}

/// Each takes memory for itself.
const MAX_WORKERS: usize = 64;

fn workers(number: &str) -> Result<NonZeroUsize, String> {
    let workers = number.parse::<NonZeroUsize>();
    let workers = workers.map_err(|error| error.to_string());
    workers
        .and_then(|workers| match workers.get() {
            ..=MAX_WORKERS => Ok(workers),
            _ => Err(format!("more than {MAX_WORKERS}")),
        })
        .map_err(|error| format!("{error}; for example WHISPER_WORKERS=1"))
}

/// S3 stores no larger object.
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;

fn upload_bytes(number: &str) -> Result<NonZeroU64, String> {
    let bytes = number.parse::<NonZeroU64>();
    let bytes = bytes.map_err(|error| error.to_string())?;
    if bytes.get() > MAX_OBJECT_BYTES {
        return Err(format!(
            "more than {MAX_OBJECT_BYTES} (5 TiB), the largest object that S3 stores"
        ));
    }
    Ok(bytes)
}

fn places(number: &str) -> Result<NonZeroUsize, String> {
    let places = number.parse();
    places.map_err(|error| format!("{error}; for example MAX_CONCURRENT_TRANSCRIPTIONS=32"))
}

/// How Gemini is asked.
#[derive(Clone, Debug, Args)]
pub struct GeminiSettings {
    /// The key of the Gemini API.
    #[arg(long, env = "GEMINI_API_KEY", hide_env_values = true, value_parser = api_key)]
    pub gemini_api_key: Option<SecretString>,
    /// The model. gemini-3.5-transcribe is made for this; others are told what to do.
    #[arg(long, env = "GEMINI_MODEL", default_value = "gemini-3.5-transcribe", value_parser = model)]
    pub gemini_model: String,
    /// Another address than Google's.
    #[arg(long, env = "GEMINI_BASE_URL", default_value = "https://generativelanguage.googleapis.com", value_parser = http_address)]
    pub gemini_base_url: Url,
}

/// The key goes into a header.
fn api_key(key: &str) -> Result<SecretString, String> {
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters that no key has; Google AI Studio gives one".to_owned());
    }
    Ok(key.into())
}

fn http_address(url: &str) -> Result<Url, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err("it is no http address".to_owned());
    }
    Ok(url)
}

fn s3_endpoint(url: &str) -> Result<Url, String> {
    let example = "for example AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000";
    http_address(url).map_err(|error| format!("{error}; {example}"))
}

/// Takes the address where tokens are given.
pub fn token_url(url: &str) -> Result<Url, String> {
    let example = "for example AUTH_TOKEN_URL=https://auth.example.com/token";
    let url = http_address(url).map_err(|error| format!("{error}; {example}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!(
            "it has a user name or a password, and everybody can read it; {example}"
        ));
    }
    // It stands in a page and in its content security policy, which know no IPv6 addresses.
    let is_plain = |host: &str| {
        host.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    if !url.host_str().is_some_and(is_plain) {
        return Err(format!(
            "its host is no name and no IPv4 address; {example}"
        ));
    }
    Ok(url)
}

/// The model's name becomes a part of an address.
fn model(name: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return Err("it is no name of a model".to_owned());
    }
    Ok(name.to_owned())
}

/// An engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Google's API.
    Gemini,
    /// Whisper in process.
    Whisper,
}

impl EngineKind {
    /// Its name in answers, manifests and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gemini => "gemini",
            Self::Whisper => "whisper",
        }
    }
}

impl EngineSettings {
    /// The engine that is meant.
    pub fn kind(&self) -> EngineKind {
        let without_choice = || match &self.gemini.gemini_api_key {
            Some(_) => EngineKind::Gemini,
            None => EngineKind::Whisper,
        };
        self.transcription_engine.unwrap_or_else(without_choice)
    }

    /// Whether the engine that is meant has what it needs; else a sentence that names the variable.
    pub fn check(&self) -> Result<(), String> {
        let sentence = match self.kind() {
            EngineKind::Gemini if self.gemini.gemini_api_key.is_none() => {
                "GEMINI_API_KEY: needed by the engine gemini and not set; Google AI Studio gives one, or in a file: for example GEMINI_API_KEY_FILE=/run/secrets/gemini_api_key"
            }
            EngineKind::Whisper if !cfg!(feature = "whisper") => {
                "GEMINI_API_KEY: needed and not set, since this program was built without Whisper; set it for the engine gemini, or use the image with -whisper in its tag"
            }
            EngineKind::Whisper if self.whisper_model.is_none() => {
                "WHISPER_MODEL: needed by the engine whisper and not set; for example WHISPER_MODEL=/models/base (or set GEMINI_API_KEY for the engine gemini)"
            }
            EngineKind::Gemini | EngineKind::Whisper => return Ok(()),
        };
        Err(sentence.to_owned())
    }

    /// How many transcriptions are taken at once.
    pub fn places(&self) -> usize {
        let by_engine = || match self.kind() {
            EngineKind::Gemini => 32,
            EngineKind::Whisper => 4,
        };
        self.max_concurrent_transcriptions
            .map_or_else(by_engine, NonZeroUsize::get)
    }
}

/// Which address `healthcheck` asks.
#[derive(Clone, Copy, Debug, Args)]
pub struct HealthcheckSettings {
    /// The address that the service listens on.
    #[arg(long, env = "LISTEN_ADDR", default_value = "0.0.0.0:8000")]
    pub listen_addr: SocketAddr,
    /// The address of its own for health, if it has one; then that is asked.
    #[arg(long, env = "MANAGEMENT_ADDR", value_parser = management_address)]
    pub management_addr: Option<SocketAddr>,
}

/// What `smoke` does.
#[derive(Clone, Debug, Args)]
pub struct SmokeSettings {
    /// The address of the auth service, for example `http://127.0.0.1:8001`.
    #[arg(long, value_parser = service_address)]
    pub auth_url: Url,
    /// The address of the transcription service, for example `http://127.0.0.1:8000`.
    #[arg(long, value_parser = service_address)]
    pub transcription_url: Url,
    /// How long it may take in all, in seconds.
    #[arg(long, default_value = "660")]
    pub timeout_seconds: NonZeroU64,
    /// Who logs in.
    #[command(flatten)]
    pub visitor: Visitor,
}
