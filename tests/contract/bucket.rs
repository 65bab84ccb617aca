//! A bucket that fails, before a recording is accepted and after it; and one that is prepared and found ready.

use std::time::Duration;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter,
};
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use transcription_tests::client::Answer;
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::seaweedfs::{LIMITED_ACCESS_KEY, LIMITED_SECRET_KEY};
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
    let blocked = json!({"block_reason": "SAFETY", "held": true});
    stack.google.fail_to_generate(1, blocked).await;
    let call = stack.transcribe("1", "a.wav", silent_wav(3000));
    let fail = async {
        eventually("the engine is asked", async || {
            stack.google.counts().await["generate_content_calls"] == 1
        })
        .await;
        stack
            .proxy
            .fail(Method::PUT, "/manifests/", Fault::SlowDown);
        stack.google.release().await;
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
    stack.google.hold(1).await;
    let call = stack.call("1", silent_wav(3000));
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;

    stack.s3.crash().await;
    stack.google.release().await;

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
    eventually("it is at its end", async || {
        stack.http.get(&stack.url).send().await.is_err()
    })
    .await;
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
async fn a_bucket_that_is_slow_beyond_the_time_limit_is_one_that_fails() {
    let stack = Transcription::start().await;
    stack
        .proxy
        .fail(Method::PUT, "private/1/audio/", Fault::Held);
    stack
        .proxy
        .fail(Method::PUT, "private/2/transcripts/", Fault::Held);

    let (before, after) = tokio::join!(
        stack.transcribe("1", "a.wav", silent_wav(3000)),
        stack.transcribe("2", "a.wav", silent_wav(3000)),
    );

    before.assert_problem(503, "storage_unavailable");
    assert!(before.json.get("id").is_none(), "{before:?}");
    assert_eq!(after.status, 200, "{after:?}");
    assert_eq!(after.json["storage"], "pending");
    assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
    stack.proxy.heal();
    eventually("the text is stored", async || {
        stack.manifest("2", &after.json["id"]).await["state"] == "complete"
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_closes_the_connection_or_is_slow_loses_nothing() {
    let stack = Transcription::start().await;
    for path_part in ["/audio/", "/manifests/"] {
        stack.proxy.fail(Method::PUT, path_part, Fault::Gone);
        let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json.get("id").is_none(), "{answer:?}");
        stack.proxy.heal();
        assert_nothing_left(&stack).await;
    }
    stack.proxy.fail(Method::PUT, "/transcripts/", Fault::Gone);
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(answer.json["storage"], "pending", "{answer:?}");
    stack.proxy.heal();
    eventually("the text is stored", async || {
        stack.manifest("1", &answer.json["id"]).await["state"] == "complete"
    })
    .await;

    for path_part in ["/audio/", "/transcripts/"] {
        let slow = Fault::Late(Duration::from_secs(3));
        stack.proxy.fail(Method::PUT, path_part, slow);
    }
    let slow = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(slow.status, 200, "{slow:?}");
    assert!(slow.json.get("storage").is_none(), "slow is not down");
}

#[tokio::test]
async fn a_bucket_that_refuses_the_connection_is_503_and_not_ready() {
    let stack = Transcription::start().await;
    // Nothing listens there.
    let settings = [("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")];
    let (_process, url, _folder) = Transcription::start_beside(&stack, settings).await;
    let form = Form::new().part("file", Part::bytes(silent_wav(3000)).file_name("a.wav"));
    let request = stack.http.post(format!("{url}/transcribe"));
    let request = request.bearer_auth(token("1")).multipart(form);

    let answer = Answer::of(request.send().await.unwrap()).await;

    answer.assert_problem(503, "storage_unavailable");
    assert!(answer.json.get("id").is_none(), "{answer:?}");
    let ready = stack.http.get(format!("{url}/readyz"));
    let ready = Answer::of(ready.send().await.unwrap()).await;
    ready.assert_problem(503, "not_ready");
}

#[tokio::test]
async fn when_too_many_texts_wait_the_engine_is_not_asked() {
    const TEXTS: u32 = 7;
    let stack = Transcription::start().await;
    // All of them are just within the 64 MiB that there are for such texts.
    let text = "x".repeat(64 * MIB / TEXTS as usize - 50_000);
    let long = json!({"text": text});
    stack.google.fail_to_generate(TEXTS, long).await;
    stack
        .proxy
        .fail(Method::PUT, "/transcripts/", Fault::SlowDown);
    for _ in 0..TEXTS {
        let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
        assert_eq!(answer.status, 200, "{}", answer.status);
        assert_eq!(answer.json["storage"], "pending");
    }

    let full = stack.transcribe("1", "a.wav", silent_wav(3000)).await;

    full.assert_problem(503, "storage_unavailable");
    full.header("retry-after");
    assert!(full.json["id"].is_string(), "it is accepted: {full:?}");
    let counts = stack.google.counts().await;
    assert_eq!(counts["generate_content_calls"], TEXTS);
    stack.proxy.heal();
    eventually("the texts are stored", async || {
        stack.count("transcription_pending_bytes").await == 0
    })
    .await;
    let again = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(again.status, 200, "{again:?}");
}

#[tokio::test]
async fn who_may_do_no_more_than_the_policy_says_and_may_not_list_is_ready_and_served() {
    let stack = Transcription::start_with([
        ("AWS_ACCESS_KEY_ID", LIMITED_ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", LIMITED_SECRET_KEY),
    ])
    .await;

    let ready = stack.http.get(format!("{}/readyz", stack.url));
    let ready = Answer::of(ready.send().await.unwrap()).await;
    assert_eq!(ready.status, 200, "{ready:?}");
    assert_eq!(stack.proxy.count("list-type=2"), 1);
    let denied = r#"s3_operation_duration_seconds_count{operation="list_objects_v2",outcome="client_error"}"#;
    assert_eq!(stack.count(denied).await, 1, "the list is denied");
    for size in [3000, 9 * MIB] {
        let answer = stack.transcribe("1", "a.wav", silent_wav(size)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.json["id"].as_str().unwrap();
        assert_eq!(stack.ask("1", id).await.json["state"], "complete");
    }
    let unknown = "01a207e6-e74c-7ea0-9e77-5df4e7b73e9a";
    let unknown = stack.ask("1", unknown).await;
    unknown.assert_problem(404, "transcription_not_found");
    // What is given up is taken away too.
    let form = Form::new()
        .part("file", Part::bytes(silent_wav(9 * MIB)).file_name("a.wav"))
        .text("language", "no tag at all");
    let answer = stack.send("2", form).await;
    answer.assert_problem(422, "invalid_field");
    assert_eq!(stack.s3.open_uploads().await, 0);
}

#[tokio::test]
async fn healthcheck_says_why_though_the_bucket_takes_its_time() {
    let stack = Transcription::start().await;
    stack.proxy.fail(Method::GET, "list-type=2", Fault::Held);

    let output = transcription_tests::process::run(stack.command(&["healthcheck"]), "").await;

    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "not ready (503): bucket: it did not answer within 3 s.\n"
    );
    let hang =
        r#"s3_operation_duration_seconds_count{operation="list_objects_v2",outcome="timeout"}"#;
    assert_eq!(stack.count(hang).await, 1);
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
    assert_eq!(stack.proxy.count("list-type=2"), 1, "asked once in 10 s");

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
        let mut rules = rules(&stack).await;
        rules.sort_unstable();
        // The second one was there already.
        let expected = if expected.starts_with("Made") {
            vec!["abort-incomplete-uploads"]
        } else {
            vec!["abort-incomplete-uploads", "retention"]
        };
        assert_eq!(rules, expected, "{said}");
        add_retention(&stack).await;
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
        "logging in was answered 401: User name or password is wrong. Check both and try again.\n"
    );
}

/// The names of the rules by which the store drops what is old.
async fn rules(stack: &Transcription) -> Vec<String> {
    let request = stack.s3.client.get_bucket_lifecycle_configuration();
    let rules = request.bucket("new-bucket").send().await.unwrap();
    let rules = rules.rules.unwrap_or_default().into_iter();
    rules.map(|rule| rule.id.unwrap_or_default()).collect()
}

/// Adds the rule for how long recordings are kept, as the README has it.
async fn add_retention(stack: &Transcription) {
    let request = stack.s3.client.get_bucket_lifecycle_configuration();
    let there = request.bucket("new-bucket").send().await.unwrap();
    let retention = LifecycleRule::builder()
        .id("retention")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("private/").build())
        .expiration(LifecycleExpiration::builder().days(365).build())
        .build()
        .unwrap();
    let mut rules = there.rules.unwrap_or_default();
    rules.retain(|rule| rule.id() != retention.id());
    rules.push(retention);
    let rules = BucketLifecycleConfiguration::builder()
        .set_rules(Some(rules))
        .build()
        .unwrap();
    let request = stack.s3.client.put_bucket_lifecycle_configuration();
    let request = request.bucket("new-bucket").lifecycle_configuration(rules);
    request.send().await.unwrap();
}
