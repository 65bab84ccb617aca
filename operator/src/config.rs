//! The settings of the operator. Each is an environment variable and a flag.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};

use clap::{Args, Parser, Subcommand};
use transcription_common::server::management_address;
use transcription_common::telemetry::TelemetrySettings;
use transcription_common::tls::TlsSettings;

use crate::release::IMAGE_PREFIX;

/// Turns `TranscriptionStack` resources into running deployments on Kubernetes, and keeps them so.
#[derive(Debug, Parser)]
#[command(name = "transcription-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watches the stacks of a cluster and makes them so, until it is told to stop (the default).
    Run(Box<Config>),
    /// Prints the CustomResourceDefinition as YAML.
    Crd,
    /// Prints everything that installs the operator as YAML: the definition, the least rights, the operator itself.
    Manifests(ManifestSettings),
    /// Asks the operator of this container whether it is ready.
    Healthcheck(HealthcheckSettings),
}

/// Everything `run` needs. Which cluster: the one that it runs in, else the one of `KUBECONFIG`.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The namespaces to watch, separated by commas. All without it.
    #[arg(long, env = "WATCH_NAMESPACES", default_value = "", hide_default_value = true, value_parser = namespaces)]
    pub watch_namespaces: Namespaces,
    /// Where the images of the services are: registry and path, without a slash at the end.
    #[arg(long, env = "IMAGE_PREFIX", default_value = IMAGE_PREFIX, value_parser = image_prefix)]
    pub image_prefix: String,
    /// How long the lease of the operator that works lasts, in seconds: another one takes over when it was not renewed for so long.
    #[arg(long, env = "LEASE_DURATION_SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub lease_duration_seconds: u64,
    /// How many stacks are worked on at once.
    #[arg(long, env = "MAX_CONCURRENT_RECONCILES", default_value = "8")]
    pub max_concurrent_reconciles: NonZeroU16,
    /// How long a watch may hear nothing before the operator is neither ready nor alive, in seconds. A healthy one hears from the API
    /// server about once a minute.
    #[arg(long, env = "WATCH_STALE_AFTER_SECONDS", default_value = "600")]
    pub watch_stale_after_seconds: NonZeroU64,
    /// The address for `/healthz`, `/readyz` and `/metrics`.
    #[arg(long, env = "MANAGEMENT_ADDR", default_value = MANAGEMENT_ADDR, value_parser = management_address)]
    pub management_addr: SocketAddr,
    /// Logs and traces.
    #[command(flatten)]
    pub telemetry: TelemetrySettings,
    /// Whom to trust when traces are sent.
    #[command(flatten)]
    pub tls: TlsSettings,
}

/// Where the operator is asked for health and metrics.
const MANAGEMENT_ADDR: &str = "[::]:9090";

/// What `manifests` prints.
#[derive(Clone, Debug, Args)]
pub struct ManifestSettings {
    /// The namespace that the operator runs in.
    #[arg(long, default_value = "transcription-system", value_parser = namespace)]
    pub namespace: String,
    /// The namespaces that it watches, separated by commas. All without it; with it no right reaches beyond them.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = namespaces)]
    pub watch_namespaces: Namespaces,
    /// Where the images are: registry and path, without a slash at the end.
    #[arg(long, default_value = IMAGE_PREFIX, value_parser = image_prefix)]
    pub image_prefix: String,
}

/// Which address `healthcheck` asks.
#[derive(Clone, Copy, Debug, Args)]
pub struct HealthcheckSettings {
    /// The address for health.
    #[arg(long, env = "MANAGEMENT_ADDR", default_value = MANAGEMENT_ADDR, value_parser = management_address)]
    pub management_addr: SocketAddr,
}

/// Namespaces; none means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(pub Vec<String>);

impl Namespaces {
    /// What is watched one by one: a namespace, or `None` for all of them.
    pub fn scopes(&self) -> Vec<Option<String>> {
        if self.0.is_empty() {
            return vec![None];
        }
        self.0.iter().cloned().map(Some).collect()
    }
}

fn namespaces(list: &str) -> Result<Namespaces, String> {
    let names = list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let mut names = names.map(namespace).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    names.dedup();
    Ok(Namespaces(names))
}

/// A DNS label (RFC 1123), as Kubernetes asks for.
fn namespace(name: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = !name.is_empty()
        && name.len() <= 63
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !is_label {
        return Err(format!(
            "{name:?} is no name of a namespace; for example WATCH_NAMESPACES=team-a,team-b"
        ));
    }
    Ok(name.to_owned())
}

fn image_prefix(prefix: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    if prefix.is_empty()
        || !prefix.bytes().all(plain)
        || prefix.ends_with('/')
        || prefix.contains("://")
    {
        return Err(format!(
            "it is no registry and path; for example IMAGE_PREFIX={IMAGE_PREFIX}"
        ));
    }
    Ok(prefix.to_owned())
}
