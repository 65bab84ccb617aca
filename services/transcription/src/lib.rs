//! The transcription service: takes a recording, stores it, asks the engine, stores the text.
//!
//! Read [`routes`] for what it answers, [`job`] for the order of things, [`upload`] for how a form is read, [`storage`]
//! for the bucket and [`engine`] for what turns sound into text. [`pending`] keeps texts that
//! could not be stored yet. [`error`] is what can go wrong, [`code`] how that is called. [`config`] lists the settings, [`commands`] are what an operator does by hand, [`program`] is
//! what both programs do, [`memory`] is what the allocator keeps.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{info, warn};
use transcription_common::jwt::Verifier;
use transcription_common::management::{Part, Parts};
use transcription_common::metrics::{BuildInfo, Metrics};
use transcription_common::pages::Welcome;
use transcription_common::server::{self, App, Listeners, ServerSettings};
use url::Url;

use crate::admission::Admission;
use crate::config::Config;
use crate::engine::Engine;
use crate::job::Ending;
use crate::metrics::TranscriptionMetrics;
use crate::pending::Pending;
use crate::routes::Workshop;
use crate::storage::Storage;

pub mod admission;
pub mod audio;
pub mod code;
pub mod commands;
pub mod config;
pub mod early;
pub mod engine;
pub mod error;
pub mod job;
pub mod manifest;
pub mod memory;
pub mod metrics;
pub mod pending;
pub mod program;
pub mod routes;
pub mod stop;
pub mod storage;
pub mod upload;

const NAME: &str = "transcription-service";
const BUILD: BuildInfo = BuildInfo {
    version: env!("CARGO_PKG_VERSION"),
    revision: match option_env!("BUILD_REVISION") {
        Some(revision) => revision,
        None => "unknown",
    },
};

/// Nobody waits longer, and no clock overflows.
const LONGEST_LIMIT: Duration = Duration::from_hours(30 * 24);
/// What is cut off at the end of the grace has so long to clean up, or to end the window of sound that it hears. Kubernetes kills
/// two seconds later (contract §3).
const CLEANUP_LIMIT: Duration = Duration::from_secs(8);

/// What handlers work with. It is cloned several times for each request, at each layer around a handler.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    verifier: Arc<Verifier>,
    storage: Storage,
    pending: Pending,
    workshop: Workshop,
    welcome: Welcome,
}

transcription_common::state_of!(AppState {
    verifier: Arc<Verifier>,
    storage: Storage,
    pending: Pending,
    workshop: Workshop,
    welcome: Welcome,
});

/// The limits that a transcription asks for.
#[derive(Clone, Copy)]
pub struct Limits {
    max_upload_bytes: u64,
    engine: Duration,
}

/// The service, ready to serve.
pub struct Service {
    state: AppState,
    metrics: Metrics,
    settings: ServerSettings,
    auth_token_url: Option<Url>,
    about: About,
}

/// What the person who starts the service wants to see once.
struct About {
    bucket: String,
    /// Another S3 than Amazon's. The origin alone: an address may hold a password.
    endpoint: Option<String>,
    region: Option<String>,
    places: usize,
    places_per_user: usize,
}

