//! What people see who come with a browser: Swagger UI at `/docs`, and a page at `/` that says what this is (contract §3).
//!
//! Everything is in the program and comes from its own address. The pages may load and ask nothing else: each says so in a
//! content security policy of its own.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    LOCATION, REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use flate2::read::GzDecoder;
use serde_json::Value;
use tracing::error;
use url::Url;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

pub use self::welcome::{About, Greeting, Link, Welcome};
use crate::problem::Problem;
use crate::{code, documentation};

mod welcome;

/// Where Swagger UI is.
pub const PATH: &str = "/docs";

/// Where the files of Swagger UI are.
pub const FILES: &str = "/docs/{*path}";

/// What every page may do: load its own files, ask its own service, be framed by nobody.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What Swagger UI does besides: it draws with pictures that stand in its style sheet.
const POLICY_OF_SWAGGER: &str = "script-src 'self'; style-src 'self'; img-src 'self' data:";

/// The library's own page has a title that says nothing when the pages of two services are open.
const SWAGGER_PAGE: &str = include_str!("pages/swagger.html");

/// The routes of Swagger UI, which shows the service's own description. Its *Authorize* may ask for a token at `token_url`, if
/// that is another service's.
pub fn table(documentation: &Value, token_url: Option<&Url>) -> anyhow::Result<Router> {
    let title = documentation["info"]["title"].as_str();
    let title = title.context("the description has no title")?;
    let config = Config::from(documentation::PATH)
        .use_base_layout()
        .deep_linking(true)
        .display_request_duration(true)
        .default_models_expand_depth(-1)
        // Its default sends the description's address to a service on the internet.
        .validator_url("none");
    let config = Arc::new(config);
    let other = token_url.map_or_else(String::new, |url| {
        format!(" {}", url.origin().ascii_serialization())
    });
    let policy = format!("{POLICY}; {POLICY_OF_SWAGGER}; connect-src 'self'{other}");
    let headers = page_headers(&policy)?;
    let page = (
        headers.clone(),
        Html(SWAGGER_PAGE.replace("{title}", title)),
    );
    let page = async move || page.clone();
    let unpacked = Arc::new(Unpacked::default());
    let file = async move |path: Result<Path<String>, PathRejection>, asked: HeaderMap| {
        let Ok(Path(path)) = path else {
            return Problem::from(code::NOT_FOUND).into_response();
        };
        match serve(&path, Arc::clone(&config)) {
            Ok(Some(file)) => {
                let file = answer_file(&path, file, &asked, &unpacked);
                (headers.clone(), file).into_response()
            }
            Ok(None) => Problem::from(code::NOT_FOUND).into_response(),
            Err(cause) => {
                error!(%cause, "Swagger UI cannot be written");
                Problem::internal().into_response()
            }
        }
    };
    // Its files are named relative to the page, so the page's address ends in a slash.
    let redirect = async || {
        let location = HeaderValue::from_static("/docs/");
        (StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)])
    };
    let router = Router::new()
        .route(PATH, get(redirect))
        .route("/docs/", get(page))
        .route(FILES, get(file));
    Ok(router)
}

/// A file of Swagger UI's. Browsers ask each time: the next release may have others under the same names.
fn answer_file(
    path: &str,
    file: SwaggerFile<'static>,
    asked: &HeaderMap,
    unpacked: &Unpacked,
) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    if let Ok(content_type) = HeaderValue::from_str(&file.content_type) {
        headers.insert(CONTENT_TYPE, content_type);
    }
    if !file.gzpipped {
        return (headers, Bytes::from_owner(file.bytes)).into_response();
    }
    if takes_gzip(asked) {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        return (headers, Bytes::from_owner(file.bytes)).into_response();
    }
    match unpacked.get(path, &file.bytes) {
        Ok(bytes) => (headers, bytes).into_response(),
        Err(cause) => {
            error!(%cause, "a file of Swagger UI cannot be unpacked");
            Problem::internal().into_response()
        }
    }
}

/// Files for clients that do not take them packed, by their paths, kept from the first such request on. All who read one share it: it is 1.5 MB,
/// and they may read as slowly as they like.
#[derive(Default)]
struct Unpacked(Mutex<HashMap<String, Bytes>>);

impl Unpacked {
    fn get(&self, path: &str, packed: &[u8]) -> io::Result<Bytes> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = files.get(path) {
            return Ok(bytes.clone());
        }
        let mut bytes = Vec::new();
        GzDecoder::new(packed).read_to_end(&mut bytes)?;
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        files.insert(path.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// Whether `Accept-Encoding` (RFC 9110 §12.5.3) names gzip. All browsers do.
fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        is_gzip && !parts.any(|part| ["q=0", "q=0.0", "q=0.00", "q=0.000"].contains(&part))
    })
}

/// The headers of a page with this policy.
fn page_headers(policy: &str) -> anyhow::Result<HeaderMap> {
    let policy = HeaderValue::from_str(policy).context("writing the content security policy")?;
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    let named = [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // For browsers that do not know `frame-ancestors`.
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (opener, HeaderValue::from_static("same-origin")),
    ];
    Ok(named.into_iter().collect())
}
