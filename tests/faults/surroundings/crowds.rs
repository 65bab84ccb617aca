//! Many clients at once: idle, slow, or more of them than there are places.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::RngExt;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use transcription_tests::auth::Auth;
use transcription_tests::client::{Answer, FILE_HEAD, form_head, http};
use transcription_tests::process::{eventually, memory_kib};
use transcription_tests::transcription::{Transcription, silent_wav, token};

use super::wire::{Prober, address, limit_files, open_files, processor_time};

/// One connection of so many that a service attends (`MAX_CONNECTIONS`) may take so much of its memory, while it waits.
const MOST_BYTES_EACH: u64 = 24 * 1024;
const MOST_CONNECTIONS: u64 = 4096;

/// A connection; every second one has asked once, and keeps it.
async fn idle(url: &str, number: usize) -> TcpStream {
    let connect = async {
        loop {
            // While the kernel's queue is full.
            if let Ok(stream) = TcpStream::connect(address(url)).await {
                return stream;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    let mut stream = timeout(Duration::from_secs(20), connect).await.unwrap();
    if number.is_multiple_of(2) {
        let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    stream
}

/// Opens so many connections, and watches that others are served meanwhile, and for some seconds more.
async fn stand_idle(url: &str, process: u32, count: usize) {
    let files = open_files(process);
    let resident = memory_kib(process, "VmRSS:");
    let prober = Prober::start(url, "/");
    let mut streams = Vec::with_capacity(count);
    for number in 0..count {
        streams.push(idle(url, number).await);
    }
    sleep(Duration::from_secs(3)).await;
    let (asked, median, longest) = prober.end().await;
    let grown = memory_kib(process, "VmRSS:").saturating_sub(resident);
    let opened = open_files(process) - files;
    println!(
        "{count} idle connections, {opened} attended: {grown} KiB more, {} bytes each; {asked} others were answered, median {median:?}, longest {longest:?}",
        grown * 1024 / opened as u64
    );

    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(asked >= 20, "{asked}");
    assert!(
        grown * 1024 <= MOST_CONNECTIONS * MOST_BYTES_EACH,
        "{grown} KiB"
    );
    // All of them stay open on the client's side: it is the service that lets go.
    let start = Instant::now();
    while open_files(process) > files {
        assert!(
            start.elapsed() < Duration::from_secs(75),
            "{} files are open, and {files} were",
            open_files(process)
        );
        sleep(Duration::from_millis(200)).await;
    }
    println!("all were gone after {:?}", start.elapsed());
    drop(streams);
}

#[tokio::test]
async fn ten_thousand_idle_connections_keep_nobody_out_and_are_gone_after_a_minute() {
    // Ours: one for each connection to the one service, and then to the other.
    limit_files(std::process::id(), 12_000).await;
    let auth = Auth::start().await;
    stand_idle(&auth.url, auth.process.id(), 10_000).await;

    let stack = Transcription::start().await;
    stand_idle(&stack.url, stack.process.id(), 5_000).await;
    let answer = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_service_that_has_no_more_descriptors_neither_spins_nor_ends_and_recovers() {
    let mut auth = Auth::start().await;
    auth.process.terminate().await;
    auth.restart_by("ulimit -n 1024; exec \"$0\" serve").await;
    let process = auth.process.id();
    auth.register("ada").await;
    let token = auth.token("ada").await;

    // As many as there are, and as many again: those that only wait make room.
    let prober = Prober::start(&auth.url, "/");
    let mut streams = Vec::new();
    for number in 0..1800 {
        streams.push(idle(&auth.url, number).await);
    }
    let (_, _, longest) = prober.end().await;
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(open_files(process) < 1024, "{}", open_files(process));
    drop(streams);

    // And then fewer than it counts on, while all that it has are at work.
    eventually("they are gone", async || open_files(process) < 60).await;
    let slow = (0..40).map(|_| slow_login(&auth.url));
    let slow = futures_util::future::join_all(slow).await;
    eventually("they are attended", async || open_files(process) > 55).await;
    limit_files(process, open_files(process)).await;
    let before = processor_time(process);
    let waiting = futures_util::future::join_all((0..50).map(|number| idle(&auth.url, number)));
    let waiting = waiting.await;
    sleep(Duration::from_secs(5)).await;
    let took = processor_time(process).saturating_sub(before);
    let told = auth.process.log();
    let told = told.matches("a connection could not be accepted").count();
    println!(
        "5 s without a descriptor took {took:?} of the processor, and {told} lines of the log"
    );
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(told, 1, "it is told, and not ten times a second");
    auth.process.assert_running();

    drop((slow, waiting));
    eventually("it is as before", async || {
        auth.me(&token).await.status == 200
    })
    .await;
    auth.register("bob").await;
}

/// A log-in whose body does not come.
async fn slow_login(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(url)).await.unwrap();
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// How a slow client is slow.
#[derive(Clone, Copy)]
enum Slow {
    /// A byte of the head each second.
    Head,
    /// A byte of the body each second.
    Body,
    /// It asks for the largest page there is, and takes nothing of it.
    Reader,
}

/// A slow client; ends when it is let go, with the time that took and what it was told.
fn slow(url: &str, path: &str, slow: Slow) -> JoinHandle<(Duration, String)> {
    let address = address(url);
    let head = match slow {
        Slow::Head => "POST /".to_owned(),
        Slow::Body => format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        ),
        Slow::Reader => "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
    };
    tokio::spawn(async move {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let start = Instant::now();
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(head.as_bytes()).await.unwrap();
        let is_reader = matches!(slow, Slow::Reader);
        let mut said = Vec::new();
        loop {
            sleep(Duration::from_secs(1)).await;
            if is_reader {
                // One that was let go has an error to read behind what came; one that was not has no end.
                if writer.write_all(b"G").await.is_err() {
                    break;
                }
            } else {
                let mut piece = [0; 1024];
                match timeout(Duration::from_millis(1), reader.read(&mut piece)).await {
                    Ok(Ok(count @ 1..)) => said.extend_from_slice(&piece[..count]),
                    Ok(_) => break,
                    Err(_) => drop(writer.write_all(b"x").await),
                }
            }
            assert!(
                start.elapsed() < Duration::from_mins(2),
                "it is never let go"
            );
        }
        (start.elapsed(), String::from_utf8_lossy(&said).into_owned())
    })
}

/// Has 600 slow clients at a service; they must be let go in time, and nobody else may notice.
async fn crowd(url: &str, process: u32, path: &str, body_answer: &str, body_limit: u64) {
    let files = open_files(process);
    let resident = memory_kib(process, "VmRSS:");
    let prober = Prober::start(url, "/");
    let kinds = [
        (Slow::Head, 20),
        (Slow::Body, body_limit),
        (Slow::Reader, 50),
    ];
    let mut clients = Vec::new();
    for (kind, seconds) in kinds {
        let of_kind = (0..200).map(|_| (slow(url, path, kind), kind, seconds));
        clients.extend(of_kind);
    }
    sleep(Duration::from_secs(5)).await;
    let grown = memory_kib(process, "VmRSS:").saturating_sub(resident);
    let mut longest_of = [Duration::ZERO; 3];
    for (client, kind, seconds) in clients {
        let (took, said) = client.await.unwrap();
        assert!(took <= Duration::from_secs(seconds), "{took:?}: {said}");
        if matches!(kind, Slow::Body) {
            assert!(said.starts_with(body_answer), "{said}");
        }
        let longest = &mut longest_of[kind as usize];
        *longest = took.max(*longest);
    }
    let (asked, median, longest) = prober.end().await;
    println!(
        "600 slow clients: {grown} KiB more; heads, bodies and readers are let go within {longest_of:?}; {asked} others were answered, median {median:?}, longest {longest:?}"
    );
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(grown < 48 * 1024, "{grown} KiB");
    eventually("their descriptors are back", async || {
        open_files(process) <= files
    })
    .await;
}

#[tokio::test]
async fn slow_senders_and_slow_readers_slow_nobody_else_and_are_let_go() {
    let auth = Auth::start().await;
    let stack = Transcription::start().await;

    tokio::join!(
        crowd(&auth.url, auth.process.id(), "/login", "HTTP/1.1 408 ", 45),
        // Without a token nobody waits for the body.
        crowd(
            &stack.url,
            stack.process.id(),
            "/transcribe",
            "HTTP/1.1 401 ",
            45
        ),
    );
}

#[tokio::test]
async fn who_uploads_slowly_takes_the_places_of_one_user_and_no_more() {
    let stack = Transcription::start().await;
    let wav = silent_wav(20_000);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut stream = TcpStream::connect(address(&stack.url)).await.unwrap();
        let head = form_head(&stack.url, &token("1"), 1_000_000);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(FILE_HEAD).await.unwrap();
        stream.write_all(&wav[..100]).await.unwrap();
        slow.push(stream);
    }
    eventually("they have their places", async || {
        stack.count("transcription_in_flight").await == 4
    })
    .await;

    for byte in wav[100..110].chunks(1) {
        for stream in &mut slow {
            stream.write_all(byte).await.unwrap();
        }
        let same = stack.transcribe("1", "a.wav", wav.clone()).await;
        same.assert_problem(429, "user_busy");
        let start = Instant::now();
        let other = stack.transcribe("2", "a.wav", wav.clone()).await;
        assert_eq!(other.status, 200, "{other:?}");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        sleep(Duration::from_millis(500)).await;
    }
    drop(slow);

    eventually("their places are free", async || {
        stack.count("transcription_in_flight").await == 0
    })
    .await;
    assert_eq!(stack.s3.keys().await.len(), 30, "of ten that were whole");
    assert_eq!(stack.s3.open_uploads().await, 0);
}

/// Sends a recording until it is heard, waiting as it is told to; how often it was refused, and when it was answered first.
async fn until_heard(url: String, user: String, size: usize) -> (u32, Duration) {
    let http = http();
    let start = Instant::now();
    let mut first = None;
    for refused in 0..60 {
        let part = Part::bytes(silent_wav(size)).file_name("a.wav");
        let request = http
            .post(format!("{url}/transcribe"))
            .bearer_auth(token(&user))
            .multipart(Form::new().part("file", part));
        let answer = Answer::of(request.send().await.unwrap()).await;
        let first = *first.get_or_insert(start.elapsed());
        if answer.status == 200 {
            let text = answer.json["transcription"].as_str().unwrap();
            assert!(text.starts_with(&format!("heard {size} bytes")), "{text}");
            return (refused, first);
        }
        answer.assert_problem(503, "busy");
        let seconds: f64 = answer.header("retry-after").parse().unwrap();
        // Not all of them at the same moment again, as a client does that knows its trade.
        let seconds = seconds * rand::rng().random_range(0.5..1.0);
        sleep(Duration::from_secs_f64(seconds)).await;
    }
    panic!("refused 60 times");
}

#[tokio::test]
async fn of_200_clients_32_have_a_place_and_all_get_through_who_come_again() {
    const CLIENTS: usize = 200;
    let stack = Transcription::start().await;
    stack.google.hold(32).await;
    let clients = (0..CLIENTS).map(|client| {
        let user = (client / 4).to_string();
        tokio::spawn(until_heard(stack.url.clone(), user, 3000 + 2 * client))
    });
    let clients = clients.collect::<Vec<_>>();
    let busy = r#"transcription_requests_total{engine="gemini",outcome="busy"}"#;
    eventually("32 are served, and the others have heard so", async || {
        stack.count(busy).await >= 168
            && stack.google.counts().await["generate_content_calls"] == 32
    })
    .await;
    assert_eq!(stack.count("transcription_in_flight").await, 32);
    // What is held is let go; the others are slow.
    stack.google.release().await;
    stack
        .google
        .fail_to_generate(168, json!({"delay_milliseconds": 500}))
        .await;

    let mut refusals = BTreeMap::<u32, u32>::new();
    let mut refused_first = Vec::new();
    for client in clients {
        let (refused, first) = client.await.unwrap();
        *refusals.entry(refused).or_default() += 1;
        if refused > 0 {
            refused_first.push(first);
        }
    }

    let longest = refused_first.iter().max().unwrap();
    println!("clients by how often they were refused: {refusals:?}; told so within {longest:?}");
    assert!(*longest < Duration::from_secs(5), "at once: {longest:?}");
    assert_eq!(refusals[&0], 32);
    let counts = stack.google.counts().await;
    assert_eq!(counts["concurrent_maximum"], 32);
    assert_eq!(counts["generate_content_calls"], CLIENTS);
    assert_eq!(counts["billed_calls"], CLIENTS);
    let refused = refusals.iter().map(|(times, clients)| times * clients);
    assert_eq!(stack.count(busy).await, i64::from(refused.sum::<u32>()));
    let audio = stack.proxy.count("PUT /recordings/private/");
    assert_eq!(audio, 4 * CLIENTS, "audio, manifest, text, manifest");
}
