//! The auth service: registers users, checks passwords, issues tokens.
//!
//! Read [`routes`] for what it answers and [`accounts`] for how an account is made and a log-in is decided: [`account`] says
//! what a user name, an e-mail and a password must be, [`passwords`] hashes, [`guesses`] slows down whoever guesses.
//! [`users`] is all SQL about users, [`database`] the file they are in, [`ownership`] whose that is, [`backup`] copies of it. [`commands`] are what an
//! operator does by hand. [`error`] is what can go wrong, [`code`] how that is called. [`config`] lists the settings.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tracing::{info, warn};
use transcription_common::jwt::{Signer, Verifier};
use transcription_common::management::{Part, Parts};
use transcription_common::metrics::{BuildInfo, Metrics};
use transcription_common::pages::Welcome;
use transcription_common::server::{self, App, Listeners, ServerSettings};

use crate::accounts::{Authenticator, Registrar};
use crate::client_address::TrustedProxies;
use crate::config::{Accounts, Config, DatabaseSettings};
use crate::database::{Database, ServeLock};
use crate::guesses::Guesses;
use crate::metrics::AuthMetrics;
use crate::passwords::Passwords;
use crate::users::Users;

pub mod account;
pub mod accounts;
pub mod backup;
pub mod client_address;
pub mod code;
pub mod commands;
pub mod config;
pub mod database;
pub mod error;
pub mod guesses;
pub mod metrics;
pub mod ownership;
pub mod passwords;
pub mod routes;
pub mod users;

const NAME: &str = "auth-service";
const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: match option_env!("BUILD_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    },
};

/// What handlers work with. It is cloned several times for each request, at each layer around a handler.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    users: Users,
    registrar: Registrar,
    authenticator: Authenticator,
    rules: Rules,
    trusted_proxies: TrustedProxies,
    verifier: Arc<Verifier>,
    welcome: Welcome,
}

transcription_common::state_of!(AppState {
    users: Users,
    registrar: Registrar,
    authenticator: Authenticator,
    rules: Rules,
    trusted_proxies: TrustedProxies,
    verifier: Arc<Verifier>,
    welcome: Welcome,
});

/// The settings that a handler asks for.
#[derive(Clone, Copy)]
pub struct Rules {
    password_min_length: usize,
}

/// The service, ready to serve.
pub struct Service {
    state: AppState,
    metrics: Metrics,
    database: Database,
    database_path: PathBuf,
    settings: ServerSettings,
    _lock: ServeLock,
}

impl Service {
    /// Takes the database for itself and brings its schema up to date.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let Config {
            listen_addr: _,
            database,
            jwt,
            accounts,
            server: settings,
            telemetry: _,
            tls: _,
        } = config;
        let Accounts {
            access_token_expire_minutes,
            registration,
            passwords: password_settings,
            trusted_proxies,
        } = accounts;
        if jwt.jwt_secret_key.is_published() {
            warn!(
                "JWT_SECRET_KEY is the example of the old backend's documentation: everybody can make tokens with it; make one of your own with: auth-service make-key FILE"
            );
        }
        let DatabaseSettings { database_url } = database;
        let lock = ServeLock::take(&database_url)?;
        let database = Database::open(&database_url).await?;
        let metrics = Metrics::new(BUILD)?;
        let own_metrics = AuthMetrics::new(&metrics)?;
        let users = Users::new(database.clone());
        let passwords = Passwords::new(password_settings.bcrypt_cost, own_metrics.clone());
        let guesses = Guesses::default();
        let state = AppState(Arc::new(Shared {
            registrar: Registrar {
                registration,
                users: users.clone(),
                passwords: passwords.clone(),
                guesses: guesses.clone(),
                metrics: own_metrics.clone(),
            },
            authenticator: Authenticator {
                users: users.clone(),
                passwords,
                guesses,
                metrics: own_metrics,
                signer: Arc::new(Signer::new(&jwt)),
                token_lifetime_seconds: u64::from(access_token_expire_minutes.get()) * 60,
            },
            users,
            rules: Rules {
                password_min_length: password_settings.password_min_length.into(),
            },
            trusted_proxies,
            verifier: Arc::new(Verifier::new(&jwt, &metrics)),
            welcome: routes::welcome(settings.management_addr.is_some())?,
        }));
        Ok(Self {
            state,
            metrics,
            database,
            database_path: database_url.path,
            settings,
            _lock: lock,
        })
    }

    /// Serves until `stop` ends, then finishes what is in flight and closes the database.
    pub async fn serve(
        self,
        listeners: Listeners,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self {
            state,
            metrics,
            database,
            database_path,
            settings,
            _lock,
        } = self;
        let (address, management) = listeners.addresses()?;
        let version = BUILD.version;
        info!(
            version,
            revision = BUILD.known_revision(),
            %address,
            management.address = management.map(display),
            database = %database_path.display(),
            registration = state.0.registrar.registration.name(),
            "{NAME} {version} listens on {address}"
        );
        let app = App {
            name: NAME,
            routes: routes::table().with_state(state),
            metrics,
            parts: parts(database.clone()),
            documentation: routes::document()?,
            // Its own.
            token_url: None,
        };
        let result = server::serve_app(listeners, app, &settings, stop).await;
        database.close().await;
        info!("{NAME} has ended");
        result.map(drop).context("serving")
    }
}

/// What the service needs to be ready.
fn parts(database: Database) -> Parts {
    Arc::new(move || {
        let database = database.clone();
        Box::pin(async move {
            vec![Part {
                name: "database",
                state: database.answers().await,
            }]
        })
    })
}
