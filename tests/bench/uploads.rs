//! Large uploads next to their parts uploaded by the SDK, and the memory that they take.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use reqwest::Body;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::task::JoinSet;
use transcription_tests::client::http;
use transcription_tests::transcription::{silent_wav, token};

use crate::services::{Stack, bare};
use crate::table::{Goal, Row, median, median_round, ratio};
use crate::{ROUNDS, is_first};

const SIZE_BYTES: usize = 100 * 1024 * 1024;
const LARGEST_BYTES: usize = 500 * 1024 * 1024;
const WARM_BYTES: usize = 20 * 1024 * 1024;
const PIECE_BYTES: usize = 256 * 1024;
const LIMIT: Duration = Duration::from_mins(5);

/// Measures.
pub async fn measure() -> Vec<Row> {
    let bytes = Bytes::from(silent_wav(SIZE_BYTES));
    let mut rows = Vec::new();
    for clients in [1, 4, 16] {
        rows.extend(rate(clients, &bytes).await);
    }
    drop(bytes);
    rows.push(by_file().await);
    rows
}

async fn rate(clients: usize, bytes: &Bytes) -> [Row; 2] {
    let (mut ours, mut alone, mut growth) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // New each time: what is deleted there is not off the disk at once.
        let stack = start().await;
        // The engine refuses, so that the time is that of the upload.
        let refusal = json!({"status": 400});
        stack
            .google
            .fail(json!([{"on": "upload_start", "times": 1000, "fault": refusal}]))
            .await;
        // The store makes its volumes with the first objects, and the service its connections.
        parts(&stack, clients, WARM_BYTES).await;
        upload(&stack, 1, &bytes.slice(..WARM_BYTES), 502).await;
        let megabytes = number(clients) * number(SIZE_BYTES) / 1e6;
        for is_ours in [is_first(round), !is_first(round)] {
            if is_ours {
                let timed = async {
                    let start = Instant::now();
                    upload(&stack, clients, bytes, 502).await;
                    start.elapsed().as_secs_f64()
                };
                let (seconds, grown) = stack.growth_mib(timed).await;
                ours.push(megabytes / seconds);
                growth.push(grown / number(clients));
            } else {
                // The same rest as ours has, for the store.
                stack.settled_kib().await;
                let seconds = parts(&stack, clients, SIZE_BYTES).await;
                alone.push(megabytes / seconds);
            }
        }
    }
    let rounds: Vec<_> = ours.into_iter().zip(alone).collect();
    let ((ours, alone), figure) = median_round(&rounds, ratio);
    let case = format!("uploads of 100 MiB, {clients} at once");
    [
        Row {
            case: case.clone(),
            ours: format!("{ours:.0} MB/s"),
            against: format!("UploadPart alone: {alone:.0} MB/s"),
            figure,
            goal: Goal::AtLeast(0.85),
            unit: "",
        },
        Row {
            case: format!("{case}: memory of each"),
            ours: "–".to_owned(),
            against: "–".to_owned(),
            figure: median(growth),
            goal: Goal::AtMost(12.0),
            unit: " MiB",
        },
    ]
}

/// Uploads objects in parts without the service; how long that took, in seconds.
async fn parts(stack: &Stack, clients: usize, size_bytes: usize) -> f64 {
    let result = bare(&[
        "parts",
        "--s3",
        &stack.s3.endpoint,
        "--concurrency",
        &clients.to_string(),
        "--size-bytes",
        &size_bytes.to_string(),
    ])
    .await;
    result["seconds"].as_f64().unwrap()
}

async fn start() -> Stack {
    Stack::start(&[
        ("MAX_CONCURRENT_TRANSCRIPTIONS", "64"),
        ("MAX_CONCURRENT_PER_USER", "64"),
        ("MAX_UPLOAD_BYTES", "1000000000"),
    ])
    .await
}

/// So many clients send the recording at once; each has this answer.
async fn upload(stack: &Stack, clients: usize, bytes: &Bytes, status: u16) {
    let mut sent = JoinSet::new();
    for _ in 0..clients {
        let request = http()
            .post(format!("{}/transcribe", stack.url))
            .bearer_auth(token("1"))
            .timeout(LIMIT)
            .multipart(form(bytes.clone()));
        sent.spawn(async move {
            let answer = request.send().await.unwrap();
            let answered = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            assert_eq!(answered, status, "{text}");
        });
    }
    sent.join_all().await;
}

/// The bytes in pieces that share their memory.
fn form(mut bytes: Bytes) -> Form {
    let length = bytes.len() as u64;
    let pieces = std::iter::from_fn(move || {
        let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some(Ok::<_, std::io::Error>(piece))
    });
    let body = Body::wrap_stream(futures_util::stream::iter(pieces));
    let part = Part::stream_with_length(body, length).file_name("long.wav");
    Form::new().part("file", part)
}

/// A recording that goes on to the engine by a file.
async fn by_file() -> Row {
    let mut growth = Vec::new();
    for _ in 0..ROUNDS {
        let stack = start().await;
        let bytes = Bytes::from(dense_wav(LARGEST_BYTES));
        let ((), grown) = stack.growth_mib(upload(&stack, 1, &bytes, 200)).await;
        growth.push(grown);
    }
    Row {
        case: "500 MiB through the Files API: memory".to_owned(),
        ours: "–".to_owned(),
        against: "–".to_owned(),
        figure: median(growth),
        goal: Goal::AtMost(32.0),
        unit: " MiB",
    }
}

/// Silence in 8 channels: as long as the engine takes, and large.
fn dense_wav(size_bytes: usize) -> Vec<u8> {
    let mut wav = silent_wav(size_bytes);
    wav[22..24].copy_from_slice(&8_u16.to_le_bytes());
    wav[24..28].copy_from_slice(&48_000_u32.to_le_bytes());
    wav[28..32].copy_from_slice(&768_000_u32.to_le_bytes());
    wav[32..34].copy_from_slice(&16_u16.to_le_bytes());
    wav
}

fn number(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap())
}
