//! A stack for a crowd: the operator, a store whose keys can be changed, the stand-in for Google, and a stack that anybody may register at.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::client::http;
use transcription_tests::speech::librivox;
use transcription_tests::traffic::{Addresses, Traffic};

use crate::stack::{Namespace, file};

/// The name of the stack, as in the documentation.
pub const STACK: &str = "demo";
/// Who may do everything in the store.
pub const OWNER: Key = Key {
    id: "owner",
    secret: "a-secret-of-the-owner",
};

/// A key of the store.
#[derive(Clone, Copy)]
pub struct Key {
    pub id: &'static str,
    pub secret: &'static str,
}

/// Starts everything, with this for the transcription service beside its engine, and gives where clients reach it.
pub async fn gather(
    space: &Namespace<'_>,
    store_key: Key,
    gemini_key: &str,
    transcription: Value,
) -> Addresses {
    let install = file("k8s/install.yaml");
    let install = ["apply", "--server-side", "-f", install.to_str().unwrap()];
    space.plane.succeed(&install, "").await;
    make_store(space).await;
    allow(space, store_key).await;
    for (secret, values) in [
        (
            "s3",
            &[
                ("AWS_ACCESS_KEY_ID", store_key.id),
                ("AWS_SECRET_ACCESS_KEY", store_key.secret),
            ][..],
        ),
        ("gemini", &[("GEMINI_API_KEY", gemini_key)]),
    ] {
        space.secret(secret, values).await;
    }
    space.apply("tests/node/gemini.yaml").await;
    let mut stack = json!({
        "apiVersion": "transcription.dev/v1alpha1", "kind": "TranscriptionStack", "metadata": {"name": STACK},
        "spec": {
            "auth": {"registration": "open", "bcryptCost": 4},
            "transcription": transcription,
            "s3": {"bucket": "recordings", "region": "us-east-1", "endpoint": "http://seaweedfs:8333", "forcePathStyle": true, "credentialsSecretRef": {"name": "s3"}},
        },
    });
    stack["spec"]["transcription"]["engine"] =
        json!({"gemini": {"apiKeySecretRef": {"name": "gemini"}, "baseURL": "http://google:8080"}});
    let apply = ["apply", "-f", "-"];
    space.kubectl(&apply, &stack.to_string()).await;
    space.ready(STACK).await;
    Addresses {
        auth: space.url(&format!("{STACK}-auth")).await,
        transcription: space.url(&format!("{STACK}-transcription")).await,
    }
}

/// The store of the samples, with an owner of its own: a stack's key is one that can go.
async fn make_store(space: &Namespace<'_>) {
    space
        .secret(
            "owner",
            &[
                ("AWS_ACCESS_KEY_ID", OWNER.id),
                ("AWS_SECRET_ACCESS_KEY", OWNER.secret),
            ],
        )
        .await;
    let store = std::fs::read_to_string(file("k8s/samples/seaweedfs.yaml")).unwrap();
    let of_owner = store.replace("secretRef: {name: s3}", "secretRef: {name: owner}");
    assert_ne!(store, of_owner);
    space.kubectl(&["apply", "-f", "-"], &of_owner).await;
    let made = "--for=condition=Complete";
    let wait = ["wait", made, "--timeout=120s", "job/make-bucket"];
    space.kubectl(&wait, "").await;
}

/// Has the store take a key, as an account at a provider's has a second one.
pub async fn allow(space: &Namespace<'_>, key: Key) {
    let Key { id, secret } = key;
    let user = format!("-user={id} -access_key={id} -secret_key={secret}");
    let rights = "-buckets=recordings -actions=Read,Write,List,Tagging";
    configure(space, &format!("{user} {rights}")).await;
}

/// Has the store no longer take a key.
pub async fn forbid(space: &Namespace<'_>, key: Key) {
    configure(space, &format!("-user={} -delete", key.id)).await;
}

async fn configure(space: &Namespace<'_>, change: &str) {
    let shell = ["weed", "shell", "-master=127.0.0.1:9333"];
    let exec = ["exec", "-i", "deployment/seaweedfs", "--"];
    let command = format!("s3.configure {change} -apply\n");
    let said = space.kubectl(&[&exec[..], &shell].concat(), &command).await;
    assert!(!said.contains("error"), "{said}");
}

/// Has the stand-in for Google take these keys and no others.
pub async fn set_gemini_keys(space: &Namespace<'_>, keys: &[&str]) {
    let url = format!("{}/_stand-in/keys", space.url("google").await);
    let answer = http().put(url).json(keys).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

/// Lets every answer of the stand-in for Google come so late from now on.
pub async fn slow_down(space: &Namespace<'_>, delay: Duration) {
    let url = format!("{}/_stand-in/faults", space.url("google").await);
    let cleared = http().delete(&url).send().await.unwrap();
    assert_eq!(cleared.status(), StatusCode::NO_CONTENT);
    let late = json!([{
        "on": "generate",
        "times": u32::MAX,
        "fault": {"delay_milliseconds": u64::try_from(delay.as_millis()).unwrap()},
    }]);
    let answer = http().post(url).json(&late).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

/// Lets people come who send real recordings, one after another.
pub async fn come(addresses: Addresses, people: usize) -> Traffic {
    let recordings = librivox().into_iter().map(|clip| clip.wav);
    let recordings = recordings.collect::<Vec<_>>();
    Traffic::start(addresses, people, &recordings, Duration::ZERO).await
}
