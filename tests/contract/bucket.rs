//! A bucket that fails, before a recording is accepted and after it; and one that is prepared and found ready.

use std::time::Duration;

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::time::sleep;
use transcription_tests::client::Answer;
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::transcription::{Transcription, silent_wav, token};

use crate::uploads::assert_nothing_left;

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn a_bucket_that_fails_before_acceptance_is_503_without_an_id_and_leaves_nothing() {
    let stack = Transcription::start().await;
    for (path_part, size) in [
        ("/audio/", 3000),
        ("/audio/", 9 * MIB),
        ("/manifests/", 3000),
        ("/manifests/", 9 * MIB),
    ] {
        stack.proxy.fail(Method::PUT, path_part, Fault::SlowDown);

        let answer = stack.transcribe("1", "a.wav", silent_wav(size)).await;

        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json.get("id").is_none(), "{answer:?}");
        answer.header("retry-after");
        stack.proxy.heal();
        assert_nothing_left(&stack).await;
    }
    assert_eq!(
        stack.google.counts().await["generate_content_calls"],
        0,
        "it was never asked"
    );
    stack
        .proxy
        .fail(Method::PUT, "/audio/", Fault::Late(Duration::from_secs(3)));
    assert_eq!(
        stack
            .transcribe("1", "a.wav", silent_wav(3000))
            .await
            .status,
        200,
        "slow is not down"
    );
}

#[tokio::test]
async fn what_the_bucket_did_without_its_answer_arriving_is_undone() {
    let stack = Transcription::start().await;
    for (method, path_part, size) in [
        (Method::PUT, "/audio/", 3000),
        // The end of an upload in parts. One whose beginning is lost is for the bucket's lifecycle rule.
        (Method::POST, "uploadId=", 9 * MIB),
        (Method::PUT, "/manifests/", 3000),
    ] {
        stack.proxy.fail(method, path_part, Fault::Lost);

        let answer = stack.transcribe("1", "a.wav", silent_wav(size)).await;

        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json.get("id").is_none(), "{answer:?}");
        stack.proxy.heal();
        assert_nothing_left(&stack).await;
    }
}

#[tokio::test]
async fn that_a_transcription_failed_is_stored_when_the_bucket_is_back() {
    let stack = Transcription::start().await;
    stack
        .google
        .fail_to_generate(
            1,
            json!({"block_reason": "SAFETY", "delay_milliseconds": 2000}),
        )
        .await;
    let call = stack.transcribe("1", "a.wav", silent_wav(3000));
    let fail = async {
        eventually("it is accepted", async || stack.s3.keys().await.len() == 2).await;
        stack
            .proxy
            .fail(Method::PUT, "/manifests/", Fault::SlowDown);
    };
    let (answer, ()) = tokio::join!(call, fail);
    answer.assert_problem(422, "content_blocked");
    let id = &answer.json["id"];
    assert_eq!(stack.manifest("1", id).await["state"], "stored");

    stack.proxy.heal();

    eventually("it says so", async || {
        stack.manifest("1", id).await["state"] == "failed"
    })
    .await;
    assert_eq!(stack.manifest("1", id).await["code"], "content_blocked");
}

#[tokio::test]
async fn a_bucket_that_is_gone_is_503_before_the_engine_and_loses_no_text_after_it() {
    let mut stack = Transcription::start().await;
    stack
        .google
        .fail_to_generate(1, json!({"delay_milliseconds": 3000}))
        .await;
    let call = {
        let part = Part::bytes(silent_wav(3000)).file_name("a.wav");
        let request = stack
            .http
            .post(format!("{}/transcribe", stack.url))
            .bearer_auth(token("1"))
            .multipart(Form::new().part("file", part));
        tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
    };
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;

    stack.s3.crash().await;

    let after = call.await.unwrap();
    assert_eq!(after.status, 200, "{after:?}");
    assert_eq!(after.json["storage"], "pending");
    let before = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    before.assert_problem(503, "storage_unavailable");
    assert!(before.json.get("id").is_none(), "{before:?}");
    let id = after.json["id"].as_str().unwrap();
    let kept = stack.ask("1", id).await;
    assert_eq!(kept.json["transcription"], after.json["transcription"]);
    let other = stack.ask("1", "01a207e6-e74c-7ea0-9e77-5df4e7b73e9a").await;
    other.assert_problem(503, "storage_unavailable");
    assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
}

