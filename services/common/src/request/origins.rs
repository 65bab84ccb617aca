//! Which web pages may call from a browser (CORS).

use std::str::FromStr;
use std::time::Duration;

use axum::http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::{Origin, Url};

use super::REQUEST_ID;

/// Swagger UI sends it when it asks for a token.
const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
/// How long a browser may remember what it was allowed.
const PREFLIGHT_AGE: Duration = Duration::from_mins(10);

/// The origins (RFC 6454) that may call from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// All of them.
    Any,
    /// These.
    Listed(Vec<HeaderValue>),
}

impl AllowedOrigins {
    /// Nothing if no origin is allowed: a browser then refuses by itself.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::Any => AllowOrigin::any(),
            Self::Listed(origins) if origins.is_empty() => return None,
            Self::Listed(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, REQUEST_ID, REQUESTED_WITH])
            .expose_headers([REQUEST_ID, RETRY_AFTER, ALLOW])
            .max_age(PREFLIGHT_AGE);
        Some(layer)
    }
}

impl AllowedOrigins {
    /// These origins too.
    #[must_use]
    pub fn with(self, further: impl IntoIterator<Item = HeaderValue>) -> Self {
        match self {
            Self::Any => Self::Any,
            Self::Listed(mut origins) => {
                origins.extend(further);
                Self::Listed(origins)
            }
        }
    }
}

impl FromStr for AllowedOrigins {
    type Err = String;

    fn from_str(origins: &str) -> Result<Self, String> {
        if origins.trim() == "*" {
            return Ok(Self::Any);
        }
        let origins = origins.split(',').map(str::trim);
        let listed = origins.filter(|origin| !origin.is_empty()).map(|origin| {
            let is_one = Url::parse(origin).map(|url| url.origin()).is_ok_and(|parsed| {
                matches!(parsed, Origin::Tuple(..)) && parsed.ascii_serialization() == origin
            });
            let value = HeaderValue::from_str(origin).ok().filter(|_| is_one);
            value.ok_or_else(|| {
                format!("{origin} is no origin: scheme, host and port, in lower case and without a path; for example https://app.example.com")
            })
        });
        Ok(Self::Listed(listed.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        let parse = |origins: &str| origins.parse::<AllowedOrigins>();
        let listed = |origins: &[&'static str]| {
            AllowedOrigins::Listed(
                origins
                    .iter()
                    .map(|origin| HeaderValue::from_static(origin))
                    .collect(),
            )
        };

        assert_eq!(parse("").unwrap(), listed(&[]));
        assert_eq!(
            parse("https://a.example, http://localhost:3000").unwrap(),
            listed(&["https://a.example", "http://localhost:3000"])
        );
        assert_eq!(parse("*").unwrap(), AllowedOrigins::Any);
        for wrong in [
            "https://a.example/",
            "a.example",
            "https://A.example",
            "null",
            "https://a.example:443",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
