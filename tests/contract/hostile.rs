//! Whatever the network sends: no panic, no 500, and the service goes on.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use transcription_tests::arbitrary::{answer_to, try_for_a_while};
use transcription_tests::auth::Auth;
use transcription_tests::client::PASSWORD;
use transcription_tests::seaweedfs::BUCKET;
use transcription_tests::transcription::Transcription;

/// How long each kind of input is tried.
const TIME: Duration = Duration::from_secs(8);

/// The status of the answer, if there is one.
fn status_of(address: &str, request: &[u8]) -> Option<u16> {
    answer_to(address, request, false).map(|answer| answer.status)
}

fn request(line: &str, headers: &[(&str, &[u8])], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// JSON of any shape, with our own names in it now and then.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<f64>().prop_map(|value| format!("{value:e}")),
        any::<i128>().prop_map(|value| value.to_string()),
        any::<String>().prop_map(|value| serde_json::Value::from(value).to_string()),
        "[ -~]{0,20}".prop_map(|value| serde_json::Value::from(value).to_string()),
        Just("\"\\u0000\\ud800\"".to_owned()),
        Just("1e999999".to_owned()),
    ];
    let name = prop_oneof![
        Just("username"),
        Just("email"),
        Just("password"),
        Just("confirm_password"),
        Just("username_or_email"),
        Just("x"),
    ];
    leaf.prop_recursive(6, 40, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                let fields = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

fn assert_well(auth: &Auth, tried: u32, what: &str) {
    let log = auth.process.log();
    let fault = log
        .lines()
        .find(|line| line.contains("panicked") || line.contains("\"level\":\"ERROR\""));
    assert!(fault.is_none(), "{fault:?}");
    println!("{tried} {what} were tried");
}

/// Fails on what a client must never be able to cause.
fn check(status: Option<u16>, input: &[u8]) -> Result<(), TestCaseError> {
    let Some(status) = status else {
        return Ok(());
    };
    prop_assert!(
        status < 500,
        "{status} for {:?}",
        String::from_utf8_lossy(input)
    );
    Ok(())
}

#[tokio::test]
async fn no_body_causes_a_panic_or_a_500() {
    let auth = Auth::start().await;
    let address = auth.url.trim_start_matches("http://").to_owned();
    let bodies = (
        prop_oneof![Just("/register"), Just("/login"), Just("/token")],
        prop_oneof![
            Just("application/json"),
            Just("application/x-www-form-urlencoded")
        ],
        prop_oneof![
            3 => json().prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..300),
            1 => "(grant_type|username|password|[a-z%&=+]{0,5})(=|&|%[0-9a-f]{0,2}|[ -~]){0,20}".prop_map(String::into_bytes),
        ],
    );

    let tried = try_for_a_while(TIME, &bodies, |(path, content_type, body)| {
        let headers = [("content-type", content_type.as_bytes())];
        let status = status_of(&address, &request(&format!("POST {path}"), &headers, &body));
        prop_assert!(
            status.is_some(),
            "no answer to {:?}",
            String::from_utf8_lossy(&body)
        );
        check(status, &body)
    });

    assert_well(&auth, tried, "bodies");
}

#[tokio::test]
async fn no_token_causes_a_panic_or_a_500_and_no_changed_one_is_taken() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let address = auth.url.trim_start_matches("http://").to_owned();
    let length = token.len();
    let good = token.clone();
    let tokens = prop_oneof![
        // A good one with one character changed.
        (0..length, "[A-Za-z0-9._=-]").prop_map(move |(at, letter)| {
            let mut changed = token.clone();
            changed.replace_range(at..=at, &letter);
            changed.into_bytes()
        }),
        // Three parts of anything.
        "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{0,80}"
            .prop_map(String::into_bytes),
        prop::collection::vec(
            any::<u8>().prop_filter("ends the line", |byte| !b"\r\n".contains(byte)),
            0..200
        ),
    ];

    let tried = try_for_a_while(TIME, &tokens, |token| {
        let mut value = b"Bearer ".to_vec();
        value.extend_from_slice(&token);
        let status = status_of(
            &address,
            &request("GET /me", &[("authorization", &value)], b""),
        );
        // The last character of a signature has bits that say nothing.
        let same = token.get(..length - 1) == Some(&good.as_bytes()[..length - 1]);
        prop_assert!(
            same || status != Some(200),
            "taken: {:?}",
            String::from_utf8_lossy(&token)
        );
        check(status, &token)
    });

    assert_well(&auth, tried, "tokens");
}

#[tokio::test]
async fn no_head_causes_a_panic_or_a_500() {
    let auth = Auth::start_with([
        ("TRUSTED_PROXIES", "127.0.0.0/8"),
        ("CORS_ALLOWED_ORIGINS", "https://a.example"),
    ])
    .await;
    auth.register("ada").await;
    let address = auth.url.trim_start_matches("http://").to_owned();
    let names = prop_oneof![
        Just("x-request-id"),
        Just("x-forwarded-for"),
        Just("traceparent"),
        Just("tracestate"),
        Just("origin"),
        Just("access-control-request-method"),
        Just("access-control-request-headers"),
        Just("content-type"),
        Just("authorization"),
        Just("expect"),
        Just("accept-encoding"),
    ];
    let values = prop_oneof![
        "[ -~]{0,60}".prop_map(String::into_bytes),
        "(([0-9]{1,3}\\.){3}[0-9]{1,3}|[0-9a-f:]{0,20}|\\[[0-9a-f:]*\\]:[0-9]{1,6}|, |unknown){0,6}".prop_map(String::into_bytes),
        "00-[0-9a-f]{30,33}-[0-9a-f]{15,17}-0[0-9a-f]".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>().prop_filter("ends the line", |byte| !b"\r\n\0".contains(byte)), 0..60),
    ];
    let lines = (
        prop_oneof![
            Just("GET"),
            Just("POST"),
            Just("OPTIONS"),
            Just("HEAD"),
            Just("TRACE"),
            Just("CONNECT"),
            Just("MADE-UP")
        ],
        prop_oneof![
            Just("/".to_owned()),
            Just("/me".to_owned()),
            Just("/login".to_owned()),
            Just("/metrics".to_owned()),
            "/[!-~]{0,40}",
            "[!-~]{1,40}"
        ],
        prop::collection::vec((names, values), 0..6),
    );

    let tried = try_for_a_while(TIME, &lines, |(method, path, headers)| {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect::<Vec<_>>();
        let body = serde_json::json!({"username": "ada", "password": PASSWORD}).to_string();
        let bytes = request(&format!("{method} {path}"), &headers, body.as_bytes());
        check(status_of(&address, &bytes), &bytes)
    });

    assert_well(&auth, tried, "heads");
}

#[tokio::test]
async fn what_somebody_else_put_into_the_bucket_takes_no_memory_to_speak_of() {
    let stack = Transcription::start().await;
    let id = "01a20442-4fb7-71e2-bd64-ded8192ca8b9";
    let put = stack.s3.client.put_object().bucket(BUCKET);
    let put = put.key(format!("private/1/manifests/{id}.json"));
    let body = vec![b' '; 150 << 20];
    put.body(body.into()).send().await.unwrap();
    stack
        .ask("2", id)
        .await
        .assert_problem(404, "transcription_not_found");
    stack.forget_peak();
    let before = stack.resident_kib();

    let answer = stack.ask("1", id).await;

    answer.assert_problem(503, "storage_unavailable");
    let took = stack.peak_kib() - before;
    assert!(took < 40 * 1024, "{took} KiB");
}
