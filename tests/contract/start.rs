//! A start that cannot be is one plain sentence.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::files::binary;
use transcription_tests::process::run;
use transcription_tests::stack::{SIGNING_KEY, standalone_command};

use crate::bad_settings::names_of_settings;

/// The line on standard error, which is the only one, and the exit code.
pub async fn complaint(command: Command) -> (String, i32) {
    let Output {
        status,
        stderr,
        stdout,
    } = run(command, "").await;
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(stdout.is_empty());
    (line.trim_end().to_owned(), status.code().unwrap())
}

/// The auth service with what it needs, at a free port.
pub fn auth(folder: &TempDir) -> Command {
    let mut command = Command::new(binary("auth-service"));
    command
        .env_clear()
        .env("JWT_SECRET_KEY", SIGNING_KEY)
        .env("LISTEN_ADDR", "127.0.0.1:0")
        .env("RUST_LOG", "warn")
        .current_dir(folder.path());
    command
}

#[tokio::test]
async fn a_port_in_use_is_one_sentence_with_the_setting_to_change() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (mut command, ..) = standalone_command(folder.path());
    command.env("TRANSCRIPTION_LISTEN_ADDR", address.to_string());

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    let expected = format!(
        "port {} on 127.0.0.1 is in use by another program: stop that, or set another one, for example TRANSCRIPTION_LISTEN_ADDR=127.0.0.1:{}",
        address.port(),
        address.port().wrapping_add(10).max(1024)
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("data"),
        "a file where the folder should be",
    )
    .unwrap();
    let (command, ..) = standalone_command(folder.path());

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    assert!(
        line.starts_with("the data folder ./data cannot be made"),
        "{line}"
    );
}

#[tokio::test]
async fn a_model_that_is_not_there_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    let (mut command, ..) = standalone_command(folder.path());
    command
        .env("WHISPER_MODEL", "/nowhere/base")
        .env("RUST_LOG", "warn");

    let (line, code) = complaint(command).await;

    assert_eq!(code, 1);
    assert!(
        line.starts_with("WHISPER_MODEL: /nowhere/base is no Whisper model"),
        "{line}"
    );
}

#[tokio::test]
async fn a_database_that_is_none_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    fs::write(
        folder.path().join("text.db"),
        "no database, but long enough to look like one",
    )
    .unwrap();
    fs::create_dir(folder.path().join("folder.db")).unwrap();

    for (url, reason) in [
        (
            "sqlite:///text.db",
            "auth-service cannot start: the database text.db cannot be opened",
        ),
        (
            "sqlite:///folder.db",
            "auth-service cannot start: the database folder.db cannot be made",
        ),
        (
            "sqlite:///missing.db?mode=rw",
            "auth-service cannot start: the database missing.db cannot be opened",
        ),
        (
            "sqlite:////proc/no/auth.db",
            "auth-service cannot start: the database /proc/no/auth.db cannot be made",
        ),
    ] {
        let mut command = auth(&folder);
        command.env("DATABASE_URL", url).env("RUST_LOG", "off");
        let (line, code) = complaint(command).await;
        assert_eq!(code, 1, "{line}");
        assert!(line.starts_with(reason), "{line}");
    }
}

#[tokio::test]
async fn a_bundle_of_certificates_that_is_none_is_one_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();

    for (file, reason) in [
        ("ca.pem", "holds no certificate"),
        ("missing.pem", "cannot be read"),
    ] {
        let mut command = auth(&folder);
        command.env("CA_BUNDLE_FILE", file);
        let (line, code) = complaint(command).await;
        assert_eq!(code, 2, "{line}");
        assert!(
            line.starts_with(&format!("CA_BUNDLE_FILE: {file} {reason}")),
            "{line}"
        );
        assert!(
            line.contains("CA_BUNDLE_FILE=/") || line.contains("-----BEGIN"),
            "no example: {line}"
        );
    }
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_stops_the_start_only_where_traces_are_sent() {
    let folder = TempDir::new().unwrap();
    let mut command = auth(&folder);
    command
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    let (line, code) = complaint(command).await;

    assert_eq!(code, 2);
    assert!(
        line.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken; for example OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        "{line}"
    );
    Auth::start_with([("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).await;
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_SDK_DISABLED", "TRUE"),
    ] {
        Auth::start_with([
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
            (name, value),
        ])
        .await;
    }
}

#[tokio::test]
async fn a_value_that_is_not_text_is_one_line() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().unwrap();
    for (name, example) in [
        ("ALGORITHM", "ALGORITHM=HS256"),
        ("MANAGEMENT_ADDR", "MANAGEMENT_ADDR=[::]:9090"),
        (
            "JWT_SECRET_KEY",
            "JWT_SECRET_KEY_FILE=/run/secrets/jwt_secret_key",
        ),
    ] {
        let mut command = auth(&folder);
        command.env(name, OsStr::from_bytes(b"HS\xff"));

        let (line, code) = complaint(command).await;

        assert_eq!(code, 2);
        assert_eq!(
            line,
            format!("{name}: the value is not UTF-8; for example {example}")
        );
    }
}

#[tokio::test]
async fn a_secret_on_the_command_line_is_refused() {
    let folder = TempDir::new().unwrap();
    for args in [
        &["serve", "--jwt-secret-key", SIGNING_KEY][..],
        &["--jwt-secret-key-previous=0123456789abcdef0123456789abcdef"],
    ] {
        let mut command = auth(&folder);
        command.args(args);

        let (line, code) = complaint(command).await;

        assert_eq!(code, 2);
        assert!(
            line.contains(" is a secret and must not stand on the command line"),
            "{line}"
        );
        assert!(
            !line.contains(SIGNING_KEY) && !line.contains("0123456789abcdef"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn help_names_every_setting_and_version_the_release() {
    let folder = TempDir::new().unwrap();
    let print = |args: &[&str]| {
        let output = auth(&folder).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    // Whatever stands in the file: it may be why help is needed.
    fs::write(folder.path().join(".env"), "A='x").unwrap();
    let help = print(&["serve", "--help"]);
    let of_program = print(&["--help"]);

    for name in names_of_settings() {
        assert!(
            help.contains(&format!("[env: {name}")),
            "{name} is not in:\n{help}"
        );
        assert!(
            of_program.contains(&format!("  {name}\n")),
            "{name} is not in:\n{of_program}"
        );
    }
    for name in [
        "JWT_SECRET_KEY_FILE",
        "JWT_SECRET_KEY_PREVIOUS_FILE",
        "HTTPS_PROXY",
        "NO_PROXY",
    ] {
        for help in [&help, &of_program] {
            assert!(help.contains(name), "{name} is not in:\n{help}");
        }
    }
    assert!(!help.contains(SIGNING_KEY), "{help}");
    for command in [
        "serve",
        "user",
        "backup",
        "restore",
        "make-key",
        "healthcheck",
    ] {
        assert!(
            of_program.contains(&format!("  {command} ")),
            "{of_program}"
        );
    }
    assert_eq!(
        print(&["--version"]),
        format!("auth-service {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test]
async fn the_help_of_the_operator_names_its_settings_and_no_file_of_secrets() {
    let mut command = Command::new(binary("transcription-operator"));
    command.env_clear().arg("--help");

    let output = run(command, "").await;

    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Settings of run, each"), "{help}");
    for name in ["WATCH_NAMESPACES", "IMAGE_PREFIX", "LOG_FORMAT"] {
        assert!(help.contains(&format!("  {name}\n")), "{name}: {help}");
    }
    // It has no secrets of its own.
    assert!(!help.contains("A secret may"), "{help}");
    assert!(help.contains("A file .env in the working directory"));
}
