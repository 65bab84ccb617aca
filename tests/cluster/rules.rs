//! Every rule of the custom resource, as the API server holds it: what is accepted, and what is refused, when it is made and when it is
//! changed, with which words.

use serde_json::{Value, json};
use transcription_lab::kubernetes::ControlPlane;
use transcription_tests::cluster::{control_plane, whisper_stack, with};

/// A rule that looks at one state: each of these changes of the smallest stack.
struct Rule {
    message: &'static str,
    accepted: Vec<Value>,
    refused: Vec<Value>,
}

#[expect(clippy::too_many_lines, reason = "it is a table")]
fn rules() -> Vec<Rule> {
    let auth = |auth: Value| json!({"spec": {"auth": auth}});
    let storage = |storage: Value| json!({"spec": {"auth": {"storage": storage}}});
    let transcription = |transcription: Value| json!({"spec": {"transcription": transcription}});
    let engine = |engine: Value| json!({"spec": {"transcription": {"engine": engine}}});
    let s3 = |s3: Value| json!({"spec": {"s3": s3}});
    let origins = |origins: &[&str]| json!({"spec": {"corsAllowedOrigins": origins}});
    let collector = |address: &str| json!({"spec": {"observability": {"otlpEndpoint": address}}});
    let ingress = |ingress: Value| json!({"spec": {"ingress": ingress}});
    let gemini = json!({"apiKeySecretRef": {"name": "gemini"}});
    vec![
        Rule {
            message: "give exactly one engine, gemini or whisper",
            accepted: vec![engine(json!({"whisper": null, "gemini": gemini}))],
            refused: vec![
                engine(json!({"gemini": gemini})),
                engine(json!({"whisper": null})),
            ],
        },
        Rule {
            message: "give exactly one source of the model",
            accepted: vec![engine(
                json!({"whisper": {"modelPath": null, "persistentVolumeClaim": {"claimName": "models"}}}),
            )],
            refused: vec![
                engine(json!({"whisper": {"persistentVolumeClaim": {"claimName": "models"}}})),
                engine(json!({"whisper": {"modelPath": null}})),
            ],
        },
        Rule {
            message: "give replicas or autoscaling, not both",
            accepted: vec![
                transcription(json!({"replicas": 3})),
                transcription(json!({"autoscaling": {"maxReplicas": 3}})),
            ],
            refused: vec![transcription(
                json!({"replicas": 3, "autoscaling": {"maxReplicas": 3}}),
            )],
        },
        Rule {
            message: "minReplicas must not be larger than maxReplicas",
            accepted: vec![transcription(
                json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 2}}),
            )],
            refused: vec![transcription(
                json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}),
            )],
        },
        Rule {
            message: "give credentialsSecretRef or serviceAccountAnnotations (workload identity), not both",
            accepted: vec![
                s3(json!({"credentialsSecretRef": null})),
                s3(
                    json!({"credentialsSecretRef": null, "serviceAccountAnnotations": {"a/b": "c"}}),
                ),
            ],
            refused: vec![s3(json!({"serviceAccountAnnotations": {"a/b": "c"}}))],
        },
        Rule {
            message: "existingClaim stands alone",
            accepted: vec![
                storage(json!({"existingClaim": "users"})),
                storage(json!({"size": "5Gi", "storageClassName": "fast"})),
            ],
            refused: vec![
                storage(json!({"existingClaim": "users", "size": "1Gi"})),
                storage(json!({"existingClaim": "users", "storageClassName": "fast"})),
                storage(json!({"existingClaim": "users", "accessModes": ["ReadWriteOnce"]})),
            ],
        },
        Rule {
            message: "write networks as CIDRs",
            accepted: vec![auth(json!({"trustedProxies": ["10.0.0.0/8", "fd00::/8"]}))],
            refused: vec![
                auth(json!({"trustedProxies": ["10.0.0.1"]})),
                auth(json!({"trustedProxies": ["10.0.0.0/8", "all"]})),
            ],
        },
        Rule {
            message: "enabled needs a host",
            accepted: vec![
                ingress(json!({"enabled": true, "auth": {"host": "auth.example.com"}})),
                ingress(json!({"enabled": false})),
            ],
            refused: vec![
                ingress(json!({"enabled": true})),
                ingress(json!({"enabled": true, "auth": {"host": ""}})),
            ],
        },
        Rule {
            message: "auth.host and transcription.host must differ",
            accepted: vec![ingress(
                json!({"enabled": true, "auth": {"host": "a.example.com"}, "transcription": {"host": "t.example.com"}}),
            )],
            refused: vec![ingress(
                json!({"enabled": true, "auth": {"host": "a.example.com"}, "transcription": {"host": "a.example.com"}}),
            )],
        },
        Rule {
            message: "this variable is set by the operator, from a field of the spec",
            accepted: vec![auth(json!({"extraEnv": [
                {"name": "RUST_LOG", "value": "debug"},
                {"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "a=b"},
            ]}))],
            refused: vec![
                auth(json!({"extraEnv": [{"name": "REGISTRATION", "value": "open"}]})),
                transcription(json!({"extraEnv": [{"name": "JWT_SECRET_KEY", "value": "x"}]})),
                transcription(
                    json!({"extraEnv": [{"name": "GEMINI_API_KEY_FILE", "value": "/x"}]}),
                ),
            ],
        },
        Rule {
            message: "write origins as browsers send them",
            accepted: vec![
                origins(&["*"]),
                origins(&[
                    "https://app.example.com",
                    "http://localhost:3000",
                    "http://127.0.0.1:65535",
                    "http://[::1]:8080",
                    "https://example.com:80",
                ]),
            ],
            refused: [
                &["*", "https://a.example"][..],
                &["example.com"],
                &["https://A.example"],
                &["https://a.example/"],
                &["https://a.example:443"],
                &["http://a.example:80"],
                &["http://a.example:65536"],
                &["http://a.example:0"],
                &["http://1.2.3.256"],
                &["http://a.example.7"],
                &["http://[1::2::3]"],
            ]
            .map(origins)
            .into(),
        },
        Rule {
            message: "write an address with http or https, a host, and a port",
            accepted: vec![
                s3(json!({"endpoint": "http://minio:9000"})),
                s3(json!({"endpoint": "https://S3.example.com/path"})),
                s3(json!({"endpoint": "http://[fd00::1]:9000"})),
                collector("http://10.0.0.1:4318/"),
                collector(""),
            ],
            refused: vec![
                s3(json!({"endpoint": "http://minio:99999"})),
                s3(json!({"endpoint": "minio:9000"})),
                s3(json!({"endpoint": "http://:9000"})),
                s3(json!({"endpoint": "http://1.2.3.4.5"})),
                collector("http://user:password@collector"),
                collector("ftp://collector"),
            ],
        },
    ]
}

