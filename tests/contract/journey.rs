//! From a new account to a stored text, with the two services as programs of their own and SeaweedFS as the S3 store.

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::client::{Answer, User};
use transcription_tests::files::sha256_of;
use transcription_tests::process::eventually;
use transcription_tests::speech::{as_large_wav, librivox, word_errors};
use transcription_tests::stack::TwoServices;

/// The bucket holds the recording, its text and its manifest under the keys of the answer, and they agree.
async fn assert_stored(stack: &TwoServices, user: &User, answer: &Answer, sent: &[u8]) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let id = answer.json["id"].as_str().unwrap();
    let key = |kind: &str, extension: &str| format!("private/{}/{kind}/{id}.{extension}", user.id);
    let audio_key = key("audio", "wav");
    let transcript_key = key("transcripts", "txt");
    assert_eq!(answer.json["audio_key"], audio_key.as_str());
    assert_eq!(answer.json["transcript_key"], transcript_key.as_str());

    let (audio, audio_type) = stack.s3.object(&audio_key).await;
    assert_eq!(audio_type, "audio/wav");
    assert_eq!(sha256_of(&audio), sha256_of(sent));
    let (text, text_type) = stack.s3.object(&transcript_key).await;
    assert_eq!(text_type, "text/plain; charset=utf-8");
    assert_eq!(
        answer.json["transcription"],
        String::from_utf8(text.clone()).unwrap()
    );

    let (manifest, manifest_type) = stack.s3.object(&key("manifests", "json")).await;
    assert_eq!(manifest_type, "application/json");
    let mut manifest = serde_json::from_slice::<Value>(&manifest).unwrap();
    for time in ["created_at", "completed_at"] {
        let time = manifest.as_object_mut().unwrap().remove(time).unwrap();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
    }
    assert_eq!(
        manifest,
        json!({
            "schema_version": 1,
            "id": id,
            "user_id": user.id.to_string(),
            "state": "complete",
            "filename": answer.json["filename"],
            "language": "en",
            "engine": "whisper",
            "model": "tiny.en",
            "audio": {
                "key": audio_key,
                "size_bytes": sent.len(),
                "sha256": sha256_of(sent),
                "content_type": "audio/wav",
                "duration_seconds": answer.json["duration_seconds"],
            },
            "transcript": {
                "key": transcript_key,
                "size_bytes": text.len(),
                "sha256": sha256_of(&text),
            },
        })
    );
}

#[tokio::test]
async fn a_new_user_gets_the_words_and_everything_is_in_their_folder() {
    let stack = TwoServices::start().await;
    let ada = User::register(&stack.auth.url, &stack.transcription.url, "ada").await;
    let bob = User::register(&stack.auth.url, &stack.transcription.url, "bob").await;
    let clips = librivox();

    let of_ada = ada
        .transcribe("../réunion \"1\".wav", clips[0].wav.clone())
        .await;
    let of_bob = bob
        .transcribe("../réunion \"1\".wav", clips[1].wav.clone())
        .await;

    assert_stored(&stack, &ada, &of_ada, &clips[0].wav).await;
    assert_stored(&stack, &bob, &of_bob, &clips[1].wav).await;
    let text = of_ada.json["transcription"].as_str().unwrap();
    assert!(word_errors(text, &clips[0].words) <= 1, "{text}");
    assert_eq!(of_ada.json["duration_seconds"], 7.1);
    assert_eq!(of_ada.json["filename"], "../réunion \"1\".wav");
    let keys = stack.s3.keys().await;
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(
        keys.iter()
            .all(|key| key.starts_with("private/1/") || key.starts_with("private/2/")),
        "{keys:?}"
    );
}

#[tokio::test]
async fn a_large_recording_is_stored_in_parts_and_heard_from_the_bucket() {
    let stack = TwoServices::start().await;
    let ada = User::register(&stack.auth.url, &stack.transcription.url, "ada").await;
    let clips = librivox();
    let recording = as_large_wav(&clips);
    assert!(
        recording.len() > 8 * 1024 * 1024,
        "{} bytes are sent at once",
        recording.len()
    );

    let answer = ada.transcribe("sentences.wav", recording.clone()).await;

    assert_stored(&stack, &ada, &answer, &recording).await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    let spoken = clips
        .iter()
        .map(|clip| clip.words.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    let text = answer.json["transcription"].as_str().unwrap();
    assert!(word_errors(text, &spoken) <= 5, "{text}");
}

#[tokio::test]
async fn a_recording_that_was_accepted_is_transcribed_though_the_caller_hangs_up() {
    let stack = TwoServices::start().await;
    let ada = User::register(&stack.auth.url, &stack.transcription.url, "ada").await;
    let clip = librivox().swap_remove(0);

    let call = ada.transcribe("a.wav", clip.wav);
    let accepted = eventually("the recording is accepted", async || {
        stack.s3.keys().await.len() == 2
    });
    tokio::select! {
        answer = call => panic!("answered before the recording was seen in the bucket: {answer:?}"),
        () = accepted => {} // and here the call is dropped: the client is gone
    }

    eventually("the text is there", async || {
        stack.s3.keys().await.len() == 3
    })
    .await;
    let keys = stack.s3.keys().await;
    let text = keys
        .iter()
        .find(|key| key.contains("/transcripts/"))
        .unwrap();
    let (text, _) = stack.s3.object(text).await;
    assert!(word_errors(&String::from_utf8(text).unwrap(), &clip.words) <= 1);
}
