//! `GET /`: a sentence for programs, which is the old backend's, and a page for people.

use std::sync::Arc;

use axum::http::header::{ACCEPT, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{POLICY, page_headers};
use crate::json::Json;

const PAGE: &str = include_str!("welcome.html");
const STYLE: &str = include_str!("welcome.css");

/// That the service runs, for programs.
#[derive(Clone, Copy, Serialize, ToSchema)]
pub struct Greeting {
    /// A sentence.
    message: &'static str,
}

/// A line of the page: an address and what is there.
pub struct Link {
    /// The address, which is ours: nothing in it needs to be escaped.
    pub address: String,
    /// What it is called.
    pub name: &'static str,
    /// What is there.
    pub about: &'static str,
}

/// What `GET /` answers.
#[derive(Clone)]
pub struct Welcome(Arc<Answers>);

struct Answers {
    greeting: Greeting,
    page: (HeaderMap, Html<String>),
}

/// What a service says of itself.
pub struct About {
    /// Its name.
    pub title: &'static str,
    /// The old backend's sentence.
    pub message: &'static str,
    /// What it does, in a sentence or two.
    pub about: &'static str,
    /// Its release.
    pub version: &'static str,
    /// What belongs to it elsewhere.
    pub further: Vec<Link>,
    /// Whether health and metrics are at an address of their own.
    pub is_managed_apart: bool,
}

impl Welcome {
    /// Writes the page.
    pub fn new(about: About) -> anyhow::Result<Self> {
        let About {
            title,
            message,
            about,
            version,
            further,
            is_managed_apart,
        } = about;
        let own = |address: &str, name, about| Link {
            address: address.to_owned(),
            name,
            about,
        };
        let mut links = vec![
            own("/docs/", "Try it", "every request, in this browser"),
            own("/openapi.json", "OpenAPI", "the same for programs"),
        ];
        links.extend(further);
        if !is_managed_apart {
            links.extend([
                own("/readyz", "Health", "whether it can do its work now"),
                own("/metrics", "Metrics", "for Prometheus"),
            ]);
        }
        let list = links.iter().map(|link| {
            let Link {
                address,
                name,
                about,
            } = link;
            format!("<li><a href=\"{address}\">{name}</a>: {about}</li>")
        });
        let page = PAGE
            .replace("{title}", title)
            .replace("{style}", STYLE)
            .replace("{about}", about)
            .replace("{version}", version)
            .replace("{links}", &list.collect::<Vec<_>>().join("\n"));
        let style = STANDARD.encode(Sha256::digest(STYLE));
        let policy = format!("{POLICY}; style-src 'sha256-{style}'; img-src data:");
        Ok(Self(Arc::new(Answers {
            greeting: Greeting { message },
            page: (page_headers(&policy)?, Html(page)),
        })))
    }

    /// The page if the caller asks for HTML, as browsers do; else JSON.
    pub fn answer(&self, headers: &HeaderMap) -> Response {
        let Answers { greeting, page } = &*self.0;
        let mut response = if asks_for_html(headers) {
            page.clone().into_response()
        } else {
            Json(greeting).into_response()
        };
        response
            .headers_mut()
            .insert(VARY, HeaderValue::from(ACCEPT));
        response
    }
}

/// Whether `Accept` (RFC 9110 §12.5.1) names HTML and likes JSON no better. `*/*` alone is a program's.
fn asks_for_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter();
    let ranges = accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut html = 0.0;
    let mut json = 0.0;
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let quality = match parts.next().unwrap_or_default() {
            name if name.eq_ignore_ascii_case("text/html") => &mut html,
            name if name.eq_ignore_ascii_case("application/json") => &mut json,
            _ => continue,
        };
        let of_range = parts.find_map(|part| part.strip_prefix("q="));
        *quality = of_range.map_or(1.0, |of_range| of_range.parse().unwrap_or(0.0_f32));
    }
    html > 0.0 && html >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_the_sentence() {
        let asks = |accept: &'static str| {
            asks_for_html(&HeaderMap::from_iter([(
                ACCEPT,
                HeaderValue::from_static(accept),
            )]))
        };

        assert!(asks(
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
        ));
        assert!(asks("application/json;q=0.5, text/html; q=0.9"));
        for program in [
            "*/*",
            "application/json",
            "",
            "application/json, text/html;q=0.9",
            "text/html;q=0",
            "application/json, text/plain, */*",
        ] {
            assert!(!asks(program), "{program}");
        }
        assert!(!asks_for_html(&HeaderMap::new()));
    }
}
