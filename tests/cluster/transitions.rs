//! The rules that look at what was there before: what may be changed, and what may not, with which words.

use serde_json::{Value, json};
use transcription_tests::cluster::{control_plane, whisper_stack, with};

use crate::rules::{assert_accepted, assert_refused, replace};

#[tokio::test]
async fn each_rule_that_looks_back_accepts_and_refuses_a_change() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-back").await;
    let mut count = 0;

    for rule in transitions() {
        let accepted = rule.accepted.into_iter().map(|pair| (pair, true));
        let refused = rule.refused.into_iter().map(|pair| (pair, false));
        for ((before, after), is_accepted) in accepted.chain(refused) {
            count += 1;
            let name = format!("demo{count}");
            let before = with(whisper_stack(&name), before);
            plane
                .succeed(
                    &["--namespace", &namespace, "create", "-f", "-"],
                    &before.to_string(),
                )
                .await;
            let after = with(whisper_stack(&name), after);
            let answer = replace(&plane, &namespace, &after).await;
            if is_accepted {
                assert_accepted(&answer, &after);
            } else {
                assert_refused(&answer, rule.message, &after);
            }
        }
    }
}

/// A rule that looks at what was there before: pairs of changes, before and after.
struct Transition {
    message: &'static str,
    accepted: Vec<(Value, Value)>,
    refused: Vec<(Value, Value)>,
}

fn transitions() -> Vec<Transition> {
    let none = || json!({});
    let storage = |storage: Value| json!({"spec": {"auth": {"storage": storage}}});
    vec![
        Transition {
            message: "spec.auth.storage.size can only grow",
            accepted: vec![
                (none(), storage(json!({"size": "1Gi"}))),
                (none(), storage(json!({"size": "2Gi"}))),
                (storage(json!({"size": "1Gi"})), none()),
                (
                    storage(json!({"size": "1Gi"})),
                    storage(json!({"size": "1024Mi"})),
                ),
                (
                    storage(json!({"size": "900Mi"})),
                    storage(json!({"size": "1G"})),
                ),
            ],
            refused: vec![
                (none(), storage(json!({"size": "1023Mi"}))),
                (storage(json!({"size": "2Gi"})), none()),
                (
                    storage(json!({"size": "2Gi"})),
                    storage(json!({"size": "2G"})),
                ),
                // A size typed too large.
                (
                    storage(json!({"size": "100Gi"})),
                    storage(json!({"size": "10Gi"})),
                ),
            ],
        },
        Transition {
            message: "spec.auth.storage.storageClassName cannot be changed, added or removed",
            accepted: vec![(
                storage(json!({"storageClassName": "fast"})),
                storage(json!({"storageClassName": "fast", "size": "5Gi"})),
            )],
            refused: vec![
                (
                    storage(json!({"storageClassName": "fast"})),
                    storage(json!({"storageClassName": "slow"})),
                ),
                (storage(json!({"storageClassName": "fast"})), none()),
                (none(), storage(json!({"storageClassName": "fast"}))),
                (none(), storage(json!({"storageClassName": ""}))),
            ],
        },
        Transition {
            message: "spec.auth.storage.accessModes cannot be changed",
            accepted: vec![(none(), storage(json!({"accessModes": ["ReadWriteOnce"]})))],
            refused: vec![
                (
                    none(),
                    storage(json!({"accessModes": ["ReadWriteOncePod"]})),
                ),
                (
                    storage(json!({"accessModes": ["ReadWriteOncePod"]})),
                    none(),
                ),
            ],
        },
        Transition {
            message: "spec.auth.storage.existingClaim cannot be added",
            accepted: vec![(
                storage(json!({"existingClaim": "a"})),
                storage(json!({"existingClaim": "b"})),
            )],
            refused: vec![(none(), storage(json!({"existingClaim": "users"})))],
        },
        Transition {
            message: "spec.auth.storage.existingClaim cannot be removed",
            accepted: vec![],
            refused: vec![
                (storage(json!({"existingClaim": "users"})), none()),
                (
                    storage(json!({"existingClaim": "users"})),
                    storage(json!({"size": "1Gi"})),
                ),
            ],
        },
    ]
}
