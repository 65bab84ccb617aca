//! The stack in one process, as `make run` starts it.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use tempfile::TempDir;
use transcription_tests::client::{User, http};
use transcription_tests::files::recording;
use transcription_tests::process::{Process, eventually, free_port, wait_until_answered};
use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::stack::{Environment, Standalone, standalone_command};

#[tokio::test]
async fn a_new_user_gets_the_words_and_everything_is_on_the_disk() {
    let folder = TempDir::new().unwrap();
    let stack = Standalone::start(folder.path()).await;
    let ada = User::register(&stack.auth_url, &stack.transcription_url, "ada").await;
    let clip = librivox().swap_remove(0);

    let answer = ada.transcribe(&clip.file_name, clip.wav.clone()).await;

    let text = answer.json["transcription"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer:?}"));
    assert!(word_errors(text, &clip.words) <= 1, "{text}");
    let bucket = folder.path().join("data/s3/recordings");
    let stored = |name: &str| fs::read(bucket.join(answer.json[name].as_str().unwrap())).unwrap();
    assert_eq!(stored("audio_key"), clip.wav);
    assert_eq!(String::from_utf8(stored("transcript_key")).unwrap(), text);
    assert!(folder.path().join("data/auth.db").is_file());
}

#[tokio::test]
async fn the_signing_key_is_made_once_for_its_owner_alone_and_tokens_outlive_a_restart() {
    let folder = TempDir::new().unwrap();
    let key_file = folder.path().join("data/jwt.key");
    let mut stack = Standalone::start(folder.path()).await;
    let ada = User::register(&stack.auth_url, &stack.transcription_url, "ada").await;
    let key = fs::read_to_string(&key_file).unwrap();
    let status = stack.process.terminate().await;
    assert!(status.success(), "{status}");
    assert!(
        !stack.process.log().contains(key.trim_end()),
        "the key is in the log"
    );

    let stack = Standalone::start(folder.path()).await;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&key_file), 0o600);
    assert_eq!(mode(&folder.path().join("data/auth.db")), 0o600);
    assert_eq!(mode(&folder.path().join("data")), 0o700);
    assert_eq!(fs::read_to_string(&key_file).unwrap(), key);
    let me = http()
        .get(format!("{}/me", stack.auth_url))
        .bearer_auth(&ada.token);
    assert_eq!(me.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn the_demo_prints_the_words_and_where_they_are_and_ends() {
    let folder = TempDir::new().unwrap();
    let clip = librivox().swap_remove(0);
    let (mut command, ..) = standalone_command(folder.path());
    command
        .env("RUST_LOG", "warn")
        .arg("demo")
        .arg(recording(&clip.file_name));

    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();

    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "",
        "the log is not for the demo's reader"
    );
    let heard = printed
        .lines()
        .map(|line| word_errors(line, &clip.words))
        .min()
        .unwrap();
    assert!(heard <= 1, "{printed}");
    for kind in ["recording: ", "text: "] {
        let (_, path) = printed.split_once(kind).unwrap();
        let path = path.lines().next().unwrap().trim();
        assert!(folder.path().join(path).is_file(), "{path} in:\n{printed}");
    }
}

