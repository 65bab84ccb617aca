//! How the service is served: health, limits, browsers, the end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use tokio::task::JoinHandle;
use transcription_tests::auth::{Auth, account, credentials};
use transcription_tests::client::{Answer, PASSWORD};
use transcription_tests::process::{eventually, free_port};

#[tokio::test]
async fn health_readiness_and_metrics_are_beside_everything_else_by_default() {
    let auth = Auth::start().await;

    assert_eq!(auth.get("/healthz").await.json["status"], "alive");
    assert_eq!(auth.get("/readyz").await.json["status"], "ready");
    let metrics = auth.get("/metrics").await;
    assert_eq!(metrics.content_type, "text/plain; version=0.0.4");
    assert_eq!(auth.succeed(&["healthcheck"], "").await, "");
}

#[tokio::test]
async fn with_a_management_address_they_are_there_alone() {
    let management = format!("127.0.0.1:{}", free_port());
    let mut auth = Auth::start_with([
        ("MANAGEMENT_ADDR", &management),
        // Longer than this machine may stall, since much is asked meanwhile.
        ("SHUTDOWN_DELAY_SECONDS", "15"),
    ])
    .await;
    let ask = async |path: &str| {
        let response = auth
            .http
            .get(format!("http://{management}{path}"))
            .send()
            .await;
        Answer::of(response.unwrap()).await
    };

    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(path).await.status, StatusCode::OK, "{path}");
        auth.get(path).await.assert_problem(404, "not_found");
    }
    ask("/login").await.assert_problem(404, "not_found");
    auth.succeed(&["healthcheck"], "").await;

    // It outlives the public address: a probe hears "not ready", and not a refused connection.
    auth.process.signal("TERM");
    eventually("not ready", async || ask("/readyz").await.status == 503).await;
    let line = auth.fail(&["healthcheck"], "").await;
    assert_eq!(line, "not ready (503): The service is stopping.");
    assert!(auth.process.ended().await.success());
    let line = auth.fail(&["healthcheck"], "").await;
    assert!(
        line.contains("does not answer: ") && line.contains("refused"),
        "{line}"
    );
}

#[tokio::test]
async fn after_sigterm_it_is_not_ready_and_goes_on_for_the_delay() {
    let mut auth = Auth::start_with([("SHUTDOWN_DELAY_SECONDS", "5")]).await;
    auth.register("ada").await;

    auth.process.signal("TERM");
    eventually("not ready", async || {
        auth.get("/readyz").await.status == 503
    })
    .await;
    let answer = auth.get("/").await;
    assert_eq!(answer.status, StatusCode::OK, "it goes on for the delay");
    // Who keeps connections is sent to another pod, before this one closes them.
    assert_eq!(answer.header("connection"), "close");
    auth.token("ada").await;

    assert!(auth.process.ended().await.success());
    assert!(auth.http.get(&auth.url).send().await.is_err());
}

/// Sends so many log-ins and waits until all of them are in flight.
async fn logins_in_flight(auth: &Auth, count: u32) -> Vec<JoinHandle<Option<StatusCode>>> {
    let logins = (0..count).map(|_| {
        let request = auth
            .http
            .post(format!("{}/login", auth.url))
            .json(&credentials("ada", PASSWORD));
        tokio::spawn(async move { Some(request.send().await.ok()?.status()) })
    });
    let logins = logins.collect::<Vec<_>>();
    eventually("they are in flight", async || {
        auth.count("http_server_active_requests").await > u64::from(count)
    })
    .await;
    logins
}

#[tokio::test]
async fn sigterm_without_a_delay_finishes_the_log_ins_in_flight_and_ends_with_0() {
    // A log-in of some 600 ms: on two cores the last of six ends after 2 s.
    let mut auth = Auth::start_with([("BCRYPT_COST", "13")]).await;
    auth.register("ada").await;
    let logins = logins_in_flight(&auth, 6).await;

    auth.process.signal("TERM");

    for login in logins {
        assert_eq!(login.await.unwrap(), Some(StatusCode::OK));
    }
    assert!(auth.process.ended().await.success());
}

