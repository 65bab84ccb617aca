//! Registering: who gets an account, and what it must be.

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::auth::{Auth, account};
use transcription_tests::client::PASSWORD;
use transcription_tests::process::eventually;

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut account = account("ada");
    account[field] = value.into();
    account
}

#[tokio::test]
async fn who_registers_can_log_in_by_name_or_email_in_any_case_and_is_me() {
    let auth = Auth::start().await;
    let ada = json!({"username": "Ada", "email": "ada@example.com", "password": PASSWORD, "confirm_password": PASSWORD});

    let registered = auth.post("/register", &ada).await;

    assert_eq!(registered.status, StatusCode::CREATED);
    let expected = json!({"id": 1, "username": "Ada", "email": "ada@example.com"});
    assert_eq!(registered.json, expected);
    for name in ["Ada", "aDA", "ada@example.com", "ADA@example.com"] {
        let token = auth.login(name, PASSWORD).await;
        assert_eq!(token.status, StatusCode::OK, "{name}: {token:?}");
        assert_eq!(token.json["token_type"], "bearer");
        assert_eq!(token.json["expires_in"], 1800);
        assert_eq!(token.header("cache-control"), "no-store");
        let me = auth.me(token.json["access_token"].as_str().unwrap()).await;
        assert_eq!(me.json, registered.json);
    }
}

