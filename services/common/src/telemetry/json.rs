//! A log line as one flat JSON object: what happened, and the fields of the request that it happened in.

use std::fmt;

use serde_json::{Map, Value};
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{FormatEvent, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::clock;

/// Writes `timestamp`, `level`, `message`, `target`, then the fields of the event and of the spans around it. Of fields with
/// the same name the innermost counts.
///
/// The format of tracing-subscriber leaves the fields of spans in lists, where a search for a request id does not look.
pub struct JsonLines;

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields(Map::new());
        for span in context.event_scope().into_iter().flat_map(Scope::from_root) {
            let extensions = span.extensions();
            let Some(of_span) = extensions.get::<FormattedFields<JsonFields>>() else {
                continue;
            };
            let of_span = serde_json::from_str::<Map<String, Value>>(of_span.as_str());
            fields.0.extend(of_span.unwrap_or_default());
        }
        event.record(&mut fields);
        let Fields(mut fields) = fields;
        let metadata = event.metadata();
        // Libraries that use the crate `log` have their own names for what they are.
        let target = fields.remove("log.target");
        fields.retain(|name, _| !name.starts_with("log."));
        let first = [
            (
                "timestamp",
                clock::now().format(&Rfc3339).unwrap_or_default().into(),
            ),
            ("level", metadata.level().as_str().into()),
            ("message", fields.remove("message").unwrap_or_default()),
            ("target", target.unwrap_or_else(|| metadata.target().into())),
        ];
        for (at, (name, value)) in first.iter().enumerate() {
            let separator = if at == 0 { '{' } else { ',' };
            write!(writer, "{separator}\"{name}\":{value}")?;
        }
        for (name, value) in &fields {
            // What the traces are told by a field is not for the log.
            if !name.starts_with("otel.") && !first.iter().any(|(taken, _)| taken == name) {
                write!(writer, ",{}:{value}", Value::from(name.as_str()))?;
            }
        }
        writeln!(writer, "}}")
    }
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}
