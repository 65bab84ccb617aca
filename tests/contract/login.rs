//! Logging in: the same answer for everyone who may not, whatever the reason.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::auth::{Auth, account, credentials, fail_until_throttled};
use transcription_tests::client::{Answer, PASSWORD};
use transcription_tests::process::{cpu_seconds, eventually, run};

#[tokio::test]
async fn a_wrong_password_looks_like_an_unknown_user_and_like_a_disabled_one() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    auth.register("gone").await;
    let token = auth.token("gone").await;
    let said = auth.succeed(&["user", "disable", "gone"], "").await;
    assert!(said.contains("until they expire"), "{said}");

    let wrong = auth.login("ada", "not the password").await;
    let unknown = auth.login("nobody", "not the password").await;
    let disabled = auth.login("gone", PASSWORD).await;

    wrong.assert_problem(401, "bad_credentials");
    assert_eq!(wrong.header("www-authenticate"), "Bearer");
    assert_eq!(wrong.without_chance(), unknown.without_chance());
    assert_eq!(wrong.without_chance(), disabled.without_chance());
    auth.me(&token).await.assert_problem(401, "token_invalid");
    assert_eq!(
        auth.count(r#"auth_logins_total{result="bad_credentials"}"#)
            .await,
        2
    );
    assert_eq!(
        auth.count(r#"auth_logins_total{result="disabled"}"#).await,
        1
    );

    auth.succeed(&["user", "enable", "gone"], "").await;
    auth.token("gone").await;
    assert_eq!(auth.me(&token).await.status, StatusCode::OK);
}

#[tokio::test]
async fn two_passwords_that_share_72_bytes_are_two_passwords() {
    let auth = Auth::start().await;
    let password = "🙂".repeat(18);
    let mut ada = account("ada");
    ada["password"] = Value::from(password.as_str());
    assert_eq!(
        auth.post("/register", &ada).await.status,
        StatusCode::CREATED
    );

    assert_eq!(auth.login("ada", &password).await.status, StatusCode::OK);
    for other in [
        format!("{password}x"),
        format!("{password}🙂"),
        format!("{password}\0"),
    ] {
        auth.login("ada", &other)
            .await
            .assert_problem(401, "bad_credentials");
    }
}

#[tokio::test]
async fn the_name_may_come_in_any_of_three_fields() {
    let auth = Auth::start().await;
    auth.register("ada").await;

    for (field, name) in [
        ("username_or_email", "ada"),
        ("username_or_email", "ada@example.com"),
        ("username", "ada"),
        ("email", "ada@example.com"),
    ] {
        let answer = auth
            .post("/login", &json!({field: name, "password": PASSWORD}))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{field}: {answer:?}");
    }
    let answer = auth
        .post(
            "/login",
            &json!({"username": "ada", "password": 12_345_678}),
        )
        .await;
    answer.assert_problem(422, "invalid_field");
    assert!(
        !answer.text.contains("12345678"),
        "the password is in {}",
        answer.text
    );
}

/// Sends a form to `/token`.
async fn grant(auth: &Auth, form: &[(&str, &str)]) -> Answer {
    let request = auth.http.post(format!("{}/token", auth.url)).form(form);
    Answer::of(request.send().await.unwrap()).await
}

/// The error of RFC 6749 §5.2.
#[track_caller]
fn assert_oauth_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.json["error"], error, "{answer:?}");
    assert_eq!(answer.content_type, "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let description = answer.json["error_description"].as_str().unwrap();
    assert!(
        description
            .chars()
            .all(|letter| (' '..='~').contains(&letter) && !"\"\\".contains(letter)),
        "{description}"
    );
    answer.header("x-request-id");
}

#[tokio::test]
async fn an_oauth_client_gets_a_token_by_the_password_grant() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let form = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", "swagger"),
    ];

    let answer = grant(&auth, &form).await;

    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    assert_eq!(answer.json["token_type"], "bearer");
    let me = auth.me(answer.json["access_token"].as_str().unwrap()).await;
    assert_eq!(me.json["username"], "ada");
}

