//! What is refused, how, and that nothing is left of it in the bucket.

use std::fs;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use transcription_tests::client::{Answer, FILE_HEAD, User, form_head, http};
use transcription_tests::files::data;
use transcription_tests::process::eventually;
use transcription_tests::speech::{as_large_wav, librivox};
use transcription_tests::stack::{Environment, SIGNING_KEY, TwoServices};
use transcription_tests::transcription::{Transcription, silent_wav};

fn file(bytes: impl Into<Vec<u8>>) -> Part {
    Part::bytes(bytes.into()).file_name("a.wav")
}

async fn user(stack: &TwoServices) -> User {
    User::register(&stack.auth.url, &stack.transcription.url, "ada").await
}

#[tokio::test]
async fn only_a_token_of_ours_is_taken() {
    let stack = TwoServices::start().await;
    let clip = librivox().swap_remove(1);
    let sign = |sub: &str, exp: u64, algorithm: Algorithm, key: &str| {
        let claims = json!({"sub": sub, "username": "ada", "exp": exp});
        let key = EncodingKey::from_secret(key.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).unwrap()
    };
    let later = 4_102_444_800;
    let other_key = "another-signing-key-of-enough-bytes-0123456789";
    // {"alg":"none","typ":"JWT"}.{"sub":"1","username":"ada","exp":4102444800}.
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwidXNlcm5hbWUiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9.";
    let cases = [
        (
            sign("1", later, Algorithm::HS256, other_key),
            "token_invalid",
        ),
        (
            sign("1", later, Algorithm::HS512, SIGNING_KEY),
            "token_invalid",
        ),
        (
            sign("../2", later, Algorithm::HS256, SIGNING_KEY),
            "token_invalid",
        ),
        (
            sign("1", 1_000_000_000, Algorithm::HS256, SIGNING_KEY),
            "token_expired",
        ),
        (unsigned.to_owned(), "token_invalid"),
        ("not a token".to_owned(), "token_invalid"),
    ];

    let request = || {
        let form = Form::new().part("file", file(clip.wav.clone()));
        http()
            .post(format!("{}/transcribe", stack.transcription.url))
            .multipart(form)
    };
    for (token, code) in cases {
        let answer = Answer::of(request().bearer_auth(&token).send().await.unwrap()).await;
        answer.assert_problem(401, code);
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let answer = Answer::of(request().send().await.unwrap()).await;
    answer.assert_problem(401, "token_missing");

    assert_eq!(stack.s3.keys().await, [""; 0]);
}

#[tokio::test]
async fn the_bytes_decide_what_is_audio_and_not_the_label() {
    let stack = TwoServices::start().await;
    let ada = user(&stack).await;
    let clip = librivox().swap_remove(1);

    let text = file(&b"I am a text, whatever they say."[..])
        .mime_str("audio/wav")
        .unwrap();
    let answer = ada.send(Form::new().part("file", text)).await;
    let detail = answer.assert_problem(415, "not_audio");
    assert!(detail.contains("WAV, FLAC, MP3"), "{detail}");
    assert_eq!(stack.s3.keys().await, [""; 0]);

    let unlabelled = Part::bytes(clip.wav)
        .file_name("a.bin")
        .mime_str("application/octet-stream")
        .unwrap();
    let answer = ada.send(Form::new().part("file", unlabelled)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_form_that_is_not_right_leaves_nothing_behind() {
    let settings = Environment::from([("MAX_UPLOAD_BYTES", "9000000".to_owned())]);
    let stack = TwoServices::start_with(settings).await;
    let ada = user(&stack).await;
    let clip = librivox().swap_remove(1);
    let good = || Form::new().part("file", file(clip.wav.clone()));
    let large = as_large_wav(&librivox());
    assert!(large.len() > 9_000_000, "{}", large.len());

    ada.send(Form::new().text("language", "en"))
        .await
        .assert_problem(400, "no_file");
    ada.send(Form::new().part("file", file("")))
        .await
        .assert_problem(400, "empty_file");
    ada.send(good().part("file", file(clip.wav.clone())))
        .await
        .assert_problem(400, "two_files");
    let detail = ada
        .transcribe("a.wav", large)
        .await
        .assert_problem(413, "too_large");
    assert!(detail.contains("9000000"), "{detail}");
    ada.send(good().text("language", "<|en|>"))
        .await
        .assert_problem(422, "invalid_field");
    let answer = ada.send(good().text("language", "de")).await;
    let detail = answer.assert_problem(422, "invalid_field");
    assert!(
        detail.contains("tiny.en does not know the language de"),
        "{detail}"
    );
    let no_form = http()
        .post(format!("{}/transcribe", stack.transcription.url))
        .bearer_auth(&ada.token)
        .body("nothing like a form");
    Answer::of(no_form.send().await.unwrap())
        .await
        .assert_problem(400, "broken_form");

    assert_eq!(stack.s3.keys().await, [""; 0]);
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(ada.send(good().text("language", "en-GB")).await.status, 200);
}

#[tokio::test]
async fn a_recording_that_cannot_be_decoded_is_kept_and_the_answer_names_it() {
    let stack = TwoServices::start().await;
    let ada = user(&stack).await;
    // Its index was at the end.
    let mut cut = fs::read(data("formats").join("second.m4a")).unwrap();
    cut.truncate(cut.len() / 2);
    let mut damaged = librivox().swap_remove(1).wav;
    damaged[20..24].copy_from_slice(&[0xff; 4]); // the codec and the channels

    for (bytes, says) in [(cut, "M4A/MP4"), (damaged, "WAV")] {
        let answer = ada.transcribe("a", bytes).await;
        let detail = answer.assert_problem(422, "audio_undecodable");
        assert!(detail.contains(says), "{detail}");
        let id = answer.json["id"].as_str().unwrap();
        let (manifest, _) = stack
            .s3
            .object(&format!("private/1/manifests/{id}.json"))
            .await;
        let manifest = serde_json::from_slice::<serde_json::Value>(&manifest).unwrap();
        assert_eq!(manifest["state"], "failed");
        assert_eq!(manifest["code"], "audio_undecodable");
        assert_eq!(manifest["audio"]["key"], answer.json["audio_key"]);
    }
    let keys = stack.s3.keys().await;
    assert_eq!(
        keys.iter().filter(|key| key.contains("/audio/")).count(),
        2,
        "{keys:?}"
    );
    assert!(
        !keys.iter().any(|key| key.contains("/transcripts/")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn more_at_once_than_one_user_may_is_refused_at_once() {
    let stack = Transcription::start_with([("MAX_CONCURRENT_PER_USER", "1")]).await;
    stack.google.hold(1).await;
    let first = stack.call("1", silent_wav(3000));
    eventually("the first has its place", async || {
        stack.count("transcription_in_flight").await == 1
    })
    .await;

    for _ in 0..2 {
        let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
        answer.assert_problem(429, "user_busy");
        answer.header("retry-after");
    }
    let other = stack.call("2", silent_wav(3000));
    stack.google.release().await;

    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(other.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_nothing_behind() {
    let stack = TwoServices::start().await;
    let ada = user(&stack).await;
    let recording = as_large_wav(&librivox());
    let address = stack.transcription.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = form_head(&stack.transcription.url, &ada.token, recording.len() + 1000);
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(FILE_HEAD).await.unwrap();
    connection.write_all(&recording).await.unwrap();
    eventually("the upload is open", async || {
        stack.s3.open_uploads().await == 1
    })
    .await;

    drop(connection);

    eventually("the upload is aborted", async || {
        stack.s3.open_uploads().await == 0
    })
    .await;
    assert_eq!(stack.s3.keys().await, [""; 0]);
}