#[tokio::test]
async fn each_rule_accepts_and_refuses_a_new_stack() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-create").await;

    for rule in rules() {
        for change in rule.accepted {
            let stack = with(whisper_stack("demo"), change);
            assert_accepted(&create(&plane, &namespace, &stack).await, &stack);
        }
        for change in rule.refused {
            let stack = with(whisper_stack("demo"), change);
            assert_refused(
                &create(&plane, &namespace, &stack).await,
                rule.message,
                &stack,
            );
        }
    }
}

#[tokio::test]
async fn each_rule_accepts_and_refuses_a_change_of_a_stack() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-update").await;
    plane
        .succeed(
            &["--namespace", &namespace, "create", "-f", "-"],
            &whisper_stack("demo").to_string(),
        )
        .await;

    for rule in rules() {
        for change in rule.refused {
            let stack = with(whisper_stack("demo"), change);
            assert_refused(
                &replace(&plane, &namespace, &stack).await,
                rule.message,
                &stack,
            );
        }
        // Rules on storage that look back would refuse some of what this rule accepts.
        let storage = |change: &Value| change["spec"]["auth"].get("storage").is_some();
        for change in rule.accepted.into_iter().filter(|change| !storage(change)) {
            let stack = with(whisper_stack("demo"), change);
            assert_accepted(&replace(&plane, &namespace, &stack).await, &stack);
        }
    }
}

#[tokio::test]
async fn names_are_short_labels() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-names").await;
    let longest = format!("a{}9", "-".repeat(38));
    let message = "use at most 40 characters, only a to z, 0 to 9 and -";

    for name in ["a", "demo-2", &longest] {
        let stack = whisper_stack(name);
        assert_accepted(&create(&plane, &namespace, &stack).await, &stack);
    }
    for name in ["2demo", "demo.example", &format!("{longest}0")] {
        let stack = whisper_stack(name);
        assert_refused(&create(&plane, &namespace, &stack).await, message, &stack);
    }
}