#[tokio::test]
async fn what_an_oauth_client_does_wrong_is_told_in_its_own_terms() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let password = ("grant_type", "password");

    let wrong = grant(
        &auth,
        &[password, ("username", "ada"), ("password", "wrong")],
    )
    .await;
    let unknown = grant(
        &auth,
        &[password, ("username", "nobody"), ("password", "wrong")],
    )
    .await;

    assert_oauth_error(&wrong, 400, "invalid_grant");
    assert_eq!(wrong.without_chance(), unknown.without_chance());
    assert_oauth_error(&grant(&auth, &[]).await, 400, "invalid_request");
    assert_oauth_error(&grant(&auth, &[password]).await, 400, "invalid_request");
    let twice = [
        password,
        password,
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    assert_oauth_error(&grant(&auth, &twice).await, 400, "invalid_request");
    // RFC 6749 §3.2: without a value it counts as left out.
    for empty in [
        [
            ("grant_type", ""),
            ("username", "ada"),
            ("password", PASSWORD),
        ],
        [password, ("username", ""), ("password", PASSWORD)],
        [password, ("username", "ada"), ("password", "")],
    ] {
        let answer = grant(&auth, &empty).await;
        assert_oauth_error(&answer, 400, "invalid_request");
        let description = answer.json["error_description"].as_str().unwrap();
        assert!(description.contains("is missing"), "{description}");
    }
    let other = [("grant_type", "client_credentials")];
    assert_oauth_error(&grant(&auth, &other).await, 400, "unsupported_grant_type");
    let json = auth.post("/token", &credentials("ada", PASSWORD)).await;
    assert_oauth_error(&json, 400, "invalid_request");
    let large = "x".repeat(70_000);
    let large = grant(&auth, &[password, ("username", &large)]).await;
    assert_oauth_error(&large, 413, "invalid_request");
    let throttled = fail_until_throttled(async || {
        let wrong = [password, ("username", "ada"), ("password", "wrong")];
        grant(&auth, &wrong).await
    });
    let (_, throttled) = throttled.await;
    assert_oauth_error(&throttled, 429, "temporarily_unavailable");
    throttled.header("retry-after");
}

#[tokio::test]
async fn an_oauth_client_hears_in_its_own_terms_that_the_database_fails() {
    let auth = Auth::start().await;
    auth.sql("ALTER TABLE users RENAME TO lost").await;

    let form = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", PASSWORD),
    ];
    let answer = grant(&auth, &form).await;

    assert_oauth_error(&answer, 503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

/// Sturdier than the median where something else runs on this machine: that makes some log-ins slower, and none faster.
fn lower_quartile(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 4].as_secs_f64()
}

/// What failed log-ins took: each from the client's side, and all of them of the processor, in seconds.
#[derive(Default)]
struct Failures {
    times: Vec<Duration>,
    cpu_seconds: f64,
}

impl Failures {
    async fn add(&mut self, auth: &Auth, name: &str) {
        let (start, cpu_before) = (Instant::now(), cpu_seconds(auth.process.id()));
        let answer = auth.login(name, "not the password").await;
        self.times.push(start.elapsed());
        self.cpu_seconds += cpu_seconds(auth.process.id()) - cpu_before;
        answer.assert_problem(401, "bad_credentials");
    }
}

#[tokio::test]
async fn a_wrong_password_takes_as_long_as_an_unknown_user_and_as_a_cheaper_hash() {
    const USERS: usize = 25;
    let mut auth = Auth::start_with([("BCRYPT_COST", "6")]).await;
    for number in 0..USERS {
        auth.register(&format!("cheap{number}")).await;
    }
    auth.process.terminate().await;
    // About 20 ms a hash: much more than everything else that a log-in does.
    auth.restart([("BCRYPT_COST", "9")]).await;
    for number in 0..USERS {
        auth.register(&format!("user{number}")).await;
    }
    // The dummy must follow the table: cheaper settings do not make the stored hashes cheaper.
    auth.process.terminate().await;
    auth.restart([("BCRYPT_COST", "5")]).await;

    let [mut known, mut cheap, mut unknown] = [(); 3].map(|()| Failures::default());
    // In turns, so that whatever else this machine does meets all of them; a name each, so that none is throttled.
    for number in 0..USERS {
        known.add(&auth, &format!("user{number}")).await;
        cheap.add(&auth, &format!("cheap{number}")).await;
        unknown.add(&auth, &format!("nobody{number}")).await;
    }

    let cpu_seconds = [&known, &cheap, &unknown].map(|failures| failures.cpu_seconds);
    let seconds = [known, cheap, unknown].map(|failures| lower_quartile(failures.times));
    println!("known, cheaper hash, unknown: processor {cpu_seconds:.2?} s, each {seconds:.4?} s");
    // Without the dummy the unknown ones take a tenth; a cheaper hash alone an eighth. A busy machine changes what a client sees by a
    // third, and hardly what the processor does.
    for (measured, least) in [(cpu_seconds, 0.7), (seconds, 0.55)] {
        let [known, others @ ..] = measured;
        for other in others {
            assert!(
                (least..1.0 / least).contains(&(other / known)),
                "known {known}, other {other}"
            );
        }
    }
}

