//! What a log line is made of, and where it goes: standard error, one write a line.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{PoisonError, RwLock};

use serde::Serialize;
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
    output: Output,
}

impl Lines {
    /// Lines in this format.
    ///
    /// Fails when there is no standard error.
    pub fn new(format: LogFormat) -> io::Result<Self> {
        let error = io::stderr().as_fd().try_clone_to_owned()?;
        Ok(Self {
            format,
            in_colour: io::stderr().is_terminal(),
            output: Output::new(error.into()),
        })
    }
}

/// Standard error, without the lock of the standard library: threads that write at the same time would wait for each other, and to be
/// woken takes longer than to write a line.
struct Output {
    file: File,
    /// Shared by lines that no other can come between, held alone for one that is written in pieces.
    in_pieces: RwLock<()>,
}

/// The system takes so much at once (POSIX asks for 512 bytes, Linux's pipes take 4096).
const PIECE_BYTES: usize = 4096;

impl Output {
    fn new(file: File) -> Self {
        let in_pieces = RwLock::new(());
        Self { file, in_pieces }
    }

    fn write(&self, line: &[u8]) {
        // A log that nobody can read is no reason to end.
        let write = || drop((&self.file).write_all(line));
        let others = &self.in_pieces;
        if line.len() > PIECE_BYTES {
            let _without_others = others.write().unwrap_or_else(PoisonError::into_inner);
            write();
        } else {
            let _beside_others = others.read().unwrap_or_else(PoisonError::into_inner);
            write();
        }
    }
}

/// A line: what happened, and the fields of the event and of the spans around it.
pub struct Line {
    /// How bad it is.
    pub level: Level,
    /// Whether it is told by a module of ours.
    pub is_ours: bool,
    /// The fields of the event, then those of the spans, the innermost first. Of fields with the same name the innermost is there.
    pub fields: Fields,
    message: Place,
    target: Place,
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
        self.output.write(&text);
    }
}

impl Line {
    fn new(event: &Event<'_>, mut fields: Fields) -> Self {
        let metadata = event.metadata();
        // Some libraries give their events a name and no message.
        let message = fields.take("message").or_else(|| fields.take("name"));
        let message = match message {
            Some(place) => fields.as_text(place),
            None => fields.write_text(""),
        };
        // Libraries that use the crate `log` have their own names for what they are.
        let target = fields.take("log.target");
        let target = target.unwrap_or_else(|| fields.write_text(metadata.target()));
        let not_told = |name: &str| name.starts_with("log.") || name.starts_with("otel.");
        // What the traces are told by a field is not for the log.
        fields.places.retain(|(name, _)| !not_told(name));
        Self {
            level: *metadata.level(),
            is_ours: trace::is_ours(metadata),
            fields,
            message,
            target,
        }
    }

    /// What happened, as JSON.
    pub fn message(&self) -> &[u8] {
        self.fields.at(&self.message)
    }

    /// The module that tells it, as JSON.
    pub fn target(&self) -> &[u8] {
        self.fields.at(&self.target)
    }
}

/// Whether a span has a field that a line would tell. Those of OpenTelemetry are for the traces, and that the database is `SQLite` is
/// known.
pub fn tells(span: &Metadata<'_>) -> bool {
    let for_traces = |name: &str| name.starts_with("otel.") || name.starts_with("db.");
    let mut fields = span.fields().iter();
    fields.any(|field| !for_traces(field.name()))
}

/// Fields in the order in which they came. Their values are kept as the JSON that most lines are made of: each is written once, however many
/// lines tell it, and all of them in one piece of memory.
#[derive(Debug, Default)]
pub struct Fields {
    places: Vec<(&'static str, Place)>,
    values: Vec<u8>,
}

/// Where a value is.
type Place = Range<usize>;

impl Fields {
    /// None, with room for those of a usual line.
    fn roomy() -> Self {
        Self {
            places: Vec::with_capacity(16),
            values: Vec::with_capacity(384),
        }
    }

    /// All of them, as JSON.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.places
            .iter()
            .map(|(name, place)| (*name, self.at(place)))
    }

    /// The one with this name.
    pub fn get(&self, name: &str) -> Option<Value> {
        let (_, place) = self.places.iter().find(|(known, _)| *known == name)?;
        Some(value_of(self.at(place)))
    }

    fn at(&self, place: &Place) -> &[u8] {
        &self.values[place.clone()]
    }

    fn take(&mut self, name: &str) -> Option<Place> {
        let at = self.places.iter().position(|(known, _)| *known == name)?;
        Some(self.places.remove(at).1)
    }

    /// Adds those whose names are not there yet.
    fn complete(&mut self, others: &Self) {
        for (name, value) in others.iter() {
            if self.places.iter().all(|(known, _)| *known != name) {
                let start = self.values.len();
                self.values.extend_from_slice(value);
                self.places.push((name, start..self.values.len()));
            }
        }
    }

    /// Keeps a value, and tells where.
    fn write(&mut self, value: impl Serialize) -> Place {
        let start = self.values.len();
        // A value that serde cannot tell must not break its line.
        if serde_json::to_writer(&mut self.values, &value).is_err() {
            self.values.truncate(start);
            self.values.extend_from_slice(b"null");
        }
        start..self.values.len()
    }

