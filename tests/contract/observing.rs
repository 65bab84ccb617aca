//! What an operator sees of it: logs, metrics, traces. And what nobody may see.

use std::fs;
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::client::{Answer, PASSWORD};
use transcription_tests::collector::Collector;
use transcription_tests::files::cached;
use transcription_tests::process::{Process, eventually, free_port, run};
use transcription_tests::stack::SIGNING_KEY;
use transcription_tests::transcription::{Transcription, silent_wav};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Logs in as someone whose trace has begun elsewhere.
async fn traced_login(auth: &Auth, request_id: &str) -> Answer {
    let request = auth
        .http
        .post(format!("{}/login", auth.url))
        .header("traceparent", PARENT)
        .header("x-request-id", request_id)
        .json(&transcription_tests::auth::credentials("ada", PASSWORD));
    Answer::of(request.send().await.unwrap()).await
}

/// The log, parsed. Fails the test if a line is no JSON.
pub fn lines(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    log.lines().map(parse).collect()
}

async fn assert_promtool_takes(metrics: &str) {
    let mut promtool = Command::new(cached("prometheus/usr/bin/promtool"));
    promtool.args(["check", "metrics"]);
    let checked = run(promtool, metrics).await;
    let complaints =
        String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{complaints}");
    assert_eq!(complaints, "");
}

#[tokio::test]
async fn every_line_is_json_and_each_of_a_request_has_its_id_and_its_trace() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    let answer = traced_login(&auth, "my-request").await;
    auth.login("ada", "wrong").await;
    auth.get("/readyz").await;

    assert_eq!(answer.header("x-request-id"), "my-request");
    let all = lines(&auth.process.log());
    for line in &all {
        for field in ["timestamp", "level", "message", "target"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    let of_request = all
        .iter()
        .filter(|line| line["request_id"] == "my-request")
        .collect::<Vec<_>>();
    assert!(
        of_request.iter().all(|line| line["trace_id"] == TRACE_ID),
        "{of_request:?}"
    );
    assert_eq!(of_request.len(), 1, "{of_request:?}");
    let answered = of_request[0];
    assert_eq!(answered["message"], "POST /login answered 200");
    assert_eq!(answered["http.request.method"], "POST");
    assert_eq!(answered["http.route"], "/login");
    assert_eq!(answered["http.response.status_code"], 200);
    assert!(answered["duration_seconds"].is_f64(), "{answered}");
    assert!(
        !all.iter().any(|line| line["http.route"] == "/readyz"),
        "probes are not for the log"
    );
}

#[tokio::test]
async fn a_line_keeps_its_request_id_whatever_the_filter() {
    let auth = Auth::start_with([("RUST_LOG", "auth_service=error")]).await;
    auth.sql("ALTER TABLE users RENAME TO lost").await;

    let answer = traced_login(&auth, "my-request").await;

    answer.assert_problem(503, "database_unavailable");
    let all = lines(&auth.process.log());
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["level"], "ERROR");
    assert_eq!(all[0]["request_id"], "my-request");
    assert_eq!(all[0]["trace_id"], TRACE_ID);
    let cause = all[0]["cause"].as_str().unwrap();
    assert!(
        cause.starts_with("reading a user by name: ") && cause.contains("no such table"),
        "{cause}"
    );
}

#[tokio::test]
async fn pretty_lines_are_for_people() {
    let auth = Auth::start_with([("LOG_FORMAT", "pretty")]).await;
    auth.register("ada").await;

    let log = auth.process.log();

    assert!(
        log.lines()
            .any(|line| line.contains("INFO  POST /register answered 201 (")),
        "{log}"
    );
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_err()),
        "{log}"
    );
    assert!(!log.contains("\u{1b}["), "no colours in a file: {log}");
}

