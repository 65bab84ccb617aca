//! The auth service: registers users, checks passwords, issues tokens.
//!
//! Read [`routes`] for what it answers, [`account`] for what a user name, an e-mail and a password must be,
//! [`passwords`] for hashing, [`users`] for the database. [`config`] lists the settings.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use tokio::net::TcpListener;
use transcription_common::jwt::{Signer, Verifier};
use transcription_common::{request, server};

use crate::config::Config;
use crate::passwords::Passwords;
use crate::users::Users;

pub mod account;
pub mod config;
pub mod error;
pub mod passwords;
pub mod routes;
pub mod users;

/// What handlers work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    users: Users,
    passwords: Passwords,
    rules: Rules,
    signer: Arc<Signer>,
    verifier: Arc<Verifier>,
}

/// The settings that a handler asks for.
#[derive(Clone, Copy)]
pub struct Rules {
    token_lifetime_seconds: u64,
    password_min_length: usize,
}

/// The service, ready to serve.
pub struct Service {
    state: AppState,
    grace: Duration,
}

impl Service {
    /// Opens the database, brings its schema up to date and prepares the password check.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let Config {
            listen_addr: _,
            database_url,
            jwt,
            accounts,
            shutdown_grace_seconds,
            log: _,
        } = config;
        let state = AppState {
            users: Users::open(&database_url).await?,
            passwords: Passwords::new(accounts.bcrypt_cost).await?,
            rules: Rules {
                token_lifetime_seconds: accounts
                    .access_token_expire_minutes
                    .get()
                    .saturating_mul(60),
                password_min_length: accounts.password_min_length.get(),
            },
            signer: Arc::new(Signer::new(&jwt)),
            verifier: Arc::new(Verifier::new(&jwt)),
        };
        let grace = Duration::from_secs(shutdown_grace_seconds.get());
        Ok(Self { state, grace })
    }

    /// Serves until `stop` ends, then finishes what is in flight and closes the database.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let users = self.state.users.clone();
        let router = router(self.state);
        let result = server::serve(listener, router, stop, self.grace).await;
        users.close().await;
        result.map(drop)
    }
}

fn router(state: AppState) -> Router {
    request::instrument(routes::table().with_state(state))
}
