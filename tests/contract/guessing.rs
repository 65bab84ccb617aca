//! The limit on guessing passwords.

use std::sync::atomic::{AtomicU32, Ordering};

use reqwest::StatusCode;
use transcription_tests::auth::{Auth, credentials, fail_until_throttled};
use transcription_tests::client::{Answer, PASSWORD, http_from, post};
use transcription_tests::process::eventually;

async fn login_from(auth: &Auth, address: &str, name: &str, password: &str) -> Answer {
    let http = http_from(address);
    post(
        &http,
        &format!("{}/login", auth.url),
        &credentials(name, password),
    )
    .await
}

async fn login_through(auth: &Auth, forwarded: &str, name: &str, password: &str) -> Answer {
    let request = auth
        .http
        .post(format!("{}/login", auth.url))
        .header("x-forwarded-for", forwarded)
        .json(&credentials(name, password));
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn after_10_wrong_passwords_an_address_waits_while_the_owner_elsewhere_logs_in() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    let wrong = async || login_from(&auth, "127.0.0.7", "ada", "wrong").await;
    let (failures, throttled) = fail_until_throttled(wrong).await;
    let owner = login_from(&auth, "127.0.0.8", "ada", PASSWORD).await;

    assert!(failures >= 10, "the first 10 cost nothing: {failures}");
    throttled.assert_problem(429, "too_many_failures");
    assert_eq!(owner.status, StatusCode::OK);
    assert!(auth.count(r#"auth_logins_total{result="throttled"}"#).await >= 1);
    // 1 s, 2 s, 4 s, then one that is longer than this machine may stall.
    eventually("the wait has doubled three times", async || {
        let answer = wrong().await;
        answer.status == StatusCode::TOO_MANY_REQUESTS
            && answer.header("retry-after").parse::<u32>().unwrap() > 4
    })
    .await;
    // Also the right password has to wait: else a guesser would hear that it is right.
    let again = login_from(&auth, "127.0.0.7", "ADA", PASSWORD).await;
    again.assert_problem(429, "too_many_failures");
}

#[tokio::test]
async fn a_user_name_and_an_e_mail_address_of_one_account_are_not_twice_ten_guesses() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let number = AtomicU32::new(0);

    let (failures, _) = fail_until_throttled(async || {
        let names = ["ada", "ada@example.com", "ADA", "Ada@Example.com"];
        let number = number.fetch_add(1, Ordering::Relaxed) as usize;
        auth.login(names[number % names.len()], "wrong").await
    })
    .await;

    assert!((10..13).contains(&failures), "{failures}");
}

#[tokio::test]
async fn of_two_old_names_that_differ_only_in_case_each_has_its_own_limit() {
    let auth = Auth::start().await;
    auth.register("Ada").await;
    auth.sql("INSERT INTO users (username, email, hashed_password) SELECT 'ada', 'other@example.com', hashed_password FROM users").await;

    let (failures, _) = fail_until_throttled(async || {
        // The success of one must not forget the failures at the other.
        assert_eq!(auth.login("ada", PASSWORD).await.status, StatusCode::OK);
        auth.login("Ada", "wrong").await
    })
    .await;

    assert!((10..13).contains(&failures), "{failures}");
    assert_eq!(auth.login("ada", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_limited_in_the_same_way() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    let known = fail_until_throttled(async || auth.login("ada", "wrong").await).await;
    let unknown = fail_until_throttled(async || auth.login("nobody", "wrong").await).await;

    assert!((10..13).contains(&known.0) && (10..13).contains(&unknown.0));
    let body = |answer: &Answer| answer.json["code"].clone();
    assert_eq!(body(&known.1), body(&unknown.1));
    let names = |answer: &Answer| answer.headers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&known.1), names(&unknown.1));
}

#[tokio::test]
async fn a_success_forgets_the_failures() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    for _ in 0..3 {
        for _ in 0..9 {
            auth.login("ada", "wrong")
                .await
                .assert_problem(401, "bad_credentials");
        }
        auth.token("ada").await;
    }
}

#[tokio::test]
async fn guesses_that_are_sent_at_once_are_limited_too() {
    let auth = Auth::start_with([("BCRYPT_COST", "8")]).await;
    auth.register("ada").await;
    let guesses = (0..60).map(|_| {
        let request = auth
            .http
            .post(format!("{}/login", auth.url))
            .json(&credentials("ada", "wrong"));
        tokio::spawn(async move { request.send().await.unwrap().status() })
    });
    for guess in guesses.collect::<Vec<_>>() {
        guess.await.unwrap();
    }

    let tried = auth
        .count(r#"auth_logins_total{result="bad_credentials"}"#)
        .await;

    // As many more as there are cores, and some if this machine stalls for the first wait.
    assert!((10..=20).contains(&tried), "{tried} of 60 were tried");
}

#[tokio::test]
async fn a_guess_counts_though_its_client_hangs_up() {
    // A hash of some 300 ms, so that there is time to hang up.
    let auth = Auth::start_with([("BCRYPT_COST", "12")]).await;
    auth.register("ada").await;
    for _ in 0..12 {
        let begun = auth.count("auth_hash_queue_seconds_count").await;
        let guess = auth.login("ada", "wrong");
        let its_turn_has_come = eventually("its hash begins", async || {
            auth.count("auth_hash_queue_seconds_count").await > begun
        });
        tokio::select! {
            _ = guess => {}
            () = its_turn_has_come => {}
        }
    }

    eventually("the guesses count", async || {
        auth.login("ada", "wrong").await.status == StatusCode::TOO_MANY_REQUESTS
    })
    .await;
    let answered = auth
        .count(r#"auth_logins_total{result="bad_credentials"}"#)
        .await;
    assert!(answered < 10, "{answered} were answered: nobody hung up");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_forwarded_address_counts() {
    let auth = Auth::start_with([("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    auth.register("ada").await;
    let number = AtomicU32::new(0);
    let (failures, _) = fail_until_throttled(async || {
        // What the client itself wrote first is not believed: a new address each time gains nothing.
        let made_up = number.fetch_add(1, Ordering::Relaxed);
        let forwarded = format!("198.51.100.{made_up}, 203.0.113.7");
        login_through(&auth, &forwarded, "ada", "wrong").await
    })
    .await;

    let owner = login_through(&auth, "203.0.113.8", "ada", PASSWORD).await;

    assert!((10..13).contains(&failures), "{failures}");
    assert_eq!(owner.status, StatusCode::OK);
}

#[tokio::test]
async fn without_a_trusted_proxy_the_forwarded_address_is_not_believed() {
    let auth = Auth::start_with([("TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    auth.register("ada").await;
    let number = AtomicU32::new(0);

    let (failures, _) = fail_until_throttled(async || {
        let forwarded = format!("198.51.100.{}", number.fetch_add(1, Ordering::Relaxed));
        login_through(&auth, &forwarded, "ada", "wrong").await
    })
    .await;

    assert!((10..13).contains(&failures), "{failures}");
}
