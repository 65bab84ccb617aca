//! Which tokens are taken.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};
use transcription_tests::auth::Auth;
use transcription_tests::client::Answer;
use transcription_tests::python::python;
use transcription_tests::stack::SIGNING_KEY;

const OTHER_KEY: &str = "another-key-for-tests-of-48-bytes-0123456789abcd";

#[expect(clippy::disallowed_methods, reason = "a test makes tokens of its own")]
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn claims(expires_in: i64) -> Value {
    json!({"sub": "1", "username": "ada", "exp": now().checked_add_signed(expires_in).unwrap()})
}

fn sign(claims: &Value, algorithm: Algorithm, key: &str) -> String {
    let key = EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// Base64 without padding, as tokens have it.
fn base64url(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_token_that_is_not_ours_is_refused_and_counted_by_reason() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let good = sign(&claims(60), Algorithm::HS256, SIGNING_KEY);
    assert_eq!(auth.me(&good).await.status, StatusCode::OK);
    let body = base64url(&claims(60).to_string());
    let none = format!("{}.{body}.", base64url(r#"{"alg":"none","typ":"JWT"}"#));
    let unsigned = format!("{}.{body}.", base64url(r#"{"alg":"HS256","typ":"JWT"}"#));
    let rsa = format!(
        "{}.{body}.c2ln",
        base64url(r#"{"alg":"RS256","typ":"JWT"}"#)
    );
    let changed = {
        let mut parts = good.split('.').collect::<Vec<_>>();
        let admin =
            base64url(&json!({"sub": "2", "username": "root", "exp": now() + 60}).to_string());
        parts[1] = &admin;
        parts.join(".")
    };
    let no_exp = json!({"sub": "1", "username": "ada"});
    let folder = json!({"sub": "../2", "username": "ada", "exp": now() + 60});
    let cases = [
        ("algorithm", "token_invalid", none),
        ("algorithm", "token_invalid", rsa),
        (
            "algorithm",
            "token_invalid",
            sign(&claims(60), Algorithm::HS384, SIGNING_KEY),
        ),
        (
            "algorithm",
            "token_invalid",
            sign(&claims(60), Algorithm::HS512, SIGNING_KEY),
        ),
        ("signature", "token_invalid", unsigned),
        ("signature", "token_invalid", changed),
        (
            "signature",
            "token_invalid",
            sign(&claims(60), Algorithm::HS256, OTHER_KEY),
        ),
        (
            "expired",
            "token_expired",
            sign(&claims(-1), Algorithm::HS256, SIGNING_KEY),
        ),
        (
            "malformed",
            "token_invalid",
            sign(&no_exp, Algorithm::HS256, SIGNING_KEY),
        ),
        ("malformed", "token_invalid", "not.a.token".to_owned()),
        (
            "subject",
            "token_invalid",
            sign(&folder, Algorithm::HS256, SIGNING_KEY),
        ),
    ];

    for (reason, code, token) in cases {
        let counted = format!("jwt_rejected_total{{reason=\"{reason}\"}}");
        let before = auth.count(&counted).await;
        let answer = auth.me(&token).await;
        answer.assert_problem(401, code);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert_eq!(auth.count(&counted).await, before + 1, "{reason}: {token}");
    }
    auth.get("/me").await.assert_problem(401, "token_missing");
    assert_eq!(
        auth.count(r#"jwt_rejected_total{reason="missing"}"#).await,
        1
    );
}

#[tokio::test]
async fn a_token_of_the_previous_key_is_taken_and_new_ones_are_signed_by_the_new_key() {
    let mut auth = Auth::start_with([("JWT_SECRET_KEY", OTHER_KEY)]).await;
    auth.register("ada").await;
    let before = auth.token("ada").await;
    auth.process.terminate().await;

    auth.restart([
        ("JWT_SECRET_KEY", SIGNING_KEY),
        ("JWT_SECRET_KEY_PREVIOUS", OTHER_KEY),
    ])
    .await;
    assert_eq!(auth.me(&before).await.status, StatusCode::OK);
    let after = auth.token("ada").await;
    let expired = sign(&claims(-1), Algorithm::HS256, OTHER_KEY);
    auth.me(&expired).await.assert_problem(401, "token_expired");
    auth.process.terminate().await;

    auth.restart([("JWT_SECRET_KEY_PREVIOUS", "")]).await;
    assert_eq!(auth.me(&after).await.status, StatusCode::OK);
    auth.me(&before).await.assert_problem(401, "token_invalid");
}

#[tokio::test]
async fn the_algorithm_can_be_set_and_is_then_the_only_one() {
    let auth =
        Auth::start_with([("ALGORITHM", "HS512"), ("ACCESS_TOKEN_EXPIRE_MINUTES", "2")]).await;
    auth.register("ada").await;

    let answer = auth
        .login("ada", transcription_tests::client::PASSWORD)
        .await;

    assert_eq!(answer.json["expires_in"], 120);
    let token = answer.json["access_token"].as_str().unwrap();
    assert_eq!(
        jsonwebtoken::decode_header(token).unwrap().alg,
        Algorithm::HS512
    );
    assert_eq!(auth.me(token).await.status, StatusCode::OK);
    let other = sign(&claims(60), Algorithm::HS256, SIGNING_KEY);
    auth.me(&other).await.assert_problem(401, "token_invalid");
}

#[tokio::test]
async fn python_verifies_our_token_and_we_verify_pythons() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let ours = auth.token("ada").await;

    let read = python(
        "import jwt, json, sys; print(json.dumps(jwt.decode(sys.argv[1], sys.argv[2], algorithms=['HS256'])))",
        &[&ours, SIGNING_KEY],
    )
    .await;
    // As the old backend made them: no more than these three claims.
    let theirs = python(
        "import jwt, sys, datetime as d; exp = d.datetime.now(d.timezone.utc) + d.timedelta(minutes=30); \
         print(jwt.encode({'sub': '1', 'username': 'ada', 'exp': exp}, sys.argv[1], algorithm='HS256'))",
        &[SIGNING_KEY],
    )
    .await;

    let read: Value = serde_json::from_str(&read).unwrap();
    assert_eq!(read["sub"], "1");
    assert_eq!(read["username"], "ada");
    assert_eq!(
        read["exp"].as_u64().unwrap(),
        read["iat"].as_u64().unwrap() + 1800
    );
    assert!(read["jti"].is_string());
    assert_eq!(auth.me(&theirs).await.json["username"], "ada");
}

#[tokio::test]
async fn the_header_may_be_written_in_any_usual_way_and_in_no_other() {
    let auth = Auth::start().await;
    auth.register("ada").await;
    let token = auth.token("ada").await;
    let ask = async |value: Vec<u8>| {
        let request = auth
            .http
            .get(format!("{}/me", auth.url))
            .header("authorization", value);
        Answer::of(request.send().await.unwrap()).await
    };

    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = ask(format!("{scheme} {token}").into_bytes()).await;
        assert_eq!(answer.status, StatusCode::OK, "{scheme}");
    }
    for (value, code) in [
        (&b"Bearer"[..], "token_invalid"),
        (b"Bearer ", "token_invalid"),
        (b"", "token_invalid"),
        (b"Bearer \xff\xfe", "token_invalid"),
        (b"Basic YWRhOmFkYQ==", "token_missing"),
    ] {
        ask(value.to_vec()).await.assert_problem(401, code);
    }
}
