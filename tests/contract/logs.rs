//! The log as an operator reads it: one line for each request, and at info nothing else between start and end.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use transcription_tests::auth::{Auth, account, credentials};
use transcription_tests::client::{Answer, FILE_HEAD, PASSWORD, form_head};
use transcription_tests::process::eventually;
use transcription_tests::transcription::{Transcription, silent_wav, token};

use crate::observing::lines;

const NAME: &str = "grace-hopper";
const WRONG: &str = "a wrong but precious password";
const BOUNDARY_END: &str = "\r\n--frontier--\r\n";

/// A request with a name of its own, and a body of a known size.
fn named(request: RequestBuilder, id: &str, body: impl Into<String>) -> RequestBuilder {
    request.header("x-request-id", id).body(body.into())
}

/// The one line of a request.
#[track_caller]
fn line_of(log: &str, request_id: &str) -> Value {
    let all = lines(log);
    let of_request = |line: &&Value| line["request_id"] == request_id;
    let found = all.iter().filter(of_request).collect::<Vec<_>>();
    assert_eq!(found.len(), 1, "{request_id}: {found:?} in\n{log}");
    found[0].clone()
}

/// What was sent, what came back, and what its line has to say.
struct Expected<'a> {
    id: &'a str,
    sent_bytes: usize,
    answer: Answer,
    message: &'a str,
    code: Value,
    user_id: Value,
}

impl Expected<'_> {
    #[track_caller]
    fn assert_in(self, log: &str) -> Value {
        let Self {
            id,
            sent_bytes,
            answer,
            message,
            code,
            user_id,
        } = self;
        let line = line_of(log, id);
        let status = answer.status.as_u16();
        assert_eq!(line["message"], message, "{line}");
        assert_eq!(line["level"], "INFO", "{line}");
        assert_eq!(line["http.response.status_code"], status, "{line}");
        assert_eq!(line["http.request.body.size"], sent_bytes, "{line}");
        assert_eq!(
            line["http.response.body.size"],
            answer.text.len(),
            "{line}\n{answer:?}"
        );
        assert_eq!(line["code"], code, "{line}");
        assert_eq!(line["user.id"], user_id, "{line}");
        assert!(line["duration_seconds"].is_f64(), "{line}");
        assert_eq!(answer.header("x-request-id"), id);
        line
    }
}

