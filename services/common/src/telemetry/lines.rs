//! What a log line is made of, and where it goes: standard error, one write a line.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{LogFormat, json, pretty, trace};

/// Writes each event as a line.
///
/// The formats of tracing-subscriber keep the fields of a span as text: telling one of them again, or leaving it out, would mean
/// to parse that for every line.
pub struct Lines {
    format: LogFormat,
    /// Colours are for terminals; in a file or a pipe they are noise.
    in_colour: bool,
}

impl Lines {
    /// Lines in this format.
    pub fn new(format: LogFormat) -> Self {
        let in_colour = io::stderr().is_terminal();
        Self { format, in_colour }
    }
}

/// A line: what happened, and the fields of the event and of the spans around it.
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// What happened.
    pub message: String,
    /// The module that tells it.
    pub target: String,
    /// Whether that is one of ours.
    pub is_ours: bool,
    /// The fields of the event, then those of the spans, the innermost first. Of fields with the same name the innermost is there.
    pub fields: Fields,
}

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::roomy();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::roomy();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.complete(of_span);
            }
        }
        let line = Line::new(event, fields);
        let text = match self.format {
            LogFormat::Json => json::line(&line),
            LogFormat::Pretty => pretty::line(&line, self.in_colour).into_bytes(),
        };
        // A log that nobody can read is no reason to end.
        let _ = io::stderr().lock().write_all(&text);
    }
}

impl Line {
    fn new(event: &Event<'_>, mut fields: Fields) -> Self {
        let metadata = event.metadata();
        let text = |value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        // Some libraries give their events a name and no message.
        let message = fields.take("message").or_else(|| fields.take("name"));
        let message = message.map(text).unwrap_or_default();
        // Libraries that use the crate `log` have their own names for what they are.
        let target = fields.take("log.target").map(text);
        let not_told = |name: &str| name.starts_with("log.") || name.starts_with("otel.");
        // What the traces are told by a field is not for the log.
        fields.0.retain(|(name, _)| !not_told(name));
        Self {
            level: *metadata.level(),
            message,
            target: target.unwrap_or_else(|| metadata.target().to_owned()),
            is_ours: trace::is_ours(metadata),
            fields,
        }
    }
}

/// Whether a span has a field that a line would tell. Those of OpenTelemetry are for the traces, and that the database is `SQLite` is
/// known.
pub fn tells(span: &Metadata<'_>) -> bool {
    let for_traces = |name: &str| name.starts_with("otel.") || name.starts_with("db.");
    let mut fields = span.fields().iter();
    fields.any(|field| !for_traces(field.name()))
}

/// Fields in the order in which they came.
#[derive(Debug, Default)]
pub struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// None, with room for those of a usual line.
    fn roomy() -> Self {
        Self(Vec::with_capacity(16))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The one with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.remove(at).1)
    }

    /// Adds those whose names are not there yet.
    fn complete(&mut self, others: &Self) {
        for (name, value) in others.iter() {
            if self.get(name).is_none() {
                self.0.push((name, value.clone()));
            }
        }
    }

    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        let (name, value) = (field.name(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
impl Line {
    /// A line as a service would write it.
    pub fn of_test(level: Level, message: &str, fields: Vec<(&'static str, Value)>) -> Self {
        Self {
            level,
            message: message.to_owned(),
            target: "auth_service::test".to_owned(),
            is_ours: true,
            fields: Fields(fields),
        }
    }
}
