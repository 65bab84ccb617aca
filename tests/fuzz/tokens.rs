//! JSON Web Tokens: only one that our key signed, by our algorithm, with claims as they should be, is taken.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Map, Value, json};
use transcription_common::clock;
use transcription_common::jwt::{self, Verifier};
use transcription_common::metrics::{BuildInfo, Metrics};
use transcription_tests::arbitrary::{try_for_a_while, within};
use transcription_tests::stack::SIGNING_KEY;

use super::change::{Change, changed, changes};
use super::time;

const PREVIOUS: &str = "the-previous-signing-key-of-48-bytes-0123456789a";
const OTHER: &str = "the-signing-key-of-somebody-else-0123456789abcde";
const LIMIT: Duration = Duration::from_secs(10);

fn verifier() -> Verifier {
    let settings = jwt::Settings {
        jwt_secret_key: SIGNING_KEY.parse().unwrap(),
        jwt_secret_key_previous: Some(PREVIOUS.parse().unwrap()),
        algorithm: jwt::Algorithm::Hs256,
    };
    let build = BuildInfo {
        version: "0",
        revision: "test",
    };
    Verifier::new(&settings, &Metrics::new(build).unwrap())
}

/// A token before it is signed, and how it is.
#[derive(Clone, Debug)]
struct Token {
    header: Value,
    claims: String,
    key: &'static str,
    algorithm: Algorithm,
}

impl Token {
    fn signed(&self) -> String {
        let header = BASE64_URL_SAFE_NO_PAD.encode(self.header.to_string());
        let claims = BASE64_URL_SAFE_NO_PAD.encode(&self.claims);
        let message = format!("{header}.{claims}");
        let key = EncodingKey::from_secret(self.key.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }

    /// Whom it names, if it is to be taken.
    fn user(&self) -> Option<String> {
        let is_ours = [SIGNING_KEY, PREVIOUS].contains(&self.key);
        let is_pinned = self.algorithm == Algorithm::HS256 && self.header["alg"] == "HS256";
        let is_understood = self.header.get("crit").is_none();
        let claims = serde_json::from_str::<Map<String, Value>>(&self.claims).ok()?;
        let sub = claims.get("sub")?.as_str()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        let is_id = (1..=64).contains(&sub.len()) && sub.bytes().all(plain);
        let is_in_time = claims.get("exp")?.as_u64()? > clock::unix_seconds();
        let has_begun = claims.get("nbf").is_none_or(has_come);
        let is_or = |name: &str, fits: fn(&Value) -> bool| {
            let claim = claims.get(name);
            claim.is_none_or(|claim| claim.is_null() || fits(claim))
        };
        let is_well_formed = is_or("iat", Value::is_u64) && is_or("jti", Value::is_string);
        claims.get("username")?.as_str()?;
        let is_right = is_ours && is_pinned && is_understood && is_well_formed;
        (is_right && is_id && is_in_time && has_begun).then(|| sub.to_owned())
    }
}

/// Whether a moment is one, and not to come. It may be within a second (RFC 7519 §2).
fn has_come(moment: &Value) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "as the library does")]
    let now = clock::unix_seconds() as f64;
    let moment = moment.as_f64();
    moment.is_some_and(|moment| moment >= 0.0 && moment.round() <= now)
}

fn tokens() -> impl Strategy<Value = Token> {
    let algorithms = prop::sample::select(vec![
        Algorithm::HS256,
        Algorithm::HS256,
        Algorithm::HS384,
        Algorithm::HS512,
    ]);
    let keys = prop::sample::select(vec![SIGNING_KEY, SIGNING_KEY, PREVIOUS, OTHER]);
    (header(), claims(), keys, algorithms).prop_map(|(header, claims, key, algorithm)| Token {
        header,
        claims,
        key,
        algorithm,
    })
}

