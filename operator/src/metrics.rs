//! What the operator measures of itself (contract §5).

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::ResourceExt;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};
use transcription_common::metrics::Metrics;

use crate::conditions::Truth;
use crate::reason::ConditionType;
use crate::silence::Silence;
use crate::watches::Stores;

/// Upper bounds in seconds, from a settled stack that is only looked at to the limit of a reconciliation.
const RECONCILE_SECONDS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is made so.
    Ok,
    /// Something failed that is tried again.
    Retry,
    /// Something failed that only a person can mend.
    Terminal,
}

impl Outcome {
    const ALL: [Self; 3] = [Self::Ok, Self::Retry, Self::Terminal];

    /// Its name, as a label and in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::Terminal => "terminal",
        }
    }
}

/// The operator's own metrics.
#[derive(Clone)]
pub struct OperatorMetrics {
    reconciliations: IntCounterVec,
    reconcile_seconds: Histogram,
    /// Requests to the API server, by verb, resource and the status of the answer.
    pub kube_requests: IntCounterVec,
    leader: IntGauge,
}

impl OperatorMetrics {
    /// None of them has counted anything yet.
    ///
    /// Fails when a metric's name or labels are not valid, which a test would have seen.
    pub fn new() -> anyhow::Result<Self> {
        let this = Self {
            reconciliations: IntCounterVec::new(
                Opts::new(
                    "operator_reconciliations_total",
                    "How often a stack was worked on, by how it ended: ok, retry (tried again by itself), terminal (a person has to mend it).",
                ),
                &["result"],
            )?,
            reconcile_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "operator_reconcile_duration_seconds",
                    "How long a stack was worked on at a time.",
                )
                .buckets(RECONCILE_SECONDS.to_vec()),
            )?,
            kube_requests: IntCounterVec::new(
                Opts::new(
                    "operator_kube_requests_total",
                    "Requests to the API server, by verb, resource and the status of the answer; `error` where none came.",
                ),
                &["verb", "resource", "code"],
            )?,
            leader: IntGauge::new(
                "operator_leader",
                "1 if this operator holds the lease and works, 0 if it waits for its turn.",
            )?,
        };
        for outcome in Outcome::ALL {
            this.reconciliations.with_label_values(&[outcome.name()]);
        }
        Ok(this)
    }

    /// Adds them to those that are told, with what is found out when they are asked for.
    pub fn register(
        &self,
        metrics: &Metrics,
        stores: &[Stores],
        silence: &Silence,
    ) -> anyhow::Result<()> {
        metrics.register(self.reconciliations.clone())?;
        metrics.register(self.reconcile_seconds.clone())?;
        metrics.register(self.kube_requests.clone())?;
        metrics.register(self.leader.clone())?;
        metrics.register(Conditions::new(stores.into())?)?;
        metrics.register(Ages::new(silence.clone())?)?;
        Ok(())
    }

    /// A stack was worked on.
    pub fn reconciled(&self, outcome: Outcome, seconds: f64) {
        self.reconciliations
            .with_label_values(&[outcome.name()])
            .inc();
        self.reconcile_seconds.observe(seconds);
    }

    /// This operator works from now on, or no longer.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }
}

/// The conditions of all stacks, as they are stored: found when they are asked for, so that a stack that is gone leaves nothing behind.
struct Conditions {
    stores: Arc<[Stores]>,
    empty: IntGaugeVec,
}

impl Conditions {
    fn new(stores: Arc<[Stores]>) -> anyhow::Result<Self> {
        Ok(Self {
            stores,
            empty: Self::metric()?,
        })
    }

    fn metric() -> prometheus::Result<IntGaugeVec> {
        IntGaugeVec::new(
            Opts::new(
                "operator_stack_condition",
                "The conditions of each stack: 1 for the status that holds, and 0 for the others.",
            ),
            &["namespace", "name", "type", "status"],
        )
    }
}

impl Collector for Conditions {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(metric) = Self::metric() else {
            return Vec::new();
        };
        for stack in self.stores.iter().flat_map(|stores| stores.stacks.state()) {
            let namespace = stack.namespace().unwrap_or_default();
            let conditions = stack.status.iter().flat_map(|status| &status.conditions);
            // Only ours: others may have put any into the status.
            let ours = conditions.filter(|condition| {
                ConditionType::ALL
                    .iter()
                    .any(|kind| kind.name() == condition.type_)
            });
            for condition in ours {
                for truth in Truth::ALL {
                    let labels = [
                        &namespace,
                        &stack.name_any(),
                        &condition.type_,
                        truth.name(),
                    ];
                    metric
                        .with_label_values(&labels)
                        .set((condition.status == truth.name()).into());
                }
            }
        }
        metric.collect()
    }
}

/// How long each watch has heard nothing, found when it is asked for.
struct Ages {
    silence: Silence,
    empty: GaugeVec,
}

impl Ages {
    fn new(silence: Silence) -> anyhow::Result<Self> {
        Ok(Self {
            silence,
            empty: Self::metric()?,
        })
    }

    fn metric() -> prometheus::Result<GaugeVec> {
        GaugeVec::new(
            Opts::new(
                "operator_watch_last_event_age_seconds",
                "How long the watches of a resource have heard nothing, not even a bookmark; of several the one that is silent for longest.",
            ),
            &["resource"],
        )
    }
}

impl Collector for Ages {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(metric) = Self::metric() else {
            return Vec::new();
        };
        let mut oldest = BTreeMap::<String, f64>::new();
        for (resource, age) in self.silence.ages() {
            let known = oldest.entry(resource).or_default();
            *known = known.max(age.as_secs_f64());
        }
        for (resource, age) in oldest {
            let gauge: Gauge = metric.with_label_values(&[&resource]);
            gauge.set(age);
        }
        metric.collect()
    }
}
