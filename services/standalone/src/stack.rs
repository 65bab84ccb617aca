//! Starts everything, in the order in which a person wants to hear of trouble, and ends it the other way round.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use auth_service::config::DatabaseSettings;
use axum::http::HeaderValue;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use transcription_common::jwt;
use transcription_common::management::own;
use transcription_common::server::{Listeners, bind, serve};
use url::Url;

use crate::config::{Config, ignored_variables};
use crate::data::DataFolder;
use crate::s3::Store;

/// The stack, ready to serve.
pub struct Stack {
    auth: Listening<auth_service::Service>,
    transcription: Listening<transcription_service::Service>,
    store: Store,
    grace: Duration,
    /// Where its users reach it.
    pub addresses: Addresses,
}

struct Listening<S> {
    service: S,
    listener: TcpListener,
}

/// Where the services are reached from this machine.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The auth service.
    pub auth: SocketAddr,
    /// The transcription service.
    pub transcription: SocketAddr,
}

impl Stack {
    /// Takes the ports, opens the data folder and loads the model.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let Config {
            auth_listen_addr,
            transcription_listen_addr,
            data_dir,
            database_url,
            jwt_secret_key,
            jwt_secret_key_previous,
            algorithm,
            accounts,
            engine,
            auth_token_url,
            mut server,
            telemetry,
            tls,
        } = config;
        server.management_addr = None;
        let ignored = ignored_variables();
        if !ignored.is_empty() {
            warn!(
                variables = ignored.join(", "),
                "these variables are ignored: the stack in one process has its own S3, and each service its one port"
            );
        }
        let auth_listener = bind(auth_listen_addr, "AUTH_LISTEN_ADDR").await?;
        let transcription_listener =
            bind(transcription_listen_addr, "TRANSCRIPTION_LISTEN_ADDR").await?;
        let addresses = Addresses {
            auth: local(&auth_listener)?,
            transcription: local(&transcription_listener)?,
        };
        let auth_token_url = auth_token_url.or_else(|| token_url(auth_listen_addr, &addresses));
        // The page /docs of one service asks the other.
        let pages = origins(&addresses);
        server.cors_allowed_origins = server.cors_allowed_origins.with(pages);
        let data = DataFolder::open(&data_dir)?;
        let jwt = jwt::Settings {
            jwt_secret_key: match jwt_secret_key {
                Some(key) => key,
                None => data.signing_key()?,
            },
            jwt_secret_key_previous,
            algorithm,
        };
        let store = Store::open(&data.s3()?).await?;
        let auth = auth_service::Service::build(auth_service::config::Config {
            listen_addr: auth_listen_addr,
            database: DatabaseSettings {
                database_url: database_url.unwrap_or_else(|| data.database()),
            },
            jwt: jwt.clone(),
            accounts,
            server: server.clone(),
            telemetry: telemetry.clone(),
            tls: tls.clone(),
        });
        let transcription =
            transcription_service::Service::build(transcription_service::config::Config {
                listen_addr: transcription_listen_addr,
                jwt,
                s3: store.settings.clone(),
                engine,
                auth_token_url,
                server: server.clone(),
                telemetry,
                tls,
            });
        let (auth, transcription) = tokio::try_join!(auth, transcription)?;
        Ok(Self {
            auth: Listening {
                service: auth,
                listener: auth_listener,
            },
            transcription: Listening {
                service: transcription,
                listener: transcription_listener,
            },
            store,
            grace: server.grace(),
            addresses,
        })
    }

    /// Serves until `stop` is cancelled. The store ends last: what is in flight still needs it.
    pub async fn serve(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            auth,
            transcription,
            store,
            grace,
            addresses: _,
        } = self;
        let stop_store = CancellationToken::new();
        let store = tokio::spawn(serve(
            store.listener,
            store.router,
            stop_store.clone().cancelled_owned(),
            grace,
        ));
        let result = tokio::try_join!(
            auth.service
                .serve(only(auth.listener), stop.clone().cancelled_owned()),
            transcription
                .service
                .serve(only(transcription.listener), stop.cancelled_owned()),
        );
        stop_store.cancel();
        store.await.context("ending the store")??;
        result.map(|((), ())| ())
    }
}

fn only(public: TcpListener) -> Listeners {
    Listeners {
        public,
        management: None,
    }
}

/// Where the page /docs asks for tokens, if only browsers on this machine can open it: to those of others this machine's own
/// address would mean theirs, and they would send passwords there.
fn token_url(listen_address: SocketAddr, addresses: &Addresses) -> Option<Url> {
    if listen_address.ip().is_unspecified() {
        info!(
            "the page /docs of the transcription service asks for a token and not for a password: set AUTH_TOKEN_URL to the auth service's /token, as browsers reach it"
        );
        return None;
    }
    // A content security policy knows no IPv6 addresses.
    let host_and_port = match addresses.auth {
        SocketAddr::V6(address) => format!("localhost:{}", address.port()),
        SocketAddr::V4(address) => address.to_string(),
    };
    Url::parse(&format!("http://{host_and_port}/token")).ok()
}

/// What browsers on this machine send as the origin of a page of either service.
fn origins(addresses: &Addresses) -> Vec<HeaderValue> {
    let Addresses {
        auth,
        transcription,
    } = addresses;
    let of = |address: &SocketAddr| {
        let by_name = format!("http://localhost:{}", address.port());
        [format!("http://{address}"), by_name]
    };
    let origins = of(auth).into_iter().chain(of(transcription));
    origins
        .filter_map(|origin| {
            // As browsers write it: without the port that is HTTP's own.
            let origin = Url::parse(&origin).ok()?.origin();
            HeaderValue::try_from(origin.ascii_serialization()).ok()
        })
        .collect()
}

/// The address under which this machine reaches a listener, which may listen on all addresses.
fn local(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    let address = listener
        .local_addr()
        .context("reading a listening address")?;
    Ok(own(address))
}