#[tokio::test]
async fn a_log_in_renews_a_hash_that_is_cheaper_than_it_should_be() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    auth.register("bob").await;
    let cheap = auth.stored_hash("ada").await;
    assert!(cheap.starts_with("$2b$04$"), "{cheap}");
    auth.process.terminate().await;
    auth.restart([("BCRYPT_COST", "6")]).await;

    auth.login("ada", "wrong")
        .await
        .assert_problem(401, "bad_credentials");
    assert_eq!(auth.stored_hash("ada").await, cheap);
    auth.token("ada").await;

    let renewed = auth.stored_hash("ada").await;
    assert!(renewed.starts_with("$2b$06$"), "{renewed}");
    // The wrong password, the right one, and the new hash: each is measured.
    assert_eq!(auth.count("auth_password_hash_seconds_count").await, 3);
    assert!(auth.stored_hash("bob").await.starts_with("$2b$04$"));
    auth.token("ada").await;
    assert_eq!(auth.stored_hash("ada").await, renewed, "once is enough");
}

#[tokio::test]
async fn a_user_whose_hash_is_missing_or_broken_is_a_wrong_password() {
    let auth = Auth::start().await;
    auth.sql("INSERT INTO users (username, email, hashed_password) VALUES ('none', NULL, NULL), ('empty', 'e', ''), ('broken', 'b', '$2b$04$x'), ('dear', 'd', '$2b$99$x'), ('dearest', 'e2', '$2b$31$x')").await;

    for name in ["none", "empty", "broken", "dear", "dearest"] {
        auth.login(name, PASSWORD)
            .await
            .assert_problem(401, "bad_credentials");
    }
}

#[tokio::test]
async fn what_only_looks_like_a_hash_does_not_make_every_log_in_dear() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    // 60 characters each, with a cost where a hash has it: 2^31 rounds would take a day.
    auth.sql("INSERT INTO users (username, email, hashed_password) VALUES ('a', 'a', '0123' || '31' || hex(zeroblob(27))), ('b', 'b', '$2b$31$' || replace(hex(zeroblob(26)), '0', '!') || '!')").await;

    let start = Instant::now();
    auth.login("nobody", "wrong")
        .await
        .assert_problem(401, "bad_credentials");

    assert!(start.elapsed() < Duration::from_mins(1));
}