#[tokio::test]
async fn a_name_or_email_is_taken_in_any_case_and_alphabet() {
    let auth = Auth::start().await;
    auth.register("Ärger").await;

    let same_name =
        json!({"username": "äRGER", "email": "other@example.com", "password": PASSWORD});
    auth.post("/register", &same_name)
        .await
        .assert_problem(409, "username_taken");
    let same_email =
        json!({"username": "other", "email": "ÄRGER@Example.com", "password": PASSWORD});
    auth.post("/register", &same_email)
        .await
        .assert_problem(409, "email_taken");

    assert_eq!(
        auth.count(r#"auth_registrations_total{result="taken"}"#)
            .await,
        2
    );
}

#[tokio::test]
async fn of_20_registrations_of_one_name_in_different_case_at_once_one_wins() {
    // A hash takes long enough that all twenty find the name free before the first is stored.
    let auth = Auth::start_with([("BCRYPT_COST", "10")]).await;
    let spelling = |number: usize| -> String {
        let letters = "longername".chars().enumerate();
        let upper = |at: usize| number >> at & 1 == 1;
        letters
            .map(|(at, letter)| {
                if upper(at) {
                    letter.to_ascii_uppercase()
                } else {
                    letter
                }
            })
            .collect()
    };
    let attempts = (0..20).map(|number| {
        let body = json!({"username": spelling(number), "email": format!("{number}@example.com"), "password": PASSWORD});
        let request = auth.http.post(format!("{}/register", auth.url)).json(&body);
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });
    let attempts = attempts.collect::<Vec<_>>();

    let mut answers = Vec::new();
    for attempt in attempts {
        answers.push(attempt.await.unwrap());
    }

    answers.sort_unstable();
    assert_eq!(answers[0], 201);
    assert_eq!(answers[1..], [409; 19]);
    assert_eq!(auth.succeed(&["user", "list"], "").await.lines().count(), 2);
}

#[tokio::test]
async fn a_field_that_breaks_a_rule_is_named_with_the_reason() {
    let auth = Auth::start().await;
    let cases = [
        ("username", with("username", ""), "1 to 64 characters"),
        (
            "username",
            with("username", "x".repeat(65)),
            "1 to 64 characters",
        ),
        ("username", with("username", "ada@example.com"), "@"),
        ("username", with("username", " ada"), "white space"),
        ("username", with("username", "a\nda"), "control"),
        ("username", with("username", 7), "must be a string"),
        ("email", with("email", "ada"), "e-mail"),
        ("email", with("email", "ada@"), "e-mail"),
        (
            "email",
            with("email", format!("{}@example.com", "a".repeat(250))),
            "254",
        ),
        ("password", with("password", "7 chars"), "8 characters"),
        ("password", with("password", "x".repeat(73)), "72 bytes"),
        (
            "password",
            with("password", "🙂".repeat(19)),
            "72 bytes and has 76",
        ),
        ("password", with("password", "with a \0 inside"), "NUL"),
        (
            "confirm_password",
            with("confirm_password", false),
            "must be a string",
        ),
    ];

    for (field, account, reason) in cases {
        let answer = auth.post("/register", &account).await;
        answer.assert_problem(422, "invalid_field");
        let errors = answer.json["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{answer:?}");
        assert_eq!(errors[0]["field"], field, "{answer:?}");
        let message = errors[0]["message"].as_str().unwrap();
        assert!(message.contains(reason), "{message}");
    }
    auth.post("/register", &with("confirm_password", "something else"))
        .await
        .assert_problem(400, "passwords_differ");
}

#[tokio::test]
async fn every_field_that_is_missing_is_named_at_once() {
    let auth = Auth::start().await;

    let answer = auth
        .post("/register", &json!({"username": "ada", "email": null}))
        .await;

    answer.assert_problem(422, "invalid_field");
    let named = answer.json["errors"].as_array().unwrap().iter();
    let named = named.map(|error| error["field"].as_str().unwrap());
    assert_eq!(named.collect::<Vec<_>>(), ["email", "password"]);
    let answer = auth.post("/login", &json!({})).await;
    answer.assert_problem(422, "invalid_field");
    assert_eq!(answer.json["errors"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn names_and_passwords_at_the_limit_are_taken() {
    let auth = Auth::start().await;
    let name = "ü".repeat(64);
    let password = "🙂".repeat(18);
    let account = json!({"username": name, "email": "u@example.com", "password": password});

    let registered = auth.post("/register", &account).await;

    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    assert_eq!(
        auth.login(&"Ü".repeat(64), &password).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_least_password_length_can_be_set() {
    let auth = Auth::start_with([("PASSWORD_MIN_LENGTH", "15")]).await;

    let answer = auth
        .post("/register", &with("password", "fourteen chars"))
        .await;

    let detail = answer.assert_problem(422, "invalid_field");
    assert!(detail.contains("at least 15 characters"), "{detail}");
    assert_eq!(auth.try_register("ada").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn closed_registration_says_so_and_user_add_still_works() {
    let auth = Auth::start_with([("REGISTRATION", "closed")]).await;

    auth.try_register("ada")
        .await
        .assert_problem(403, "registration_closed");
    auth.post("/register", &json!({}))
        .await
        .assert_problem(403, "registration_closed");
    auth.succeed(&["user", "add", "ada", "ada@example.com"], PASSWORD)
        .await;

    auth.token("ada").await;
    assert_eq!(
        auth.count(r#"auth_registrations_total{result="closed"}"#)
            .await,
        2
    );
}

#[tokio::test]
async fn two_spellings_of_one_letter_are_two_passwords() {
    let auth = Auth::start().await;
    let (composed, decomposed) = ("caf\u{e9} au lait", "cafe\u{301} au lait");

    let registered = auth.post("/register", &with("password", composed)).await;

    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    auth.login("ada", decomposed)
        .await
        .assert_problem(401, "bad_credentials");
    assert_eq!(auth.login("ada", composed).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_registration_is_counted_by_what_came_of_it() {
    let auth = Auth::start().await;
    let count = async |result: &str| {
        let name = format!("auth_registrations_total{{result=\"{result}\"}}");
        auth.count(&name).await
    };

    auth.register("ada").await;
    auth.post("/register", &with("password", "short")).await;
    auth.post("/register", &with("confirm_password", "another one"))
        .await;
    auth.post("/register", &json!([])).await;
    auth.sql("ALTER TABLE users RENAME TO lost").await;
    auth.try_register("bob")
        .await
        .assert_problem(503, "database_unavailable");
    auth.sql("ALTER TABLE lost RENAME TO users").await;
    while auth.try_register("ada").await.status == StatusCode::CONFLICT {}

    assert_eq!(count("ok").await, 1);
    assert_eq!(count("invalid").await, 3);
    assert_eq!(count("error").await, 1);
    assert_eq!(count("busy").await, 1);
}

#[tokio::test]
async fn who_asks_for_many_names_at_once_finds_no_more_than_100_taken() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let attempts = (0..400).map(|_| {
        let request = auth
            .http
            .post(format!("{}/register", auth.url))
            .json(&account("ada"));
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    });

    let mut taken = 0;
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            409 => taken += 1,
            status => assert_eq!(status, 429),
        }
    }

    // Some more only if this machine stalls for the first waits.
    assert!((100..103).contains(&taken), "{taken} of 400");
}

#[tokio::test]
async fn who_finds_100_names_taken_has_to_wait_before_more() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    // Four more than 100 try: so long as the wait is on they are refused, and each that comes after a wait doubles the next one.
    for _ in 0..104 {
        let answer = auth.try_register("ada").await;
        assert!([409, 429].contains(&answer.status.as_u16()), "{answer:?}");
    }

    let answer = auth.try_register("bob").await;

    answer.assert_problem(429, "too_many_failures");
    answer.header("retry-after");
    eventually("the wait is over", async || {
        auth.try_register("bob").await.status == StatusCode::CREATED
    })
    .await;
}
