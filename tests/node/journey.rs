//! From `kubectl apply` to the text of a recording, and to the end of a stack and its next beginning.

use std::fs;
use std::time::Instant;

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_lab::kubernetes::Node;
use transcription_tests::client::{PASSWORD, http, post};

use transcription_tests::process::free_port;
use transcription_tests::speech::{Clip, librivox, word_errors};
use transcription_tests::transcription::heard;

use crate::images;
use crate::stack::{Namespace, file};

/// The password of the README.
const README_PASSWORD: &str = "correct horse battery";
const GEMINI_KEY: &str = "a-key-for-the-stand-in";

/// One story, in the order in which a user lives it: what comes later stands on what came before.
#[tokio::test]
async fn a_recording_becomes_text_in_a_cluster() {
    let node = Node::start().await;
    images::bring(&node).await;
    let space = Namespace::make(&node, "team").await;

    whisper(&space).await;
    gemini(&space).await;
    everything_is_restricted(&space).await;
    stuck(&space).await;
    deleted_and_made_again(&space).await;
}

/// The commands of the README, as they stand there.
async fn whisper(space: &Namespace<'_>) {
    let [install, hear] = readme();
    let began = Instant::now();
    println!("{}", space.shell(&install).await);
    println!(
        "from nothing to Ready with Whisper: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    println!("{}", space.shell("kubectl get tstack").await);

    // Registration is closed: users are made in the pod.
    let auth = space.url("demo-auth").await;
    let eve = json!({"username": "eve", "email": "eve@example.com", "password": PASSWORD});
    let refused = post(&http(), &format!("{auth}/register"), &eve).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let printed = space.shell(&hear).await;
    println!("{printed}");
    let Clip { wav, words, .. } = librivox().remove(0);
    let answer = printed.lines().find(|line| line.starts_with('{')).unwrap();
    let answer = serde_json::from_str::<Value>(answer).unwrap();
    assert_eq!(answer["engine"], "whisper");
    assert_eq!(answer["model"], "base");
    let text = answer["transcription"].as_str().unwrap();
    assert!(word_errors(text, &words) <= 2, "{text}");
    space.is_stored(&answer).await;

    // The same through the Services, without `kubectl` between.
    let token = space.log_in("demo", "ada", README_PASSWORD).await;
    let answer = space.transcribe("demo", &token, wav).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["transcription"], text);
    space.is_stored(&answer.json).await;
    by_name(space).await;
}

/// The two blocks of commands in the README's section on Kubernetes; the second with ports that are free here.
fn readme() -> [String; 2] {
    let text = fs::read_to_string(file("README.md")).unwrap();
    let (_, section) = text
        .split_once("\n## Kubernetes in four commands\n")
        .unwrap();
    let mut blocks = section
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let [install, hear] = [blocks.next().unwrap(), blocks.next().unwrap()];
    assert_eq!(install.lines().count(), 4, "{install}");
    let mut hear = hear.to_owned();
    for port in ["8001", "8000"] {
        let free = free_port().to_string();
        hear = hear.replace(&format!("{port}:{port}"), &format!("{free}:{port}"));
        hear = hear.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{free}"));
    }
    [install.to_owned(), hear]
}

/// A pod reaches both Services by their names, and the whole works from there.
async fn by_name(space: &Namespace<'_>) {
    space
        .secret(
            "smoke",
            &[
                ("SMOKE_USERNAME", "ada"),
                ("SMOKE_PASSWORD", README_PASSWORD),
            ],
        )
        .await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "smoke"},
        "spec": {"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "smoke",
                "image": "ghcr.io/transcription-stack/transcription-service:0.1.0",
                "args": ["smoke", "--auth-url=http://demo-auth:8001", "--transcription-url=http://demo-transcription:8000"],
                "envFrom": [{"secretRef": {"name": "smoke"}}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true},
            }],
        }}},
    });
    space.kubectl(&["apply", "-f", "-"], &job.to_string()).await;
    space
        .kubectl(
            &[
                "wait",
                "--for=condition=Complete",
                "--timeout=120s",
                "job/smoke",
            ],
            "",
        )
        .await;
    println!("{}", space.kubectl(&["logs", "job/smoke"], "").await);
}

