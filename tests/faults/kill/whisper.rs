//! The engine in the process: a kill ends it too. What it writes is written by the same code as for Gemini.

use reqwest::Method;

use super::case::{Case, Step};
use super::lab::Lab;

const STORED: &str = "audio, manifest (stored)";
const STORED_AND_TEXT: &str = "audio, manifest (stored), text";

fn cases() -> Vec<Case> {
    let works = Step::engine_works("Whisper works on a small recording");
    let works_long = Step::engine_works("Whisper works on a large recording").large();
    let text = Step::s3("PutObject: text", Method::PUT, "/transcripts/");
    let complete = Step::s3("PutObject: manifest, complete", Method::PUT, "/manifests/").after(1);
    vec![
        works.meanwhile().leaves(STORED, "stored"),
        works_long.meanwhile().leaves(STORED, "stored"),
        text.before().leaves(STORED, "stored"),
        text.during().leaves(STORED, "stored"),
        text.done().leaves(STORED_AND_TEXT, "stored"),
        complete.before().leaves(STORED_AND_TEXT, "stored"),
        complete.during().leaves(STORED_AND_TEXT, "stored"),
        complete
            .done()
            .leaves("audio, manifest (complete), text", "complete, its text"),
    ]
}

#[tokio::test]
async fn a_recording_that_whisper_heard_is_there_with_a_true_manifest() {
    let lab = Lab::of_whisper("Killed while Whisper hears").await;

    lab.run(&cases()).await;
}
