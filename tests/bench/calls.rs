//! A transcription next to its calls made bare: the same objects, the same question.

use std::time::Duration;

use serde_json::{Value, json};
use transcription_tests::client::FILE_HEAD;
use transcription_tests::process::cpu_seconds;
use transcription_tests::transcription::{silent_wav, token};

use crate::services::{Stack, bare};
use crate::table::{Goal, Round, Row, median, median_round, ratio};
use crate::wrk::Load;
use crate::{ROUNDS, is_first};

const SIZE_BYTES: usize = 100_000;
const TURN: Duration = Duration::from_secs(8);
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
        let turns = rounds(&stack, clients).await;
        rows.push(added(clients, &turns));
        if clients == 8 {
            rows.extend(cost(&turns));
        }
    }
    stack
        .google
        .fail(json!([{"on": "generate", "times": 1_000_000, "fault": {"delay_milliseconds": ENGINE_MILLISECONDS}}]))
        .await;
    let rates = of(&rounds(&stack, 64).await, |turn| turn.rate);
    let ((ours, bare), figure) = median_round(&rates, ratio);
    rows.push(Row {
        case: "`/transcribe`, 100 kB, engine 500 ms, 64 at once".to_owned(),
        ours: format!("{ours:.1}/s"),
        against: format!("bare calls: {bare:.1}/s"),
        figure,
        goal: Goal::AtLeast(0.95),
        unit: "",
    });
    rows
}

/// Ours and the bare calls, of each round.
async fn rounds(stack: &Stack, clients: usize) -> Vec<(Measured, Measured)> {
    // Connections and buffers are there from then on.
    served(stack, clients, Duration::from_secs(1)).await;
    let mut turns = Vec::new();
    for round in 0..ROUNDS {
        turns.push(if is_first(round) {
            let ours = served(stack, clients, TURN).await;
            (ours, alone(stack, clients).await)
        } else {
            let bare = alone(stack, clients).await;
            (served(stack, clients, TURN).await, bare)
        });
    }
    turns
}

/// One of the numbers of each round.
fn of(turns: &[(Measured, Measured)], number: impl Fn(&Measured) -> f64) -> Vec<Round> {
    let rounds = turns
        .iter()
        .map(|(ours, bare)| (number(ours), number(bare)));
    rounds.collect()
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

fn added(clients: usize, turns: &[(Measured, Measured)]) -> Row {
    let rounds = of(turns, |turn| turn.p50_seconds * 1e3);
    let ((ours, bare), figure) = median_round(&rounds, |(ours, bare)| ours - bare);
    Row {
        case: format!("`/transcribe`, 100 kB, engine 0 ms, {clients} at once, p50"),
        ours: format!("{ours:.2} ms"),
        against: format!("bare calls: {bare:.2} ms"),
        figure,
        goal: Goal::AtMost(5.0),
        unit: " ms more",
    }
}

fn cost(turns: &[(Measured, Measured)]) -> [Row; 2] {
    let rounds = of(turns, |turn| turn.cpu_seconds * 1e3);
    let ((ours, bare), figure) = median_round(&rounds, ratio);
    let all = median(rounds.iter().map(|(ours, _)| *ours).collect());
    let case = "CPU of a `/transcribe` of 100 kB";
    [
        Row {
            case: format!("{case}, next to bare calls"),
            ours: format!("{ours:.2} ms"),
            against: format!("bare calls: {bare:.2} ms"),
            figure,
            goal: Goal::AtMost(1.3),
            unit: "",
        },
        Row {
            case: case.to_owned(),
            ours: "–".to_owned(),
            against: "–".to_owned(),
            figure: all,
            goal: Goal::AtMost(3.0),
            unit: " ms",
        },
    ]
}