/// A service is started, serves and ends: the lines before the first request, of the requests, and after the last.
#[track_caller]
fn assert_one_line_each(log: &str, requests: usize, start: &str, name: &str) {
    let mut all = lines(log);
    // By these the test finds out that the service has started.
    all.retain(|line| line["message"] != "GET / answered 200");
    // On a slow disk the database's library warns of statements that take a second.
    all.retain(|line| !line["target"].as_str().unwrap().starts_with("sqlx"));
    let of_requests = |line: &&Value| !line["request_id"].is_null();
    assert_eq!(all.iter().filter(of_requests).count(), requests, "{log}");
    let others = all.iter().filter(|line| line["request_id"].is_null());
    let others = others
        .map(|line| line["message"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(others.len(), 3, "{log}");
    assert!(others[0].starts_with(start), "{others:?}");
    let stops = format!("{name} stops: finishing what is in flight");
    assert_eq!(others[1..], [stops, format!("{name} has ended")]);
}

/// A request to the auth service, and what its line has to say: the message, the code and the user's id.
struct Case {
    request: (Method, &'static str, String),
    line: (&'static str, Value, Value),
}

fn case(
    method: Method,
    path: &'static str,
    body: impl Into<String>,
    message: &'static str,
    code: impl Into<Value>,
    user_id: impl Into<Value>,
) -> Case {
    Case {
        request: (method, path, body.into()),
        line: (message, code.into(), user_id.into()),
    }
}

fn cases() -> [Case; 10] {
    const NONE: Value = Value::Null;
    let post =
        |path, body, message, code, user_id| case(Method::POST, path, body, message, code, user_id);
    let get = |path, message, code| case(Method::GET, path, "", message, code, NONE);
    let new = account(NAME).to_string();
    let good = credentials(NAME, PASSWORD).to_string();
    let bad = credentials(NAME, WRONG).to_string();
    let password = PASSWORD.replace(' ', "+");
    let form = format!("grant_type=password&username={NAME}%40example.com&password=");
    let conflict = json!("username_taken");
    [
        post(
            "/register",
            new.clone(),
            "POST /register answered 201",
            NONE,
            json!("1"),
        ),
        post(
            "/register",
            new,
            "POST /register answered 409",
            conflict,
            NONE,
        ),
        post(
            "/register",
            "{}".to_owned(),
            "POST /register answered 422",
            json!("invalid_field"),
            NONE,
        ),
        post("/login", good, "POST /login answered 200", NONE, json!("1")),
        post(
            "/login",
            bad,
            "POST /login answered 401",
            json!("bad_credentials"),
            NONE,
        ),
        post(
            "/token",
            format!("{form}{password}"),
            "POST /token answered 200",
            NONE,
            json!("1"),
        ),
        post(
            "/token",
            format!("{form}x"),
            "POST /token answered 400",
            json!("invalid_grant"),
            NONE,
        ),
        get("/me", "GET /me answered 401", "token_missing"),
        get(
            "/wp-login.php?token=secret",
            "GET to an unknown address answered 404",
            "not_found",
        ),
        get("/login", "GET /login answered 405", "method_not_allowed"),
    ]
}

#[tokio::test]
async fn each_request_to_the_auth_service_is_one_line_and_there_is_no_other() {
    let mut auth = Auth::start().await;
    let ask = async |method: Method, path: &str, id: &str, body: String| {
        let kind = match path {
            "/token" => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        let request = auth.http.request(method, format!("{}{path}", auth.url));
        let request = request.header("content-type", kind);
        Answer::of(named(request, id, body).send().await.unwrap()).await
    };
    let names = (0..cases().len())
        .map(|number| format!("case-{number}"))
        .collect::<Vec<_>>();
    let mut expected = Vec::new();
    for (id, Case { request, line }) in names.iter().zip(cases()) {
        let (method, path, body) = request;
        let (message, code, user_id) = line;
        let sent_bytes = body.len();
        let answer = ask(method, path, id, body).await;
        expected.push(Expected {
            id,
            sent_bytes,
            answer,
            message,
            code,
            user_id,
        });
    }
    let endless = format!("/private/{}", "x".repeat(1000));
    ask(Method::GET, &endless, "endless", String::new()).await;
    for _ in 0..20 {
        auth.me("no token")
            .await
            .assert_problem(401, "token_invalid");
        auth.get("/healthz").await;
    }

    assert!(auth.process.terminate().await.success());

    let log = auth.process.log();
    for expected in expected {
        let line = expected.assert_in(&log);
        match line["message"].as_str().unwrap() {
            "GET to an unknown address answered 404" => {
                assert_eq!(line["url.path"], "/wp-login.php");
            }
            "GET /me answered 401" => assert_eq!(line["token.rejected"], "missing"),
            _ => assert_eq!(line["url.path"], Value::Null, "{line}"),
        }
    }
    assert_eq!(line_of(&log, "endless")["url.path"], "/private/");
    assert_one_line_each(&log, names.len() + 21, "auth-service 0", "auth-service");
    let start = &lines(&log)[0];
    assert_eq!(start["registration"], "open");
    let database = start["database"].as_str().unwrap();
    assert!(
        database.ends_with(&auth.database().display().to_string()),
        "{start}"
    );
    for secret in [NAME, "example.com", WRONG, PASSWORD, "token=secret"] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[tokio::test]
async fn each_transcription_is_one_line_with_its_sizes_its_user_and_its_id() {
    let mut stack = Transcription::start().await;
    let wav = silent_wav(32_044);
    let ask = async |id: &str, file: &[u8], more: &str, token: &str| {
        let body = [FILE_HEAD, file, more.as_bytes(), BOUNDARY_END.as_bytes()].concat();
        let length = body.len();
        let request = stack.http.post(format!("{}/transcribe", stack.url));
        let request = request
            .header("x-request-id", id)
            .header("content-type", "multipart/form-data; boundary=frontier")
            .bearer_auth(token)
            .body(body);
        let answer = Answer::of(request.send().await.unwrap()).await;
        (answer, length)
    };
    let language = "\r\n--frontier\r\nContent-Disposition: form-data; name=\"language\"\r\n\r\n?";

    let (heard, heard_bytes) = ask("heard", &wav, "", &token("7")).await;
    let (invalid, invalid_bytes) = ask("invalid", &wav, language, &token("7")).await;
    let (text, text_bytes) = ask("text", b"no audio at all", "", &token("7")).await;
    let (unsigned, _) = ask("unsigned", &wav, "", &format!("{}x", token("7"))).await;
    let fault = json!({"too_long": true});
    stack.google.fail_to_generate(1, fault).await;
    let (failed, failed_bytes) = ask("failed", &wav, "", &token("8")).await;
    let missing = stack.ask("7", "no-id").await;
    assert_eq!(heard.status, 200, "{heard:?}");
    invalid.assert_problem(422, "invalid_field");
    failed.assert_problem(422, "audio_too_long");
    missing.assert_problem(404, "transcription_not_found");
    assert!(stack.process.terminate().await.success());

    let log = stack.process.log();
    let heard_id = heard.json["id"].clone();
    let expect = |id, sent_bytes, answer, message, code, user| Expected {
        id,
        sent_bytes,
        answer,
        message,
        code,
        user_id: json!(user),
    };
    let of_heard = expect(
        "heard",
        heard_bytes,
        heard,
        "POST /transcribe answered 200",
        Value::Null,
        "7",
    );
    assert_eq!(of_heard.assert_in(&log)["transcription.id"], heard_id);
    let of_invalid = expect(
        "invalid",
        invalid_bytes,
        invalid,
        "POST /transcribe answered 422",
        json!("invalid_field"),
        "7",
    );
    let of_invalid = of_invalid.assert_in(&log);
    assert_eq!(of_invalid["transcription.id"], Value::Null, "{of_invalid}");
    let of_text = expect(
        "text",
        text_bytes,
        text,
        "POST /transcribe answered 415",
        json!("not_audio"),
        "7",
    );
    of_text.assert_in(&log);
    let of_unsigned = line_of(&log, "unsigned");
    assert_eq!(of_unsigned["message"], "POST /transcribe answered 401");
    assert_eq!(of_unsigned["token.rejected"], "signature");
    assert_eq!(unsigned.status, 401);
    let of_missing = line_of(&log, missing.header("x-request-id"));
    assert_eq!(
        of_missing["message"],
        "GET /transcriptions/{id} answered 404"
    );
    assert_eq!(of_missing["user.id"], "7");
    // Why Google refused is told to nobody else: that has a line of its own.
    let failed_id = failed.json["id"].clone();
    let of_failed = lines(&log)
        .into_iter()
        .filter(|line| line["request_id"] == "failed")
        .collect::<Vec<_>>();
    assert_eq!(of_failed.len(), 2, "{of_failed:?}");
    assert_eq!(of_failed[0]["level"], "WARN");
    assert_eq!(of_failed[1]["http.request.body.size"], failed_bytes);
    for line in &of_failed {
        assert_eq!(line["transcription.id"], failed_id, "{line}");
    }
    let name = "transcription-service";
    assert_one_line_each(&log, 7, "transcription-service 0", name);
    let start = &lines(&log)[0];
    for (field, value) in [
        ("engine", json!("gemini")),
        ("model", json!("gemini-3.5-transcribe")),
        ("bucket", json!(stack.environment["S3_BUCKET_NAME"])),
        ("s3.endpoint", json!(stack.proxy.endpoint)),
        ("places", json!(32)),
    ] {
        assert_eq!(start[field], value, "{start}");
    }
}

/// Sends this much of a request to transcribe.
async fn sent(stack: &Transcription, length: usize, part: &[u8]) -> TcpStream {
    let address = stack.url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).await.unwrap();
    let head = form_head(&stack.url, &token("7"), length);
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(part).await.unwrap();
    connection
}

#[tokio::test]
async fn a_client_that_hangs_up_has_one_line_too() {
    const HUNG_UP: &str = "POST /transcribe: the client hung up";
    let stack = Transcription::start().await;
    let whole = [FILE_HEAD, &silent_wav(32_044), BOUNDARY_END.as_bytes()].concat();
    let half = &whole[..whole.len() / 2];
    let hang_ups = || {
        let all = lines(&stack.process.log()).into_iter();
        all.filter(|line| line["message"] == HUNG_UP)
            .collect::<Vec<_>>()
    };

    drop(sent(&stack, whole.len(), half).await);
    eventually("the broken upload is told", async || hang_ups().len() == 1).await;
    stack.google.hold(1).await;
    let connection = sent(&stack, whole.len(), &whole).await;
    eventually("the engine is asked", async || {
        stack.google.counts().await["generate_content_calls"] == 1
    })
    .await;
    drop(connection);
    eventually("the lost caller is told", async || hang_ups().len() == 2).await;
    stack.google.release().await;
    eventually("what became of it is told", async || {
        stack.process.log().contains("though its caller has gone")
    })
    .await;

    let [upload, accepted] = hang_ups().try_into().unwrap();
    for line in [&upload, &accepted] {
        assert_eq!(line["level"], "INFO", "{line}");
        assert_eq!(line["user.id"], "7", "{line}");
        assert!(line["request_id"].is_string(), "{line}");
        assert!(line["duration_seconds"].is_f64(), "{line}");
    }
    let received = usize::try_from(upload["http.request.body.size"].as_u64().unwrap()).unwrap();
    assert!(received <= half.len(), "{upload}");
    assert_eq!(accepted["http.request.body.size"], whole.len());
    assert_eq!(upload["transcription.id"], Value::Null);
    // The request of the second has two lines, the other one.
    let log = lines(&stack.process.log());
    let of = |line: &Value| {
        let same = log
            .iter()
            .filter(|other| other["request_id"] == line["request_id"]);
        same.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of(&upload).len(), 1);
    let [_, complete] = of(&accepted).try_into().unwrap();
    assert!(complete["transcription.id"].is_string(), "{complete}");
    assert_eq!(complete["transcription.id"], accepted["transcription.id"]);
}

#[tokio::test]
async fn a_pretty_line_reads_like_a_sentence() {
    let auth = Auth::start_with([("LOG_FORMAT", "pretty")]).await;
    let new = account(NAME).to_string();
    let request = auth.http.post(format!("{}/register", auth.url));
    let request = request.header("content-type", "application/json");
    let sent_bytes = new.len();
    let answer = named(request, "my-request", new).send().await.unwrap();
    let answer = Answer::of(answer).await;
    auth.get("/a%0Ab").await;

    let log = auth.process.log();

    let line = log.lines().find(|line| line.contains("my-request"));
    let (time, line) = line.unwrap().split_once(' ').unwrap();
    assert_eq!(time.len(), "14:03:22Z".len());
    let (message, rest) = line.split_once(" (").unwrap();
    assert_eq!(message, "INFO  POST /register answered 201");
    let answer_bytes = answer.text.len();
    let end = format!("s, {sent_bytes} B in, {answer_bytes} B out)  user=1 request=my-request");
    assert!(rest.ends_with(&end), "{line}");
    let others = log.lines().filter(|line| !line.contains(" GET / "));
    assert_eq!(others.count(), 3, "{log}");
    assert!(log.contains("path=/a%0Ab"), "{log}");
}
