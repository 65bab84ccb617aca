//! Of several operators one works: the one that holds the Lease. The algorithm is client-go's
//! (<https://pkg.go.dev/k8s.io/client-go/tools/leaderelection>).
//!
//! Clocks of different machines differ, so nobody compares the time in the Lease with their own: it has lapsed when it was not seen to
//! change for its duration, measured on our own monotonic clock. The holder stops when it could not renew for two thirds of the duration,
//! before another can take over.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use rand::RngExt;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};
use transcription_common::clock;

use crate::hash::hexadecimal;

/// The name of the Lease.
const NAME: &str = "transcription-operator";

/// The right to work, as long as it is renewed.
pub struct Elector {
    leases: Api<Lease>,
    identity: String,
    duration: Duration,
}

/// What was seen of the Lease, and when it was last seen to change.
struct Observed {
    record: Option<LeaseSpec>,
    since: Instant,
}

impl Elector {
    /// For the operators of a namespace. `host` is this one's name, in a cluster its pod's.
    pub fn new(client: Client, namespace: &str, host: &str, duration: Duration) -> Self {
        let random = rand::rng().random::<[u8; 4]>();
        Self {
            leases: Api::namespaced(client, namespace),
            // A pod that is started again has the same name, and is another one.
            identity: format!("{host}_{}", hexadecimal(&random)),
            duration,
        }
    }

    /// Waits until this one may work.
    pub async fn acquire(&self) {
        let mut observed = Observed {
            record: None,
            since: Instant::now(),
        };
        let mut told = None;
        loop {
            match self.within_limit(self.try_to_acquire(&mut observed)).await {
                Ok(true) => break,
                Ok(false) => {
                    let holder = observed
                        .record
                        .as_ref()
                        .and_then(|record| record.holder_identity.clone());
                    if holder != told {
                        info!(
                            holder = holder.as_deref(),
                            "another operator works: waiting until it ends"
                        );
                        told = holder;
                    }
                }
                Err(error) => warn!(%error, "the lease cannot be asked for, will try again"),
            }
            // Twice as often as the other renews: a lease that lapses is noticed soon.
            sleep(
                self.retry_period()
                    .mul_f64(rand::rng().random_range(0.5..0.6)),
            )
            .await;
        }
        info!(
            identity = self.identity,
            "holds the lease: this operator works"
        );
    }

    /// Renews the lease; ends when it could not for so long that another may take over soon, or already has.
    pub async fn keep(&self) {
        let deadline = self.duration * 2 / 3;
        let mut renewed = Instant::now();
        loop {
            sleep(self.retry_period()).await;
            let began = Instant::now();
            match self.within_limit(self.try_to_renew()).await {
                Ok(true) => renewed = began,
                Ok(false) => return,
                Err(error) => warn!(%error, "the lease could not be renewed, will try again"),
            }
            if renewed.elapsed() + self.retry_period() > deadline {
                return;
            }
        }
    }

    /// Lets another one begin at once.
    pub async fn release(&self) {
        let released = self.within_limit(async {
            let Some(mut lease) = self.leases.get_opt(NAME).await? else {
                return Ok(());
            };
            if self.is_ours(&lease) {
                let spec = lease.spec.get_or_insert_default();
                spec.holder_identity = None;
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(now());
                self.leases
                    .replace(NAME, &PostParams::default(), &lease)
                    .await?;
            }
            Ok(())
        });
        match released.await {
            Ok(()) => info!("let the lease go"),
            Err(error) => warn!(%error, "the lease could not be let go: it lapses by itself"),
        }
    }

    async fn try_to_acquire(&self, observed: &mut Observed) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let made = self
                .leases
                .create(&PostParams::default(), &self.first())
                .await;
            return refused_is_false(made);
        };
        let record = lease.spec.clone().unwrap_or_default();
        if observed.record.as_ref() != Some(&record) {
            *observed = Observed {
                record: Some(record.clone()),
                since: Instant::now(),
            };
        }
        let lasts = record
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = lasts.map_or(self.duration, Duration::from_secs);
        let is_held = record
            .holder_identity
            .is_some_and(|holder| !holder.is_empty());
        // Its own, whose making was not answered.
        let is_ours = self.is_ours(&lease);
        if is_held && !is_ours && observed.since.elapsed() < lasts {
            return Ok(false);
        }
        let changes = record.lease_transitions.unwrap_or(0).saturating_add(1);
        lease.spec = Some(LeaseSpec {
            acquire_time: Some(now()),
            lease_transitions: Some(changes),
            ..self.record()
        });
        // With the resource version that was read: of two who try at once one is refused.
        refused_is_false(
            self.leases
                .replace(NAME, &PostParams::default(), &lease)
                .await,
        )
    }

    async fn try_to_renew(&self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            return Ok(false);
        };
        if !self.is_ours(&lease) {
            return Ok(false);
        }
        let spec = lease.spec.get_or_insert_default();
        spec.renew_time = Some(now());
        let renewed = self
            .leases
            .replace(NAME, &PostParams::default(), &lease)
            .await;
        renewed.map(|_| true)
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.as_ref());
        holder == Some(&self.identity)
    }

    fn first(&self) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                acquire_time: Some(now()),
                lease_transitions: Some(0),
                ..self.record()
            }),
        }
    }

    fn record(&self) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs()).ok(),
            renew_time: Some(now()),
            ..LeaseSpec::default()
        }
    }

    fn retry_period(&self) -> Duration {
        self.duration * 2 / 15
    }

    /// No request may take longer than until the next one.
    async fn within_limit<T>(
        &self,
        request: impl Future<Output = kube::Result<T>>,
    ) -> anyhow::Result<T> {
        let limit = self.retry_period();
        match timeout(limit, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => anyhow::bail!("no answer within {} ms", limit.as_millis()),
        }
    }
}

fn refused_is_false<T>(answer: kube::Result<T>) -> kube::Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            debug!("another operator was quicker");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn now() -> MicroTime {
    let micros = clock::now().unix_timestamp_nanos() / 1000;
    let time = i64::try_from(micros)
        .ok()
        .and_then(|micros| Timestamp::from_microsecond(micros).ok());
    MicroTime(time.unwrap_or(Timestamp::UNIX_EPOCH))
}
