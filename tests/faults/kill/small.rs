//! A small recording: one request stores it, and it goes inline to Gemini.

use reqwest::Method;

use super::case::{Case, First, Step, Trouble};
use super::lab::Lab;

const STORED: &str = "audio, manifest (stored)";
const STORED_AND_TEXT: &str = "audio, manifest (stored), text";
const COMPLETE: &str = "audio, manifest (complete), text";
const BILLED: &str = "1 call billed";

/// Each write of a transcription that succeeds.
fn writes() -> Vec<Case> {
    let audio = Step::s3("PutObject: audio", Method::PUT, "/audio/");
    let accepted = Step::s3("PutObject: manifest, stored", Method::PUT, "/manifests/");
    let engine = Step::gemini("generateContent", Method::POST, ":generateContent");
    let works = Step::engine_works("Gemini works");
    let text = Step::s3("PutObject: text", Method::PUT, "/transcripts/");
    let complete = Step::s3("PutObject: manifest, complete", Method::PUT, "/manifests/").after(1);
    vec![
        audio.before(),
        audio.during(),
        audio.done().leaves("audio", "404"),
        accepted.before().leaves("audio", "404"),
        accepted.during().leaves("audio", "404"),
        accepted.done().leaves(STORED, "stored"),
        engine.before().leaves(STORED, "stored"),
        engine.during().leaves(STORED, "stored"),
        works.meanwhile().leaves(STORED, "stored"),
        engine.done().leaves(STORED, "stored").at_google(BILLED),
        text.before().leaves(STORED, "stored").at_google(BILLED),
        text.during().leaves(STORED, "stored").at_google(BILLED),
        text.done()
            .leaves(STORED_AND_TEXT, "stored")
            .at_google(BILLED),
        complete
            .before()
            .leaves(STORED_AND_TEXT, "stored")
            .at_google(BILLED),
        complete
            .during()
            .leaves(STORED_AND_TEXT, "stored")
            .at_google(BILLED),
        complete
            .done()
            .leaves(COMPLETE, "complete, its text")
            .at_google(BILLED),
    ]
}

/// Each write of one that fails.
fn writes_of_failures() -> Vec<Case> {
    let failed = Step::s3("PutObject: manifest, failed", Method::PUT, "/manifests/")
        .after(1)
        .with(Trouble::ContentBlocked);
    let manifest_back = Step::s3("DeleteObject: manifest", Method::DELETE, "/manifests/")
        .with(Trouble::ManifestAnswerLost);
    let audio_back = Step::s3("DeleteObject: audio", Method::DELETE, "/audio/")
        .with(Trouble::ManifestAnswerLost);
    let waits = Step::waits("a text that the bucket did not take waits in memory")
        .with(Trouble::TextRefused)
        .not_before(First::Answered);
    vec![
        failed.before().leaves(STORED, "stored").at_google(BILLED),
        failed.during().leaves(STORED, "stored").at_google(BILLED),
        failed
            .done()
            .leaves("audio, manifest (failed)", "failed (content_blocked)")
            .at_google(BILLED),
        waits
            .meanwhile()
            .leaves(STORED, "stored")
            .at_google(BILLED)
            .client("200, the text is pending"),
        manifest_back.before().leaves(STORED, "stored"),
        manifest_back.done().leaves("audio", "404"),
        audio_back.before().leaves("audio", "404"),
        audio_back.done(),
    ]
}

#[tokio::test]
async fn a_small_recording_is_there_with_a_true_manifest_or_reads_as_nothing() {
    let lab = Lab::of_gemini("Killed while a small recording is taken and heard (Gemini)").await;

    lab.run(&writes()).await;
}

#[tokio::test]
async fn a_small_recording_that_fails_never_reads_as_complete() {
    let lab = Lab::of_gemini("Killed while a small recording fails (Gemini)").await;

    lab.run(&writes_of_failures()).await;
}
