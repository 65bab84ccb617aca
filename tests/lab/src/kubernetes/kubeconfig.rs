//! The file that tells a client where the API server is and who the client is. JSON is YAML too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::certificates::Identity;

/// How a client shows who it is.
pub enum User<'a> {
    /// By a certificate.
    Certificate(&'a Identity),
    /// By a token, as a service account does.
    Token(&'a str),
}

/// Writes out a kubeconfig that needs no other file.
pub fn kubeconfig(url: &str, ca_pem: &str, user: &User<'_>, namespace: &str) -> String {
    let user = match user {
        User::Certificate(identity) => json!({
            "client-certificate-data": STANDARD.encode(&identity.certificate),
            "client-key-data": STANDARD.encode(&identity.key),
        }),
        User::Token(token) => json!({ "token": token }),
    };
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": url, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab", "namespace": namespace}}],
        "current-context": "lab",
    });
    format!("{config:#}\n")
}