async fn gemini(space: &Namespace<'_>) {
    space
        .secret("gemini", &[("GEMINI_API_KEY", GEMINI_KEY)])
        .await;
    space.apply("tests/node/gemini.yaml").await;
    let stack = json!({
        "apiVersion": "transcription.dev/v1alpha1", "kind": "TranscriptionStack", "metadata": {"name": "gemini"},
        "spec": {
            "auth": {"registration": "open", "bcryptCost": 4},
            "transcription": {"replicas": 2, "engine": {"gemini": {"apiKeySecretRef": {"name": "gemini"}, "baseURL": "http://google:8080"}}},
            "s3": {"bucket": "recordings", "region": "us-east-1", "endpoint": "http://seaweedfs:8333", "forcePathStyle": true, "credentialsSecretRef": {"name": "s3"}},
        },
    });
    let began = Instant::now();
    space
        .kubectl(&["apply", "-f", "-"], &stack.to_string())
        .await;
    space.ready("gemini").await;
    println!(
        "from apply to Ready with Gemini and two pods: {:.1} s",
        began.elapsed().as_secs_f64()
    );

    // Here it is open.
    let grace = space.register("gemini", "grace").await;
    let Clip { wav, .. } = librivox().remove(1);
    let answer = grace.transcribe("speech.wav", wav.clone()).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.json["engine"], "gemini");
    assert_eq!(answer.json["transcription"], heard(&wav));
    space.is_stored(&answer.json).await;
}

/// The namespace refuses what is not restricted, and every pod of ours is there.
async fn everything_is_restricted(space: &Namespace<'_>) {
    let pods = space.kubectl(&["get", "pods", "-o", "wide"], "").await;
    println!("{pods}");
    let label = space
        .plane
        .succeed(&["get", "namespace", &space.name, "--show-labels"], "")
        .await;
    assert!(
        label.contains("pod-security.kubernetes.io/enforce=restricted"),
        "{label}"
    );
    let operator = space
        .plane
        .succeed(
            &["get", "namespace", "transcription-system", "--show-labels"],
            "",
        )
        .await;
    assert!(
        operator.contains("pod-security.kubernetes.io/enforce=restricted"),
        "{operator}"
    );
    for pod in [
        "demo-auth-0",
        "gemini-auth-0",
        "demo-transcription-",
        "gemini-transcription-",
    ] {
        assert!(pods.contains(pod), "{pods}");
    }
}

/// What a kubelet says of pods that do not come stands in the stack, and mended it is ready again.
async fn stuck(space: &Namespace<'_>) {
    // The other one asks for so much that the node has no room for a second pod.
    const STACK: &str = "gemini";
    let image = "images.invalid/transcription-service:1";
    let variable = |value: &str| json!([{"name": "LOG_FORMAT", "value": value}]);
    let troubles = [
        (
            json!({"transcription": {"image": image}}),
            json!({"transcription": {"image": null}}),
            "ImageUnavailable",
            image,
        ),
        (
            json!({"transcription": {"extraEnv": variable("runes")}}),
            json!({"transcription": {"extraEnv": null}}),
            "ContainerCrashing",
            "exit code 2",
        ),
        (
            json!({"s3": {"bucket": "not-there"}}),
            json!({"s3": {"bucket": "recordings"}}),
            "ProbeFailing",
            "/readyz says that it is not ready",
        ),
        (
            json!({"transcription": {"nodeSelector": {"disk": "of-glass"}}}),
            json!({"transcription": {"nodeSelector": null}}),
            "Unschedulable",
            "has no node",
        ),
    ];
    for (trouble, remedy, reason, words) in troubles {
        let began = Instant::now();
        space.patch(STACK, &json!({"spec": trouble})).await;
        let message = space.told(STACK, "TranscriptionAvailable", reason).await;
        println!(
            "told after {:.1} s: {message}",
            began.elapsed().as_secs_f64()
        );
        assert!(message.contains(words), "{message}");
        space.patch(STACK, &json!({"spec": remedy})).await;
        space.ready(STACK).await;
    }
    println!("{}", space.shell("kubectl describe tstack gemini").await);
}

async fn deleted_and_made_again(space: &Namespace<'_>) {
    space.kubectl(&["delete", "tstack", "demo"], "").await;
    space.is_left_by("demo").await;
    for kept in ["persistentvolumeclaim/demo-auth-data", "secret/demo-jwt"] {
        space.kubectl(&["get", kept], "").await;
    }

    space.apply("k8s/samples/whisper.yaml").await;
    space.ready("demo").await;

    // The old user, with the old password.
    space.log_in("demo", "ada", README_PASSWORD).await;
}