impl Service {
    /// Prepares the bucket's client and the engine; a Whisper model is loaded when this returns.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let Config {
            listen_addr: _,
            jwt,
            s3,
            engine: settings,
            auth_token_url,
            server: settings_of_server,
            telemetry: _,
            tls,
        } = config;
        if jwt.jwt_secret_key.is_published() {
            warn!(
                "JWT_SECRET_KEY is the example of the old backend's documentation: everybody can make tokens with it; make one of your own with: auth-service make-key FILE"
            );
        }
        let metrics = Metrics::new(BUILD)?;
        let engine_name = settings.kind().name();
        let own_metrics = TranscriptionMetrics::new(&metrics, engine_name)?;
        let engine = Engine::start(&settings, &tls, &own_metrics).await?;
        let places = settings.places();
        own_metrics
            .capacity
            .set(i64::try_from(places).unwrap_or(i64::MAX));
        let about = About {
            bucket: s3.s3_bucket_name.clone(),
            endpoint: s3
                .aws_endpoint_url_s3
                .as_ref()
                .map(|url| url.origin().ascii_serialization()),
            region: s3.aws_region.clone(),
            places,
            places_per_user: settings.max_concurrent_per_user.get(),
        };
        let storage = Storage::connect(s3, &tls, own_metrics.clone()).await?;
        let pending = Pending::new(places, own_metrics.pending_bytes.clone());
        let workshop = Workshop {
            storage: storage.clone(),
            engine,
            engine_name,
            pending: pending.clone(),
            limits: Limits {
                max_upload_bytes: settings.max_upload_bytes.get(),
                engine: Duration::from_secs(settings.engine_timeout_seconds.get())
                    .min(LONGEST_LIMIT),
            },
            admission: Admission::new(
                places,
                settings.max_concurrent_per_user.get(),
                own_metrics.in_flight.clone(),
            ),
            metrics: own_metrics,
            jobs: TaskTracker::new(),
            ending: Ending::default(),
        };
        Ok(Self {
            state: AppState(Arc::new(Shared {
                verifier: Arc::new(Verifier::new(&jwt, &metrics)),
                storage,
                pending,
                workshop,
                welcome: routes::welcome(
                    auth_token_url.as_ref(),
                    settings_of_server.management_addr.is_some(),
                )?,
            })),
            metrics,
            settings: settings_of_server,
            auth_token_url,
            about,
        })
    }

    /// Serves until `stop` ends, then finishes what is in flight, callers gone or not, within the grace period.
    pub async fn serve(
        self,
        listeners: Listeners,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self {
            state,
            metrics,
            settings,
            auth_token_url,
            about,
        } = self;
        about.tell(&listeners, &state.0.workshop)?;
        let jobs = state.0.workshop.jobs.clone();
        let leftovers = state.0.workshop.engine.leftovers();
        let ending = state.0.workshop.ending.clone();
        let stop = async {
            stop.await;
            ending.begun.cancel();
        };
        let parts = parts(state.0.storage.clone());
        let app = App {
            name: NAME,
            routes: routes::table().with_state(state),
            metrics,
            parts,
            documentation: routes::document(auth_token_url.as_ref())?,
            token_url: auth_token_url,
        };
        let stopped = server::serve_app(listeners, app, &settings, stop).await?;
        let grace = settings.grace();
        jobs.close();
        leftovers.close();
        let all_ended = async || {
            jobs.wait().await;
            // In this order: a job may leave something to do.
            leftovers.wait().await;
        };
        let deadline = Instant::from_std(stopped) + grace;
        if timeout_at(deadline, all_ended()).await.is_err() {
            warn!(
                unfinished = jobs.len(),
                left_over = leftovers.len(),
                "the grace is over: what was cut off stays in state stored; SHUTDOWN_GRACE_SECONDS gives it longer"
            );
            // Uploads are aborted, and files at Google deleted.
            ending.cut.cancel();
            let _ = timeout(CLEANUP_LIMIT, all_ended()).await;
        }
        info!("{NAME} has ended");
        Ok(())
    }
}

impl About {
    fn tell(self, listeners: &Listeners, workshop: &Workshop) -> anyhow::Result<()> {
        let Self {
            bucket,
            endpoint,
            region,
            places,
            places_per_user,
        } = self;
        let (address, management) = listeners.addresses()?;
        let version = BUILD.version;
        info!(
            version,
            revision = BUILD.known_revision(),
            %address,
            management.address = management.map(display),
            engine = workshop.engine_name,
            model = workshop.engine.model(),
            bucket,
            s3.endpoint = endpoint,
            s3.region = region,
            places,
            places_per_user,
            max_upload_bytes = workshop.limits.max_upload_bytes,
            "{NAME} {version} listens on {address}"
        );
        Ok(())
    }
}

/// What the service needs to be ready. A Whisper model is loaded before the service listens; Google is not asked, since an answer
/// would say nothing about the next one.
fn parts(storage: Storage) -> Parts {
    Arc::new(move || {
        let storage = storage.clone();
        Box::pin(async move {
            vec![Part {
                name: "bucket",
                state: storage.answers().await,
            }]
        })
    })
}
