//! What every answer says to browsers and to whatever is between them and us.

use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use transcription_tests::auth::{Auth, account, credentials};
use transcription_tests::client::PASSWORD;
use transcription_tests::transcription::{Transcription, silent_wav, token};

/// Asks, and follows no redirection.
struct Asker {
    http: Client,
    url: String,
}

impl Asker {
    fn new(url: &str) -> Self {
        let http = Client::builder().no_proxy().redirect(Policy::none());
        Self {
            http: http.build().unwrap(),
            url: url.to_owned(),
        }
    }

    /// The status, and whether the answer is as every answer is.
    async fn ask(&self, method: Method, path: &str, bearer: &str, body: Value) -> u16 {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.bearer_auth(bearer).json(&body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        assert_protected(answer.headers(), &format!("{path} answered {status}"));
        status
    }

    async fn get(&self, path: &str) -> u16 {
        self.ask(Method::GET, path, "none", Value::Null).await
    }
}

#[track_caller]
fn assert_protected(headers: &HeaderMap, what: &str) {
    let header = |name: &str| {
        headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    };
    let policy = header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; "),
        "{what}: {policy}"
    );
    assert!(
        policy.contains("frame-ancestors 'none'"),
        "{what}: {policy}"
    );
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(header("referrer-policy"), "no-referrer", "{what}");
    // The files of a page are asked for anew each time; nobody keeps anything else.
    let kept = if what.starts_with("/docs/swagger") {
        "no-cache"
    } else {
        "no-store"
    };
    assert_eq!(header("cache-control"), kept, "{what}");
    assert_eq!(headers.get_all("cache-control").iter().count(), 1, "{what}");
    for name in ["server", "x-powered-by", "via", "set-cookie"] {
        assert!(!headers.contains_key(name), "{what}: {name}");
    }
}

/// What both services have.
const SHARED: [(&str, u16); 9] = [
    ("/", 200),
    ("/docs", 308),
    ("/docs/", 200),
    ("/docs/swagger-ui.css", 200),
    ("/docs/nothing", 404),
    ("/openapi.json", 200),
    ("/healthz", 200),
    ("/metrics", 200),
    ("/nothing", 404),
];

#[tokio::test]
async fn every_answer_of_the_auth_service_is_kept_by_nobody_and_taken_for_no_page() {
    let auth = Auth::start().await;
    let asker = Asker::new(&auth.url);
    let post = async |path: &str, body: Value| asker.ask(Method::POST, path, "none", body).await;

    for (path, status) in SHARED {
        assert_eq!(asker.get(path).await, status, "{path}");
    }
    assert_eq!(asker.get("/login").await, 405);
    assert_eq!(post("/register", account("ada")).await, 201);
    assert_eq!(post("/register", account("ada")).await, 409);
    assert_eq!(post("/register", json!([])).await, 422);
    assert_eq!(post("/register", json!("x".repeat(100_000))).await, 413);
    assert_eq!(post("/login", credentials("ada", PASSWORD)).await, 200);
    assert_eq!(post("/login", credentials("ada", "wrong")).await, 401);
    assert_eq!(post("/token", json!({})).await, 400);
    assert_eq!(asker.get("/me").await, 401);
    let token = auth.token("ada").await;
    assert_eq!(
        asker.ask(Method::GET, "/me", &token, Value::Null).await,
        200
    );
}

#[tokio::test]
async fn every_answer_of_the_transcription_service_is_kept_by_nobody_and_taken_for_no_page() {
    let stack = Transcription::start().await;
    let asker = Asker::new(&stack.url);
    let token = token("1");

    for (path, status) in SHARED {
        assert_eq!(asker.get(path).await, status, "{path}");
    }
    assert_eq!(asker.get("/transcribe").await, 405);
    assert_eq!(asker.get("/transcriptions/1").await, 401);
    let upload = asker.ask(Method::POST, "/transcribe", &token, json!({}));
    assert_eq!(upload.await, 400);
    let transcribed = stack.transcribe("1", "a.wav", silent_wav(3000)).await;
    assert_eq!(transcribed.status, 200);
    assert_protected(&transcribed.headers, "/transcribe answered 200");
    let path = format!(
        "/transcriptions/{}",
        transcribed.json["id"].as_str().unwrap()
    );
    assert_eq!(
        asker.ask(Method::GET, &path, &token, Value::Null).await,
        200
    );
    let path = "/transcriptions/00000000-0000-0000-0000-000000000000";
    assert_eq!(asker.ask(Method::GET, path, &token, Value::Null).await, 404);
}