#[tokio::test]
async fn who_is_disabled_deleted_or_has_a_new_password_while_a_log_in_waits_does_not_get_in() {
    const WAITING: usize = 24;
    let mut auth = Auth::start().await;
    for name in ["disabled", "deleted", "changed", "untouched"] {
        auth.register(name).await;
    }
    auth.process.terminate().await;
    auth.restart([("BCRYPT_COST", "12")]).await;
    let send = |name: String, password: &str| {
        let request = auth
            .http
            .post(format!("{}/login", auth.url))
            .json(&credentials(&name, password));
        tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
    };
    // This request for the metrics is one of the active ones.
    let arrived =
        async |count: usize| auth.count("http_server_active_requests").await > count as u64;
    for number in 0..WAITING {
        drop(send(format!("nobody{number}"), "wrong"));
    }
    eventually("the queue is long", async || arrived(WAITING - 8).await).await;

    let late =
        ["disabled", "deleted", "changed", "untouched"].map(|name| send(name.to_owned(), PASSWORD));
    eventually("they wait too", async || arrived(WAITING - 8).await).await;
    // The database has been asked for them by then.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = auth
        .count(r#"auth_logins_total{result="bad_credentials"}"#)
        .await;
    auth.succeed(&["user", "disable", "disabled"], "").await;
    auth.succeed(&["user", "delete", "deleted"], "").await;
    let mut set_password = auth.command(&["user", "set-password", "changed"]);
    set_password.env("BCRYPT_COST", "4");
    assert!(run(set_password, "another password").await.status.success());

    assert!(before < WAITING as u64, "there was no time to change them");
    let early = late.iter().filter(|log_in| log_in.is_finished()).count();
    assert_eq!(early, 0, "these were answered before the change");
    let [disabled, deleted, changed, untouched] = late;
    for answer in [disabled, deleted, changed] {
        answer.await.unwrap().assert_problem(401, "bad_credentials");
    }
    assert_eq!(untouched.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn hashes_take_a_core_each_and_no_more_and_never_the_threads_that_answer() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let auth = Auth::start_with([("BCRYPT_COST", "13")]).await;
    auth.register("ada").await;
    let log_in = || {
        let request = auth
            .http
            .post(format!("{}/login", auth.url))
            .json(&credentials("ada", PASSWORD));
        tokio::spawn(async move { request.send().await.unwrap().status() })
    };
    let start = Instant::now();
    assert_eq!(log_in().await.unwrap(), StatusCode::OK);
    let hash_takes = start.elapsed();

    // As many as there are threads that answer; if the hashes were on those, nothing would be answered until the first is done.
    let log_ins = (0..cores).map(|_| log_in()).collect::<Vec<_>>();
    tokio::time::sleep(hash_takes / 8).await;
    let asked = Instant::now();
    let greetings = (0..5).map(|_| {
        let request = auth.http.get(&auth.url);
        tokio::spawn(async move {
            assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
            asked.elapsed()
        })
    });
    let mut fastest = Duration::MAX;
    for greeting in greetings.collect::<Vec<_>>() {
        fastest = fastest.min(greeting.await.unwrap());
    }
    for log_in in log_ins {
        assert_eq!(log_in.await.unwrap(), StatusCode::OK);
    }
    println!("a hash takes {hash_takes:?}; meanwhile the fastest of five answers took {fastest:?}");
    assert!(fastest < hash_takes / 2, "{fastest:?} of {hash_takes:?}");

    // Three times as many as there are cores: those beyond wait.
    let log_ins = (0..3 * cores).map(|_| log_in()).collect::<Vec<_>>();
    let mut most = 0;
    while !log_ins.iter().all(tokio::task::JoinHandle::is_finished) {
        let text = auth.get("/metrics").await.text;
        let count = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        let begun = count("auth_hash_queue_seconds_count");
        most = most.max(begun - count("auth_password_hash_seconds_count"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(most, cores as u64);
}

#[tokio::test]
async fn a_full_queue_is_told_at_once_and_other_routes_go_on_answering() {
    let auth = Auth::start_with([("BCRYPT_COST", "10")]).await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let attempts = (0..400).map(|_| {
        let request = auth
            .http
            .post(format!("{}/login", auth.url))
            .json(&credentials("ada", PASSWORD));
        tokio::spawn(async move {
            let start = Instant::now();
            let answer = Answer::of(request.send().await.unwrap()).await;
            (answer, start.elapsed())
        })
    });
    let attempts = attempts.collect::<Vec<_>>();
    eventually("the queue is full", async || {
        auth.count("auth_hash_rejected_total").await > 0
    })
    .await;

    // Asked while the queue is full.
    let start = Instant::now();
    assert_eq!(auth.get("/").await.status, StatusCode::OK);
    assert_eq!(auth.me(&token).await.status, StatusCode::OK);
    assert_eq!(auth.get("/readyz").await.status, StatusCode::OK);
    let others = start.elapsed();
    let mut served = Vec::new();
    let mut refused = Vec::new();
    for attempt in attempts {
        let (answer, time) = attempt.await.unwrap();
        if answer.status == StatusCode::OK {
            served.push(time);
        } else {
            answer.assert_problem(503, "busy");
            assert_eq!(answer.header("retry-after"), "1");
            refused.push(time);
        }
    }

    assert!(served.len() >= 128, "the queue holds 128: {}", served.len());
    assert!(!refused.is_empty(), "400 at once do not fit");
    let last = served.iter().max().unwrap();
    let (refused_in, first) = (median(refused.clone()), refused.len());
    println!(
        "{} taken, the last after {last:?}; {first} refused, half of them within {refused_in:.3} s; other routes within {others:?}",
        served.len()
    );
    // Those that were hashed while the 400 came had made room for as many.
    assert!(served.len() <= 250, "and no more: {}", served.len());
    assert!(
        refused_in < last.as_secs_f64() / 2.0,
        "a refusal must not wait for the queue"
    );
    assert!(others < *last, "other routes must not wait for the queue");
    let rejected = auth.count("auth_hash_rejected_total").await;
    assert_eq!(rejected, u64::try_from(first).unwrap());
    assert_eq!(
        auth.count(r#"auth_logins_total{result="busy"}"#).await,
        rejected
    );
}
