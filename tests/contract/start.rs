//! A start that cannot be is one plain sentence.

use std::net::TcpListener;
use std::process::{Command, Output};

use tempfile::TempDir;
use transcription_tests::files::binary;
use transcription_tests::stack::{SIGNING_KEY, standalone_command};

/// The line on standard error, which is the only one, and the exit code.
async fn complaint(mut command: Command) -> (String, i32) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let Output {
        status,
        stderr,
        stdout,
    } = output.await.unwrap();
    let line = String::from_utf8(stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(stdout.is_empty());
    (line.trim_end().to_owned(), status.code().unwrap())
}

fn auth(folder: &TempDir) -> Command {
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
        "port {} on 127.0.0.1 is in use by another program: stop that, or set TRANSCRIPTION_LISTEN_ADDR to another address",
        address.port()
    );
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
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
async fn a_bad_setting_is_one_line_with_its_name_and_exit_code_2() {
    let folder = TempDir::new().unwrap();
    let cases = [
        ("JWT_SECRET_KEY", "", "JWT_SECRET_KEY: required"),
        (
            "JWT_SECRET_KEY",
            "too short",
            "JWT_SECRET_KEY: the key must have at least 32 bytes",
        ),
        ("BCRYPT_COST", "3", "BCRYPT_COST: "),
        (
            "ACCESS_TOKEN_EXPIRE_MINUTES",
            "0",
            "ACCESS_TOKEN_EXPIRE_MINUTES: ",
        ),
        (
            "ALGORITHM",
            "none",
            "ALGORITHM: the value is not one it takes; it takes: HS256, HS384, HS512",
        ),
        (
            "DATABASE_URL",
            "postgres://x",
            "DATABASE_URL: only SQLite is supported",
        ),
        ("LISTEN_ADDR", "8001", "LISTEN_ADDR: "),
        ("RUST_LOG", "info,=x=", "RUST_LOG: "),
    ];

    for (name, value, expected) in cases {
        let mut command = auth(&folder);
        command.env(name, value);
        let (line, code) = complaint(command).await;
        assert_eq!(code, 2, "{line}");
        assert!(line.starts_with(expected), "{line}");
        assert!(
            !line.contains("too short"),
            "the key is in the message: {line}"
        );
    }
}

#[tokio::test]
async fn a_secret_on_the_command_line_is_refused() {
    let folder = TempDir::new().unwrap();
    let mut command = auth(&folder);
    command.args(["serve", "--jwt-secret-key", SIGNING_KEY]);

    let (line, code) = complaint(command).await;

    assert_eq!(code, 2);
    assert!(
        line.starts_with("JWT_SECRET_KEY is a secret and must not stand on the command line"),
        "{line}"
    );
    assert!(!line.contains(SIGNING_KEY), "{line}");
}
