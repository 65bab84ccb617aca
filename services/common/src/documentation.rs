//! The description of a service for programs (`OpenAPI` 3.1), made from its routes (contract §3).

use std::collections::BTreeSet;

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

use crate::code::{self, Accepted, Code};
use crate::problem::Problem;

/// Where the description is served.
pub const PATH: &str = "/openapi.json";
/// How the routes name what a caller needs: a token.
const SECURITY_SCHEME: &str = "token";
const PROBLEM: &str = "#/components/schemas/Problem";
/// An id as the service makes them, and time-ordered ones look.
const REQUEST_ID: &str = "01a204424fb771e2bd64ded8192ca8b9";
/// Any address can answer these, also those that are not described.
const ANYWHERE: [Code; 2] = [code::NOT_FOUND, code::METHOD_NOT_ALLOWED];

/// A kind of error, and how an answer with it looks.
#[derive(Clone, Debug)]
pub struct Example {
    code: Code,
    body: Value,
}

impl Example {
    /// An answer that is no problem (RFC 9457).
    pub fn new(code: Code, body: Value) -> Self {
        Self { code, body }
    }

    /// Every one of these kinds as a problem: one of `own`, or what the kind says of itself.
    pub fn problems(codes: &[Code], own: impl IntoIterator<Item = Problem>) -> Vec<Self> {
        let own = own.into_iter().collect::<Vec<_>>();
        let of = |code: &Code| {
            let own = own.iter().find(|problem| problem.code() == code.name());
            let problem = own.cloned().unwrap_or_else(|| (*code).into());
            let mut body = json!(problem);
            body["request_id"] = REQUEST_ID.into();
            Self { code: *code, body }
        };
        codes.iter().map(of).collect()
    }

    /// The kind.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The body of the answer.
    pub fn body(&self) -> &Value {
        &self.body
    }
}

/// Where callers get a token from.
pub enum TokenSource {
    /// By the password grant of OAuth 2 (RFC 6749 §4.3) at this address, which may be relative to the service's own.
    PasswordGrant(String),
    /// Elsewhere: a caller brings one.
    Elsewhere,
}

impl TokenSource {
    fn scheme(&self) -> Value {
        match self {
            Self::PasswordGrant(token_url) => json!({
                "type": "oauth2",
                "flows": {"password": {"tokenUrl": token_url, "scopes": {}}},
            }),
            Self::Elsewhere => json!({
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "The access_token that the auth service gives at /login.",
            }),
        }
    }
}

/// Completes what the routes say of themselves with what holds for all of them: where tokens come from, what each error means and
/// how it looks, which headers answers have, and that a fault of ours is possible.
///
/// The description of an error in a route's attribute is the list of its codes: "`first`, `second`". Fails if one of them is not in
/// `errors`, if its status is another, or if no route names one of `errors`.
pub fn complete(
    document: &OpenApi,
    tokens: &TokenSource,
    errors: &[Example],
) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(document).context("writing the OpenAPI document")?;
    remove_null_defaults(&mut document);
    document["components"]["securitySchemes"] = json!({SECURITY_SCHEME: tokens.scheme()});
    let mut named = ANYWHERE.map(key).into_iter().collect::<BTreeSet<_>>();
    let paths = document["paths"].as_object_mut();
    for (path, operations) in paths.into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let Some(responses) = operation["responses"].as_object_mut() else {
                continue;
            };
            responses.entry("500").or_insert_with(|| {
                json!({
                    "description": format!("`{}`", code::INTERNAL.name()),
                    "content": {"application/json": {"schema": {"$ref": PROBLEM}}},
                })
            });
            for (status, response) in responses {
                let of_status = if status.starts_with(['4', '5']) {
                    errors_of(response, status, errors)
                        .with_context(|| format!("{method} {path}, status {status}"))?
                } else {
                    Vec::new()
                };
                named.extend(of_status.iter().map(|error| key(error.code)));
                complete_response(status, response, &of_status);
            }
        }
    }
    let unnamed = errors
        .iter()
        .find(|error| !named.contains(&key(error.code)));
    if let Some(Example { code, .. }) = unnamed {
        bail!(
            "no route names the code {} ({})",
            code.name(),
            code.status()
        );
    }
    let about = document["info"]["description"].as_str();
    let about = format!(
        "{}\n\n{}\n\n{}",
        about.unwrap_or_default(),
        "An error is a problem (RFC 9457): `code` is its stable name, `detail` says what happened and what to do. Of any address, also of one that is not described here:",
        ANYWHERE.map(explain).join("\n"),
    );
    document["info"]["description"] = about.into();
    Ok(document)
}

