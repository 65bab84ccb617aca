//! The images of the transcription service. They share the network of this machine, where the S3 server of the lab is.

use std::sync::Arc;

use reqwest::multipart::{Form, Part};
use transcription_lab::docker::{Container, Docker};
use transcription_tests::client::{Answer, http};
use transcription_tests::images::{CONFINED, WHISPER, engine, image};
use transcription_tests::process::{eventually, free_port};
use transcription_tests::seaweedfs::SeaweedFs;
use transcription_tests::speech::{Clip, librivox, word_errors};
use transcription_tests::stack::{Environment, transcription_environment};
use transcription_tests::transcription::{GEMINI_KEY, Google, silent_wav, token};

#[tokio::test]
async fn the_transcription_service_stores_recordings_and_asks_gemini() {
    let (docker, s3, google) = (
        engine().await,
        SeaweedFs::start().await,
        Google::start().await,
    );
    let mut environment = transcription_environment(&s3);
    environment.remove("WHISPER_MODEL");
    environment.insert("GEMINI_API_KEY", GEMINI_KEY.to_owned());
    environment.insert("GEMINI_BASE_URL", google.url.clone());

    let (container, url) = start(&docker, "transcription-service", environment).await;
    container.wait_until_healthy().await;
    let answer = transcribe(&url, silent_wav(64_000)).await;
    let code = container.stop().await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json["engine"], "gemini");
    assert_eq!(
        s3.keys().await.len(),
        3,
        "the recording, its text, its manifest"
    );
    assert_eq!(code, 0);
}

#[tokio::test]
async fn the_transcription_service_with_whisper_brings_the_model_along() {
    let (docker, s3) = (engine().await, SeaweedFs::start().await);
    let mut environment = transcription_environment(&s3);
    environment.remove("WHISPER_MODEL");
    let Clip { wav, words, .. } = librivox().remove(0);

    let (container, url) = start(&docker, WHISPER, environment).await;
    container.wait_until_healthy().await;
    let answer = transcribe(&url, wav).await;
    let code = container.stop().await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json["model"], "base");
    let heard = answer.json["transcription"].as_str().unwrap();
    assert!(word_errors(heard, &words) <= 2, "{heard}");
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_transcription_service_whose_bucket_is_missing_says_so() {
    let (docker, s3) = (engine().await, SeaweedFs::start().await);
    let mut environment = transcription_environment(&s3);
    environment.remove("WHISPER_MODEL");
    environment.insert("GEMINI_API_KEY", GEMINI_KEY.to_owned());
    environment.insert("S3_BUCKET_NAME", "elsewhere".to_owned());

    let (container, _) = start(&docker, "transcription-service", environment).await;

    eventually("the health check has run", async || {
        let state = docker.inspect(container.name()).await;
        let log = state["State"]["Health"]["Log"].as_array().unwrap().clone();
        let last = log.last().map(|check| check["Output"].to_string());
        last.is_some_and(|output| output.contains("not ready (503): bucket"))
    })
    .await;
}

/// Starts a service at a port of its own, and tells its address.
async fn start(
    docker: &Arc<Docker>,
    target: &str,
    mut environment: Environment,
) -> (Container, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let url = format!("http://{address}");
    environment.insert("LISTEN_ADDR", address);
    let settings = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let settings = settings.collect::<Vec<_>>();
    let mut args = [&CONFINED[..], &["--network", "host"]].concat();
    for setting in &settings {
        args.extend(["--env", setting]);
    }
    let image = image(target);
    args.push(&image);
    (Container::start(docker, &args).await, url)
}

async fn transcribe(url: &str, wav: Vec<u8>) -> Answer {
    let form = Form::new().part("file", Part::bytes(wav).file_name("a.wav"));
    let request = http()
        .post(format!("{url}/transcribe"))
        .bearer_auth(token("1"));
    Answer::of(request.multipart(form).send().await.unwrap()).await
}
