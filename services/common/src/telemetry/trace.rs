//! Traces: our spans, sent by OTLP to the operator's own collector, under the trace that the caller began (W3C Trace Context).

use std::time::Duration;

use anyhow::Context as _;
use axum::http::HeaderMap;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{HTTP_PROTOBUF, TelemetrySettings, TracesExporter};
use crate::tls::TlsSettings;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The header that names the caller's trace (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";
/// How long the last spans may take to be sent when the program ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// The crates whose spans are ours; libraries make spans too.
const OURS: [&str; 5] = [
    "auth_service",
    "transcription_common",
    "transcription_operator",
    "transcription_service",
    "transcription_standalone",
];

/// What sends the traces. Ask it to [`finish`](Self::finish) as the last thing in `main`.
#[must_use = "the last spans are sent by `finish`"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Sends the spans that are still here, for 5 s at most. Call it outside the async runtime.
    pub fn finish(self) {
        if let Some(provider) = self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_LIMIT)
        {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}

/// Whether a span or an event is by a crate of ours.
pub fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let of_crate = target.split("::").next().unwrap_or(target);
    OURS.contains(&of_crate)
}

/// The exporter, and the layer that feeds it; neither if there is nowhere to send spans to.
pub fn start<S>(
    settings: &TelemetrySettings,
    tls: &TlsSettings,
    program: &'static str,
) -> anyhow::Result<(Telemetry, Option<impl Layer<S> + use<S>>)>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let Some(endpoint) = endpoint(settings) else {
        return Ok((Telemetry { provider: None }, None));
    };
    check_protocol(settings)?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(endpoint)
        .with_http_client(http_client(settings, tls)?)
        .build()
        .context("preparing the export of traces")?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource(program))
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(program))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| {
            metadata.is_span() && is_ours(metadata)
        }));
    let provider = Some(provider);
    Ok((Telemetry { provider }, Some(layer)))
}

fn endpoint(settings: &TelemetrySettings) -> Option<String> {
    // In any case, and whatever is not "true" means false: so OpenTelemetry defines it.
    let is_disabled = settings.otel_sdk_disabled.eq_ignore_ascii_case("true");
    if is_disabled || settings.otel_traces_exporter == TracesExporter::None {
        return None;
    }
    if let Some(url) = &settings.otel_exporter_otlp_traces_endpoint {
        return Some(url.to_string());
    }
    let url = settings.otel_exporter_otlp_endpoint.as_ref()?;
    Some(format!("{}/v1/traces", url.as_str().trim_end_matches('/')))
}

/// Only looked at where traces are sent: a cluster may give every program the same settings.
fn check_protocol(settings: &TelemetrySettings) -> anyhow::Result<()> {
    let (name, protocol) = match &settings.otel_exporter_otlp_traces_protocol {
        Some(protocol) => ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol),
        None => (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            &settings.otel_exporter_otlp_protocol,
        ),
    };
    anyhow::ensure!(
        protocol == HTTP_PROTOBUF,
        "{name}: {protocol} is not spoken; for example {name}={HTTP_PROTOBUF}, which collectors take on port 4318"
    );
    Ok(())
}

fn http_client(
    settings: &TelemetrySettings,
    tls: &TlsSettings,
) -> anyhow::Result<reqwest::blocking::Client> {
    let limit = Duration::from_millis(settings.otel_exporter_otlp_timeout.get());
    reqwest::blocking::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(limit)
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_merge(tls.certificates()?)
        .build()
        .context("preparing the client for traces")
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` are read by the library and win.
fn resource(program: &'static str) -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    if is_named {
        return resource.build();
    }
    resource.with_service_name(program).build()
}

/// Puts the span of a request under the trace that its `traceparent` names, and writes the id of the trace into the field
/// `trace_id`, which every log line of the request then has. `name` is what the span is called in the trace.
pub fn record_context(span: &Span, headers: &HeaderMap, name: impl FnOnce() -> String) {
    let remote = if headers.contains_key(TRACEPARENT) {
        TraceContextPropagator::new().extract(&Headers(headers))
    } else {
        Context::new()
    };
    let mut id = remote.span().span_context().trace_id();
    // Fails where no traces are made; the caller's id is good for the log all the same.
    if span.set_parent(remote).is_ok() {
        span.record("otel.name", name().trim_end());
        span.record("otel.kind", "server");
        id = span.context().span().span_context().trace_id();
    }
    if id != TraceId::INVALID {
        span.record("trace_id", tracing::field::display(id));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
