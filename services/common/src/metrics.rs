//! Metrics in Prometheus's text format (contract §5). A registry belongs to a service, never to the process: standalone
//! has two.

use anyhow::Context;
use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::jwt::Rejection;

/// Upper bounds in seconds, from what SQLite answers to what a long transcription takes.
const REQUEST_SECONDS: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// The metrics that both services have, and the registry for those of their own.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// How long requests took to be answered, in seconds.
    pub requests: HistogramVec,
    /// Requests that are being answered.
    pub active_requests: IntGauge,
    /// Tokens that were not taken.
    pub jwt_rejected: IntCounterVec,
}

/// What was built.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    /// The release.
    pub version: &'static str,
    /// The commit, or `unknown` for a build that was not told it.
    pub revision: &'static str,
}

impl BuildInfo {
    /// The commit, if it is known.
    pub fn known_revision(&self) -> Option<&'static str> {
        (self.revision != "unknown").then_some(self.revision)
    }
}

impl Metrics {
    /// A new registry with the metrics that both services have.
    ///
    /// Fails when a metric's name or labels are not valid, which a test would have seen.
    pub fn new(build: BuildInfo) -> anyhow::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            requests: HistogramVec::new(
                HistogramOpts::new(
                    "http_server_request_duration_seconds",
                    "Time from a request's head to the head of its answer.",
                )
                .buckets(REQUEST_SECONDS.to_vec()),
                &[
                    "http_request_method",
                    "http_route",
                    "http_response_status_code",
                ],
            )?,
            active_requests: IntGauge::new(
                "http_server_active_requests",
                "Requests that are being answered.",
            )?,
            jwt_rejected: IntCounterVec::new(
                Opts::new(
                    "jwt_rejected_total",
                    "Bearer tokens that were not taken, by reason.",
                ),
                &["reason"],
            )?,
            registry,
        };
        for reason in Rejection::ALL {
            metrics.jwt_rejected.with_label_values(&[reason.name()]);
        }
        metrics.register(metrics.requests.clone())?;
        metrics.register(metrics.active_requests.clone())?;
        metrics.register(metrics.jwt_rejected.clone())?;
        metrics.register(Process(ProcessCollector::for_self()))?;
        let info = IntGaugeVec::new(
            Opts::new("build_info", "What was built; the value is always 1."),
            &["version", "revision"],
        )?;
        info.with_label_values(&[build.version, build.revision])
            .set(1);
        metrics.register(info)?;
        Ok(metrics)
    }

    /// Adds a metric to those that are told.
    ///
    /// Fails when there is one of this name.
    pub fn register(&self, collector: impl Collector + 'static) -> anyhow::Result<()> {
        self.registry
            .register(Box::new(collector))
            .context("registering a metric")
    }

    /// All metrics in Prometheus's text format.
    pub fn encode(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .context("writing the metrics")?;
        Ok(text)
    }
}

/// The metrics of the process. The library tells its CPU time in whole seconds: who does little would seem to do nothing, and then much.
struct Process(ProcessCollector);

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let cpu = families
            .iter_mut()
            .find(|family| family.name() == "process_cpu_seconds_total");
        if let (Some(cpu), Some(seconds)) = (cpu, cpu_seconds()) {
            for metric in cpu.mut_metric() {
                let mut counter = Counter::default();
                counter.set_value(seconds);
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// The CPU time of this process so far, to a hundredth of a second (proc(5): `utime` and `stime`).
#[expect(
    clippy::cast_precision_loss,
    reason = "it is a sum of ticks, and not of millions of years"
)]
fn cpu_seconds() -> Option<f64> {
    let stat = procfs::process::Process::myself().ok()?.stat().ok()?;
    let ticks = stat.utime + stat.stime;
    Some(ticks as f64 / procfs::ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn a_tenth_of_a_second_of_work_is_told() {
        let build = BuildInfo {
            version: "0",
            revision: "unknown",
        };
        let metrics = Metrics::new(build).unwrap();
        let told = || {
            let text = metrics.encode().unwrap();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
            line.unwrap().parse::<f64>().unwrap()
        };
        let before = told();

        let mut work = 0_u64;
        while told() < before + 0.1 {
            work = black_box(work + 1);
        }

        assert!(told() < before + 0.9, "{before} and then {}", told());
    }
}
