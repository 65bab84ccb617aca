//! The operator and its custom resource on a real control plane: API server, etcd, controllers and scheduler, without a node.
//!
//! Pods are made and not run; where a test needs them ready, it says so of them itself, as the kubelet would.

#![expect(clippy::unwrap_used, reason = "a helper that fails must fail its test")]

mod at_rest;
mod children;
mod conditions;
mod drift;
mod events;
mod faults;
mod foreign;
mod growth;
mod hardships;
mod leaders;
mod lifecycle;
mod manifests;
mod rules;
mod scopes;
mod stuck;
mod telemetry;
mod transitions;