#[tokio::test]
async fn the_grace_is_the_longest_that_the_end_takes() {
    // A minute of work on one core, and some seconds on many.
    let settings = [("BCRYPT_COST", "14"), ("SHUTDOWN_GRACE_SECONDS", "1")];
    let mut auth = Auth::start_with(settings).await;
    auth.register("ada").await;
    let logins = logins_in_flight(&auth, 50).await;

    let start = Instant::now();
    auth.process.signal("TERM");
    let status = auth.process.ended().await;
    let took = start.elapsed();

    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(8), "{took:?}");
    let mut cut_off = 0;
    for login in logins {
        cut_off += u32::from(login.await.unwrap().is_none());
    }
    assert!(cut_off > 0, "all were answered: the grace was long enough");
}

#[tokio::test]
async fn only_the_allowed_origins_may_call_from_a_browser() {
    let allowed = "https://app.example.com";
    let auth = Auth::start_with([(
        "CORS_ALLOWED_ORIGINS",
        "https://app.example.com,http://localhost:3000",
    )])
    .await;
    let closed = Auth::start().await;
    let preflight = async |auth: &Auth, origin: &str| {
        let request = auth
            .http
            .request(Method::OPTIONS, format!("{}/login", auth.url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        Answer::of(request.send().await.unwrap()).await
    };

    let answer = preflight(&auth, allowed).await;
    assert!(answer.status.is_success(), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), allowed);
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("content-type")
    );
    let from_browser = auth
        .http
        .post(format!("{}/login", auth.url))
        .header("origin", allowed);
    let failed = Answer::of(
        from_browser
            .json(&credentials("x", "wrong"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    failed.assert_problem(401, "bad_credentials");
    assert_eq!(
        failed.header("access-control-allow-origin"),
        allowed,
        "a page can read why"
    );

    for (auth, origin) in [(&auth, "https://evil.example.com"), (&closed, allowed)] {
        let answer = preflight(auth, origin).await;
        assert!(
            answer.headers.get("access-control-allow-origin").is_none(),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_the_callers_if_it_is_plain() {
    let auth = Auth::start().await;
    let ask = async |id: &'static [u8]| {
        let request = auth
            .http
            .get(format!("{}/nothing", auth.url))
            .header("x-request-id", id);
        let answer = Answer::of(request.send().await.unwrap()).await;
        answer.assert_problem(404, "not_found");
        answer.header("x-request-id").to_owned()
    };

    assert_eq!(ask(b"my-id_1.2").await, "my-id_1.2");
    for bad in [&b"two words"[..], b"quote\"", b"\xc3\xa4", &[b'x'; 129]] {
        assert_eq!(ask(bad).await.len(), 32);
    }
}

#[tokio::test]
async fn what_is_not_json_of_the_right_shape_is_a_clear_problem() {
    let auth = Auth::start().await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    let deep_field = format!(r#"{{"username": {}{}}}"#, "[".repeat(200), "]".repeat(200));
    let huge = format!(r#"{{"username": "{}"}}"#, "x".repeat(70_000));
    let json = "application/json";
    let cases: [(&str, Vec<u8>, u16, &str); 11] = [
        (json, b"".to_vec(), 422, "invalid_body"),
        (
            json,
            b"{\"username\": \"ada\"".to_vec(),
            422,
            "invalid_body",
        ),
        (
            json,
            b"{\"username\": \"\xff\xfe\"}".to_vec(),
            422,
            "invalid_body",
        ),
        (
            json,
            b"{\"username\": \"\\ud800\"}".to_vec(),
            422,
            "invalid_body",
        ),
        (json, b"[]".to_vec(), 422, "invalid_body"),
        (json, b"null".to_vec(), 422, "invalid_body"),
        (json, b"\"secret words\"".to_vec(), 422, "invalid_body"),
        (json, deep.into_bytes(), 422, "invalid_body"),
        (json, deep_field.into_bytes(), 422, "invalid_body"),
        (json, huge.into_bytes(), 413, "body_too_large"),
        ("text/plain", b"{}".to_vec(), 415, "unsupported_media_type"),
    ];

    for path in ["/register", "/login"] {
        for (content_type, body, status, code) in &cases {
            let request = auth
                .http
                .post(format!("{}{path}", auth.url))
                .body(body.clone());
            let request = request.header("content-type", *content_type);
            let answer = Answer::of(request.send().await.unwrap()).await;
            let detail = answer.assert_problem(*status, code);
            assert!(!detail.contains("secret words"), "{detail}");
        }
    }
    for content_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        // As FastAPI, which took a body without a type for JSON.
        "",
        "application/vnd.api+json",
    ] {
        let request = auth
            .http
            .post(format!("{}/register", auth.url))
            .header("content-type", content_type);
        let body = account("ada").to_string();
        let answer = Answer::of(request.body(body).send().await.unwrap()).await;
        assert_ne!(
            answer.status,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "{content_type}"
        );
    }
}

#[tokio::test]
async fn an_unknown_address_or_method_is_a_problem_too() {
    let auth = Auth::start().await;

    assert_eq!(
        auth.get("/").await.json,
        serde_json::json!({"message": "Authentication Service is running."})
    );
    auth.get("/nothing").await.assert_problem(404, "not_found");
    for (method, path, allow) in [
        (Method::GET, "/login", "POST"),
        (Method::DELETE, "/register", "POST"),
        (Method::PUT, "/token", "POST"),
        (Method::POST, "/me", "GET,HEAD"),
        (Method::OPTIONS, "/login", "POST"),
    ] {
        let request = auth.http.request(method, format!("{}{path}", auth.url));
        let answer = Answer::of(request.send().await.unwrap()).await;
        answer.assert_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

/// The seconds until the server closes the connection after these bytes, and what it said.
fn closed_after(url: &str, sent: &[u8]) -> (u64, String) {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(100)))
        .unwrap();
    let start = Instant::now();
    stream.write_all(sent).unwrap();
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    (
        start.elapsed().as_secs(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[tokio::test]
async fn whoever_stalls_is_let_go_within_the_time_limits() {
    let auth = Auth::start().await;
    let after = |sent: &'static [u8]| {
        let url = auth.url.clone();
        tokio::task::spawn_blocking(move || closed_after(&url, sent))
    };

    // All at once: the longest takes a minute.
    let nothing = after(b"");
    let half_a_head = after(b"GET / HTTP/1.1\r\nhost: x\r\n");
    let second_head = after(b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET /me HTTP/1.1\r\n");
    let half_a_body = after(b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{\"user");
    let idle = after(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");

    for head in [nothing, half_a_head] {
        let (seconds, said) = head.await.unwrap();
        assert!((9..=15).contains(&seconds), "{seconds}");
        assert_eq!(said, "");
    }
    let (seconds, said) = second_head.await.unwrap();
    assert!(
        (58..=65).contains(&seconds),
        "as the comment says: {seconds}"
    );
    assert_eq!(said.matches("HTTP/1.1 200").count(), 1, "{said}");
    let (seconds, said) = half_a_body.await.unwrap();
    assert!((29..=37).contains(&seconds), "{seconds}");
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("slow_body"),
        "{said}"
    );
    let (seconds, said) = idle.await.unwrap();
    assert!((58..=67).contains(&seconds), "{seconds}");
    assert!(
        said.contains("Authentication Service is running."),
        "{said}"
    );
}

#[tokio::test]
async fn whoever_does_not_take_the_answers_is_let_go() {
    let auth = Auth::start().await;
    let url = auth.url.clone();

    let seconds = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_mins(1)))
            .unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(100);
        // Asks and asks, and never reads: at last neither side can write any more.
        let mut last = Instant::now();
        while stream.write_all(&request).is_ok() {
            last = Instant::now();
        }
        last.elapsed().as_secs()
    });

    let seconds = seconds.await.unwrap();
    assert!((20..=45).contains(&seconds), "{seconds}");
}