/// What tells one kind of error from all others.
fn key(code: Code) -> (&'static str, u16) {
    (code.name(), code.status())
}

/// The errors whose codes are listed in a response's description.
fn errors_of<'a>(
    response: &Value,
    status: &str,
    errors: &'a [Example],
) -> anyhow::Result<Vec<&'a Example>> {
    let list = response["description"].as_str().unwrap_or_default();
    let mut of_status = Vec::new();
    for name in list.split(", ") {
        let bare = name
            .strip_prefix('`')
            .and_then(|name| name.strip_suffix('`'));
        let bare = bare.with_context(|| format!("{list} is not a list of codes"))?;
        let has_name = |error: &&Example| error.code.name() == bare;
        let has_status = |error: &&Example| error.code.status().to_string() == status;
        ensure!(
            errors.iter().any(|error| has_name(&error)),
            "there is no code {bare}"
        );
        let error = errors
            .iter()
            .find(|error| has_name(error) && has_status(error));
        of_status.push(error.with_context(|| format!("the code {bare} has another status"))?);
    }
    Ok(of_status)
}

/// An item of a list (Markdown).
fn explain(code: Code) -> String {
    let kept = match code.accepted() {
        Accepted::Never => "",
        Accepted::Sometimes => " If the answer has an `id`, what was sent is kept.",
        Accepted::Always => " What was sent is kept: the answer has its `id`.",
    };
    format!("- `{}`: {}{kept}", code.name(), code.sentence())
}

/// Fields that are read with a default to be checked one by one have none for the caller.
fn remove_null_defaults(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, value| name != "default" || !value.is_null());
            members.values_mut().for_each(remove_null_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_null_defaults),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn complete_response(status: &str, response: &mut Value, errors: &[&Example]) {
    let mut headers = json!({"x-request-id": {
        "description": "The id of the request: the caller's own, if it sent one that is taken, or a new one.",
        "schema": {"type": "string"},
    }});
    match status {
        "401" => {
            headers["www-authenticate"] = json!({"schema": {"type": "string", "const": "Bearer"}});
        }
        "429" | "503" => {
            headers["retry-after"] = json!({
                "description": "Seconds after which another attempt may do better; left out where waiting does not help.",
                "schema": {"type": "integer", "minimum": 0},
            });
        }
        _ => {}
    }
    response["headers"] = headers;
    if errors.is_empty() {
        return;
    }
    let list = errors.iter().map(|error| explain(error.code));
    response["description"] = list.collect::<Vec<_>>().join("\n").into();
    let examples = errors.iter().map(|Example { code, body }| {
        let example = json!({"summary": code.meaning(), "value": body});
        (code.name().to_owned(), example)
    });
    let content = response["content"].as_object_mut();
    let Some(mut body) = content.and_then(|content| content.remove("application/json")) else {
        return;
    };
    body["examples"] = examples.collect::<Map<_, _>>().into();
    let media_type = if body["schema"]["$ref"] == PROBLEM {
        "application/problem+json"
    } else {
        "application/json"
    };
    response["content"][media_type] = body;
}

/// The document as it is served and committed.
pub fn text(document: &Value) -> String {
    format!("{document:#}\n")
}

/// The route that serves a description.
pub fn table(document: &Value) -> Router {
    let text = text(document);
    let answer = async move || ([(CONTENT_TYPE, "application/json")], text.clone());
    Router::new().route(PATH, get(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_names_codes_that_there_are_and_each_with_its_status() {
        let errors = Example::problems(code::BOTH, []);
        let name = |list: &str, status: &str| {
            let named = errors_of(&json!({"description": list}), status, &errors);
            named
                .map(|named| named.len())
                .map_err(|error| error.to_string())
        };

        assert_eq!(name("`token_missing`, `token_invalid`", "401"), Ok(2));
        for (list, status) in [
            ("`token_misplaced`", "401"),
            ("`busy`", "401"),
            ("`busy`: Try again.", "503"),
            ("", "503"),
        ] {
            assert!(name(list, status).is_err(), "{list} {status}");
        }
    }

    #[test]
    fn a_code_that_no_route_names_fails_the_description() {
        let document = OpenApi::default();
        let errors = Example::problems(&[code::BUSY], []);

        let error = complete(&document, &TokenSource::Elsewhere, &errors).unwrap_err();

        assert_eq!(error.to_string(), "no route names the code busy (503)");
    }
}