#[tokio::test]
async fn no_secret_is_in_any_line_even_at_trace_level_nor_in_a_trace_or_a_metric() {
    const PREVIOUS: &str = "the-previous-signing-key-of-48-bytes-0123456789a";
    const WRONG: &str = "a wrong but precious password";
    let collector = Collector::start().await;
    let auth = Auth::start_with([
        ("RUST_LOG", "trace"),
        ("JWT_SECRET_KEY_PREVIOUS", PREVIOUS),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ])
    .await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    auth.me(&token).await;
    auth.me(&format!("{token}x")).await;
    auth.login("ada", WRONG).await;
    auth.login(WRONG, PASSWORD).await;
    auth.try_register("ada").await;
    let form = [
        ("grant_type", "password"),
        ("username", "ada@example.com"),
        ("password", WRONG),
    ];
    auth.http
        .post(format!("{}/token", auth.url))
        .form(&form)
        .send()
        .await
        .unwrap();
    let broken = format!(r#"{{"username": "ada", "password": "{WRONG}" "#);
    let request = auth
        .http
        .post(format!("{}/login", auth.url))
        .header("content-type", "application/json");
    request.body(broken).send().await.unwrap();
    auth.get(&format!("/nothing?token={token}")).await;
    auth.sql("ALTER TABLE users RENAME TO lost").await;
    auth.login("ada", PASSWORD).await;
    auth.try_register("bob").await;
    auth.sql("ALTER TABLE lost RENAME TO users").await;
    let hash = auth.stored_hash("ada").await;
    let metrics = auth.get("/metrics").await.text;
    eventually("the traces are there", async || {
        collector.spans().len() > 20
    })
    .await;

    let log = auth.process.log();

    assert!(log.contains("TRACE"), "the test is about the finest level");
    let spans = format!("{:?}", collector.spans());
    let (_, signature) = token.rsplit_once('.').unwrap();
    let secrets = [
        SIGNING_KEY,
        PREVIOUS,
        PASSWORD,
        WRONG,
        &token,
        signature,
        &hash,
        "ada@example.com",
        "bob@example.com",
    ];
    for secret in secrets {
        for (place, text) in [("log", &log), ("spans", &spans), ("metrics", &metrics)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{secret} is in the {place}: {line:?}");
        }
    }
}

#[tokio::test]
async fn promtool_takes_the_metrics_and_the_names_of_the_contract_are_there() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    auth.token("ada").await;
    auth.login("ada", "wrong").await;
    auth.get("/no/such/route/as/this").await;
    let odd = reqwest::Method::from_bytes(b"MADEUP").unwrap();
    auth.http.request(odd, &auth.url).send().await.unwrap();

    let text = auth.get("/metrics").await.text;

    assert_promtool_takes(&text).await;
    for line in [
        r#"auth_logins_total{result="ok"} 1"#,
        r#"auth_logins_total{result="bad_credentials"} 1"#,
        r#"auth_logins_total{result="throttled"} 0"#,
        r#"auth_logins_total{result="disabled"} 0"#,
        r#"auth_logins_total{result="busy"} 0"#,
        r#"auth_logins_total{result="error"} 0"#,
        r#"auth_registrations_total{result="ok"} 1"#,
        r#"auth_registrations_total{result="taken"} 0"#,
        r#"auth_registrations_total{result="invalid"} 0"#,
        r#"auth_registrations_total{result="closed"} 0"#,
        r#"auth_registrations_total{result="busy"} 0"#,
        r#"auth_registrations_total{result="error"} 0"#,
        "auth_password_hash_seconds_count 3",
        "auth_hash_queue_seconds_count 3",
        "auth_hash_rejected_total 0",
        r#"jwt_rejected_total{reason="missing"} 0"#,
        r#"jwt_rejected_total{reason="malformed"} 0"#,
        r#"jwt_rejected_total{reason="algorithm"} 0"#,
        r#"jwt_rejected_total{reason="signature"} 0"#,
        r#"jwt_rejected_total{reason="expired"} 0"#,
        r#"jwt_rejected_total{reason="subject"} 0"#,
        "http_server_active_requests 1",
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_response_status_code="401",http_route="/login"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="404",http_route=""} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",http_response_status_code="405",http_route="/"} 1"#,
        r#"http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="200",http_route="/login",le="600"} 1"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in:\n{text}"
        );
    }
    for name in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "build_info{revision=\"",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in:\n{text}"
        );
    }
    assert!(
        !text.contains("MADEUP") && !text.contains("such"),
        "labels are a closed set:\n{text}"
    );
}

#[tokio::test]
async fn a_collector_sees_the_trace_of_a_log_in_under_the_callers() {
    let collector = Collector::start().await;
    let auth = Auth::start_with([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("RUST_LOG", "warn"),
    ])
    .await;
    auth.register("ada").await;

    let answer = traced_login(&auth, "my-request").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let of_trace = || {
        let spans = collector.spans().into_iter();
        spans
            .filter(|span| span.trace_id == TRACE_ID)
            .collect::<Vec<_>>()
    };
    eventually("the trace is there", async || {
        of_trace().iter().any(|span| span.name == "POST /login")
    })
    .await;

    let spans = of_trace();
    let named = |name: &str| {
        let found = spans
            .iter()
            .filter(|span| span.name == name)
            .collect::<Vec<_>>();
        assert_eq!(found.len(), 1, "{name} in {spans:?}");
        found[0].clone()
    };
    let request = named("POST /login");
    assert_eq!(
        request.parent_span_id, "00f067aa0ba902b7",
        "the caller's span is around ours"
    );
    assert_eq!(request.attributes["http.route"], "/login");
    assert_eq!(request.attributes["http.response.status_code"], "200");
    assert_eq!(request.attributes["request_id"], "my-request");
    assert_eq!(request.resource["service.name"], "auth-service");
    assert_eq!(
        request.resource["service.version"],
        env!("CARGO_PKG_VERSION")
    );
    let login = named("users.login");
    assert_eq!(login.parent_span_id, request.span_id);
    // One span for the hash and one for each group of statements.
    assert_eq!(named("password.check").parent_span_id, login.span_id);
    for name in ["users.by_login", "users.still_may_log_in"] {
        let sql = named(name);
        assert_eq!(sql.parent_span_id, login.span_id);
        assert_eq!(sql.attributes["db.system.name"], "sqlite");
    }
    assert_eq!(spans.len(), 5, "{spans:?}");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end_and_a_missing_collector_delays_nothing() {
    let collector = Collector::start().await;
    let mut auth = Auth::start_with([
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint),
        ("OTEL_SERVICE_NAME", "accounts"),
        ("OTEL_BSP_SCHEDULE_DELAY", "60000"),
    ])
    .await;
    auth.register("ada").await;
    assert!(auth.process.terminate().await.success());
    let spans = collector.spans();
    let request = spans
        .iter()
        .find(|span| span.name == "POST /register")
        .unwrap();
    assert_eq!(request.resource["service.name"], "accounts");
    let hashed = spans
        .iter()
        .filter(|span| span.name == "password.hash")
        .count();
    assert_eq!(hashed, 1);

    // Nobody listens there.
    auth.restart([("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")])
        .await;
    let start = Instant::now();
    auth.token("ada").await;
    assert!(auth.process.terminate().await.success());
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "{:?}",
        start.elapsed()
    );
    let log = fs::read_to_string(auth.folder.path().join("log")).unwrap();
    assert!(
        lines(&log).iter().any(|line| line["target"]
            .as_str()
            .unwrap()
            .starts_with("opentelemetry")),
        "the log says that traces are lost: {log}"
    );
}

