//! What `smoke` of both services begins with: a client that logs in as users do, within a time limit, and says which step failed.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::Instant;
use url::Url;

use crate::tls::TlsSettings;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Who logs in, and whom to trust.
#[derive(Clone, Debug, Args)]
pub struct Visitor {
    /// Who logs in.
    #[arg(long, env = "SMOKE_USERNAME")]
    pub smoke_username: String,
    /// The password. It may be in a file, which `SMOKE_PASSWORD_FILE` names.
    #[arg(long, env = "SMOKE_PASSWORD", hide_env_values = true)]
    pub smoke_password: SecretString,
    /// Whom to trust.
    #[command(flatten)]
    pub tls: TlsSettings,
}

/// Somebody who has logged in.
pub struct Session {
    client: Client,
    token: String,
    ends: Instant,
}

impl Visitor {
    /// Logs in at the auth service. All that is asked in the session may take `limit` together.
    ///
    /// Fails with a sentence.
    pub async fn log_in(&self, auth_url: &Url, limit: Duration) -> anyhow::Result<Session> {
        let client = Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(limit)
            .tls_certs_merge(self.tls.certificates()?)
            .build()
            .context("preparing the HTTP client")?;
        let mut session = Session {
            client,
            token: String::new(),
            ends: Instant::now() + limit,
        };
        let credentials = json!({
            "username_or_email": self.smoke_username,
            "password": self.smoke_password.expose_secret(),
        });
        let login = session.client.post(below(auth_url, "login"));
        let login = session.send(login.json(&credentials), "logging in").await?;
        let token = login["access_token"].as_str();
        token
            .context("logging in gave no token")?
            .clone_into(&mut session.token);
        Ok(session)
    }
}

impl Session {
    /// A request of who has logged in, to get what is at this path.
    pub fn get(&self, base: &Url, path: &str) -> RequestBuilder {
        let request = self.client.get(below(base, path));
        request.bearer_auth(&self.token)
    }

    /// The same, to post something there.
    pub fn post(&self, base: &Url, path: &str) -> RequestBuilder {
        let request = self.client.post(below(base, path));
        request.bearer_auth(&self.token)
    }

    /// Sends a request and gives the JSON of its answer.
    ///
    /// Fails with a sentence that begins with what was being done.
    pub async fn send(
        &self,
        request: RequestBuilder,
        doing: &'static str,
    ) -> anyhow::Result<Value> {
        let left = self.ends.saturating_duration_since(Instant::now());
        let response = request.timeout(left).send().await.context(doing)?;
        let status = response.status();
        let body: Value = response.json().await.unwrap_or_default();
        let detail = body["detail"].as_str().unwrap_or("no reason is given");
        anyhow::ensure!(
            status.is_success(),
            "{doing} was answered {}: {detail}",
            status.as_u16()
        );
        Ok(body)
    }
}

/// Takes the address of a service.
pub fn service_address(url: &str) -> Result<Url, String> {
    const EXAMPLE: &str = "for example http://127.0.0.1:8000";
    let url = Url::parse(url).map_err(|error| format!("{error}; {EXAMPLE}"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(format!("it is no http address; {EXAMPLE}"));
    }
    Ok(url)
}

fn below(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}
