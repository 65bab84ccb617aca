//! A large recording: it is stored in parts, read from the bucket, and goes to Gemini by the Files API.

use reqwest::Method;

use super::case::{Case, First, Step, Trouble};
use super::lab::Lab;

const NO_PART: &str = "open upload (0 parts)";
const ONE_PART: &str = "open upload (1 part)";
const TWO_PARTS: &str = "open upload (2 parts)";
const THREE_PARTS: &str = "open upload (3 parts)";
const STORED: &str = "audio, manifest (stored)";
const STORED_AND_TEXT: &str = "audio, manifest (stored), text";
const COMPLETE: &str = "audio, manifest (complete), text";
const BILLED: &str = "1 call billed";
const FILE: &str = "1 file";
const FILE_AND_BILLED: &str = "1 file, 1 call billed";

fn s3(name: &'static str, method: Method, path_part: &'static str) -> Step {
    Step::s3(name, method, path_part).large()
}

fn gemini(name: &'static str, method: Method, path_part: &'static str) -> Step {
    Step::gemini(name, method, path_part).large()
}

/// Until the recording is accepted, or given up.
fn upload() -> Vec<Case> {
    let create = s3("CreateMultipartUpload", Method::POST, "?uploads");
    let first = s3("UploadPart: first", Method::PUT, "partNumber=1");
    let middle = s3("UploadPart: middle", Method::PUT, "partNumber=2");
    let last = s3("UploadPart: last", Method::PUT, "partNumber=3");
    let finish = s3("CompleteMultipartUpload", Method::POST, "uploadId=");
    let length = s3("GetObject: for its length", Method::GET, "/audio/");
    let accepted = s3("PutObject: manifest, stored", Method::PUT, "/manifests/");
    let abort = s3("AbortMultipartUpload", Method::DELETE, "uploadId=").with(Trouble::BadField);
    vec![
        create.before(),
        create.done().leaves(NO_PART, "404"),
        first.before().leaves(NO_PART, "404"),
        first.during().leaves(NO_PART, "404"),
        first.done().leaves(ONE_PART, "404"),
        middle.before().leaves(ONE_PART, "404"),
        middle.during().leaves(ONE_PART, "404"),
        middle.done().leaves(TWO_PARTS, "404"),
        last.before().leaves(TWO_PARTS, "404"),
        last.during().leaves(TWO_PARTS, "404"),
        last.done().leaves(THREE_PARTS, "404"),
        finish.before().leaves(THREE_PARTS, "404"),
        finish.during().leaves(THREE_PARTS, "404"),
        finish.done().leaves("audio", "404"),
        length.before().leaves("audio", "404"),
        length.done().leaves("audio", "404"),
        accepted.before().leaves("audio", "404"),
        accepted.during().leaves("audio", "404"),
        accepted.done().leaves(STORED, "stored"),
        abort.before().leaves(THREE_PARTS, "404"),
        abort.done(),
    ]
}

/// From there until its text is there.
fn transcription() -> Vec<Case> {
    let start = gemini("Files API: start", Method::POST, "/upload/v1beta/files");
    let read = s3("GetObject: for Gemini", Method::GET, "/audio/").after(3);
    let first = gemini("Files API: first chunk", Method::POST, "upload_id=");
    let last = gemini("Files API: last chunk", Method::POST, "upload_id=").after(1);
    let poll = gemini("Files API: poll", Method::GET, "/v1beta/files/");
    let engine = gemini("generateContent", Method::POST, ":generateContent");
    let works = Step::engine_works("Gemini works").large();
    vec![
        start.before().leaves(STORED, "stored"),
        start.during().leaves(STORED, "stored"),
        start.done().leaves(STORED, "stored"),
        read.before().leaves(STORED, "stored"),
        read.done().leaves(STORED, "stored"),
        first.before().leaves(STORED, "stored"),
        first.during().leaves(STORED, "stored"),
        first.done().leaves(STORED, "stored"),
        last.before().leaves(STORED, "stored"),
        last.during().leaves(STORED, "stored"),
        last.done().leaves(STORED, "stored").at_google(FILE),
        poll.before().leaves(STORED, "stored").at_google(FILE),
        poll.done().leaves(STORED, "stored").at_google(FILE),
        engine.before().leaves(STORED, "stored").at_google(FILE),
        engine.during().leaves(STORED, "stored").at_google(FILE),
        works.meanwhile().leaves(STORED, "stored").at_google(FILE),
        engine
            .done()
            .leaves(STORED, "stored")
            .at_google(FILE_AND_BILLED),
    ]
}

/// What is done when the text is there.
fn end() -> Vec<Case> {
    let text = s3("PutObject: text", Method::PUT, "/transcripts/").not_before(First::Deleted);
    let complete = s3("PutObject: manifest, complete", Method::PUT, "/manifests/")
        .after(1)
        .not_before(First::Deleted);
    let cancel = gemini("Files API: cancel", Method::POST, "upload_id=")
        .after(2)
        .with(Trouble::FileStays)
        .not_before(First::Answered);
    let delete =
        gemini("Files API: delete", Method::DELETE, "/v1beta/files/").not_before(First::Answered);
    let is_complete = |case: Case| {
        case.leaves(COMPLETE, "complete, its text")
            .at_google(BILLED)
    };
    vec![
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
        is_complete(complete.done()),
        is_complete(cancel.before().client("200, the text")).at_google(FILE_AND_BILLED),
        is_complete(cancel.done().client("200, the text")).at_google(FILE_AND_BILLED),
        is_complete(delete.before().client("200, the text")).at_google(FILE_AND_BILLED),
        is_complete(delete.done().client("200, the text")),
    ]
}

#[tokio::test]
async fn a_large_recording_that_was_not_accepted_reads_as_nothing() {
    let lab = Lab::of_gemini("Killed while a large recording is taken").await;

    lab.run(&upload()).await;
}

#[tokio::test]
async fn a_large_recording_that_was_accepted_is_there_with_a_true_manifest() {
    let lab = Lab::of_gemini("Killed while a large recording is heard (Gemini, Files API)").await;
    let cases = transcription().into_iter().chain(end());

    lab.run(&cases.collect::<Vec<_>>()).await;
}
