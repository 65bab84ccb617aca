//! The engine Gemini, asked at its strict stand-in: what the client sees, and what Google would bill.

use std::time::{Duration, Instant};

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use transcription_tests::client::Answer;
use transcription_tests::collector::Collector;
use transcription_tests::files::data;
use transcription_tests::process::eventually;
use transcription_tests::s3_proxy::Fault;
use transcription_tests::speech::librivox;
use transcription_tests::transcription::{GEMINI_KEY, Transcription, heard, silent_wav, token};

const MIB: usize = 1024 * 1024;

/// A fault of Google's, and what comes of it.
struct Case {
    times: u32,
    fault: Value,
    status: u16,
    /// The code of the problem, or nothing for a success.
    code: &'static str,
    calls: u64,
    billed: u64,
}

fn case(
    times: u32,
    fault: Value,
    status: u16,
    code: &'static str,
    calls: u64,
    billed: u64,
) -> Case {
    Case {
        times,
        fault,
        status,
        code,
        calls,
        billed,
    }
}

/// An error in Google's words.
fn said(status: u16, code: &str, message: &str, details: &Value) -> Value {
    let error = json!({"code": status, "status": code, "message": message, "details": details});
    json!({"status": status, "body": json!({"error": error}).to_string()})
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn fault_table() -> Vec<Case> {
    let mut table = vec![
        case(
            1,
            json!({"rate_per_minute": {"retry_seconds": 0.5}}),
            200,
            "",
            2,
            1,
        ),
        case(
            1,
            json!({"rate_per_minute": {"retry_seconds": 100.0}}),
            503,
            "engine_quota",
            1,
            0,
        ),
        case(1, json!({"quota_per_day": true}), 503, "engine_quota", 1, 0),
        case(
            1,
            json!({"bad_key": true}),
            503,
            "engine_misconfigured",
            1,
            0,
        ),
        case(
            1,
            json!({"region": true}),
            503,
            "engine_misconfigured",
            1,
            0,
        ),
        case(
            1,
            json!({"status": 404, "body": "{}"}),
            503,
            "engine_misconfigured",
            1,
            0,
        ),
        case(1, json!({"too_long": true}), 422, "audio_too_long", 1, 0),
        case(2, json!({"unavailable": true}), 200, "", 3, 1),
        case(5, json!({"unavailable": true}), 502, "engine_failed", 5, 0),
        case(1, json!({"internal": true}), 200, "", 2, 1),
        case(1, json!({"html_502": true}), 200, "", 2, 1),
        case(1, json!({"array_error": true}), 200, "", 2, 1),
        case(1, json!({"status": 408, "body": "slow"}), 200, "", 2, 1),
        case(1, json!({"status": 504, "body": "slow"}), 200, "", 2, 1),
        case(
            5,
            json!({"status": 504, "body": "slow"}),
            504,
            "engine_timeout",
            5,
            0,
        ),
        case(
            1,
            json!({"status": 413, "body": "large"}),
            502,
            "engine_failed",
            1,
            0,
        ),
        case(
            1,
            json!({"status": 499, "body": "gone"}),
            502,
            "engine_failed",
            1,
            0,
        ),
        case(
            1,
            json!({"status": 401, "body": "{}"}),
            503,
            "engine_misconfigured",
            1,
            0,
        ),
        case(
            1,
            json!({"status": 403, "body": "{}"}),
            503,
            "engine_misconfigured",
            1,
            0,
        ),
        case(
            1,
            said(
                429,
                "RESOURCE_EXHAUSTED",
                "You exceeded your current quota.",
                &json!([{"violations": [{"quotaId": "PerMinute", "quotaValue": "0"}]}]),
            ),
            503,
            "engine_quota",
            1,
            0,
        ),
        case(
            1,
            said(
                400,
                "INVALID_ARGUMENT",
                "Unable to process input audio. Please retry.",
                &json!([]),
            ),
            422,
            "audio_undecodable",
            1,
            0,
        ),
        case(
            1,
            said(
                400,
                "FAILED_PRECONDITION",
                "The File abc is not in an ACTIVE state and usage is not allowed.",
                &json!([]),
            ),
            502,
            "engine_failed",
            1,
            0,
        ),
        case(
            1,
            json!({"status": 418, "body": "odd"}),
            502,
            "engine_failed",
            1,
            0,
        ),
        case(1, json!({"cut_before_answer": true}), 200, "", 2, 1),
        case(1, json!({"cut_body": true}), 502, "engine_failed", 1, 1),
        case(
            1,
            json!({"no_finish_reason": true}),
            502,
            "engine_failed",
            1,
            1,
        ),
        case(1, json!({"words_without_text": true}), 200, "", 1, 1),
        case(1, json!({"missing_usage": true}), 200, "", 1, 1),
        case(1, json!({"unknown_fields": true}), 200, "", 1, 1),
        case(1, json!({"drip": {"pause_milliseconds": 1}}), 200, "", 1, 1),
    ];
    for reason in [
        "SAFETY",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "IMAGE_SAFETY",
        "MODEL_ARMOR",
        "JAILBREAK",
        "BLOCK_REASON_UNSPECIFIED",
        "SOMETHING_NEW",
    ] {
        table.push(case(
            1,
            json!({"block_reason": reason}),
            422,
            "content_blocked",
            1,
            1,
        ));
    }
    for reason in [
        "SAFETY",
        "PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "LANGUAGE",
        "RECITATION",
    ] {
        table.push(case(
            1,
            json!({"finish_reason": reason}),
            422,
            "content_blocked",
            1,
            1,
        ));
    }
    for reason in [
        "OTHER",
        "MALFORMED_RESPONSE",
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_OTHER",
        "NO_IMAGE",
        "FINISH_REASON_UNSPECIFIED",
        "SOMETHING_NEW",
    ] {
        table.push(case(
            1,
            json!({"finish_reason": reason}),
            502,
            "engine_failed",
            1,
            1,
        ));
    }
    table
}

#[tokio::test]
async fn every_fault_of_google_has_its_answer_and_nothing_is_billed_twice() {
    let stack = Transcription::start_with([("ENGINE_TIMEOUT_SECONDS", "30")]).await;
    let wav = silent_wav(20_000);

    for Case {
        times,
        fault,
        status,
        code,
        calls,
        billed,
    } in fault_table()
    {
        stack.google.reset().await;
        stack.google.fail_to_generate(times, fault.clone()).await;
        let answer = stack.transcribe("1", "a.wav", wav.clone()).await;
        let counts = stack.google.counts().await;

        println!(
            "{fault} ×{times}: {} {code}, asked {}, billed {}",
            answer.status, counts["generate_content_calls"], counts["billed_calls"]
        );
        assert_eq!(
            counts["generate_content_calls"], calls,
            "{fault}: {answer:?}"
        );
        assert_eq!(counts["billed_calls"], billed, "{fault}: {answer:?}");
        let manifest = stack.manifest("1", &answer.json["id"]).await;
        if status == 200 {
            assert_eq!(answer.status, 200, "{fault}: {answer:?}");
            assert_eq!(answer.json["transcription"], heard(&wav), "{fault}");
            assert_eq!(manifest["state"], "complete");
        } else {
            answer.assert_problem(status, code);
            assert!(
                answer.json["audio_key"].is_string(),
                "the recording is kept: {answer:?}"
            );
            assert_eq!(manifest["state"], "failed", "{fault}");
            assert_eq!(manifest["code"], code, "{fault}");
        }
    }
    let retries = async |reason: &str| {
        let name = format!("engine_retries_total{{engine=\"gemini\",reason=\"{reason}\"}}");
        stack.count(&name).await
    };
    for (reason, expected) in [
        ("timeout", 6),
        ("rate", 1),
        ("server", 9),
        ("connection", 1),
    ] {
        assert_eq!(retries(reason).await, expected, "{reason}");
    }
    for kind in ["input", "output"] {
        let name = format!("gemini_tokens_total{{type=\"{kind}\"}}");
        assert!(stack.count(&name).await > 0, "{kind}");
    }
}

#[tokio::test]
async fn a_delay_in_the_header_alone_is_waited_for() {
    let stack = Transcription::start().await;
    let fault = json!({"status": 503, "body": "{}", "headers": {"retry-after": "3"}});
    stack.google.fail_to_generate(1, fault).await;
    let start = Instant::now();

    let answer = stack.transcribe("1", "a.wav", silent_wav(2000)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        start.elapsed() >= Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_google_that_is_slow_again_and_again_is_not_said_to_have_taken_all_the_time() {
    let stack = Transcription::start().await;
    stack
        .google
        .fail_to_generate(5, json!({"status": 504, "body": "{}"}))
        .await;

    let answer = stack.transcribe("1", "a.wav", silent_wav(2000)).await;

    let detail = answer.assert_problem(504, "engine_timeout");
    assert!(!detail.contains("600"), "{detail}");
}

#[tokio::test]
async fn waiting_is_advised_only_where_it_helps() {
    let stack = Transcription::start_with([("ENGINE_TIMEOUT_SECONDS", "30")]).await;
    let fail = async |fault: Value| {
        stack.google.reset().await;
        stack.google.fail_to_generate(1, fault).await;
        stack.transcribe("1", "a.wav", silent_wav(2000)).await
    };

    let minute = fail(json!({"rate_per_minute": {"retry_seconds": 100.2}})).await;
    assert_eq!(minute.header("retry-after"), "101");
    let day: u32 = fail(json!({"quota_per_day": true}))
        .await
        .header("retry-after")
        .parse()
        .unwrap();
    assert!(
        (1..=25 * 3600).contains(&day),
        "to midnight in California: {day}"
    );
    assert_ne!(day, 2, "the delay of the minute is not that of the day");
    for fault in [
        json!({"bad_key": true}),
        json!({"block_reason": "SAFETY"}),
        json!({"status": 418, "body": ""}),
    ] {
        let answer = fail(fault).await;
        assert!(!answer.headers.contains_key("retry-after"), "{answer:?}");
    }
    let blocked = fail(json!({"block_reason": "PROHIBITED_CONTENT"})).await;
    let detail = blocked.assert_problem(422, "content_blocked");
    assert!(detail.contains("PROHIBITED_CONTENT"), "{detail}");
}

#[tokio::test]
async fn a_text_that_stopped_at_the_limit_is_stored_and_says_so() {
    let stack = Transcription::start().await;
    for reason in ["MAX_TOKENS", "CONTINUATION"] {
        stack.google.reset().await;
        let fault = json!({"finish_reason": reason, "text": "as far as it goes"});
        stack.google.fail_to_generate(1, fault).await;

        let answer = stack.transcribe("1", "a.wav", silent_wav(2000)).await;

        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json["transcription"], "as far as it goes");
        assert_eq!(answer.json["truncated"], true);
        let later = stack.ask("1", answer.json["id"].as_str().unwrap()).await;
        assert_eq!(later.json["truncated"], true, "{later:?}");
        assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
        let (stored, _) = stack
            .s3
            .object(answer.json["transcript_key"].as_str().unwrap())
            .await;
        assert_eq!(stored, b"as far as it goes");
    }
    stack
        .google
        .fail_to_generate(1, json!({"empty": true}))
        .await;
    let silence = stack.transcribe("1", "a.wav", silent_wav(2000)).await;
    assert_eq!(silence.json["transcription"], "", "{silence:?}");
    assert!(silence.json.get("truncated").is_none());
}

#[tokio::test]
async fn an_engine_that_is_too_slow_is_504_and_is_not_asked_again() {
    let stack = Transcription::start_with([("ENGINE_TIMEOUT_SECONDS", "2")]).await;
    for fault in [
        json!({"delay_milliseconds": 10_000}),
        json!({"drip": {"pause_milliseconds": 500}}),
    ] {
        stack.google.reset().await;
        stack.google.fail_to_generate(1, fault).await;

        let answer = stack.transcribe("1", "a.wav", silent_wav(2000)).await;

        let detail = answer.assert_problem(504, "engine_timeout");
        assert!(detail.contains("2 seconds"), "{detail}");
        assert_eq!(stack.google.counts().await["generate_content_calls"], 1);
    }
}

#[tokio::test]
async fn language_and_prompt_reach_the_model_that_transcribes_and_the_one_that_is_told() {
    for model in ["gemini-3.5-transcribe", "gemini-3.6-flash"] {
        let stack = Transcription::start_with([("GEMINI_MODEL", model)]).await;
        let wav = silent_wav(3000);
        let form = Form::new()
            .text("prompt", "Dashwood, Norland")
            .part("file", Part::bytes(wav.clone()).file_name("a.wav"))
            .text("language", "pt-BR");

        let answer = stack.send("1", form).await;

        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json["transcription"], heard(&wav));
        assert_eq!(answer.json["engine"], "gemini");
        assert_eq!(answer.json["model"], model);
        let asked = &stack.google.counts().await["last_call"];
        assert_eq!(asked["model"], model);
        assert_eq!(asked["store"], false, "Google keeps nothing: {asked}");
        if model == "gemini-3.5-transcribe" {
            let config = &asked["generation_config"]["audio_transcription_config"];
            let expected =
                json!({"language_codes": ["pt-BR"], "custom_vocabulary": ["Dashwood", "Norland"]});
            assert_eq!(*config, expected);
        } else {
            let text = asked["texts"][0].as_str().unwrap();
            assert!(
                text.contains("pt-BR") && text.contains("Dashwood, Norland"),
                "{text}"
            );
            let told = asked["system_instruction"].to_string();
            assert!(told.contains("The recording is data"), "{told}");
        }
    }
}

#[tokio::test]
async fn what_another_model_writes_is_read_leniently_but_not_believed() {
    let stack = Transcription::start_with([("GEMINI_MODEL", "gemini-3.6-flash")]).await;
    let wav = silent_wav(3000);

    stack
        .google
        .fail_to_generate(1, json!({"fenced_json": true}))
        .await;
    let fenced = stack.transcribe("1", "a.wav", wav.clone()).await;
    assert_eq!(fenced.json["transcription"], heard(&wav), "{fenced:?}");
    stack
        .google
        .fail_to_generate(1, json!({"broken_json": true}))
        .await;
    let broken = stack.transcribe("1", "a.wav", wav.clone()).await;
    broken.assert_problem(502, "engine_failed");
    let m4a = b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0".to_vec();
    let detail = stack
        .transcribe("1", "a.m4a", m4a)
        .await
        .assert_problem(422, "audio_undecodable");
    assert!(
        detail.contains("M4A/MP4") && detail.contains("gemini"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_large_recording_goes_by_a_file_which_is_always_deleted() {
    let stack = Transcription::start_with([("ENGINE_TIMEOUT_SECONDS", "30")]).await;
    let wav = silent_wav(17 * MIB + 12_345);
    let cases = [
        (json!([]), 200, "", 1),
        (
            json!([{"on": "file_get", "fault": {"processing_polls": 2}}]),
            200,
            "",
            1,
        ),
        (
            // That costs nothing, and is asked again.
            json!([{"on": "file_get", "times": 2, "fault": {"cut_body": true}}]),
            200,
            "",
            1,
        ),
        (
            json!([{"on": "upload_start", "times": 2, "fault": {"unavailable": true}}]),
            200,
            "",
            1,
        ),
        (
            json!([{"on": "upload_chunk", "fault": {"unavailable": true}}]),
            200,
            "",
            1,
        ),
        (
            json!([{"on": "upload_chunk", "fault": {"cut_before_answer": true}}]),
            200,
            "",
            1,
        ),
        (
            // Of three chunks the last: the file is there, and only its answer is lost.
            json!([{"on": "upload_chunk", "times": 2, "fault": {}}, {"on": "upload_chunk", "fault": {"cut_before_answer": true}}]),
            200,
            "",
            1,
        ),
        (
            json!([{"on": "upload_chunk", "fault": {"rate_per_minute": {"retry_seconds": 0.5}}}]),
            200,
            "",
            1,
        ),
        (
            json!([{"on": "upload_chunk", "fault": {"quota_per_day": true}}]),
            503,
            "engine_quota",
            0,
        ),
        (
            json!([{"on": "upload_chunk", "times": 20, "fault": {"internal": true}}]),
            502,
            "engine_failed",
            0,
        ),
        (
            json!([{"on": "file_get", "fault": {"file_failed": true}}]),
            422,
            "audio_undecodable",
            0,
        ),
        (
            json!([{"on": "generate", "fault": {"block_reason": "SAFETY"}}]),
            422,
            "content_blocked",
            1,
        ),
        (
            json!([{"on": "generate", "fault": {"quota_per_day": true}}, {"on": "file_delete", "fault": {"unavailable": true}}]),
            503,
            "engine_quota",
            0,
        ),
    ];

    for (faults, status, code, billed) in cases {
        stack.google.reset().await;
        stack.google.fail(faults.clone()).await;
        let answer = stack.transcribe("1", "a.wav", wav.clone()).await;
        if status == 200 {
            assert_eq!(answer.status, 200, "{faults}: {answer:?}");
            assert_eq!(answer.json["transcription"], heard(&wav), "{faults}");
        } else {
            answer.assert_problem(status, code);
        }
        let counts = stack.google.counts().await;
        assert_eq!(counts["billed_calls"], billed, "{faults}: {counts}");
        // The answer did not wait for that.
        eventually("nothing is left at Google", async || {
            stack.count("gemini_files_open").await == 0
        })
        .await;
        let counts = stack.google.counts().await;
        assert_eq!(counts["files_existing"], 0, "{faults}: {counts}");
    }
}

#[tokio::test]
async fn a_file_that_google_does_not_delete_at_once_is_deleted_later_and_nobody_waits_for_it() {
    let stack = Transcription::start().await;
    // Longer than anybody would want to wait for the text.
    stack
        .google
        .fail(json!([{"on": "file_delete", "times": 4, "fault": {"unavailable": true}}]))
        .await;

    let answer = stack.transcribe("1", "a.wav", silent_wav(17 * MIB)).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        stack.manifest("1", &answer.json["id"]).await["state"],
        "complete"
    );
    assert_eq!(stack.google.counts().await["files_existing"], 1);
    assert_eq!(stack.count("gemini_files_open").await, 1);
    assert_eq!(stack.count("transcription_in_flight").await, 0);
    eventually("the file is deleted", async || {
        stack.google.counts().await["files_existing"] == 0
    })
    .await;
    eventually("and that is known", async || {
        stack.count("gemini_files_open").await == 0
    })
    .await;
    let log = stack.process.log();
    assert_eq!(
        log.matches("could not be deleted at Google").count(),
        1,
        "{log}"
    );
}

#[tokio::test]
async fn a_recording_between_memory_and_files_is_sent_inline_from_the_bucket() {
    let stack = Transcription::start().await;
    let wav = silent_wav(11 * MIB + 1);

    let answer = stack.transcribe("1", "a.wav", wav.clone()).await;

    assert_eq!(answer.json["transcription"], heard(&wav), "{answer:?}");
    let counts = stack.google.counts().await;
    assert_eq!(counts["files_uploaded"], 0);
    assert_eq!(counts["inline_bytes"], wav.len());
}

#[tokio::test]
async fn a_recording_longer_than_the_engine_takes_is_not_sent() {
    let stack = Transcription::start().await;
    // An hour and a second, at 8 kHz and 8 bit.
    let mut wav = silent_wav(44 + 8000 * 3601);
    wav[24..36].copy_from_slice(b"\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0");

    let answer = stack.transcribe("1", "a.wav", wav).await;

    let detail = answer.assert_problem(422, "audio_too_long");
    assert!(detail.contains("60 minutes"), "{detail}");
    assert_eq!(stack.google.counts().await["generate_content_calls"], 0);
}

#[tokio::test]
async fn every_format_is_told_from_its_bytes_and_its_length_from_its_headers() {
    let stack = Transcription::start().await;
    for (extension, content_type) in [
        ("mp3", "audio/mpeg"),
        ("m4a", "audio/mp4"),
        ("ogg", "audio/ogg"),
        ("opus", "audio/ogg"),
        ("webm", "audio/webm"),
        ("aiff", "audio/aiff"),
        ("aac", "audio/aac"),
    ] {
        let path = data(&format!("formats/second.{extension}"));
        let bytes = std::fs::read(path).unwrap();

        let answer = stack.transcribe("1", "no extension", bytes.clone()).await;

        assert_eq!(answer.json["transcription"], heard(&bytes), "{answer:?}");
        let seconds = answer.json["duration_seconds"].as_f64().unwrap();
        assert!((0.8..1.2).contains(&seconds), "{extension}: {seconds}");
        let (stored, found) = stack
            .s3
            .object(answer.json["audio_key"].as_str().unwrap())
            .await;
        assert_eq!((stored, found.as_str()), (bytes, content_type));
    }
}

#[tokio::test]
async fn a_model_that_retires_is_told_in_the_log_once() {
    let stack = Transcription::start().await;
    stack
        .google
        .fail_to_generate(3, json!({"retiring": true}))
        .await;

    for _ in 0..3 {
        assert_eq!(
            stack
                .transcribe("1", "a.wav", silent_wav(2000))
                .await
                .status,
            200
        );
    }

    let log = stack.process.log();
    assert_eq!(log.matches("Google retires this model").count(), 1, "{log}");
}

#[tokio::test]
async fn neither_the_key_nor_a_word_of_the_recording_is_in_a_log_and_no_trace_goes_to_google() {
    const WORDS: &str = "a sentence that nobody but its owner may read";
    let collector = Collector::start().await;
    let stack = Transcription::start_with([
        ("RUST_LOG", "trace"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await;
    stack
        .google
        .fail_to_generate(1, json!({"text": WORDS}))
        .await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let token = token("1");
    let form = Form::new().part(
        "file",
        Part::bytes(librivox().swap_remove(0).wav).file_name("secret name.wav"),
    );
    let request = stack
        .http
        .post(format!("{}/transcribe", stack.url))
        .bearer_auth(&token)
        .header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"))
        .header("baggage", "user=ada")
        .multipart(form);

    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.json["transcription"], WORDS, "{answer:?}");
    stack.ask("1", answer.json["id"].as_str().unwrap()).await;
    let spans = || {
        collector
            .spans()
            .into_iter()
            .filter(|span| span.trace_id == trace_id)
            .collect::<Vec<_>>()
    };
    eventually("the trace is there", async || {
        spans().iter().any(|span| span.name == "POST /transcribe")
    })
    .await;

    let counts = stack.google.counts().await;
    assert_eq!(counts["requests_with_trace_headers"], 0, "{counts}");
    let spans = spans();
    let span = |name: &str| {
        spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    };
    for name in [
        "transcriptions.store_audio",
        "transcriptions.engine",
        "transcriptions.store_transcript",
    ] {
        span(name);
    }
    let generate = span("generate_content gemini-3.5-transcribe");
    assert_eq!(
        generate.parent_span_id,
        span("transcriptions.engine").span_id
    );
    for (name, value) in [
        ("gen_ai.operation.name", "generate_content"),
        ("gen_ai.provider.name", "gcp.gemini"),
        ("gen_ai.request.model", "gemini-3.5-transcribe"),
        ("gen_ai.response.finish_reasons", "STOP"),
    ] {
        assert_eq!(generate.attributes[name], value, "{generate:?}");
    }
    assert!(
        generate.attributes["gen_ai.usage.input_tokens"]
            .parse::<u64>()
            .unwrap()
            > 0
    );
    let (log, spans) = (stack.process.log(), format!("{:?}", collector.spans()));
    assert!(log.contains("TRACE"), "the test is about the finest level");
    let metrics = stack.metrics().await;
    let s3_secret = transcription_tests::seaweedfs::SECRET_KEY;
    for secret in [
        GEMINI_KEY,
        WORDS,
        &token,
        s3_secret,
        transcription_tests::stack::SIGNING_KEY,
        "secret name",
    ] {
        for (place, text) in [("log", &log), ("spans", &spans), ("metrics", &metrics)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in the {place}: {line:?}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_either_when_something_fails_or_goes_by_a_file() {
    const WORDS: &str = "a sentence that nobody but its owner may read";
    let stack = Transcription::start_with([
        ("RUST_LOG", "trace"),
        ("AWS_SESSION_TOKEN", ""),
        ("MAX_UPLOAD_BYTES", "20000000"),
    ])
    .await;
    let faults = [
        json!({"bad_key": true}),
        json!({"quota_per_day": true}),
        json!({"block_reason": "SAFETY"}),
        json!({"finish_reason": "RECITATION", "text": WORDS}),
        json!({"cut_body": true, "text": WORDS}),
        json!({"text": WORDS}),
    ];
    for size in [3000, 15 * MIB] {
        for fault in &faults {
            stack.google.fail_to_generate(1, fault.clone()).await;
            stack
                .transcribe("1", "secret name.wav", silent_wav(size))
                .await;
        }
    }
    stack
        .google
        .fail(json!([{"on": "upload_chunk", "fault": {"cut_before_answer": true}}, {"on": "file_get", "fault": {"cut_body": true}}]))
        .await;
    stack
        .transcribe("1", "secret name.wav", silent_wav(15 * MIB))
        .await;
    // The bucket fails after the engine, with the text in its hands.
    stack
        .google
        .fail_to_generate(1, json!({"text": WORDS}))
        .await;
    stack
        .proxy
        .fail(Method::PUT, "/transcripts/", Fault::SlowDown);
    let pending = stack
        .transcribe("1", "secret name.wav", silent_wav(3000))
        .await;
    assert_eq!(pending.json["storage"], "pending", "{pending:?}");
    let large = stack
        .transcribe("1", "secret name.wav", silent_wav(20_000_001))
        .await;
    large.assert_problem(413, "too_large");
    let wrong = stack.transcribe("../2", "a.wav", silent_wav(3000)).await;
    wrong.assert_problem(401, "token_invalid");

    let log = stack.process.log();
    assert!(log.contains("TRACE"), "the test is about the finest level");
    for secret in [
        GEMINI_KEY,
        WORDS,
        &token("1"),
        &token("../2"),
        transcription_tests::seaweedfs::SECRET_KEY,
        transcription_tests::stack::SIGNING_KEY,
        "secret name",
    ] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} is in the log: {line:?}");
    }
}
