//! The calls of a transcription and of an upload, made by the same SDK and the same HTTP client as the service's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use rand::random;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use transcription_tests::client::http;
use transcription_tests::process::cpu_seconds;
use transcription_tests::seaweedfs::{BUCKET, client};
use transcription_tests::transcription::{GEMINI_KEY, silent_wav};

const PART_BYTES: usize = 5 * 1024 * 1024;
const PATH: &str = "/v1beta/models/gemini-3.5-transcribe:generateContent";
/// About what a manifest has.
const MANIFEST_BYTES: usize = 700;

/// Where the objects go.
#[derive(Args)]
pub struct Target {
    /// The address of S3.
    #[arg(long)]
    s3: String,
}

/// One turn of calls.
pub struct Turn {
    /// How many at once.
    pub concurrency: usize,
    /// For how long, in seconds.
    pub seconds: f64,
    /// The size of a recording.
    pub size_bytes: usize,
}

/// Makes the calls of transcriptions for some seconds, and prints how long each took, and what all took of the processor. Each client has
/// made one before that does not count: then its connections are there.
pub async fn calls(target: &Target, engine: &str, turn: &Turn) {
    let s3 = client(&target.s3).await;
    let http = http();
    let audio = Bytes::from(silent_wav(turn.size_bytes));
    let limit = Duration::from_secs_f64(turn.seconds);
    let ready = Arc::new(Barrier::new(turn.concurrency + 1));
    let mut clients = JoinSet::new();
    for _ in 0..turn.concurrency {
        let (s3, http, audio, url, ready) = (
            s3.clone(),
            http.clone(),
            audio.clone(),
            format!("{engine}{PATH}"),
            Arc::clone(&ready),
        );
        clients.spawn(async move {
            transcription(&s3, &http, &url, &audio).await;
            ready.wait().await;
            let start = Instant::now();
            let mut took = Vec::new();
            while start.elapsed() < limit {
                let begin = Instant::now();
                transcription(&s3, &http, &url, &audio).await;
                took.push(begin.elapsed().as_secs_f64());
            }
            took
        });
    }
    ready.wait().await;
    let (start, cpu_before) = (Instant::now(), own_cpu_seconds());
    let took = clients.join_all().await.concat();
    println!(
        "{}",
        json!({
            "seconds": start.elapsed().as_secs_f64(),
            "cpu_seconds": own_cpu_seconds() - cpu_before,
            "took": took,
        })
    );
}

async fn transcription(s3: &Client, http: &reqwest::Client, url: &str, audio: &Bytes) {
    let id: u128 = random();
    let manifest = Bytes::from(vec![b'm'; MANIFEST_BYTES]);
    put(s3, format!("private/1/audio/{id:x}.wav"), audio.clone()).await;
    put(
        s3,
        format!("private/1/manifests/{id:x}.json"),
        manifest.clone(),
    )
    .await;
    let request = http.post(url).header("x-goog-api-key", GEMINI_KEY);
    let request = request.header(CONTENT_TYPE, "application/json");
    let answer = request.body(question(audio)).send().await.unwrap();
    assert!(answer.status().is_success(), "{}", answer.status());
    let answer: Value = answer.json().await.unwrap();
    let text = answer.to_string();
    put(s3, format!("private/1/transcripts/{id:x}.txt"), text.into()).await;
    put(s3, format!("private/1/manifests/{id:x}.json"), manifest).await;
}

/// What the engine is asked, in one piece.
fn question(audio: &[u8]) -> String {
    let mut text = String::with_capacity(audio.len() * 4 / 3 + 256);
    text.push_str(
        r#"{"contents":[{"role":"user","parts":[{"inlineData":{"mimeType":"audio/wav","data":""#,
    );
    BASE64_STANDARD.encode_string(audio, &mut text);
    text.push_str(r#""}}]}],"store":false,"generationConfig":{"audioTranscriptionConfig":{}}}"#);
    text
}

async fn put(s3: &Client, key: String, body: Bytes) {
    let request = s3.put_object().bucket(BUCKET).key(key);
    request.body(ByteStream::from(body)).send().await.unwrap();
}

/// Uploads objects in parts, all at once, and prints how long that took. A small one of each before that does not count: then its
/// connection is there.
pub async fn parts(target: &Target, concurrency: usize, size_bytes: usize) {
    let s3 = client(&target.s3).await;
    let bytes = Bytes::from(silent_wav(size_bytes));
    objects(&s3, concurrency, &bytes.slice(..PART_BYTES)).await;
    let start = Instant::now();
    objects(&s3, concurrency, &bytes).await;
    println!("{}", json!({"seconds": start.elapsed().as_secs_f64()}));
}

async fn objects(s3: &Client, concurrency: usize, bytes: &Bytes) {
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        let (s3, bytes) = (s3.clone(), bytes.clone());
        let key = format!("bare/{:x}", random::<u128>());
        clients.spawn(async move { object(&s3, &key, bytes).await });
    }
    clients.join_all().await;
}

async fn object(s3: &Client, key: &str, mut bytes: Bytes) {
    let created = s3.create_multipart_upload().bucket(BUCKET).key(key).send();
    let upload_id = created.await.unwrap().upload_id.unwrap();
    let mut parts = Vec::new();
    for number in 1.. {
        let part = bytes.split_to(bytes.len().min(PART_BYTES));
        if part.is_empty() {
            break;
        }
        let request = s3.upload_part().bucket(BUCKET).key(key);
        let request = request.upload_id(&upload_id).part_number(number);
        let sent = request.body(ByteStream::from(part)).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number);
        parts.push(part.set_e_tag(sent.e_tag).build());
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts));
    let request = s3.complete_multipart_upload().bucket(BUCKET).key(key);
    let request = request.upload_id(upload_id);
    request
        .multipart_upload(parts.build())
        .send()
        .await
        .unwrap();
}

fn own_cpu_seconds() -> f64 {
    cpu_seconds(std::process::id())
}
