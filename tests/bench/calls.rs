//! A transcription next to its calls made bare: the same objects, the same question.

use std::time::Duration;

use serde_json::{Value, json};
use transcription_tests::client::FILE_HEAD;
use transcription_tests::process::cpu_seconds;
use transcription_tests::transcription::{silent_wav, token};

use crate::ROUNDS;
use crate::services::{Stack, bare};
use crate::table::{Goal, Row, median};
use crate::wrk::Load;

const SIZE_BYTES: usize = 100_000;
const TURN: Duration = Duration::from_secs(5);
/// The engine's time in the case where it takes its time.
const ENGINE_MILLISECONDS: u64 = 500;

/// One turn of one side.
struct Measured {
    p50_seconds: f64,
    rate: f64,
    cpu_seconds: f64,
}

/// Measures.
pub async fn measure() -> Vec<Row> {
    let limits = [
        ("MAX_CONCURRENT_TRANSCRIPTIONS", "64"),
        ("MAX_CONCURRENT_PER_USER", "64"),
    ];
    let stack = Stack::start(&limits).await;
    let mut rows = Vec::new();
    for clients in [1, 8] {
        let (ours, bare) = rounds(&stack, clients).await;
        rows.push(added(clients, &ours, &bare));
        if clients == 8 {
            rows.extend(cost(&ours, &bare));
        }
    }
    stack
        .google
        .fail(json!([{"on": "generate", "times": 1_000_000, "fault": {"delay_milliseconds": ENGINE_MILLISECONDS}}]))
        .await;
    let (ours, bare) = rounds(&stack, 64).await;
    let rates = |side: &[Measured]| side.iter().map(|turn| turn.rate).collect::<Vec<_>>();
    rows.push(Row {
        case: "`/transcribe`, 100 kB, engine 500 ms, 64 at once".to_owned(),
        ours: format!("{:.1}/s", median(rates(&ours))),
        against: format!("bare calls: {:.1}/s", median(rates(&bare))),
        figure: ratio(&rates(&ours), &rates(&bare)),
        goal: Goal::AtLeast(0.95),
        unit: "",
    });
    rows
}

async fn rounds(stack: &Stack, clients: usize) -> (Vec<Measured>, Vec<Measured>) {
    // Connections and buffers are there from then on.
    served(stack, clients, Duration::from_secs(1)).await;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(alone(stack, clients).await);
        ours.push(served(stack, clients, TURN).await);
    }
    (ours, bare)
}

async fn served(stack: &Stack, clients: usize, duration: Duration) -> Measured {
    let mut body = FILE_HEAD.to_vec();
    body.extend(silent_wav(SIZE_BYTES));
    body.extend(b"\r\n--frontier--\r\n");
    let load = Load {
        url: &format!("{}/transcribe", stack.url),
        method: "POST",
        headers: &[
            ("Authorization", format!("Bearer {}", token("1"))),
            (
                "Content-Type",
                "multipart/form-data; boundary=frontier".to_owned(),
            ),
        ],
        body: &body,
        connections: clients,
        duration,
    };
    let process = stack.process.id();
    let before = cpu_seconds(process);
    let seen = load.send().await;
    assert!(seen.refused == 0 && seen.failed == 0, "{seen:?}");
    stack.idle().await;
    Measured {
        p50_seconds: seen.p50_seconds,
        rate: seen.rate(),
        cpu_seconds: (cpu_seconds(process) - before) / f64::from(seen.requests),
    }
}

async fn alone(stack: &Stack, clients: usize) -> Measured {
    let result = bare(&[
        "calls",
        "--s3",
        &stack.s3.endpoint,
        "--engine",
        &stack.google.url,
        "--concurrency",
        &clients.to_string(),
        "--seconds",
        &TURN.as_secs().to_string(),
        "--size-bytes",
        &SIZE_BYTES.to_string(),
    ])
    .await;
    let number = |name: &str| result[name].as_f64().unwrap();
    let took = result["took"].as_array().unwrap();
    let took: Vec<f64> = took.iter().filter_map(Value::as_f64).collect();
    let count = f64::from(u32::try_from(took.len()).unwrap());
    Measured {
        p50_seconds: median(took),
        rate: count / number("seconds"),
        cpu_seconds: number("cpu_seconds") / count,
    }
}

fn added(clients: usize, ours: &[Measured], bare: &[Measured]) -> Row {
    let p50 = |side: &[Measured]| median(side.iter().map(|turn| turn.p50_seconds * 1e3).collect());
    let differences = ours.iter().zip(bare);
    let differences = differences.map(|(ours, bare)| (ours.p50_seconds - bare.p50_seconds) * 1e3);
    Row {
        case: format!("`/transcribe`, 100 kB, engine 0 ms, {clients} at once, p50"),
        ours: format!("{:.2} ms", p50(ours)),
        against: format!("bare calls: {:.2} ms", p50(bare)),
        figure: median(differences.collect()),
        goal: Goal::AtMost(5.0),
        unit: " ms more",
    }
}

fn cost(ours: &[Measured], bare: &[Measured]) -> [Row; 2] {
    let cpu = |side: &[Measured]| {
        side.iter()
            .map(|turn| turn.cpu_seconds * 1e3)
            .collect::<Vec<_>>()
    };
    let (ours, bare) = (cpu(ours), cpu(bare));
    let row = |case: &str, figure, goal, unit| Row {
        case: case.to_owned(),
        ours: format!("{:.2} ms", median(ours.clone())),
        against: format!("bare calls: {:.2} ms", median(bare.clone())),
        figure,
        goal,
        unit,
    };
    [
        row(
            "CPU of a `/transcribe` of 100 kB, next to bare calls",
            ratio(&ours, &bare),
            Goal::AtMost(1.3),
            "",
        ),
        row(
            "CPU of a `/transcribe` of 100 kB",
            median(ours.clone()),
            Goal::AtMost(3.0),
            " ms",
        ),
    ]
}

fn ratio(ours: &[f64], bare: &[f64]) -> f64 {
    median(
        ours.iter()
            .zip(bare)
            .map(|(ours, bare)| ours / bare)
            .collect(),
    )
}