#[tokio::test]
async fn promtool_takes_the_metrics_of_the_transcription_service_too() {
    let stack = Transcription::start().await;
    stack.transcribe("1", "a.wav", silent_wav(32_044)).await;
    stack.transcribe("1", "a.wav", "no audio at all").await;

    let text = stack.metrics().await;

    assert_promtool_takes(&text).await;
    for line in [
        r#"transcription_requests_total{engine="gemini",outcome="ok"} 1"#,
        r#"transcription_requests_total{engine="gemini",outcome="unsupported"} 1"#,
        "transcription_audio_bytes_total 32044",
        "transcription_audio_seconds_total 1",
        r#"transcription_stage_duration_seconds_count{stage="store_audio"} 1"#,
        r#"transcription_stage_duration_seconds_count{stage="engine"} 1"#,
        r#"transcription_stage_duration_seconds_count{stage="store_transcript"} 1"#,
        "transcription_own_duration_seconds_count 1",
        "transcription_in_flight 0",
        "transcription_capacity 32",
        "transcription_pending_bytes 0",
        "transcription_queue_depth 0",
        "transcription_queue_seconds_count 0",
        r#"transcription_realtime_factor_count{engine="gemini"} 1"#,
        "gemini_files_open 0",
        r#"s3_operation_duration_seconds_count{operation="put_object",outcome="ok"} 4"#,
        r#"s3_operation_duration_seconds_count{operation="upload_part",outcome="timeout"} 0"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "no {line} in:\n{text}"
        );
    }
    let outcomes = [
        "ok",
        "bad_request",
        "too_large",
        "slow_upload",
        "unsupported",
        "undecodable",
        "blocked",
        "busy",
        "quota",
        "engine",
        "engine_config",
        "timeout",
        "storage",
        "client_gone",
    ];
    for outcome in outcomes {
        let name =
            format!("transcription_requests_total{{engine=\"gemini\",outcome=\"{outcome}\"}}");
        assert!(text.contains(&name), "no {name}");
    }
    for reason in ["timeout", "rate", "server", "connection"] {
        let line = format!("engine_retries_total{{engine=\"gemini\",reason=\"{reason}\"}} 0");
        assert!(text.lines().any(|found| found == line), "no {line}");
    }
    for kind in ["input", "output"] {
        assert!(text.contains(&format!("gemini_tokens_total{{type=\"{kind}\"}} ")));
    }
}

/// Takes traces over TLS and prints the path of each.
const HTTPS_COLLECTOR: &str = r"
import http.server, ssl, sys
class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        print('took', self.path, flush=True)
        self.send_response(200)
        self.end_headers()
server = http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Collector)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

#[tokio::test]
async fn a_collector_with_a_certificate_of_ones_own_is_trusted_by_the_bundle_alone() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let mut python = Command::new("python3");
    python
        .args(["-c", HTTPS_COLLECTOR, &port.to_string()])
        .current_dir(folder.path());
    let collector = Process::start(&mut python, file("log"));
    eventually("the collector listens", async || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    let endpoint = format!("https://127.0.0.1:{port}");
    let bundle = file("cert.pem").display().to_string();

    let mut auth = Auth::start_with([("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    assert!(auth.process.terminate().await.success());
    assert!(!collector.log().contains("took"), "{}", collector.log());
    auth.restart([("CA_BUNDLE_FILE", &bundle)]).await;
    assert!(auth.process.terminate().await.success());

    assert!(
        collector.log().contains("took /v1/traces"),
        "{}",
        collector.log()
    );
}
