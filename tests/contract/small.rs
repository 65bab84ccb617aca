//! What is small and relied on all the same: the old backend's settings and addresses, secrets in files, the binaries that are built
//! apart.

use std::fs;
use std::process::Command;

use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;
use transcription_tests::client::Answer;
use transcription_tests::files::{binary, data};
use transcription_tests::process::{Process, eventually, run, start_at_free_port};
use transcription_tests::seaweedfs::{ACCESS_KEY, SECRET_KEY};
use transcription_tests::stack::SIGNING_KEY;
use transcription_tests::transcription::{GEMINI_KEY, Transcription, silent_wav, token};

async fn get(http: &Client, url: &str) -> Answer {
    Answer::of(http.get(url).send().await.unwrap()).await
}

#[tokio::test]
async fn the_old_backends_addresses_answer_as_they_did() {
    let stack = Transcription::start().await;

    let greeting = get(&stack.http, &stack.url).await;
    assert_eq!(greeting.status, StatusCode::OK);
    assert_eq!(
        greeting.json,
        json!({"message": "Audio Transcription API is running."})
    );
    let form = Form::new().part("file", Part::bytes(silent_wav(3000)).file_name("a.wav"));
    let request = stack
        .http
        .request(Method::POST, format!("{}/transcribe/", stack.url));
    let request = request.bearer_auth(token("1")).multipart(form);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["filename"], "a.wav");
    assert!(answer.json["transcription"].is_string());
}

/// Starts the service in a folder, with no settings but those in the folder's `.env` and an address.
async fn start_by_env_file(folder: &TempDir, text: &str) -> (Process, String) {
    fs::write(folder.path().join(".env"), text).unwrap();
    start_at_free_port(|address| {
        let mut command = Command::new(binary("transcription-service"));
        command
            .env_clear()
            .env("LISTEN_ADDR", address)
            .current_dir(folder.path());
        Process::start(&mut command, folder.path().join("log"))
    })
    .await
}

#[tokio::test]
async fn the_old_backends_env_file_starts_the_service() {
    let folder = TempDir::new().unwrap();
    let old = "GEMINI_API_KEY=\"your-gemini-api-key\"\nS3_BUCKET_NAME=\"your-bucket\"\nAWS_ACCESS_KEY_ID=\"your-key\"\nAWS_SECRET_ACCESS_KEY=\"your-secret\"\nAWS_REGION=\"us-east-1\"\nJWT_SECRET_KEY=\"your-super-secret-and-long-random-string-for-jwt\"\nALGORITHM=\"HS256\"\n";

    let (process, url) = start_by_env_file(&folder, old).await;

    let http = transcription_tests::client::http();
    assert_eq!(get(&http, &url).await.status, StatusCode::OK);
    let log = process.log();
    assert!(log.contains("everybody can make tokens with it"), "{log}");
    for secret in ["your-super-secret", "your-gemini-api-key", "your-secret"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn secrets_may_be_in_files() {
    let lab = Transcription::start().await;
    let folder = TempDir::new().unwrap();
    let secrets = [
        ("JWT_SECRET_KEY", SIGNING_KEY),
        ("GEMINI_API_KEY", GEMINI_KEY),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let mut settings = Vec::new();
    for (name, secret) in secrets {
        let file = folder.path().join(name);
        fs::write(&file, format!("{secret}\r\n")).unwrap();
        settings.push(format!("{name}_FILE={}", file.display()));
    }
    for name in [
        "S3_BUCKET_NAME",
        "AWS_REGION",
        "AWS_ENDPOINT_URL_S3",
        "S3_FORCE_PATH_STYLE",
        "GEMINI_BASE_URL",
    ] {
        settings.push(format!("{name}={}", lab.environment[name]));
    }

    let (_process, url) = start_by_env_file(&folder, &settings.join("\n")).await;

    let form = Form::new().part("file", Part::bytes(silent_wav(3000)).file_name("a.wav"));
    let request = lab.http.post(format!("{url}/transcribe"));
    let request = request.bearer_auth(token("1")).multipart(form);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}

#[tokio::test]
async fn the_slim_binary_measures_recordings_and_asks_gemini() {
    let stack = Transcription::start_slim().await;

    for extension in ["mp3", "m4a", "ogg", "opus", "webm", "aiff", "aac"] {
        let file = fs::read(data(&format!("formats/second.{extension}"))).unwrap();
        let answer = stack.transcribe("1", "a", file).await;
        assert_eq!(answer.status, StatusCode::OK, "{extension}: {answer:?}");
        assert_eq!(answer.json["engine"], "gemini");
        let seconds = answer.json["duration_seconds"].as_f64().unwrap();
        assert!((0.8..1.2).contains(&seconds), "{extension}: {seconds}");
    }
    let large = stack
        .transcribe("1", "a.wav", silent_wav(17 * 1024 * 1024))
        .await;
    assert_eq!(large.status, StatusCode::OK, "{large:?}");
    eventually("nothing is left at Google", async || {
        stack.google.counts().await["files_existing"] == 0
    })
    .await;
}

#[tokio::test]
async fn the_programs_are_static() {
    let names = [
        "auth-service",
        "transcription-service",
        "transcription-service-slim",
        "transcription-operator",
        "transcription-standalone",
        "gemini-stand-in",
    ];

    for program in names.map(binary) {
        let mut ldd = Command::new("ldd");
        ldd.arg(&program).env("LC_ALL", "C");
        let linked = run(ldd, "").await;
        let said = [linked.stdout, linked.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(
            said.contains("statically linked") || said.contains("not a dynamic executable"),
            "{}: {said}",
            program.display()
        );
    }
}

#[tokio::test]
async fn the_stand_in_for_google_needs_nothing_around_it() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(binary("gemini-stand-in"));
    command
        .env_clear()
        .args(["--listen", "127.0.0.1:0", "--key", GEMINI_KEY])
        .current_dir(folder.path());
    let process = Process::start(&mut command, folder.path().join("log"));
    eventually("it listens", async || {
        process.log().contains("listening on ")
    })
    .await;
    let url = process.log().trim().replace("listening on ", "");
    let http = transcription_tests::client::http();
    let counts = get(&http, &format!("{url}/_stand-in/counts")).await;
    assert_eq!(counts.json["generate_content_calls"], 0, "{counts:?}");
    let list = http
        .get(format!("{url}/v1beta/files"))
        .header("x-goog-api-key", "wrong");
    let refused = Answer::of(list.send().await.unwrap()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text.contains("API_KEY_INVALID"), "{refused:?}");
}
