//! What happened to a stack stands in its events: each change once, in words from a closed set.

use serde_json::{Value, json};
use transcription_operator::reason::{Deed, Reason};
use transcription_tests::cluster::{Operator, whisper_stack, with};
use transcription_tests::process::eventually;

/// The events of the stack `demo`, the oldest first: the type, the reason, the sentence.
async fn told(operator: &Operator) -> Vec<(String, String, String)> {
    let about = "involvedObject.kind=TranscriptionStack,involvedObject.name=demo";
    let arguments = ["get", "events", "--field-selector", about, "-o", "json"];
    let listed = operator.in_namespace(&arguments, "").await;
    let listed = serde_json::from_str::<Value>(&listed).unwrap();
    let mut events = listed["items"].as_array().unwrap().clone();
    events.sort_by_key(|event| event["eventTime"].as_str().unwrap().to_owned());
    let word = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
    events
        .iter()
        .map(|event| {
            assert_eq!(event["reportingComponent"], "transcription-operator");
            (
                word(event, "type"),
                word(event, "reason"),
                word(event, "message"),
            )
        })
        .collect()
}

async fn reasons(operator: &Operator) -> Vec<String> {
    let told = told(operator).await.into_iter();
    told.map(|(_, reason, _)| reason).collect()
}

/// Waits until an event of this reason is told, and gives its type and its sentence.
async fn event(operator: &Operator, reason: &str) -> (String, String) {
    eventually("the event is told", async || {
        reasons(operator).await.iter().any(|told| told == reason)
    })
    .await;
    let all = told(operator).await.into_iter();
    let found = all.rev().find(|(_, told, _)| told == reason);
    found.map(|(kind, _, note)| (kind, note)).unwrap()
}

#[tokio::test]
async fn the_story_of_a_stack_is_told_once() {
    let operator = Operator::start("story").await;
    operator.put(&whisper_stack("demo")).await;

    let (kind, note) = event(&operator, "SecretMissing").await;
    assert_eq!(kind, "Warning");
    assert!(note.contains("Secret s3 is not there: make it"), "{note}");
    let (kind, note) = event(&operator, "SigningKeyMade").await;
    assert_eq!(kind, "Normal");
    assert!(note.contains("Secret demo-jwt"), "{note}");
    let (kind, note) = event(&operator, "ResourcesMade").await;
    assert_eq!(kind, "Normal");
    assert!(
        note.starts_with("made ") && note.contains("StatefulSet demo-auth"),
        "{note}"
    );
    assert!(!note.contains("Deployment"), "{note}");
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.settle("demo").await;
    let (kind, note) = event(&operator, "AsWanted").await;
    assert_eq!(kind, "Normal");
    assert!(note.contains("every pod is available"), "{note}");
    let more = json!({"spec": {"transcription": {"maxConcurrent": 3}}});
    operator.put(&with(whisper_stack("demo"), more)).await;
    let (_, note) = event(&operator, "ResourcesChanged").await;
    for object in [
        "ConfigMap demo-transcription",
        "Deployment demo-transcription",
    ] {
        assert!(note.contains(object), "{note}");
    }
    assert!(!note.contains("demo-auth"), "{note}");
    operator.settle("demo").await;

    let known = Reason::ALL.iter().map(|reason| reason.name());
    let known = known.chain(Deed::ALL.iter().map(|deed| deed.name()));
    let known = known.collect::<Vec<_>>();
    let story = told(&operator).await;
    for (_, reason, _) in &story {
        assert!(known.contains(&reason.as_str()), "{reason}");
    }
    for once in ["SecretMissing", "SigningKeyMade", "ResourcesChanged"] {
        let count = story.iter().filter(|(_, reason, _)| reason == once).count();
        assert_eq!(count, 1, "{once}: {story:#?}");
    }
    let operator = operator.restart().await;
    operator.put(&whisper_stack("other")).await;
    operator
        .until("deployment", "other-transcription", "is there", |_| true)
        .await;
    assert_eq!(told(&operator).await, story, "a restart tells nothing anew");
    let described = operator.in_namespace(&["describe", "tstack", "demo"], "");
    let described = described.await;
    assert!(
        described.contains("SecretMissing") && described.contains("transcription-operator"),
        "{described}"
    );
}

#[tokio::test]
async fn what_others_did_to_a_stack_and_what_came_of_it_is_told() {
    let operator = Operator::start("meddling").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;

    let other = json!({"data": {"BCRYPT_COST": "4"}}).to_string();
    operator
        .in_namespace(&["patch", "configmap", "demo-auth", "-p", &other], "")
        .await;
    let (kind, note) = event(&operator, "DriftCorrected").await;
    assert_eq!(kind, "Warning");
    assert!(note.contains("ConfigMap demo-auth"), "{note}");
    assert!(note.contains("change the spec"), "{note}");

    operator
        .in_namespace(
            &["scale", "deployment", "demo-transcription", "--replicas=3"],
            "",
        )
        .await;
    let (_, note) = event(&operator, "Scaled").await;
    assert!(note.contains("from 3 to 1 replicas"), "{note}");

    let closed = json!({"spec": {"networkPolicy": {"enabled": false}}});
    operator.put(&with(whisper_stack("demo"), closed)).await;
    let (_, note) = event(&operator, "ResourcesDeleted").await;
    assert!(note.contains("NetworkPolicy demo-auth"), "{note}");

    operator
        .in_namespace(&["delete", "secret", "demo-jwt"], "")
        .await;
    let (kind, note) = event(&operator, "SigningKeyRemade").await;
    assert_eq!(kind, "Warning");
    assert!(note.contains("all sessions have ended"), "{note}");
}