#[tokio::test]
async fn a_text_that_cannot_be_stored_is_answered_kept_and_stored_later() {
    let stack = Transcription::start().await;
    stack
        .proxy
        .fail(Method::PUT, "/transcripts/", Fault::SlowDown);

    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json["storage"], "pending");
    let text = answer.json["transcription"].as_str().unwrap();
    let id = answer.json["id"].as_str().unwrap();
    let asked = stack.ask("1", id).await;
    assert_eq!(asked.json["state"], "stored", "{asked:?}");
    assert_eq!(asked.json["storage"], "pending");
    assert_eq!(asked.json["transcription"], text);
    stack
        .ask("2", id)
        .await
        .assert_problem(404, "transcription_not_found");
    assert_eq!(
        stack.count("transcription_pending_bytes").await,
        i64::try_from(text.len()).unwrap()
    );
    assert_eq!(
        stack.manifest("1", &answer.json["id"]).await["state"],
        "stored"
    );

    stack.proxy.heal();
    eventually("the text is stored", async || {
        stack.ask("1", id).await.json["state"] == "complete"
    })
    .await;
    let stored = stack.ask("1", id).await;
    assert_eq!(stored.json["transcription"], text);
    assert!(stored.json.get("storage").is_none(), "{stored:?}");
    assert_eq!(stack.count("transcription_pending_bytes").await, 0);
    assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
}

#[tokio::test]
async fn a_text_that_waits_is_stored_before_the_service_ends() {
    let mut stack = Transcription::start_with([("SHUTDOWN_GRACE_SECONDS", "40")]).await;
    stack
        .proxy
        .fail(Method::PUT, "/transcripts/", Fault::SlowDown);
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(answer.json["storage"], "pending", "{answer:?}");

    stack.process.signal("TERM");
    sleep(Duration::from_millis(500)).await;
    stack.proxy.heal();

    assert!(stack.process.ended().await.success());
    assert_eq!(
        stack.manifest("1", &answer.json["id"]).await["state"],
        "complete"
    );
    let key = answer.json["transcript_key"].as_str().unwrap();
    assert_eq!(
        answer.json["transcription"],
        String::from_utf8(stack.s3.object(key).await.0).unwrap()
    );
}

#[tokio::test]
async fn reading_from_a_bucket_that_cuts_or_fails_is_told_and_bills_nothing_twice() {
    let stack = Transcription::start_with([("ENGINE_TIMEOUT_SECONDS", "30")]).await;
    // Too large for memory: it is read from the bucket for the engine.
    for fault in [Fault::SlowDown, Fault::Cut] {
        stack.google.reset().await;
        stack.proxy.fail(Method::GET, "/audio/", fault);
        let answer = stack.transcribe("1", "a.wav", silent_wav(9 * MIB)).await;
        stack.proxy.heal();

        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json["id"].is_string(), "it is accepted: {answer:?}");
        assert_eq!(stack.google.counts().await["billed_calls"], 0);
        assert_eq!(
            stack.manifest("1", &answer.json["id"]).await["code"],
            "storage_unavailable"
        );
    }
}

#[tokio::test]
async fn ready_means_that_the_bucket_answers() {
    let stack = Transcription::start().await;
    let ready = async |url: &str| {
        let response = stack
            .http
            .get(format!("{url}/readyz"))
            .send()
            .await
            .unwrap();
        Answer::of(response).await
    };
    assert_eq!(ready(&stack.url).await.status, 200);
    let output = transcription_tests::process::run(stack.command(&["healthcheck"]), "").await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        stack
            .proxy
            .requests()
            .iter()
            .filter(|line| line.contains("list-type=2"))
            .count()
            == 1,
        "asked once in 10 s"
    );

    for (name, value) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong"),
        ("AWS_ACCESS_KEY_ID", "unknown"),
        ("S3_BUCKET_NAME", "no-such-bucket"),
    ] {
        let other = Transcription::start_on(&stack, name, value).await;
        let answer = ready(&other.1).await;
        let detail = answer.assert_problem(503, "not_ready");
        assert_eq!(detail, "bucket: it does not answer as it should.", "{name}");
    }
}

#[tokio::test]
async fn a_bucket_is_made_once_and_a_smoke_test_shows_that_the_stack_works() {
    let stack = Transcription::start().await;
    let auth = transcription_tests::auth::Auth::start().await;
    auth.register("smoke").await;
    for expected in ["Made: bucket new-bucket.", "Bucket new-bucket is there."] {
        let mut command = stack.command(&["init-bucket"]);
        command.env("S3_BUCKET_NAME", "new-bucket");
        let output = transcription_tests::process::run(command, "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && said.starts_with(expected),
            "{said}"
        );
    }

    let smoke = async |password: &str| {
        let mut command = stack.command(&[
            "smoke",
            "--auth-url",
            &auth.url,
            "--transcription-url",
            &stack.url,
        ]);
        command
            .env("SMOKE_USERNAME", "smoke")
            .env("SMOKE_PASSWORD", password);
        transcription_tests::process::run(command, "").await
    };
    let works = smoke(transcription_tests::client::PASSWORD).await;
    let said = String::from_utf8(works.stdout).unwrap();
    assert!(
        works.status.success() && said.starts_with("It works: "),
        "{said}"
    );
    let fails = smoke("wrong password").await;
    let said = String::from_utf8(fails.stderr).unwrap();
    assert_eq!(fails.status.code(), Some(1));
    assert_eq!(
        said,
        "logging in was answered 401: User name or password is wrong.\n"
    );
}
