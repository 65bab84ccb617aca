//! A log line for people: `14:03:22Z INFO  POST /transcribe answered 200 (1.21 s, 227 kB in, 512 B out)  user=1 request=3f2a9c`.

use std::fmt::Write;

use serde_json::Value;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::Level;

use super::lines::{Fields, Line, value_of};
use crate::clock;

/// The day is left out: whoever reads is there.
const TIME: &[BorrowedFormatItem<'_>] = format_description!("[hour]:[minute]:[second]Z");
/// Fields that the message tells already, or that stand in parentheses behind it.
const TOLD: [&str; 8] = [
    "http.request.method",
    "http.route",
    "http.response.status_code",
    "duration_seconds",
    "http.request.body.size",
    "http.response.body.size",
    "version",
    "address",
];
/// Fields that come last, in this order, and by a shorter name.
const LAST: [(&str, &str); 5] = [
    ("url.path", "path"),
    ("user.id", "user"),
    ("transcription.id", "transcription"),
    ("request_id", "request"),
    ("trace_id", "trace"),
];

const DIM: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// When, how bad, what, and what is to know of it.
pub fn line(line: &Line, in_colour: bool) -> String {
    let colour = |code| if in_colour { code } else { "" };
    let time = clock::now().format(TIME).unwrap_or_default();
    let level = line.level;
    let (dim, plain) = (colour(DIM), colour(PLAIN));
    let mut text = String::with_capacity(256);
    // Writing into memory cannot fail, here and below.
    let _ = write!(
        text,
        "{dim}{time}{plain} {}{level:<5}{plain} ",
        colour(colour_of(level))
    );
    // Whose line it is matters to those who look into a program, or when it is not ours.
    if !line.is_ours || level > Level::INFO {
        let _ = write!(text, "{dim}{}:{plain} ", text_of(line.target()));
    }
    let message = text_of(line.message());
    push_visibly(&mut text, &message);
    push_measures(&mut text, &line.fields);
    let is_last = |name: &str| LAST.iter().any(|(long, _)| *long == name);
    let others = line.fields.iter();
    let others = others
        .filter(|(name, _)| !TOLD.contains(name) && !is_last(name))
        .map(|(name, value)| (name, value_of(value)));
    let last = LAST
        .iter()
        .filter_map(|(long, short)| Some((*short, line.fields.get(long)?)));
    let mut separator = if message.is_empty() { "" } else { "  " };
    for (name, value) in others.chain(last) {
        let _ = write!(text, "{separator}{dim}{name}={plain}");
        push_value(&mut text, &value);
        separator = " ";
    }
    text.push('\n');
    text
}

/// What was written as JSON, without its quotes.
fn text_of(json: &[u8]) -> String {
    match value_of(json) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn colour_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[1;31m",
        Level::WARN => "\u{1b}[1;33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

/// ` (1.21 s, 227 kB in, 512 B out)`, as far as it is known and more than nothing.
fn push_measures(text: &mut String, fields: &Fields) {
    let number = |name| fields.get(name)?.as_f64();
    let size = |name, way| {
        let bytes = number(name).filter(|bytes| *bytes > 0.0)?;
        Some(format!("{} {way}", size_in_words(bytes)))
    };
    let measures = [
        number("duration_seconds").map(duration_in_words),
        size("http.request.body.size", "in"),
        size("http.response.body.size", "out"),
    ];
    let mut separator = " (";
    for measure in measures.into_iter().flatten() {
        let _ = write!(text, "{separator}{measure}");
        separator = ", ";
    }
    if separator == ", " {
        text.push(')');
    }
}

fn duration_in_words(seconds: f64) -> String {
    match seconds * 1000.0 {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        _ => format!("{seconds:.2} s"),
    }
}

fn size_in_words(bytes: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    // What would be rounded up to 1000 is one of the next.
    let unit = units.iter().find(|(_, size)| bytes >= size * 0.9995);
    match unit {
        Some((unit, size)) if bytes < size * 9.95 => format!("{:.1} {unit}", bytes / size),
        Some((unit, size)) => format!("{:.0} {unit}", bytes / size),
        None => format!("{bytes:.0} B"),
    }
}

/// In quotes only where it could be taken for more than one value.
fn push_value(text: &mut String, value: &Value) {
    let Value::String(value) = value else {
        let _ = write!(text, "{value}");
        return;
    };
    let is_plain = |letter: char| {
        !letter.is_whitespace() && !letter.is_control() && !matches!(letter, '"' | '=' | '\\')
    };
    if !value.is_empty() && value.chars().all(is_plain) {
        text.push_str(value);
        return;
    }
    let quoted = [' ', '\''];
    text.push('"');
    for letter in value.chars() {
        if quoted.contains(&letter) {
            text.push(letter);
        } else {
            text.extend(letter.escape_debug());
        }
    }
    text.push('"');
}

/// A line stays one line, and nothing commands a terminal.
fn push_visibly(text: &mut String, message: &str) {
    for letter in message.chars() {
        if letter.is_control() {
            text.extend(letter.escape_debug());
        } else {
            text.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Without the time.
    fn shown(line: &Line) -> String {
        let text = super::line(line, false);
        let text = text.strip_suffix('\n').unwrap();
        let (time, rest) = text.split_once(' ').unwrap();
        assert_eq!(time.len(), "14:03:22Z".len(), "{time}");
        rest.to_owned()
    }

    #[test]
    fn a_request_is_one_short_line() {
        let fields = vec![
            ("duration_seconds", json!(1.2149)),
            ("http.request.body.size", json!(227_310)),
            ("http.response.body.size", json!(512)),
            ("request_id", json!("3f2a9c")),
            ("user.id", json!("1")),
            ("http.request.method", json!("POST")),
            ("http.route", json!("/transcribe")),
            ("http.response.status_code", json!(200)),
        ];
        let message = "POST /transcribe answered 200";

        assert_eq!(
            shown(&Line::of_test(Level::INFO, message, fields)),
            "INFO  POST /transcribe answered 200 (1.21 s, 227 kB in, 512 B out)  user=1 request=3f2a9c"
        );
    }

    #[test]
    fn values_are_quoted_if_they_need_it_and_a_line_stays_one() {
        let fields = vec![
            ("file", json!("./data/jwt.key")),
            ("cause", json!("it says \"no\":\n\u{1b}[2J it's over")),
            ("empty", json!("")),
            ("attempt", json!(3)),
        ];

        assert_eq!(
            shown(&Line::of_test(Level::ERROR, "it\r\nfailed", fields)),
            r#"ERROR it\r\nfailed  file=./data/jwt.key cause="it says \"no\":\n\u{1b}[2J it's over" empty="" attempt=3"#
        );
    }

    #[test]
    fn who_tells_it_is_named_where_that_is_not_plain() {
        let ours = Line::of_test(Level::DEBUG, "it works", Vec::new());
        let theirs = Line::of_test(Level::WARN, "slow", Vec::new()).of_library("sqlx::query");

        assert_eq!(shown(&ours), "DEBUG auth_service::test: it works");
        assert_eq!(shown(&theirs), "WARN  sqlx::query: slow");
    }

    #[test]
    fn durations_and_sizes_are_round() {
        assert_eq!(duration_in_words(0.000_27), "0.3 ms");
        assert_eq!(duration_in_words(0.0342), "34 ms");
        assert_eq!(duration_in_words(0.9996), "1.00 s");
        assert_eq!(duration_in_words(75.0), "75.00 s");
        assert_eq!(size_in_words(999.0), "999 B");
        assert_eq!(size_in_words(1200.0), "1.2 kB");
        assert_eq!(size_in_words(999_800.0), "1.0 MB");
        assert_eq!(size_in_words(209_715_200.0), "210 MB");
    }
}
