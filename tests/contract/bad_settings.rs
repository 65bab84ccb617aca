//! Values that settings do not take: each stops the start with one line.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use transcription_tests::files::binary;
use transcription_tests::stack::SIGNING_KEY;

use crate::start::{auth, complaint};

/// A variable, a value that it does not take, how the line begins, and the example in it.
const BAD_SETTINGS: [(&str, &str, &str, &str); 33] = [
    ("JWT_SECRET_KEY", "", "JWT_SECRET_KEY: required", "--help"),
    (
        "JWT_SECRET_KEY",
        "too short",
        "JWT_SECRET_KEY: the key must have at least 32 bytes",
        "make one with",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS",
        "too short",
        "JWT_SECRET_KEY_PREVIOUS: the key must have at least 32 bytes",
        "make one with",
    ),
    ("BCRYPT_COST", "3", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    ("BCRYPT_COST", "32", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    ("BCRYPT_COST", "twelve", "BCRYPT_COST: ", "BCRYPT_COST=12"),
    (
        "PASSWORD_MIN_LENGTH",
        "0",
        "PASSWORD_MIN_LENGTH: ",
        "PASSWORD_MIN_LENGTH=8",
    ),
    (
        "PASSWORD_MIN_LENGTH",
        "73",
        "PASSWORD_MIN_LENGTH: ",
        "PASSWORD_MIN_LENGTH=8",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "0",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "-5",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ACCESS_TOKEN_EXPIRE_MINUTES",
        "99999999999",
        "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        "ACCESS_TOKEN_EXPIRE_MINUTES=30",
    ),
    (
        "ALGORITHM",
        "none",
        "ALGORITHM: ",
        "it takes: HS256, HS384, HS512",
    ),
    (
        "ALGORITHM",
        "RS256",
        "ALGORITHM: ",
        "it takes: HS256, HS384, HS512",
    ),
    (
        "REGISTRATION",
        "maybe",
        "REGISTRATION: ",
        "it takes: open, closed",
    ),
    (
        "TRUSTED_PROXIES",
        "10.0.0.0/33",
        "TRUSTED_PROXIES: 10.0.0.0/33 is no network",
        "TRUSTED_PROXIES=10.0.0.0/8",
    ),
    (
        "DATABASE_URL",
        "postgres://x",
        "DATABASE_URL: only SQLite is supported",
        "sqlite:///./data/auth.db",
    ),
    (
        "DATABASE_URL",
        "sqlite://",
        "DATABASE_URL: it names no file",
        "sqlite:///./data/auth.db",
    ),
    (
        "LISTEN_ADDR",
        "8001",
        "LISTEN_ADDR: ",
        "LISTEN_ADDR=0.0.0.0:8001",
    ),
    (
        "MANAGEMENT_ADDR",
        "9090",
        "MANAGEMENT_ADDR: ",
        "MANAGEMENT_ADDR=[::]:9090",
    ),
    (
        "CORS_ALLOWED_ORIGINS",
        "https://a.example/",
        "CORS_ALLOWED_ORIGINS: https://a.example/ is no origin",
        "https://app.example.com",
    ),
    (
        "SHUTDOWN_GRACE_SECONDS",
        "0",
        "SHUTDOWN_GRACE_SECONDS: ",
        "SHUTDOWN_GRACE_SECONDS=30",
    ),
    (
        "SHUTDOWN_DELAY_SECONDS",
        "-1",
        "SHUTDOWN_DELAY_SECONDS: ",
        "SHUTDOWN_DELAY_SECONDS=0",
    ),
    (
        "LOG_FORMAT",
        "xml",
        "LOG_FORMAT: ",
        "it takes: json, pretty",
    ),
    (
        "RUST_LOG",
        "info,=x=",
        "RUST_LOG: ",
        "RUST_LOG=info,sqlx=warn",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "collector:4318",
        "OTEL_EXPORTER_OTLP_ENDPOINT: ",
        "http://collector:4318",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "ftp://collector",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: it is no http address",
        "http://collector:4318",
    ),
    (
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        "brotli",
        "OTEL_EXPORTER_OTLP_COMPRESSION: ",
        "it takes: none, gzip",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "0",
        "OTEL_EXPORTER_OTLP_TIMEOUT: ",
        "OTEL_EXPORTER_OTLP_TIMEOUT=10000",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "zipkin",
        "OTEL_TRACES_EXPORTER: ",
        "it takes: otlp, none",
    ),
    (
        "CA_BUNDLE_FILE",
        "empty",
        "CA_BUNDLE_FILE: empty holds no certificate",
        "-----BEGIN CERTIFICATE-----",
    ),
    (
        "JWT_SECRET_KEY_FILE",
        "empty",
        "JWT_SECRET_KEY and JWT_SECRET_KEY_FILE are both set: keep one",
        "JWT_SECRET_KEY_FILE=/run/secrets/jwt_secret_key",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "empty",
        "JWT_SECRET_KEY_PREVIOUS_FILE: empty is empty",
        "JWT_SECRET_KEY_PREVIOUS_FILE=/run/secrets/jwt_secret_key_previous",
    ),
    (
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "missing",
        "JWT_SECRET_KEY_PREVIOUS_FILE: missing cannot be read",
        "JWT_SECRET_KEY_PREVIOUS_FILE=/run/secrets/jwt_secret_key_previous",
    ),
];

/// Settings that take anything. OpenTelemetry defines that what is not `true` means false, and a cluster may give every program the
/// same protocol: it is looked at where traces are sent, in a test of its own.
const TAKES_ANYTHING: [&str; 3] = [
    "OTEL_SDK_DISABLED",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
];

/// The names in the generated `.env.example`, which a test compares with the settings in the code.
pub fn names_of_settings() -> impl Iterator<Item = &'static str> {
    let example = include_str!("../../services/auth/.env.example");
    let settings = example
        .lines()
        .filter_map(|line| line.trim_start_matches('#').split_once("=\""));
    settings.map(|(name, _)| name)
}

#[test]
fn every_setting_has_a_bad_value_that_is_tried() {
    for name in names_of_settings() {
        let is_tried = BAD_SETTINGS.iter().any(|(tried, ..)| *tried == name);
        assert!(is_tried || TAKES_ANYTHING.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn a_bad_setting_is_one_line_with_its_name_the_reason_an_example_and_exit_code_2() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();

    for (name, value, expected, example) in BAD_SETTINGS {
        let mut command = auth(&folder);
        command.env(name, value);
        let (line, code) = complaint(command).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(line.contains(example), "no {example} in: {line}");
        assert!(
            !line.contains("too short"),
            "the key is in the message: {line}"
        );
    }
}

/// The same for the transcription service.
const BAD_TRANSCRIPTION_SETTINGS: [(&str, &str, &str, &str); 20] = [
    ("S3_BUCKET_NAME", "", "S3_BUCKET_NAME: required", "--help"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "",
        "AWS_SECRET_ACCESS_KEY: required",
        "_FILE=",
    ),
    (
        "AWS_ENDPOINT_URL_S3",
        "localhost:9000",
        "AWS_ENDPOINT_URL_S3: it is no http address",
        "for example AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000",
    ),
    (
        "S3_FORCE_PATH_STYLE",
        "perhaps",
        "S3_FORCE_PATH_STYLE: ",
        "true, false",
    ),
    (
        "TRANSCRIPTION_ENGINE",
        "parrot",
        "TRANSCRIPTION_ENGINE: ",
        "it takes: gemini, whisper",
    ),
    (
        "GEMINI_MODEL",
        "../x",
        "GEMINI_MODEL: it is no name of a model",
        "GEMINI_MODEL=gemini-3.5-transcribe",
    ),
    (
        "AUTH_TOKEN_URL",
        "auth.example.com/token",
        "AUTH_TOKEN_URL: relative URL without a base",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://ada:secret@auth.example.com/token",
        "AUTH_TOKEN_URL: it has a user name or a password",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://*/token",
        "AUTH_TOKEN_URL: its host is no name and no IPv4 address",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "AUTH_TOKEN_URL",
        "https://[::1]/token",
        "AUTH_TOKEN_URL: its host is no name and no IPv4 address",
        "for example AUTH_TOKEN_URL=https://auth.example.com/token",
    ),
    (
        "GEMINI_BASE_URL",
        "ftp://x",
        "GEMINI_BASE_URL: it is no http address",
        "for example GEMINI_BASE_URL=https://generativelanguage.googleapis.com",
    ),
    (
        "GEMINI_API_KEY",
        "a key\nin two lines",
        "GEMINI_API_KEY: it has characters that no key has",
        "Google AI Studio",
    ),
    (
        "MAX_UPLOAD_BYTES",
        "5497558138881",
        "MAX_UPLOAD_BYTES: more than 5497558138880 (5 TiB)",
        "MAX_UPLOAD_BYTES=209715200",
    ),
    (
        "MAX_UPLOAD_BYTES",
        "0",
        "MAX_UPLOAD_BYTES: ",
        "MAX_UPLOAD_BYTES=209715200",
    ),
    (
        "ENGINE_TIMEOUT_SECONDS",
        "0",
        "ENGINE_TIMEOUT_SECONDS: ",
        "ENGINE_TIMEOUT_SECONDS=600",
    ),
    (
        "MAX_CONCURRENT_TRANSCRIPTIONS",
        "0",
        "MAX_CONCURRENT_TRANSCRIPTIONS: ",
        "MAX_CONCURRENT_TRANSCRIPTIONS=32",
    ),
    (
        "MAX_CONCURRENT_PER_USER",
        "0",
        "MAX_CONCURRENT_PER_USER: ",
        "MAX_CONCURRENT_PER_USER=4",
    ),
    (
        "LISTEN_ADDR",
        "8000",
        "LISTEN_ADDR: ",
        "LISTEN_ADDR=0.0.0.0:8000",
    ),
    (
        "JWT_SECRET_KEY",
        "too short",
        "JWT_SECRET_KEY: the key must have at least 32 bytes",
        "make one with",
    ),
    (
        "GEMINI_API_KEY_FILE",
        "missing",
        "GEMINI_API_KEY and GEMINI_API_KEY_FILE are both set",
        "keep one",
    ),
];

#[tokio::test]
async fn a_bad_setting_of_the_transcription_service_is_one_line_too() {
    let folder = TempDir::new().unwrap();
    let start = |name: &str, value: &str| {
        let mut command = Command::new(binary("transcription-service"));
        command
            .env_clear()
            .env("JWT_SECRET_KEY", SIGNING_KEY)
            .env("S3_BUCKET_NAME", "recordings")
            .env("AWS_ACCESS_KEY_ID", "id")
            .env("AWS_SECRET_ACCESS_KEY", "secret")
            .env("GEMINI_API_KEY", "key")
            .env("LISTEN_ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "off")
            .env(name, value)
            .current_dir(folder.path());
        command
    };

    for (name, value, expected, example) in BAD_TRANSCRIPTION_SETTINGS {
        let (line, code) = complaint(start(name, value)).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(line.contains(example), "no {example} in: {line}");
    }
    // What an engine needs and is not there.
    let (line, code) = complaint(start("GEMINI_API_KEY", "")).await;
    assert_eq!(code, 2, "{line}");
    assert!(
        line.starts_with("WHISPER_MODEL: needed by the engine whisper and not set"),
        "{line}"
    );
    let mut command = start("TRANSCRIPTION_ENGINE", "gemini");
    command.env_remove("GEMINI_API_KEY");
    let (line, code) = complaint(command).await;
    assert_eq!(code, 2, "{line}");
    assert!(
        line.starts_with("GEMINI_API_KEY: needed by the engine gemini and not set"),
        "{line}"
    );
}
