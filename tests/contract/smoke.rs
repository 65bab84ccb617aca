//! `auth-service smoke`, which shows that a service works, or says which step does not. That of the transcription service is in
//! `bucket`.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::client::PASSWORD;
use transcription_tests::files::binary;
use transcription_tests::process::run;

/// The program as it runs in a pod of its own: with no setting but these.
fn command(url: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(binary("auth-service"));
    command
        .env_clear()
        .envs(settings.iter().copied())
        .args(["smoke", "--url", url]);
    command
}

async fn smoke(url: &str, name: &str, password: &str) -> Output {
    let settings = [("SMOKE_USERNAME", name), ("SMOKE_PASSWORD", password)];
    run(command(url, &settings), "").await
}

/// The one line with which it fails.
#[track_caller]
fn failed(output: Output, code: i32) -> String {
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert_eq!(output.stdout, b"", "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

#[track_caller]
fn worked(output: Output) -> String {
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_smoke_test_logs_in_by_name_or_address_and_with_a_password_from_a_file() {
    let auth = Auth::start().await;
    let id = auth.register("Ada").await;
    let works = format!("It works: the user of id {id} logged in, and the token is good.\n");

    for name in ["Ada", "ada", "ADA@example.com"] {
        // As a person may write it.
        let url = format!("{}/", auth.url);
        assert_eq!(worked(smoke(&url, name, PASSWORD).await), works, "{name}");
    }

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let settings = [
        ("SMOKE_USERNAME", "Ada"),
        ("SMOKE_PASSWORD_FILE", file.to_str().unwrap()),
    ];
    let output = run(command(&auth.url, &settings), "").await;
    assert_eq!(worked(output), works);
}

#[tokio::test]
async fn a_smoke_test_that_fails_says_which_step_and_why() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    let wrong = smoke(&auth.url, "ada", "wrong password").await;
    assert_eq!(
        failed(wrong, 1),
        "logging in was answered 401: User name or password is wrong. Check both and try again."
    );
    let elsewhere = smoke(&format!("{}/elsewhere", auth.url), "ada", PASSWORD).await;
    let line = failed(elsewhere, 1);
    assert!(line.starts_with("logging in was answered 404: "), "{line}");
    // Nothing listens there.
    let line = failed(smoke("http://127.0.0.1:1", "ada", PASSWORD).await, 1);
    assert!(line.starts_with("logging in: "), "{line}");
    assert!(!line.contains(PASSWORD), "{line}");
}

#[tokio::test]
async fn a_smoke_test_of_what_never_answers_ends_in_time() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", deaf.local_addr().unwrap());
    let settings = [("SMOKE_USERNAME", "ada"), ("SMOKE_PASSWORD", PASSWORD)];
    let mut command = command(&url, &settings);
    command.args(["--timeout-seconds", "1"]);
    let began = Instant::now();

    let line = failed(run(command, "").await, 1);

    assert!(line.starts_with("logging in: "), "{line}");
    assert!(line.ends_with("timed out"), "{line}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_smoke_test_is_not_content_with_any_answer() {
    for (login, me, sentence) in [
        (json!({}), json!({}), "logging in gave no token"),
        (json!({"access_token": "x"}), json!({}), "/me told no id"),
        (
            json!({"access_token": "x"}),
            json!({"id": 7, "username": "eve", "email": "eve@example.com"}),
            "/me told of another user than the one who logged in, of id 7",
        ),
    ] {
        let url = impostor(login, me).await;
        assert_eq!(failed(smoke(&url, "ada", PASSWORD).await, 1), sentence);
    }
}

/// Answers so at `/login` and `/me`, whoever asks.
async fn impostor(login: Value, me: Value) -> String {
    let routes = Router::new()
        .route("/login", post(Json(login)))
        .route("/me", get(Json(me)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, routes).await });
    url
}

#[tokio::test]
async fn a_smoke_test_takes_no_secret_from_the_command_line_and_names_what_is_missing() {
    const URL: &str = "http://127.0.0.1:1";
    let named = [("SMOKE_USERNAME", "ada")];
    let mut told = command(URL, &named);
    told.args(["--smoke-password", PASSWORD]);
    let line = failed(run(told, "").await, 2);
    assert!(line.starts_with("SMOKE_PASSWORD is a secret"), "{line}");

    let line = failed(run(command(URL, &named), "").await, 2);
    assert!(line.starts_with("SMOKE_PASSWORD: required"), "{line}");
    let line = failed(
        run(command(URL, &[("SMOKE_PASSWORD", PASSWORD)]), "").await,
        2,
    );
    assert!(line.starts_with("SMOKE_USERNAME: required"), "{line}");
    let line = failed(smoke("ftp://127.0.0.1", "ada", PASSWORD).await, 2);
    assert_eq!(
        line,
        "--url: it is no http address; for example http://127.0.0.1:8000"
    );

    let mut help = command(URL, &[]);
    help.arg("--help");
    let help = worked(run(help, "").await);
    for word in [
        "--url",
        "--timeout-seconds",
        "SMOKE_USERNAME",
        "SMOKE_PASSWORD",
        "SMOKE_PASSWORD_FILE",
    ] {
        assert!(help.contains(word), "{word}: {help}");
    }
}
