//! A Gemini that fails now and then, under load.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use transcription_tests::transcription::{Transcription, heard, silent_wav};

const CLIENTS: usize = 16;
const RECORDINGS: usize = 6;

/// Faults that are for one client alone, with its answer and whether Google bills it.
fn final_faults() -> Vec<(Value, &'static str, bool)> {
    let malformed = json!({"status": 200, "body": "{\"candidates\": ["});
    let code_404 = json!({"status": 404, "body": "{}"});
    vec![
        (json!({"block_reason": "SAFETY"}), "content_blocked", true),
        (
            json!({"finish_reason": "RECITATION"}),
            "content_blocked",
            true,
        ),
        (json!({"finish_reason": "OTHER"}), "engine_failed", true),
        (json!({"no_finish_reason": true}), "engine_failed", true),
        (json!({"cut_body": true}), "engine_failed", true),
        (
            json!({"status": 418, "body": "odd"}),
            "engine_failed",
            false,
        ),
        (malformed, "engine_failed", true),
        (json!({"quota_per_day": true}), "engine_quota", false),
        (
            json!({"rate_per_minute": {"retry_seconds": 1000.0}}),
            "engine_quota",
            false,
        ),
        (json!({"bad_key": true}), "engine_misconfigured", false),
        (code_404, "engine_misconfigured", false),
        (json!({"too_long": true}), "audio_too_long", false),
    ]
}

/// Faults after which it is asked again.
fn passing_faults() -> Vec<Value> {
    vec![
        json!({"unavailable": true}),
        json!({"rate_per_minute": {"retry_seconds": 0.3}}),
        json!({"internal": true}),
        json!({"html_502": true}),
        json!({"array_error": true}),
        json!({"status": 408, "body": "slow"}),
        json!({"status": 504, "body": "slow"}),
        json!({"cut_before_answer": true}),
    ]
}

/// Faults that take time and do no harm.
fn slow_faults() -> Vec<Value> {
    vec![
        json!({"delay_milliseconds": 1500}),
        json!({"drip": {"pause_milliseconds": 2}}),
        json!({"words_without_text": true}),
        json!({"missing_usage": true}),
    ]
}

/// What came of the recordings of one client: the code of each, or nothing for a text.
async fn client(stack: &Transcription, user: usize) -> Vec<Option<String>> {
    let mut codes = Vec::new();
    for number in 0..RECORDINGS {
        let wav = silent_wav(3000 + 2 * (user * RECORDINGS + number));
        let answer = stack
            .transcribe(&user.to_string(), "a.wav", wav.clone())
            .await;
        let manifest = stack.manifest(&user.to_string(), &answer.json["id"]).await;
        if answer.status == 200 {
            // Its own, and not that of another client.
            assert_eq!(answer.json["transcription"], heard(&wav), "{answer:?}");
            assert_eq!(manifest["state"], "complete");
            codes.push(None);
        } else {
            let code = answer.json["code"].as_str().unwrap().to_owned();
            assert_eq!(manifest["state"], "failed", "{answer:?}");
            assert_eq!(manifest["code"], code);
            codes.push(Some(code));
        }
    }
    codes
}

#[tokio::test]
async fn sixteen_clients_at_once_get_their_own_answers_from_a_google_that_fails_and_none_is_billed_twice()
 {
    let stack = Transcription::start().await;
    let mut faults = Vec::new();
    let mut expected = BTreeMap::<String, usize>::new();
    let mut billed = CLIENTS * RECORDINGS;
    let (passing, slow) = (passing_faults(), slow_faults());
    for (number, (fault, code, is_billed)) in (0..).zip(final_faults().into_iter().cycle().take(36))
    {
        *expected.entry(code.to_owned()).or_default() += 1;
        billed -= usize::from(!is_billed);
        for fault in [
            fault,
            passing[number % passing.len()].clone(),
            slow[number % slow.len()].clone(),
        ] {
            faults.push(json!({"on": "generate", "times": 1, "fault": fault}));
        }
    }
    stack.google.fail(json!(faults)).await;

    let clients = (0..CLIENTS).map(|user| client(&stack, user));
    let codes = futures_util::future::join_all(clients).await;

    let mut found = BTreeMap::<String, usize>::new();
    for code in codes.into_iter().flatten() {
        *found
            .entry(code.unwrap_or_else(|| "ok".to_owned()))
            .or_default() += 1;
    }
    expected.insert("ok".to_owned(), CLIENTS * RECORDINGS - 36);
    let counts = stack.google.counts().await;
    println!(
        "{} recordings: {found:?}; asked {}, billed {}",
        CLIENTS * RECORDINGS,
        counts["generate_content_calls"],
        counts["billed_calls"]
    );
    assert_eq!(found, expected);
    // Each of those that pass made one more call.
    assert_eq!(counts["generate_content_calls"], CLIENTS * RECORDINGS + 36);
    assert_eq!(counts["billed_calls"], billed);
    for (outcome, codes) in [
        ("ok", &["ok"][..]),
        ("blocked", &["content_blocked"]),
        ("engine", &["engine_failed"]),
        ("quota", &["engine_quota"]),
        ("engine_config", &["engine_misconfigured"]),
        ("undecodable", &["audio_too_long"]),
    ] {
        let name =
            format!("transcription_requests_total{{engine=\"gemini\",outcome=\"{outcome}\"}}");
        let counted = codes.iter().map(|code| found[*code]).sum::<usize>();
        assert_eq!(
            stack.count(&name).await,
            i64::try_from(counted).unwrap(),
            "{outcome}"
        );
    }
    let keys = stack.s3.keys().await;
    let texts = keys
        .iter()
        .filter(|key| key.contains("/transcripts/"))
        .count();
    assert_eq!(texts, found["ok"]);
    assert_eq!(
        keys.len() - texts,
        2 * CLIENTS * RECORDINGS,
        "a recording and a manifest each"
    );
}
