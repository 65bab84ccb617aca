//! The description of a service for programs (`OpenAPI` 3.1), made from its routes (contract §3).

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// Where the description is served.
pub const PATH: &str = "/openapi.json";
/// How the routes name what a caller needs: a token.
const SECURITY_SCHEME: &str = "token";
const PROBLEM: &str = "#/components/schemas/Problem";
const FAULT: &str = "`internal`: Something went wrong on our side; the request id tells the operator where to look.";

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

/// Completes what the routes say of themselves with what holds for all of them: where tokens come from, that errors are
/// problems (RFC 9457) with an example of each, which headers answers have, and that a fault of ours is possible.
pub fn complete(document: &OpenApi, tokens: &TokenSource) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(document).context("writing the OpenAPI document")?;
    remove_null_defaults(&mut document);
    document["components"]["securitySchemes"] = json!({SECURITY_SCHEME: tokens.scheme()});
    let paths = document["paths"].as_object_mut();
    for operations in paths.into_iter().flat_map(Map::values_mut) {
        for operation in operations
            .as_object_mut()
            .into_iter()
            .flat_map(Map::values_mut)
        {
            let Some(responses) = operation["responses"].as_object_mut() else {
                continue;
            };
            responses.entry("500").or_insert_with(|| problem(FAULT));
            for (status, response) in responses {
                complete_response(status, response);
            }
        }
    }
    Ok(document)
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

/// A problem as the routes' attributes describe it.
fn problem(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"application/json": {"schema": {"$ref": PROBLEM}}},
    })
}

fn complete_response(status: &str, response: &mut Value) {
    let description = response["description"].as_str().unwrap_or_default();
    let example = example(status, description);
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
    let Some(content) = response["content"].as_object_mut() else {
        return;
    };
    let is_problem = |body: &Value| body["schema"]["$ref"] == PROBLEM;
    if let Some(mut body) = content.get("application/json").cloned()
        && is_problem(&body)
    {
        content.remove("application/json");
        body["example"] = example;
        content.insert("application/problem+json".to_owned(), body);
    }
}

/// An error as it looks. Descriptions of errors begin with their codes: "`first`, `second`: a sentence".
fn example(status: &str, description: &str) -> Value {
    let code = description.split('`').nth(1).unwrap_or_default();
    let sentence = description.split_once("`: ").map(|(_, sentence)| sentence);
    let number = status.parse::<u16>().unwrap_or_default();
    let phrase = StatusCode::from_u16(number)
        .ok()
        .and_then(|status| status.canonical_reason());
    let mut example = json!({
        "type": "about:blank",
        "title": phrase,
        "status": number,
        "detail": sentence.unwrap_or(description),
        "code": code,
        "request_id": "01a20442-4fb7-71e2-bd64-ded8192ca8b9",
    });
    if code == "invalid_field" {
        example["errors"] =
            json!([{"field": "the field", "message": "what is wrong, and what is taken."}]);
    }
    example
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