#[tokio::test]
async fn the_curl_lines_that_the_demo_prints_work_as_they_stand() {
    let folder = TempDir::new().unwrap();
    let clip = librivox().swap_remove(0);
    let (mut command, auth, _) = standalone_command(folder.path());
    command
        .arg("serve")
        .arg("--demo")
        .arg(recording(&clip.file_name));
    let mut process = Process::start(&mut command, folder.path().join("log"));
    wait_until_answered(&format!("http://{auth}"), &mut process).await;
    eventually("the demo is over", async || {
        process.log().contains("Ctrl-C ends it.")
    })
    .await;
    let log = process.log();
    let lines = log
        .lines()
        .filter(|line| line.starts_with("curl ") || line.starts_with("TOKEN="));
    let script = lines.collect::<Vec<_>>().join("\n");
    assert_eq!(script.lines().count(), 3, "{log}");

    let answers = tokio::task::spawn_blocking(move || {
        let mut shell = Command::new("bash")
            .args(["-ec", &script])
            .stdout(Stdio::piped())
            // Where curl draws its progress.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut answers = String::new();
        shell
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut answers)
            .unwrap();
        assert!(shell.wait().unwrap().success(), "{script}\n{answers}");
        answers
    });

    let answers = answers.await.unwrap();
    assert!(answers.contains(r#""username":"ada""#), "{answers}");
    assert!(answers.contains("leisure to consider"), "{answers}");
}

/// Starts a stack, sends a recording of so many seconds and tells it to stop as soon as the recording is accepted. Gives what the caller
/// saw, and whether there is a text.
async fn stop_while_transcribing(
    seconds: usize,
    grace_seconds: u64,
) -> (reqwest::Result<u16>, bool) {
    let folder = TempDir::new().unwrap();
    let settings = Environment::from([("SHUTDOWN_GRACE_SECONDS", grace_seconds.to_string())]);
    let mut stack = Standalone::start_with(folder.path(), settings).await;
    let ada = User::register(&stack.auth_url, &stack.transcription_url, "ada").await;
    let recording = sound::wav(&conversation(&librivox(), seconds, 0.3..2.0, 3).samples);
    let folder_of_ada = folder.path().join("data/s3/recordings/private/1");
    let has =
        |kind: &str| fs::read_dir(folder_of_ada.join(kind)).is_ok_and(|files| files.count() > 0);

    let call = async {
        let part = Part::bytes(recording).file_name("a.wav");
        let request = http()
            .post(format!("{}/transcribe", stack.transcription_url))
            .bearer_auth(&ada.token)
            .multipart(Form::new().part("file", part));
        request
            .send()
            .await
            .map(|response| response.status().as_u16())
    };
    let stop = async {
        eventually("the recording is accepted", async || has("manifests")).await;
        let status = stack.process.terminate().await;
        assert!(status.success(), "{status}: {}", stack.process.log());
    };
    let (answered, ()) = tokio::join!(call, stop);

    (answered, has("transcripts"))
}

#[tokio::test]
async fn what_is_in_flight_is_finished_after_sigterm() {
    let (answered, has_text) = stop_while_transcribing(60, 60).await;

    assert_eq!(answered.unwrap(), 200);
    assert!(has_text);
}

#[tokio::test]
async fn a_transcription_longer_than_the_grace_does_not_keep_the_process_alive() {
    let (answered, has_text) = stop_while_transcribing(600, 1).await;

    // Told that the service ends, or cut off: whichever is first.
    let told = answered.as_ref().map_or(true, |status| *status == 503);
    assert!(told, "{answered:?}");
    assert!(
        !has_text,
        "the process went on until the transcription was done"
    );
}

#[tokio::test]
async fn a_second_ctrl_c_ends_at_once() {
    let folder = TempDir::new().unwrap();
    let mut stack = Standalone::start(folder.path()).await;
    let ada = User::register(&stack.auth_url, &stack.transcription_url, "ada").await;
    let recording = sound::wav(&conversation(&librivox(), 600, 0.3..2.0, 3).samples);
    let manifests = folder.path().join("data/s3/recordings/private/1/manifests");
    let call = tokio::spawn(async move { ada.transcribe("long.wav", recording).await });
    eventually("the recording is accepted", async || {
        fs::read_dir(&manifests).is_ok_and(|files| files.count() > 0)
    })
    .await;

    stack.process.signal("INT");
    tokio::time::sleep(Duration::from_millis(500)).await;
    stack.process.assert_running();
    let second = Instant::now();
    stack.process.signal("INT");
    let status = stack.process.ended().await;

    // The grace is 30 s.
    assert!(
        second.elapsed() < Duration::from_secs(10),
        "{:?}",
        second.elapsed()
    );
    assert!(!status.success());
    let log = stack.process.log();
    assert!(log.contains("ended at once"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    call.abort();
}

#[tokio::test]
async fn data_dir_moves_everything() {
    let folder = TempDir::new().unwrap();
    let settings = Environment::from([("DATA_DIR", "elsewhere/my data".to_owned())]);

    let stack = Standalone::start_with(folder.path(), settings).await;
    User::register(&stack.auth_url, &stack.transcription_url, "ada").await;

    assert!(folder.path().join("elsewhere/my data/auth.db").is_file());
    assert!(!folder.path().join("data").exists());
}

#[tokio::test]
async fn only_variables_that_set_a_bucket_are_warned_of() {
    let folder = TempDir::new().unwrap();
    let settings = [
        ("AWS_CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt"),
        ("AWS_PROFILE", "work"),
        ("AWS_REGION", "eu-north-1"),
        ("S3_BUCKET_NAME", "recordings-of-others"),
    ];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));

    let stack = Standalone::start_with(folder.path(), Environment::from(settings)).await;

    let log = stack.process.log();
    let warnings = log.lines().filter(|line| line.contains("are ignored"));
    let warnings = warnings.collect::<Vec<_>>();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(warnings[0].contains("AWS_REGION, S3_BUCKET_NAME"), "{log}");
    assert!(!warnings[0].contains("AWS_PROFILE"), "{log}");
    assert!(!warnings[0].contains("AWS_CA_BUNDLE"), "{log}");
}

#[tokio::test]
async fn passwords_are_asked_for_only_where_the_address_is_this_machines_for_all_who_see_it() {
    for (listen, token_host) in [("127.0.0.1", Some("127.0.0.1")), ("0.0.0.0", None)] {
        let folder = TempDir::new().unwrap();
        let auth = format!("{listen}:{}", free_port());
        let settings = Environment::from([("AUTH_LISTEN_ADDR", auth.clone())]);
        let (mut command, _, transcription) = standalone_command(folder.path());
        command.envs(settings);
        let mut process = Process::start(&mut command, folder.path().join("log"));
        let url = format!("http://{transcription}");
        wait_until_answered(&url, &mut process).await;

        let answer = http()
            .get(format!("{url}/openapi.json"))
            .send()
            .await
            .unwrap();
        let description: serde_json::Value = answer.json().await.unwrap();

        let scheme = &description["components"]["securitySchemes"]["token"];
        let expected = token_host.map(|host| {
            let (_, port) = auth.split_once(':').unwrap();
            format!("http://{host}:{port}/token")
        });
        assert_eq!(
            scheme["flows"]["password"]["tokenUrl"].as_str(),
            expected.as_deref()
        );
        assert_eq!(
            process.log().contains("set AUTH_TOKEN_URL"),
            token_host.is_none()
        );
    }
}
