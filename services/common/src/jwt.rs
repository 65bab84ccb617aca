//! JSON Web Tokens (RFC 7519), signed with a key that both services hold.
//!
//! The auth service signs, both verify. The algorithm is pinned, there is no leeway, and a token needs no more than
//! the claims of the old backend: `sub`, `username`, `exp`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use prometheus::IntCounterVec;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

pub use self::key::SecretKey;
use crate::clock;
use crate::code;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::request::RequestLog;

mod key;

/// How tokens are signed: the same in both services.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// The key that signs and verifies tokens, at least 32 bytes. Both services must have the same.
    #[arg(long, env = "JWT_SECRET_KEY", hide_env_values = true)]
    pub jwt_secret_key: SecretKey,
    /// The key before this one: tokens that it signed are taken until they expire, none is signed by it any more.
    #[arg(long, env = "JWT_SECRET_KEY_PREVIOUS", hide_env_values = true)]
    pub jwt_secret_key_previous: Option<SecretKey>,
    /// The algorithm of the tokens.
    #[arg(long, env = "ALGORITHM", default_value = "HS256", ignore_case = true)]
    pub algorithm: Algorithm,
}

/// A signature algorithm with a shared key (RFC 7518 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    #[value(name = "HS256")]
    Hs256,
    /// HMAC with SHA-384.
    #[value(name = "HS384")]
    Hs384,
    /// HMAC with SHA-512.
    #[value(name = "HS512")]
    Hs512,
}

impl Algorithm {
    /// Its name in a token's header.
    const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Hs384 => Self::HS384,
            Algorithm::Hs512 => Self::HS512,
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claims {
    /// The user's id, as a string.
    pub sub: String,
    /// The user's name when the token was made.
    pub username: String,
    /// The second from which the token is no longer taken, since 1970.
    pub exp: u64,
    /// The second in which the token was made, since 1970. The old backend's tokens have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// A name for this token alone. The old backend's tokens have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// Makes tokens.
#[derive(Clone)]
pub struct Signer {
    header: Header,
    key: EncodingKey,
}

impl Signer {
    /// A signer for these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            header: Header::new(settings.algorithm.into()),
            key: EncodingKey::from_secret(settings.jwt_secret_key.expose().as_bytes()),
        }
    }

    /// A token for this user that is taken for `lifetime_seconds` from now.
    pub fn sign(
        &self,
        user_id: i64,
        username: &str,
        lifetime_seconds: u64,
    ) -> jsonwebtoken::errors::Result<String> {
        let now = clock::unix_seconds();
        let claims = Claims {
            sub: user_id.to_string(),
            username: username.to_owned(),
            exp: now.saturating_add(lifetime_seconds),
            iat: Some(now),
            jti: Some(Uuid::new_v4().to_string()),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
    }
}

/// Verifies tokens, and counts those that it does not take.
#[derive(Clone)]
pub struct Verifier {
    /// The key, and the one before it.
    keys: Vec<DecodingKey>,
    validation: Validation,
    algorithm: &'static str,
    rejected: IntCounterVec,
}

impl Verifier {
    /// A verifier for these settings.
    pub fn new(settings: &Settings, metrics: &Metrics) -> Self {
        let Settings {
            jwt_secret_key,
            jwt_secret_key_previous,
            algorithm,
        } = settings;
        let mut validation = Validation::new((*algorithm).into());
        validation.leeway = 0;
        validation.validate_aud = false;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        let keys = [Some(jwt_secret_key), jwt_secret_key_previous.as_ref()];
        let keys = keys.into_iter().flatten();
        Self {
            keys: keys
                .map(|key| DecodingKey::from_secret(key.expose().as_bytes()))
                .collect(),
            validation,
            algorithm: algorithm.name(),
            rejected: metrics.jwt_rejected.clone(),
        }
    }

