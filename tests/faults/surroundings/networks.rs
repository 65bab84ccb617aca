//! Names that do not resolve, and a collector of traces that does not answer.

use std::time::{Duration, Instant};

use reqwest::multipart::{Form, Part};
use tokio::net::TcpListener;
use transcription_tests::auth::Auth;
use transcription_tests::client::{Answer, http_from};
use transcription_tests::process::memory_kib;
use transcription_tests::transcription::{Transcription, silent_wav};

use super::wire::Prober;

/// A name that no server of names may know (RFC 6761 §6.4).
const NO_HOST: &str = "http://no-such-host.invalid:9000";

/// Sends so many recordings at once, each by a user of its own.
async fn send_at_once(stack: &Transcription, url: &str, count: usize) -> Vec<Answer> {
    let sent = (0..count).map(async |user| {
        let part = Part::bytes(silent_wav(3000)).file_name("a.wav");
        let form = Form::new().part("file", part);
        stack.send_to(url, &user.to_string(), form).await
    });
    futures_util::future::join_all(sent).await
}

#[tokio::test]
async fn a_bucket_whose_name_does_not_resolve_is_503_and_stops_nothing_else() {
    let stack = Transcription::start().await;
    let settings = [("AWS_ENDPOINT_URL_S3", NO_HOST)];
    let (_process, url, _folder) = Transcription::start_beside(&stack, settings).await;
    let prober = Prober::start(&url, "/healthz");
    let start = Instant::now();

    let answers = send_at_once(&stack, &url, 16).await;

    let took = start.elapsed();
    let (asked, _, longest) = prober.end().await;
    println!("16 were refused within {took:?}; {asked} probes, the longest {longest:?}");
    for answer in &answers {
        answer.assert_problem(503, "storage_unavailable");
        assert!(answer.json.get("id").is_none(), "{answer:?}");
        answer.header("retry-after");
    }
    assert!(took < Duration::from_mins(1), "{took:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    let ready = stack.http.get(format!("{url}/readyz"));
    let ready = Answer::of(ready.send().await.unwrap()).await;
    ready.assert_problem(503, "not_ready");
    assert_eq!(stack.google.counts().await["generate_content_calls"], 0);
}

#[tokio::test]
async fn a_google_whose_name_does_not_resolve_is_an_error_of_the_engine_and_the_recordings_are_kept()
 {
    let stack = Transcription::start().await;
    let settings = [("GEMINI_BASE_URL", NO_HOST)];
    let (_process, url, _folder) = Transcription::start_beside(&stack, settings).await;
    let prober = Prober::start(&url, "/healthz");
    let start = Instant::now();

    let answers = send_at_once(&stack, &url, 16).await;

    let took = start.elapsed();
    let (asked, _, longest) = prober.end().await;
    println!("16 were answered within {took:?}; {asked} probes, the longest {longest:?}");
    for (user, answer) in answers.iter().enumerate() {
        answer.assert_problem(502, "engine_failed");
        let manifest = stack.manifest(&user.to_string(), &answer.json["id"]).await;
        assert_eq!(manifest["code"], "engine_failed");
        let key = answer.json["audio_key"].as_str().unwrap();
        assert_eq!(stack.s3.object(key).await.0, silent_wav(3000));
    }
    assert!(took < Duration::from_mins(2), "{took:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

/// A collector that takes connections and never answers.
async fn hanging_collector() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    endpoint
}

/// Asks so often, by eight clients; the median time.
async fn ask(auth: &Auth, token: &str, times: usize) -> Duration {
    let clients = (0..8).map(async |client| {
        let http = http_from(&format!("127.0.0.{}", 2 + client));
        let mut waited = Vec::with_capacity(times / 8);
        for _ in 0..times / 8 {
            let start = Instant::now();
            let request = http.get(format!("{}/me", auth.url)).bearer_auth(token);
            assert_eq!(request.send().await.unwrap().status(), 200);
            waited.push(start.elapsed());
        }
        waited
    });
    let mut all = futures_util::future::join_all(clients).await.concat();
    all.sort_unstable();
    all[all.len() / 2]
}

#[tokio::test]
async fn a_collector_that_hangs_or_is_gone_slows_nothing_fills_no_memory_and_delays_no_end() {
    let hanging = hanging_collector().await;
    let mut medians = Vec::new();
    for endpoint in ["", &hanging, "http://127.0.0.1:9", NO_HOST] {
        let mut auth = Auth::start_with([("RUST_LOG", "warn")]).await;
        auth.process.terminate().await;
        if !endpoint.is_empty() {
            auth.environment
                .insert("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.to_owned());
        }
        auth.restart([]).await;
        auth.register("ada").await;
        let token = auth.token("ada").await;
        // Until the queue is full.
        ask(&auth, &token, 2400).await;
        let before = memory_kib(auth.process.id(), "VmRSS:");

        let median = ask(&auth, &token, 8000).await;

        let grown = memory_kib(auth.process.id(), "VmRSS:").saturating_sub(before);
        let start = Instant::now();
        assert!(auth.process.terminate().await.success());
        let end = start.elapsed();
        let lines = auth.process.log().lines().count();
        println!(
            "collector {endpoint:?}: median {median:?}, {grown} KiB more, {lines} lines of log, the end took {end:?}"
        );
        assert!(grown < 8 * 1024, "{grown} KiB");
        assert!(end < Duration::from_secs(12), "{end:?}");
        // Two lines for each batch of 512 spans that was lost, and not one for each span.
        assert!(lines < 400, "{lines} lines of log");
        medians.push(median);
    }
    for median in &medians[1..] {
        assert!(*median < medians[0] * 3, "{medians:?}");
    }
    let stack = Transcription::start_with([("OTEL_EXPORTER_OTLP_ENDPOINT", &hanging)]).await;
    let answers = send_at_once(&stack, &stack.url, 16).await;
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{answers:?}"
    );
}