fn header() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "HS256", "HS256", "HS256", "HS256", "HS384", "HS512", "none", "None", "hs256", "RS256",
        "ES256", "EdDSA", "", "HS256 ",
    ]);
    let further = prop::sample::select(vec![
        json!({}),
        json!({}),
        json!({}),
        json!({"typ": "JWT"}),
        json!({"typ": "at+jwt", "cty": "JWT"}),
        json!({"kid": "../../../dev/null"}),
        json!({"kid": "' OR 1=1 --"}),
        json!({"jku": "http://127.0.0.1:9/keys"}),
        json!({"x5u": "http://127.0.0.1:9/keys"}),
        json!({"crit": ["exp"]}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"zip": "DEF"}),
    ]);
    (names, further).prop_map(|(name, mut header)| {
        header["alg"] = name.into();
        header
    })
}

/// Claims of a user, with some that are other than they should be.
fn claims() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "sub", "username", "exp", "nbf", "iat", "jti", "aud", "x",
    ]);
    let others = prop::collection::vec((name, claim()), 0..3);
    let user = "[A-Za-z0-9_-]{1,64}";
    (user, others).prop_map(|(user, others)| {
        let mut claims = json!({"sub": user, "username": "ada", "exp": 4_102_444_800_u64});
        for (name, value) in others {
            claims[name] = value;
        }
        claims.to_string()
    })
}

fn claim() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[A-Za-z0-9_./%-]{0,70}".prop_map(Value::from),
        (-100..100_i64).prop_map(|seconds| {
            // Seconds that pass while the token is looked at would make the test guess.
            let seconds = if seconds.abs() < 60 {
                1000
            } else {
                seconds * 60
            };
            Value::from(i64::try_from(clock::unix_seconds()).unwrap() + seconds)
        }),
        Just(Value::Null),
        Just(json!(true)),
        Just(json!(["1"])),
        Just(json!({"a": {"b": []}})),
    ]
}

/// Whom the verifier takes the token for.
fn taken(verifier: &Verifier, token: &[u8]) -> Result<Option<String>, TestCaseError> {
    let mut value = b"Bearer ".to_vec();
    value.extend_from_slice(token);
    let Ok(value) = HeaderValue::from_bytes(&value) else {
        return Ok(None);
    };
    let verifier = verifier.clone();
    within(LIMIT, move || {
        let headers = HeaderMap::from_iter([(axum::http::header::AUTHORIZATION, value)]);
        verifier
            .verify(&headers)
            .ok()
            .map(|user| user.id.as_str().to_owned())
    })
}

#[test]
fn only_a_token_that_is_right_in_everything_is_taken() {
    let verifier = verifier();
    let good = Token {
        header: json!({"alg": "HS256"}),
        claims: json!({"sub": "7", "username": "ada", "exp": 4_102_444_800_u64}).to_string(),
        key: SIGNING_KEY,
        algorithm: Algorithm::HS256,
    };
    let user = taken(&verifier, good.signed().as_bytes()).unwrap();
    assert_eq!(user.as_deref(), Some("7"));

    let tried = try_for_a_while(time() / 2, &tokens(), |token| {
        let user = taken(&verifier, token.signed().as_bytes())?;
        prop_assert_eq!(user, token.user());
        Ok(())
    });
    println!("{tried} tokens were tried");

    let inputs = (tokens(), changes(), any::<bool>());
    let tried = try_for_a_while(time() / 2, &inputs, |(token, changes, is_inside)| {
        let signed = token.signed();
        let other = other(&signed, &changes, is_inside);
        let user = taken(&verifier, &other)?;
        // White space around a token is none of it.
        let is_same = other.trim_ascii() == signed.as_bytes();
        prop_assert!(is_same || user.is_none(), "taken for {user:?}");
        Ok(())
    });
    println!("{tried} changed tokens were tried");
}

/// A token that was changed after it was signed: its letters, or what the letters of its claims stand for.
fn other(signed: &str, changes: &[Change], is_inside: bool) -> Vec<u8> {
    if !is_inside {
        return changed(signed.as_bytes().to_vec(), changes);
    }
    let parts = signed.split('.').collect::<Vec<_>>();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.encode(changed(claims, changes));
    format!("{}.{claims}.{}", parts[0], parts[2]).into_bytes()
}