    /// The user whom the request's bearer token (RFC 6750 §2.1) names.
    pub fn verify(&self, headers: &HeaderMap) -> Result<AuthUser, Rejection> {
        let value = headers.get(AUTHORIZATION).ok_or(Rejection::Missing)?;
        let value = value.to_str().map_err(|_| Rejection::Malformed)?;
        let (scheme, token) = value.split_once(' ').ok_or(Rejection::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Rejection::Missing);
        }
        let Claims {
            sub, username, exp, ..
        } = self.claims(token.trim())?;
        // RFC 7519 §4.1.4: not taken on the second of `exp` either.
        if exp <= clock::unix_seconds() {
            return Err(Rejection::Expired);
        }
        let id = sub.parse()?;
        Ok(AuthUser { id, username })
    }

    fn claims(&self, token: &str) -> Result<Claims, Rejection> {
        let mut rejection = Rejection::Signature;
        for key in &self.keys {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                // RFC 7515 §4.1.11: what must be understood is not, whatever it is.
                Ok(token) if token.header.crit.is_some() => return Err(Rejection::Malformed),
                Ok(token) => return Ok(token.claims),
                Err(error) => rejection = error.kind().into(),
            }
            // Only another key can help, and only here.
            if rejection != Rejection::Signature {
                break;
            }
        }
        if rejection == Rejection::Malformed && self.names_another_algorithm(token) {
            return Err(Rejection::Algorithm);
        }
        Err(rejection)
    }

    /// Whether the token says that it is signed in another way. The library knows `none` and other words as no algorithms at
    /// all, and cannot tell such a token from a broken one.
    fn names_another_algorithm(&self, token: &str) -> bool {
        let header = token.split('.').next().unwrap_or_default();
        let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
        let header: Value = serde_json::from_slice(&header).unwrap_or_default();
        let named = header["alg"].as_str();
        named.is_some_and(|named| named != self.algorithm)
    }
}

/// The user who sent a request, as the token says.
#[derive(Clone, Debug)]
pub struct AuthUser {
    /// The user's id.
    pub id: UserId,
    /// The user's name when the token was made.
    pub username: String,
}

impl<S> FromRequestParts<S> for AuthUser
where
    Arc<Verifier>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let verifier = Arc::<Verifier>::from_ref(state);
        let log = RequestLog::of(parts);
        match verifier.verify(&parts.headers) {
            Ok(user) => {
                log.user(&user.id);
                Ok(user)
            }
            Err(rejection) => {
                verifier
                    .rejected
                    .with_label_values(&[rejection.name()])
                    .inc();
                log.token_rejected(rejection.name());
                Err(rejection.into())
            }
        }
    }
}

/// A user's id where it becomes part of an object key: `^[A-Za-z0-9_-]{1,64}$`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct UserId(String);

impl UserId {
    /// The id as it stands in the token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserId {
    type Err = Rejection;

    fn from_str(sub: &str) -> Result<Self, Rejection> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&sub.len()) || !sub.bytes().all(plain) {
            return Err(Rejection::Subject);
        }
        Ok(Self(sub.to_owned()))
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Why a token is not taken. The client is told only that it is not; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// There is no bearer token.
    Missing,
    /// It is not a token, or a claim is missing.
    Malformed,
    /// It names another algorithm than the pinned one.
    Algorithm,
    /// The signature is not by our key.
    Signature,
    /// Its time is over.
    Expired,
    /// `sub` is not an id of ours.
    Subject,
}

impl From<&ErrorKind> for Rejection {
    fn from(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => Self::Algorithm,
            ErrorKind::ExpiredSignature => Self::Expired,
            _ => Self::Malformed,
        }
    }
}

