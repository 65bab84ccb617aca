//! Whether the words are right.

use std::fs;

use tempfile::TempDir;
use transcription_tests::client::User;
use transcription_tests::files::recording;
use transcription_tests::speech::{librivox, word_count, word_errors};
use transcription_tests::stack::{Standalone, TwoServices};

/// Of 71 words in all. The transcription itself has one that the reader may not have said ("a more a amiable woman").
const MOST_ERRORS: usize = 3;

async fn assert_heard_right(user: &User, model: &str) {
    let mut errors = 0;
    let mut words = 0;
    for clip in librivox() {
        let answer = user.transcribe(&clip.file_name, clip.wav).await;
        let text = answer.json["transcription"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer:?}"));
        let wrong = word_errors(text, &clip.words);
        println!("{model}: {wrong} wrong in: {text}");
        assert_eq!(answer.json["language"], "en");
        assert_eq!(answer.json["model"], model);
        errors += wrong;
        words += word_count(&clip.words);
    }
    println!("{model}: {errors} of {words} words wrong");
    assert_eq!(words, 71);
    assert!(errors <= MOST_ERRORS, "{errors} of {words} words wrong");
}

#[tokio::test]
async fn the_default_model_hears_the_librivox_clips() {
    let folder = TempDir::new().unwrap();
    let stack = Standalone::start(folder.path()).await;
    let ada = User::register(&stack.auth_url, &stack.transcription_url, "ada").await;

    assert_heard_right(&ada, "base").await;
}

#[tokio::test]
async fn an_english_only_model_hears_the_librivox_clips() {
    let stack = TwoServices::start().await;
    let ada = User::register(&stack.auth.url, &stack.transcription.url, "ada").await;

    assert_heard_right(&ada, "tiny.en").await;
}

#[tokio::test]
async fn flac_is_heard_like_the_wav_it_was_made_from() {
    let stack = TwoServices::start().await;
    let ada = User::register(&stack.auth.url, &stack.transcription.url, "ada").await;
    let clip = librivox().swap_remove(0);

    let of_flac = ada
        .transcribe("0870.flac", fs::read(recording("0870.flac")).unwrap())
        .await;
    let of_wav = ada.transcribe(&clip.file_name, clip.wav).await;

    assert_eq!(of_flac.json["transcription"], of_wav.json["transcription"]);
    assert_eq!(
        of_flac.json["duration_seconds"],
        of_wav.json["duration_seconds"]
    );
    let audio_key = of_flac.json["audio_key"].as_str().unwrap();
    assert_eq!(audio_key.rsplit_once('.').unwrap().1, "flac");
}