#[tokio::test]
async fn values_out_of_their_range_are_refused() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-range").await;
    let wrong = [
        ("bcryptCost", json!({"auth": {"bcryptCost": 3}})),
        (
            "passwordMinLength",
            json!({"auth": {"passwordMinLength": 73}}),
        ),
        (
            "accessTokenExpireMinutes",
            json!({"auth": {"accessTokenExpireMinutes": 0}}),
        ),
        ("registration", json!({"auth": {"registration": "half"}})),
        ("deletionPolicy", json!({"deletionPolicy": "Recycle"})),
        ("version", json!({"version": "latest"})),
        ("size", json!({"auth": {"storage": {"size": "1 GB"}}})),
        ("size", json!({"auth": {"storage": {"size": "0Gi"}}})),
        (
            "maxUploadBytes",
            json!({"transcription": {"maxUploadBytes": 0}}),
        ),
        (
            "engineTimeoutSeconds",
            json!({"transcription": {"engineTimeoutSeconds": 0}}),
        ),
        (
            "maxConcurrent",
            json!({"transcription": {"maxConcurrent": 0}}),
        ),
        ("replicas", json!({"transcription": {"replicas": -1}})),
        (
            "modelPath",
            json!({"transcription": {"engine": {"whisper": {"modelPath": "models"}}}}),
        ),
        ("endpoint", json!({"s3": {"endpoint": ""}})),
    ];

    for (field, spec) in wrong {
        let stack = with(whisper_stack("demo"), json!({"spec": spec}));
        assert_refused(&create(&plane, &namespace, &stack).await, field, &stack);
    }
}

#[tokio::test]
async fn a_null_is_as_if_the_field_were_not_there() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-null").await;
    let mut stack = whisper_stack("demo");
    stack["spec"]["transcription"]["replicas"] = Value::Null;
    stack["spec"]["transcription"]["autoscaling"] = json!({"maxReplicas": 2});
    stack["spec"]["transcription"]["engine"]["gemini"] = Value::Null;

    assert_accepted(&create(&plane, &namespace, &stack).await, &stack);
}

#[tokio::test]
async fn defaults_are_shown_and_those_that_depend_on_others_are_not() {
    let plane = control_plane().await;
    let namespace = plane.namespace("rules-defaults").await;

    let arguments = [
        "--namespace",
        &namespace,
        "create",
        "--dry-run=server",
        "-o",
        "json",
        "-f",
        "-",
    ];
    let stored = plane
        .succeed(&arguments, &whisper_stack("demo").to_string())
        .await;
    let stored = serde_json::from_str::<Value>(&stored).unwrap();

    let spec = &stored["spec"];
    assert_eq!(
        spec["auth"],
        json!({"accessTokenExpireMinutes": 30, "registration": "closed", "passwordMinLength": 8, "bcryptCost": 12})
    );
    assert_eq!(spec["deletionPolicy"], "Retain");
    assert_eq!(spec["transcription"]["maxUploadBytes"], 209_715_200);
    assert_eq!(spec["transcription"]["engineTimeoutSeconds"], 600);
    assert_eq!(spec["networkPolicy"], json!({"enabled": true}));
    for absent in ["replicas", "autoscaling", "maxConcurrent"] {
        assert_eq!(spec["transcription"].get(absent), None, "{absent}");
    }
}

/// What the API server says to a new stack, or to a change of one.
pub struct Answer {
    is_accepted: bool,
    words: String,
}

async fn create(plane: &ControlPlane, namespace: &str, stack: &Value) -> Answer {
    ask(plane, namespace, "create", stack).await
}

pub async fn replace(plane: &ControlPlane, namespace: &str, stack: &Value) -> Answer {
    ask(plane, namespace, "replace", stack).await
}

async fn ask(plane: &ControlPlane, namespace: &str, verb: &str, stack: &Value) -> Answer {
    let arguments = [
        "--namespace",
        namespace,
        verb,
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
    ];
    let output = plane.kubectl(&arguments, &stack.to_string()).await;
    Answer {
        is_accepted: output.status.success(),
        words: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub fn assert_accepted(answer: &Answer, stack: &Value) {
    assert!(
        answer.is_accepted,
        "{} was refused: {}",
        stack["spec"], answer.words
    );
}

pub fn assert_refused(answer: &Answer, message: &str, stack: &Value) {
    assert!(!answer.is_accepted, "{} was accepted", stack["spec"]);
    assert!(
        answer.words.contains(message),
        "{} was refused in other words: {}",
        stack["spec"],
        answer.words
    );
}