    fn write_text(&mut self, text: &str) -> Place {
        let start = self.values.len();
        json::push_text(&mut self.values, text);
        start..self.values.len()
    }

    /// The value as it is if that is text, and otherwise what it reads as: who collects logs takes a field for what it was first.
    fn as_text(&mut self, place: Place) -> Place {
        let value = self.at(&place);
        if value.starts_with(b"\"") {
            return place;
        }
        let text = String::from_utf8_lossy(value).into_owned();
        self.write_text(&text)
    }

    /// Gives a field the value that was written last. The one before it goes: a span may live for long and be told the same field often.
    fn set(&mut self, name: &'static str, value: Place) {
        let Some(at) = self.places.iter().position(|(known, _)| *known == name) else {
            self.places.push((name, value));
            return;
        };
        let old = mem::replace(&mut self.places[at].1, value);
        self.values.drain(old.clone());
        for (_, place) in &mut self.places {
            if place.start >= old.end {
                *place = place.start - old.len()..place.end - old.len();
            }
        }
    }
}

/// What was kept as JSON.
pub fn value_of(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap_or_default()
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        let value = self.write(value);
        self.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let value = self.write(value);
        self.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        let value = self.write(value);
        self.set(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        let value = self.write(value);
        self.set(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = self.write_text(value);
        self.set(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = self.write(format_args!("{value:?}"));
        self.set(field.name(), value);
    }
}

#[cfg(test)]
impl Line {
    /// A line as a service would write it.
    pub fn of_test(level: Level, message: &str, fields: Vec<(&'static str, Value)>) -> Self {
        let mut all = Fields::default();
        for (name, value) in fields {
            let place = all.write(value);
            all.places.push((name, place));
        }
        Self {
            level,
            is_ours: true,
            message: all.write(message),
            target: all.write("auth_service::test"),
            fields: all,
        }
    }

    /// The same, told by a module of a library.
    pub fn of_library(mut self, target: &str) -> Self {
        self.target = self.fields.write(target);
        self.is_ours = false;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;

    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_many_threads_stay_whole_in_a_pipe_that_is_full() {
        const LINES: usize = 400;
        let (reader, writer) = pipe().unwrap();
        let output = Output::new(OwnedFd::from(writer).into());
        let lines = thread::scope(|threads| {
            for letter in b'a'..=b'd' {
                let output = &output;
                threads.spawn(move || {
                    for number in 0..LINES {
                        // Every third is longer than what the pipe takes at once, and one of them than all that it holds.
                        let length = if number % 3 == 0 { 300 * number } else { 400 };
                        let mut line = vec![letter; length];
                        line.push(b'\n');
                        output.write(&line);
                    }
                });
            }
            let lines = BufReader::new(reader).lines().take(4 * LINES);
            lines.map(Result::unwrap).collect::<Vec<_>>()
        });
        for letter in ["a", "b", "c", "d"] {
            let own = lines.iter().filter(|line| line.starts_with(letter));
            // The first is empty.
            assert_eq!(own.clone().count(), LINES - 1, "{letter}");
            let lengths = own.map(String::len);
            assert_eq!(
                lengths.clone().filter(|length| *length == 400).count(),
                LINES - LINES / 3 - 1
            );
        }
        for line in lines {
            let mut letters = line.bytes();
            let first = letters.next();
            assert!(letters.all(|letter| Some(letter) == first), "{line}");
        }
    }

    #[test]
    fn a_field_that_is_told_often_takes_no_more_memory_and_keeps_its_last_value() {
        let mut fields = Fields::default();
        for number in 0..1000 {
            for (name, value) in [("status", json!("busy")), ("attempt", json!(number % 20))] {
                let place = fields.write(value);
                fields.set(name, place);
            }
        }
        assert_eq!(fields.get("attempt"), Some(json!(19)));
        assert_eq!(fields.get("status"), Some(json!("busy")));
        assert_eq!(fields.values, b"\"busy\"19");
    }

    #[test]
    fn a_message_that_is_a_number_is_told_as_text() {
        let mut fields = Fields::default();
        for (value, told) in [(json!(5), "\"5\""), (json!("so"), "\"so\"")] {
            let place = fields.write(value);
            let place = fields.as_text(place);
            assert_eq!(fields.at(&place), told.as_bytes());
        }
    }

    #[test]
    fn what_a_span_knows_is_told_unless_the_event_knows_better() {
        let fields = |given: &[(&'static str, Value)]| {
            let mut fields = Fields::default();
            for (name, value) in given {
                let place = fields.write(value);
                fields.places.push((name, place));
            }
            fields
        };
        let mut of_event = fields(&[("attempt", json!(2)), ("cause", json!("it \"broke\""))]);

        of_event.complete(&fields(&[("attempt", json!(1)), ("user.id", json!("7"))]));

        assert_eq!(of_event.get("attempt"), Some(json!(2)));
        assert_eq!(of_event.get("cause"), Some(json!("it \"broke\"")));
        assert_eq!(of_event.get("user.id"), Some(json!("7")));
        assert_eq!(of_event.get("password"), None);
    }
}