impl Rejection {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Missing,
        Self::Malformed,
        Self::Algorithm,
        Self::Signature,
        Self::Expired,
        Self::Subject,
    ];

    /// Its name as the label of a metric and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Algorithm => "algorithm",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Subject => "subject",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Missing => code::TOKEN_MISSING.into(),
            Rejection::Expired => code::TOKEN_EXPIRED.into(),
            Rejection::Malformed
            | Rejection::Algorithm
            | Rejection::Signature
            | Rejection::Subject => code::TOKEN_INVALID.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::metrics::BuildInfo;

    fn settings(algorithm: Algorithm) -> Settings {
        Settings {
            jwt_secret_key: "0123456789abcdef0123456789abcdef".parse().unwrap(),
            jwt_secret_key_previous: None,
            algorithm,
        }
    }

    fn verify(token: &str) -> Result<AuthUser, Rejection> {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        headers.insert(AUTHORIZATION, value);
        let build = BuildInfo {
            version: "0",
            revision: "test",
        };
        let metrics = Metrics::new(build).unwrap();
        Verifier::new(&settings(Algorithm::Hs256), &metrics).verify(&headers)
    }

    fn sign(claims: &serde_json::Value, algorithm: Algorithm) -> String {
        let signer = Signer::new(&settings(algorithm));
        jsonwebtoken::encode(&signer.header, claims, &signer.key).unwrap()
    }

    #[test]
    fn a_token_with_only_the_claims_of_the_old_backend_is_taken() {
        let exp = clock::unix_seconds() + 60;
        let claims = serde_json::json!({"sub": "7", "username": "ada", "exp": exp});

        let user = verify(&sign(&claims, Algorithm::Hs256)).unwrap();

        assert_eq!(user.id.as_str(), "7");
        assert_eq!(user.username, "ada");
    }

    #[test]
    fn a_token_is_not_taken_on_the_second_it_expires() {
        let claims =
            serde_json::json!({"sub": "7", "username": "ada", "exp": clock::unix_seconds()});

        assert_eq!(
            verify(&sign(&claims, Algorithm::Hs256)).unwrap_err(),
            Rejection::Expired
        );
    }

    #[test]
    fn another_algorithm_is_not_taken_even_with_the_right_key() {
        let exp = clock::unix_seconds() + 60;
        let claims = serde_json::json!({"sub": "7", "username": "ada", "exp": exp});

        assert_eq!(
            verify(&sign(&claims, Algorithm::Hs512)).unwrap_err(),
            Rejection::Algorithm
        );
    }

    #[test]
    fn a_token_that_has_not_begun_or_asks_for_what_is_not_understood_is_not_taken() {
        let exp = clock::unix_seconds() + 60;
        let begins =
            |nbf: u64| serde_json::json!({"sub": "7", "username": "ada", "exp": exp, "nbf": nbf});
        let signer = Signer::new(&settings(Algorithm::Hs256));
        let mut header = signer.header.clone();
        header.crit = Some(vec!["exp".to_owned()]);
        let critical = jsonwebtoken::encode(&header, &begins(0), &signer.key).unwrap();

        verify(&sign(&begins(exp - 60), Algorithm::Hs256)).unwrap();
        for token in [sign(&begins(exp), Algorithm::Hs256), critical] {
            assert_eq!(verify(&token).unwrap_err(), Rejection::Malformed, "{token}");
        }
    }

    #[test]
    fn a_subject_that_could_leave_its_folder_is_not_taken() {
        let exp = clock::unix_seconds() + 60;
        for sub in ["", "../2", "a/b", "%2f", "a\0", "ä", &"x".repeat(65)] {
            let claims = serde_json::json!({"sub": sub, "username": "ada", "exp": exp});
            let rejection = verify(&sign(&claims, Algorithm::Hs256)).unwrap_err();
            assert_eq!(rejection, Rejection::Subject, "{sub:?}");
        }
    }

    #[test]
    fn a_key_is_not_shown_by_debug_and_a_short_one_is_refused() {
        let settings = settings(Algorithm::Hs256);

        assert!(!format!("{settings:?}").contains("0123456789abcdef"));
        assert!("short".parse::<SecretKey>().is_err());
    }
}
