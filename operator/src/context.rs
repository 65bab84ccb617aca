//! What reconciling works with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::Client;
use kube::runtime::reflector::ObjectRef;
use rand::RngExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::api::TranscriptionStack;
use crate::contents::Contents;
use crate::error::Error;
use crate::metrics::OperatorMetrics;
use crate::release::Releases;
use crate::warnings::Warnings;
use crate::watches::Stores;

/// How long the API server may take for one request.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait after the first failure; it doubles with each further one.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST_DELAY: Duration = Duration::from_mins(5);

/// What reconciling works with, of one scope.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the watches have seen.
    pub stores: Stores,
    /// What is in Secrets and ConfigMaps.
    pub contents: Contents,
    /// What others say of objects.
    pub warnings: Warnings,
    /// What all scopes share.
    pub shared: Arc<Shared>,
    /// How often a stack has failed in a row.
    failures: Mutex<HashMap<ObjectRef<TranscriptionStack>, u32>>,
}

/// What all scopes share.
pub struct Shared {
    /// Where images are.
    pub image_prefix: String,
    /// What can be run.
    pub releases: Releases,
    /// The name that this operator tells events under, in a cluster its pod's.
    pub reporter: String,
    /// What is measured.
    pub metrics: OperatorMetrics,
    /// As many stacks are worked on at once.
    pub places: Semaphore,
}

impl Context {
    /// For one scope.
    pub fn new(client: Client, stores: Stores, shared: Arc<Shared>) -> Self {
        Self {
            client,
            stores,
            contents: Contents::default(),
            warnings: Warnings::default(),
            shared,
            failures: Mutex::default(),
        }
    }

    /// Reads from the API server, within the limit.
    pub async fn read<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.request("reading from the API server", request).await
    }

    /// Asks the API server, within the limit.
    pub async fn request<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        match timeout(REQUEST_LIMIT, request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Api {
                doing: doing.to_owned(),
                source: Box::new(source),
            }),
            Err(_) => Err(Error::TimedOut {
                doing: doing.to_owned(),
                limit: REQUEST_LIMIT,
            }),
        }
    }

    /// A stack was worked on without failure.
    pub fn succeeded(&self, stack: &ObjectRef<TranscriptionStack>) {
        self.failures().remove(stack);
    }

    /// How long to wait after a failure: twice as long each time, and never as long as another stack does (full jitter would let some
    /// wait for nothing; half of it is fixed).
    pub fn delay_after_failure(&self, stack: &ObjectRef<TranscriptionStack>) -> Duration {
        let mut failures = self.failures();
        failures.retain(|failed, _| self.stores.stacks.get(failed).is_some());
        let count = failures.entry(stack.clone()).or_default();
        *count = count.saturating_add(1);
        let doubled = FIRST_DELAY.saturating_mul(1 << (*count - 1).min(16));
        let longest = doubled.min(LONGEST_DELAY);
        longest.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<TranscriptionStack>, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
