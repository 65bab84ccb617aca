//! The transcription service: takes a recording, stores it, asks the engine, stores the text.
//!
//! Read [`routes`] for what it answers, [`job`] for the order of things, [`upload`] for how a form is read, [`storage`]
//! for the bucket and [`engine`] for what turns sound into text. [`config`] lists the settings.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRef;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::warn;
use transcription_common::jwt::Verifier;
use transcription_common::{request, server};

use crate::admission::Admission;
use crate::config::{Config, EngineSettings};
use crate::engine::Engine;
use crate::storage::Storage;

pub mod admission;
pub mod audio;
pub mod config;
pub mod early;
pub mod engine;
pub mod error;
pub mod job;
pub mod manifest;
pub mod routes;
pub mod storage;
pub mod upload;

/// What handlers work with.
#[derive(Clone, FromRef)]
pub struct AppState {
    verifier: Arc<Verifier>,
    storage: Storage,
    engine: Engine,
    limits: Limits,
    admission: Admission,
    jobs: TaskTracker,
}

/// The limits that a handler asks for.
#[derive(Clone, Copy)]
pub struct Limits {
    max_upload_bytes: u64,
    engine: Duration,
}

/// The service, ready to serve.
pub struct Service {
    state: AppState,
    grace: Duration,
}

impl Service {
    /// Prepares the bucket's client and the engine; a Whisper model is loaded when this returns.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let Config {
            listen_addr: _,
            jwt,
            s3,
            engine: settings,
            shutdown_grace_seconds,
            log: _,
        } = config;
        let engine = Engine::start(&settings).await?;
        let EngineSettings {
            whisper_model: _,
            max_upload_bytes,
            engine_timeout_seconds,
            max_concurrent_transcriptions,
            max_concurrent_per_user,
        } = settings;
        let state = AppState {
            verifier: Arc::new(Verifier::new(&jwt)),
            storage: Storage::connect(s3).await,
            engine,
            limits: Limits {
                max_upload_bytes: max_upload_bytes.get(),
                engine: Duration::from_secs(engine_timeout_seconds.get()),
            },
            admission: Admission::new(
                max_concurrent_transcriptions.get(),
                max_concurrent_per_user.get(),
            ),
            jobs: TaskTracker::new(),
        };
        let grace = Duration::from_secs(shutdown_grace_seconds.get());
        Ok(Self { state, grace })
    }

    /// Serves until `stop` ends, then finishes what is in flight, callers gone or not, within the grace period.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let Self { state, grace } = self;
        let jobs = state.jobs.clone();
        let router = router(state);
        let stopped = server::serve(listener, router, stop, grace).await?;
        jobs.close();
        if timeout_at(Instant::from_std(stopped) + grace, jobs.wait())
            .await
            .is_err()
        {
            warn!(
                unfinished = jobs.len(),
                "transcriptions were cut off; their recordings stay in state stored"
            );
        }
        Ok(())
    }
}

fn router(state: AppState) -> Router {
    request::instrument(routes::table().with_state(state))
}
