//! A log line as one flat JSON object, for machines.

use serde::Serialize;
use time::format_description::well_known::Rfc3339;

use super::lines::Line;
use crate::clock;

/// The names that come first.
const FIRST: [&str; 4] = ["timestamp", "level", "message", "target"];

/// `timestamp`, `level`, `message`, `target`, then the fields.
pub fn line(line: &Line) -> Vec<u8> {
    let timestamp = clock::now().format(&Rfc3339).unwrap_or_default();
    let first = [
        timestamp.as_str(),
        line.level.as_str(),
        &line.message,
        &line.target,
    ];
    let mut text = Vec::with_capacity(512);
    for (name, value) in FIRST.into_iter().zip(first) {
        add(&mut text, name, &value);
    }
    for (name, value) in line.fields.iter() {
        if !FIRST.contains(&name) {
            add(&mut text, name, value);
        }
    }
    text.extend(b"}\n");
    text
}

fn add(text: &mut Vec<u8>, name: &str, value: &impl Serialize) {
    text.push(if text.is_empty() { b'{' } else { b',' });
    // Writing strings and numbers into memory cannot fail.
    let _ = serde_json::to_writer(&mut *text, name);
    text.push(b':');
    let _ = serde_json::to_writer(&mut *text, value);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tracing::Level;

    use super::*;

    #[test]
    fn a_line_is_one_flat_object_and_its_own_names_come_first() {
        let fields = vec![
            ("request_id", json!("a\nb")),
            ("level", json!("another")),
            ("duration_seconds", json!(0.5)),
        ];

        let text = line(&Line::of_test(Level::INFO, "it \"works\"", fields));

        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        let (_, after_time) = text.split_once(r#"","level""#).unwrap();
        assert_eq!(
            after_time,
            ":\"INFO\",\"message\":\"it \\\"works\\\"\",\"target\":\"auth_service::test\",\"request_id\":\"a\\nb\",\"duration_seconds\":0.5}\n"
        );
        serde_json::from_str::<Value>(&text).unwrap();
    }
}
