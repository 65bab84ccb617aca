//! A bucket that fails now and then under load, bytes that change on the way, and a clock that is not S3's.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;
use transcription_tests::client::Answer;
use transcription_tests::files::sha256_of;
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::transcription::{Transcription, heard, silent_wav};

const MIB: usize = 1024 * 1024;

/// Nothing is in the bucket, and nothing on its way there.
async fn assert_nothing_left(stack: &Transcription) {
    eventually("no place is taken", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.open_uploads().await, 0);
    assert_eq!(stack.s3.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_byte_that_changes_on_the_way_to_the_bucket_is_never_stored_as_right() {
    let stack = Transcription::start().await;
    for (method, path_part, size) in [
        (Method::PUT, "/audio/", 3000),
        (Method::PUT, "partNumber=", 9 * MIB),
        (Method::PUT, "/manifests/", 3000),
    ] {
        stack.proxy.fail(method, path_part, Fault::Changed);

        let answer = stack.transcribe("1", "a.wav", silent_wav(size)).await;

        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json.get("id").is_none(), "{path_part}: {answer:?}");
        stack.proxy.heal();
        assert_nothing_left(&stack).await;
    }
    assert_eq!(stack.google.counts().await["generate_content_calls"], 0);

    // A text is answered, and kept until it is stored as it is.
    stack
        .proxy
        .fail(Method::PUT, "/transcripts/", Fault::Changed);
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(answer.json["storage"], "pending", "{answer:?}");
    stack.proxy.heal();
    eventually("the text is stored", async || {
        stack.manifest("1", &answer.json["id"]).await["state"] == "complete"
    })
    .await;
    let key = answer.json["transcript_key"].as_str().unwrap();
    let (text, _) = stack.s3.object(key).await;
    assert_eq!(text, heard(&silent_wav(3000)).into_bytes());
}

#[tokio::test]
async fn a_text_that_is_not_the_one_in_its_manifest_is_never_answered() {
    let stack = Transcription::start().await;
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    let id = answer.json["id"].as_str().unwrap();

    stack
        .proxy
        .fail(Method::GET, "/transcripts/", Fault::Changed);
    let changed = stack.ask("1", id).await;
    changed.assert_problem(503, "storage_unavailable");
    changed.header("retry-after");
    stack.proxy.heal();
    let asked = stack.ask("1", id).await;
    assert_eq!(asked.json["transcription"], answer.json["transcription"]);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_found_out_by_the_first_answer_and_allowed_for() {
    let stack = Transcription::start().await;
    stack.proxy.fail(Method::PUT, "/private/", Fault::Skewed);

    for _ in 0..3 {
        let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.json.get("storage").is_none(), "{answer:?}");
    }
    // Audio, manifest, text and manifest of each, and one that was refused.
    let asked = stack.proxy.count("PUT /recordings/private/");
    println!("12 objects were taken by {asked} requests");
    assert_eq!(asked, 12 + 1);

    // The clocks are set right again: one request may be refused, and those after it are not.
    stack.proxy.heal();
    let mut refused = 0;
    for _ in 0..5 {
        let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
        if answer.status != 200 {
            answer.assert_problem(503, "storage_unavailable");
            assert!(answer.json.get("id").is_none(), "{answer:?}");
            refused += 1;
        }
    }
    println!("{refused} of 5 were refused after the clocks were set right");
    assert!(refused <= 1, "{refused}");
    assert_eq!(stack.s3.open_uploads().await, 0);
}

/// Sends recordings one after another and asks for what became of each.
async fn client(stack: &Transcription, user: usize, recordings: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for number in 0..recordings {
        let size = if number % 4 == 3 { 9 * MIB } else { 3000 };
        let wav = silent_wav(size + 2 * (user * recordings + number));
        let answer = stack
            .transcribe(&user.to_string(), "a.wav", wav.clone())
            .await;
        if answer.status == 200 {
            assert_eq!(answer.json["transcription"], heard(&wav));
        } else {
            answer.assert_problem(503, "storage_unavailable");
        }
        answers.push(answer);
    }
    answers
}

#[tokio::test]
async fn a_bucket_that_fails_now_and_then_under_load_loses_nothing_that_was_accepted() {
    const CLIENTS: usize = 12;
    let stack = Transcription::start().await;
    let slow = Fault::Late(Duration::from_secs(1));
    for (every, method, path_part, fault) in [
        (3, Method::PUT, "/private/", Fault::SlowDown),
        (5, Method::PUT, "/private/", Fault::Gone),
        (7, Method::PUT, "/private/", slow),
        (11, Method::PUT, "/private/", Fault::Changed),
        (4, Method::POST, "/private/", Fault::SlowDown),
        (3, Method::GET, "/audio/", Fault::Cut),
        (4, Method::GET, "/audio/", Fault::SlowDown),
    ] {
        stack.proxy.fail_every(every, method, path_part, fault);
    }

    let clients = (0..CLIENTS).map(|user| client(&stack, user, 4));
    let answers = futures_util::future::join_all(clients).await;
    stack.proxy.heal();
    eventually("everything is done", async || {
        stack.count("transcription_in_flight").await == 0
            && stack.count("transcription_pending_bytes").await == 0
    })
    .await;

    let mut outcomes = BTreeMap::<&str, usize>::new();
    for (user, answer) in (0..)
        .zip(&answers)
        .flat_map(|(user, of_user)| of_user.iter().map(move |answer| (user, answer)))
    {
        let user: usize = user;
        let id = &answer.json["id"];
        let outcome = if id.is_null() {
            "not accepted"
        } else {
            let code = answer.json["code"].as_str();
            let expected = if code.is_some() { "failed" } else { "complete" };
            eventually("the manifest says what became of it", async || {
                stack.manifest(&user.to_string(), id).await["state"] == expected
            })
            .await;
            let manifest = stack.manifest(&user.to_string(), id).await;
            let (audio, _) = stack
                .s3
                .object(answer.json["audio_key"].as_str().unwrap())
                .await;
            assert_eq!(manifest["audio"]["sha256"], sha256_of(&audio));
            expected
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!(
        "{} recordings by what came of them: {outcomes:?}",
        CLIENTS * 4
    );
    let accepted = outcomes["complete"] + outcomes.get("failed").unwrap_or(&0);
    let keys = stack.s3.keys().await;
    let of_kind = |part: &str| keys.iter().filter(|key| key.contains(part)).count();
    assert_eq!(of_kind("/manifests/"), accepted);
    assert_eq!(of_kind("/audio/"), accepted);
    assert_eq!(of_kind("/transcripts/"), outcomes["complete"]);
    assert_eq!(stack.s3.open_uploads().await, 0);
    let billed = &stack.google.counts().await["billed_calls"];
    assert_eq!(*billed, outcomes["complete"], "none twice");
}
