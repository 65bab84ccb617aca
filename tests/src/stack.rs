//! Our programs, started as a user starts them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::auth::Auth;
use crate::files::{binary, cached};
use crate::process::{Process, free_port, start_at_free_port, wait_until_answered};
use crate::seaweedfs::{ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFs};

/// The signing key of the services in tests.
pub const SIGNING_KEY: &str = "a-signing-key-for-tests-of-48-bytes-0123456789ab";

/// A program of ours that answers HTTP.
pub struct Service {
    /// The running program.
    pub process: Process,
    /// Its address.
    pub url: String,
    _folder: Option<TempDir>,
}

/// The environment of a program, to be changed by a test.
pub type Environment = BTreeMap<&'static str, String>;

/// The auth service and the transcription service as two programs, on the S3 server of the lab.
pub struct TwoServices {
    /// The auth service.
    pub auth: Auth,
    /// The transcription service.
    pub transcription: Service,
    /// The S3 server.
    pub s3: SeaweedFs,
}

impl TwoServices {
    /// Starts everything, with the small English model.
    pub async fn start() -> Self {
        Self::start_with(Environment::new()).await
    }

    /// Starts everything, the transcription service with further settings.
    pub async fn start_with(settings: Environment) -> Self {
        let s3 = SeaweedFs::start().await;
        let mut environment = transcription_environment(&s3);
        environment.extend(settings);
        let (auth, transcription) = tokio::join!(Auth::start(), start_transcription(environment));
        Self {
            auth,
            transcription,
            s3,
        }
    }
}

/// Starts a transcription service.
pub async fn start_transcription(environment: Environment) -> Service {
    start(
        "transcription-service",
        environment,
        TempDir::new().unwrap(),
    )
    .await
}

/// What a transcription service on this S3 server needs.
pub fn transcription_environment(s3: &SeaweedFs) -> Environment {
    Environment::from([
        ("JWT_SECRET_KEY", SIGNING_KEY.to_owned()),
        ("S3_BUCKET_NAME", BUCKET.to_owned()),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ENDPOINT_URL_S3", s3.endpoint.clone()),
        ("S3_FORCE_PATH_STYLE", "true".to_owned()),
        ("WHISPER_MODEL", model("tiny.en")),
    ])
}

async fn start(program: &str, environment: Environment, folder: TempDir) -> Service {
    let (process, url) = start_at_free_port(|address| {
        let mut command = Command::new(binary(program));
        command
            .env_clear()
            .envs(&environment)
            .env("LISTEN_ADDR", address)
            .current_dir(folder.path());
        Process::start(&mut command, folder.path().join("log"))
    })
    .await;
    Service {
        process,
        url,
        _folder: Some(folder),
    }
}

/// The stack in one process.
pub struct Standalone {
    /// The running program.
    pub process: Process,
    /// The address of the auth service.
    pub auth_url: String,
    /// The address of the transcription service.
    pub transcription_url: String,
}

impl Standalone {
    /// Starts it in this folder, with base, the product's default model.
    pub async fn start(folder: &Path) -> Self {
        Self::start_with(folder, Environment::new()).await
    }

    /// Starts it with further settings.
    pub async fn start_with(folder: &Path, settings: Environment) -> Self {
        let (mut command, auth, transcription) = standalone_command(folder);
        command.envs(settings);
        let mut process = Process::start(&mut command, folder.join("log"));
        let auth_url = format!("http://{auth}");
        let transcription_url = format!("http://{transcription}");
        wait_until_answered(&auth_url, &mut process).await;
        wait_until_answered(&transcription_url, &mut process).await;
        Self {
            process,
            auth_url,
            transcription_url,
        }
    }
}

/// The command that starts the stack in this folder, and the addresses it will have.
pub fn standalone_command(folder: &Path) -> (Command, String, String) {
    let auth = format!("127.0.0.1:{}", free_port());
    let transcription = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(binary("transcription-standalone"));
    command
        .env_clear()
        .env("AUTH_LISTEN_ADDR", &auth)
        .env("TRANSCRIPTION_LISTEN_ADDR", &transcription)
        .env("WHISPER_MODEL", model("base"))
        .env("BCRYPT_COST", "4")
        .current_dir(folder);
    (command, auth, transcription)
}

/// The directory of a model.
pub fn model(name: &str) -> String {
    cached("models").join(name).display().to_string()
}
