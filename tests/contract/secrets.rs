//! What nobody may read, wherever somebody who should not may look: lines at the finest level, answers, metrics, the process list.

use std::fs;

use reqwest::multipart::{Form, Part};
use serde_json::json;
use transcription_tests::auth::Auth;
use transcription_tests::client::{Answer, PASSWORD};
use transcription_tests::process::Process;
use transcription_tests::seaweedfs::SECRET_KEY;
use transcription_tests::stack::SIGNING_KEY;
use transcription_tests::transcription::{GEMINI_KEY, Transcription, silent_wav, token};

const PREVIOUS: &str = "the-previous-signing-key-of-48-bytes-0123456789a";
const SESSION: &str = "a-session-token-of-the-lab-for-s3";
/// Sent where no token of ours belongs: it may be another service's.
const OTHER: &str = "another-services-secret-token";
const PROMPT: &str = "Wittgenstein";
const FILE_NAME: &str = "a confidential name.wav";

/// What everybody on the machine sees of a process.
fn command_line(process: &Process) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", process.id())).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[track_caller]
fn assert_nowhere(secrets: &[&str], places: &[(&str, &str)]) {
    for secret in secrets {
        for (place, text) in places {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in the {place}: {line:?}");
        }
    }
}

/// Answers to requests that hold secrets where none belong.
async fn misplaced(http: &reqwest::Client, url: &str, paths: &[&str]) -> Vec<String> {
    let mut said = Vec::new();
    for path in paths {
        let at = format!("{url}{path}?access_token={OTHER}");
        for header in [
            format!("Bearer {OTHER}"),
            format!("Bearer  {OTHER} {OTHER}"),
            format!("Basic {OTHER}"),
            format!("Token {OTHER}"),
            OTHER.to_owned(),
        ] {
            let request = http.get(&at).header("authorization", header);
            let request = request.header("cookie", format!("session={OTHER}"));
            said.push(Answer::of(request.send().await.unwrap()).await.text);
        }
        let request = http
            .post(&at)
            .header("content-type", format!("text/{OTHER}"));
        said.push(
            Answer::of(request.body(OTHER).send().await.unwrap())
                .await
                .text,
        );
    }
    said
}

#[tokio::test]
async fn nothing_secret_of_the_transcription_service_stands_anywhere_even_at_trace_level() {
    let stack =
        Transcription::start_with([("RUST_LOG", "trace"), ("JWT_SECRET_KEY_PREVIOUS", PREVIOUS)])
            .await;
    // The bucket knows no such session: everything that it is asked fails.
    let (broken, url, _folder) =
        Transcription::start_beside(&stack, [("AWS_SESSION_TOKEN", SESSION)]).await;
    let form = || {
        let part = Part::bytes(silent_wav(3000)).file_name(FILE_NAME);
        Form::new().text("prompt", PROMPT).part("file", part)
    };

    let heard = stack.send("1", form()).await;
    assert_eq!(heard.status, 200, "{heard:?}");
    let failed = stack.send_to(&url, "1", form()).await;
    let wordy = Form::new().text("prompt", format!("{PROMPT} ").repeat(1000));
    let refused = stack.send("1", wordy).await;
    refused.assert_problem(422, "invalid_field");
    let mut said = misplaced(
        &stack.http,
        &stack.url,
        &["/transcriptions/1", "/transcribe", "/x"],
    )
    .await;
    said.extend([failed.text, refused.text]);

    let said = said.join("\n");
    let (log, log_of_broken) = (stack.process.log(), broken.log());
    assert!(log.contains("TRACE"), "the test is about the finest level");
    let metrics = stack.metrics().await;
    let text = heard.json["transcription"].as_str().unwrap();
    let tokens = token("1");
    let secrets = [
        SIGNING_KEY,
        PREVIOUS,
        SESSION,
        SECRET_KEY,
        GEMINI_KEY,
        OTHER,
        &tokens,
    ];
    let private = [PROMPT, FILE_NAME, text];
    let places = [
        ("log", log.as_str()),
        ("log of the other", &log_of_broken),
        ("metrics", &metrics),
        ("process list", &command_line(&stack.process)),
    ];
    assert_nowhere(&[&secrets[..], &private[..]].concat(), &places);
    assert_nowhere(&secrets, &[("answers", &said)]);
    assert_nowhere(&[PROMPT], &[("answers", &said)]);
}

#[tokio::test]
async fn nothing_secret_of_the_auth_service_stands_anywhere_even_at_trace_level() {
    const E_MAIL: &str = "ada.lovelace@example.org";
    let auth =
        Auth::start_with([("RUST_LOG", "trace"), ("JWT_SECRET_KEY_PREVIOUS", PREVIOUS)]).await;
    let mut said = Vec::new();
    for body in [
        json!({"username": "ada", "email": E_MAIL, "password": PASSWORD}),
        json!({"username": "eve", "email": E_MAIL, "password": PASSWORD}),
        json!({"username": "bob", "email": "b@example.org", "password": PASSWORD, "confirm_password": OTHER}),
        json!({"username": "bob", "email": OTHER, "password": OTHER}),
        json!({"username": "bob", "email": "b@example.org", "password": format!("{OTHER}{}", "x".repeat(72))}),
        json!({"username": PASSWORD, "password": [OTHER], "email": {"a": OTHER}}),
        json!([OTHER]),
    ] {
        for path in ["/register", "/login", "/token"] {
            let answer = auth.post(path, &body).await;
            // Who registers hears their own address.
            if answer.status != 201 {
                said.push(answer.text);
            }
        }
    }
    let token = auth.token("ada").await;
    said.extend(misplaced(&auth.http, &auth.url, &["/me", "/login", "/token", "/x"]).await);
    let typed = format!("{OTHER}-typed\n");
    let added = auth
        .run(&["user", "add", "bob", "bob@example.org"], &typed)
        .await;
    let printed = String::from_utf8_lossy(&added.stderr) + String::from_utf8_lossy(&added.stdout);
    assert!(added.status.success(), "{printed}");

    let said = said.join("\n");
    let log = auth.process.log();
    assert!(log.contains("DEBUG"), "the test is about fine levels");
    let metrics = auth.get("/metrics").await.text;
    let secrets = [SIGNING_KEY, PREVIOUS, PASSWORD, OTHER, &token, E_MAIL];
    assert_nowhere(
        &secrets,
        &[
            ("log", &log),
            ("answers", &said),
            ("metrics", &metrics),
            ("process list", &command_line(&auth.process)),
            ("output of a command", &printed),
        ],
    );
}
