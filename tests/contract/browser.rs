//! The pages, as a person uses them in a browser (contract §3).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use reqwest::header::HeaderMap;
use serde_json::Value;
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::client::http;
use transcription_tests::files::{binary, cached, recording, root};
use transcription_tests::process::{free_port, run};
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::stack::Standalone;
use transcription_tests::transcription::Transcription;

const BROWSERS_ACCEPT: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Where the pictures of the last run are, to be looked at.
fn pictures() -> PathBuf {
    let folder = binary("transcription-standalone").with_file_name("pictures");
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_person_registers_authorizes_uploads_and_reads_the_text_on_the_page() {
    let folder = TempDir::new().unwrap();
    let stack = Standalone::start(folder.path()).await;
    let clip = librivox().swap_remove(0);
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", cached("playwright-1.65.2"))
        .arg(root().join("tests/browser/swagger.py"))
        .args([&stack.auth_url, &stack.transcription_url])
        .arg(recording(&clip.file_name))
        .arg(pictures());

    let output = run(command, "").await;

    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let shown = &found["shown"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    assert!(
        text(&shown["welcome"]).contains("Accounts of the transcription stack"),
        "{found}"
    );
    assert_eq!(shown["registered"][0], "201", "{found}");
    assert_eq!(shown["title"], "Authentication Service: try it");
    assert!(text(&shown["refused"]).contains("wrong"), "{found}");
    assert_eq!(shown["transcribed"][0], "200", "{found}");
    let answer: Value = serde_json::from_str(&text(&shown["transcribed"][1])).unwrap();
    let heard = text(&answer["transcription"]);
    assert!(word_errors(&heard, &clip.words) <= 1, "{heard}");
    // The browser itself tells of the refused log-in; its hints to the makers of a page are hidden from people.
    let console = found["console"].as_array().unwrap();
    let unexpected = console
        .iter()
        .map(text)
        .filter(|line| !line.starts_with("verbose:") && !line.contains("400 (Bad Request)"));
    assert_eq!(unexpected.count(), 0, "{found}");
    let own =
        [&stack.auth_url, &stack.transcription_url].map(|url| url.trim_start_matches("http://"));
    let mut own = own.to_vec();
    own.sort_unstable();
    assert_eq!(found["hosts"], Value::from(own), "{found}");
}

/// Asks as a browser does.
async fn page(url: &str) -> (u16, HeaderMap, String) {
    let request = http().get(url).header("accept", BROWSERS_ACCEPT);
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.text().await.unwrap())
}

#[tokio::test]
async fn the_first_page_says_what_this_is_and_its_links_lead_somewhere() {
    let stack = Transcription::start().await;

    let (status, headers, html) = page(&stack.url).await;

    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["vary"], "accept");
    assert!(html.contains("Send a recording, get its text."), "{html}");
    let links = html
        .split("<a href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap());
    let links = links.collect::<Vec<_>>();
    assert_eq!(links, ["/docs/", "/openapi.json", "/readyz", "/metrics"]);
    for link in links {
        let (status, ..) = page(&format!("{}{link}", stack.url)).await;
        assert_eq!(status, 200, "{link}");
    }
}

#[tokio::test]
async fn what_is_at_an_address_of_its_own_is_not_linked() {
    let management = format!("127.0.0.1:{}", free_port());
    let auth = Auth::start_with([("MANAGEMENT_ADDR", management.as_str())]).await;

    let (_, _, html) = page(&auth.url).await;

    assert!(!html.contains("/metrics"), "{html}");
    assert!(html.contains("/docs/"), "{html}");
}

#[tokio::test]
async fn pages_may_load_and_ask_nothing_else() {
    let settings = [("AUTH_TOKEN_URL", "https://auth.example.com/token")];
    let stack = Transcription::start_with(settings).await;

    for path in [
        "/",
        "/docs/",
        "/docs/swagger-ui.css",
        "/docs/swagger-initializer.js",
    ] {
        let (status, headers, _) = page(&format!("{}{path}", stack.url)).await;
        let policy = headers["content-security-policy"].to_str().unwrap();

        assert_eq!(status, 200, "{path}");
        assert!(
            policy.starts_with(
                "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
            ),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let asks_auth = policy.ends_with("connect-src 'self' https://auth.example.com");
        assert_eq!(asks_auth, path.starts_with("/docs"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
    }
    let response = http().get(format!("{}/docs", stack.url)).send().await;
    assert_eq!(response.unwrap().url().path(), "/docs/");
    for nothing in ["nothing.js", "%FF"] {
        let (status, headers, _) = page(&format!("{}/docs/{nothing}", stack.url)).await;
        assert_eq!(status, 404, "{nothing}");
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["x-content-type-options"], "nosniff");
    }
    // Who does not take gzip gets the same as it is.
    let (_, headers, css) = page(&format!("{}/docs/swagger-ui.css", stack.url)).await;
    assert!(!headers.contains_key("content-encoding"));
    assert!(css.contains(".swagger-ui"), "{css}");
}

#[tokio::test]
async fn the_description_says_where_tokens_come_from() {
    let scheme = async |stack: &Transcription| {
        let answer = http()
            .get(format!("{}/openapi.json", stack.url))
            .send()
            .await
            .unwrap();
        let description: Value = answer.json().await.unwrap();
        description["components"]["securitySchemes"]["token"].clone()
    };
    let token_url = "https://auth.example.com/token";

    let with = Transcription::start_with([("AUTH_TOKEN_URL", token_url)]).await;
    let without = Transcription::start().await;

    assert_eq!(
        scheme(&with).await["flows"]["password"]["tokenUrl"],
        token_url
    );
    assert_eq!(scheme(&without).await["scheme"], "bearer");
}
