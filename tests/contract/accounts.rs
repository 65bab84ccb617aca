//! Registering, logging in, and what a token is good for.

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::client::{Answer, PASSWORD, http, post};
use transcription_tests::stack::{Environment, Service, start_auth};

async fn register(auth: &Service, account: &Value) -> Answer {
    post(&http(), &format!("{}/register", auth.url), account).await
}

async fn login(auth: &Service, name: &str, password: &str) -> Answer {
    let body = json!({"username_or_email": name, "password": password});
    post(&http(), &format!("{}/login", auth.url), &body).await
}

fn ada() -> Value {
    json!({"username": "Ada", "email": "ada@example.com", "password": PASSWORD})
}

#[tokio::test]
async fn who_registers_can_log_in_by_name_or_email_in_any_case_and_is_me() {
    let auth = start_auth(Environment::new()).await;

    let registered = register(&auth, &ada()).await;

    assert_eq!(registered.status, StatusCode::CREATED);
    assert_eq!(
        registered.json,
        json!({"id": 1, "username": "Ada", "email": "ada@example.com"})
    );
    for name in ["Ada", "aDA", "ada@example.com", "ADA@example.com"] {
        let token = login(&auth, name, PASSWORD).await;
        assert_eq!(token.status, StatusCode::OK, "{name}: {token:?}");
        assert_eq!(token.json["token_type"], "bearer");
        assert_eq!(token.json["expires_in"], 1800);
        let me = http()
            .get(format!("{}/me", auth.url))
            .bearer_auth(token.json["access_token"].as_str().unwrap());
        let me = Answer::of(me.send().await.unwrap()).await;
        assert_eq!(me.json, registered.json);
    }
}

#[tokio::test]
async fn a_name_or_email_is_taken_in_any_case() {
    let auth = start_auth(Environment::new()).await;
    register(&auth, &ada()).await;

    let same_name = json!({"username": "ADA", "email": "other@example.com", "password": PASSWORD});
    register(&auth, &same_name)
        .await
        .assert_problem(409, "username_taken");
    let same_email = json!({"username": "other", "email": "Ada@Example.com", "password": PASSWORD});
    register(&auth, &same_email)
        .await
        .assert_problem(409, "email_taken");
}

#[tokio::test]
async fn an_account_that_breaks_a_rule_is_refused_with_the_field_and_the_reason() {
    let auth = start_auth(Environment::new()).await;
    let with = |field: &str, value: &str| {
        let mut account = ada();
        account[field] = json!(value);
        account
    };
    let cases = [
        ("username", with("username", "a@b"), "@"),
        ("username", with("username", ""), "1 to 64"),
        ("email", with("email", "nobody"), "e-mail address"),
        ("password", with("password", "short"), "8 characters"),
        ("password", with("password", &"x".repeat(73)), "72 bytes"),
        ("password", with("password", "with a \0 inside"), "NUL"),
    ];

    for (field, account, reason) in cases {
        let answer = register(&auth, &account).await;
        answer.assert_problem(422, "invalid_field");
        assert_eq!(answer.json["errors"][0]["field"], field, "{answer:?}");
        let message = answer.json["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
    let mut differing = ada();
    differing["confirm_password"] = json!("something else");
    register(&auth, &differing)
        .await
        .assert_problem(400, "passwords_differ");
    register(&auth, &json!({"username": "ada"}))
        .await
        .assert_problem(422, "invalid_body");
}

#[tokio::test]
async fn a_wrong_password_looks_like_an_unknown_user() {
    let auth = start_auth(Environment::new()).await;
    register(&auth, &ada()).await;

    let wrong = login(&auth, "Ada", "not the password").await;
    let unknown = login(&auth, "nobody", "not the password").await;

    wrong.assert_problem(401, "bad_credentials");
    assert_eq!(wrong.headers["www-authenticate"], "Bearer");
    let without_id = |answer: &Answer| {
        let mut body = answer.json.clone();
        body.as_object_mut().unwrap().remove("request_id");
        let mut headers = answer.headers.clone();
        headers.remove("x-request-id");
        headers.remove("date");
        (body, headers)
    };
    assert_eq!(without_id(&wrong), without_id(&unknown));
}

#[tokio::test]
async fn a_password_of_more_than_72_bytes_does_not_log_in_by_its_first_72() {
    let auth = start_auth(Environment::new()).await;
    let password = "p".repeat(72);
    let account = json!({"username": "Ada", "email": "ada@example.com", "password": password});
    assert_eq!(register(&auth, &account).await.status, StatusCode::CREATED);

    assert_eq!(login(&auth, "Ada", &password).await.status, StatusCode::OK);
    login(&auth, "Ada", &"p".repeat(73))
        .await
        .assert_problem(401, "bad_credentials");
}

#[tokio::test]
async fn an_unknown_address_or_method_is_a_problem_too() {
    let auth = start_auth(Environment::new()).await;
    let get = |path: &str| http().get(format!("{}{path}", auth.url)).send();

    let greeting = Answer::of(get("/").await.unwrap()).await;
    assert_eq!(
        greeting.json,
        json!({"message": "Authentication Service is running."})
    );
    Answer::of(get("/nothing").await.unwrap())
        .await
        .assert_problem(404, "not_found");
    Answer::of(get("/login").await.unwrap())
        .await
        .assert_problem(405, "method_not_allowed");
    Answer::of(get("/me").await.unwrap())
        .await
        .assert_problem(401, "token_missing");
}
