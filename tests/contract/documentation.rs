//! The descriptions of both services (`OpenAPI`): they are valid, and the services answer what they describe and nothing else.

use std::fs;
use std::process::Command;

use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::client::{Answer, PASSWORD, http};
use transcription_tests::files::{cached, root};
use transcription_tests::process::run;
use transcription_tests::transcription::{Transcription, token};

/// What a service serves, which is what is committed.
async fn description(url: &str, service: &str) -> String {
    let request = http().get(format!("{url}/openapi.json"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(
        answer.json["openapi"].as_str().unwrap().get(..4),
        Some("3.1.")
    );
    let committed = root().join(format!("services/{service}/openapi.json"));
    assert_eq!(answer.text, fs::read_to_string(committed).unwrap());
    answer.text
}

/// A Python program with its package in the cache.
fn python(package: &str, module: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", cached(package))
        .args(["-m", module]);
    command
}

async fn validate(description: &str) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("openapi.json");
    fs::write(&file, description).unwrap();
    let mut command = python("openapi-spec-validator-0.9.0", "openapi_spec_validator");
    command.arg(&file);
    let output = run(command, "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
}

/// Sends requests that follow a description and requests that do not, and looks at each answer: no fault, no status, type, header or
/// body that is not described.
async fn compare(url: &str, token: &str) {
    let folder = TempDir::new().unwrap();
    let mut command = python("schemathesis-4.32.5", "schemathesis.cli");
    command
        .current_dir(folder.path())
        .args(["run", &format!("{url}/openapi.json")])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "20", "--seed", "1", "--no-color", "--suppress-health-check", "all"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"]);
    let output = run(command, "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    assert!(output.status.success(), "{said}");
}

#[tokio::test]
async fn the_auth_service_answers_as_it_describes_itself() {
    let auth = Auth::start().await;
    validate(&description(&auth.url, "auth").await).await;
    auth.register("ada").await;
    let answer = auth.login("ada", PASSWORD).await;

    compare(&auth.url, answer.json["access_token"].as_str().unwrap()).await;
}

#[tokio::test]
async fn the_transcription_service_answers_as_it_describes_itself() {
    let stack = Transcription::start().await;
    validate(&description(&stack.url, "transcription").await).await;

    compare(&stack.url, &token("1")).await;
}
