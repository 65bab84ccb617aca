//! A log line as one flat JSON object, for machines.

use time::format_description::well_known::Rfc3339;

use super::lines::Line;
use crate::clock;

/// The names that come first.
const FIRST: [&str; 4] = ["timestamp", "level", "message", "target"];

/// `timestamp`, `level`, `message`, `target`, then the fields.
pub fn line(line: &Line) -> Vec<u8> {
    let mut text = Vec::with_capacity(1024);
    let timestamp = clock::now().format(&Rfc3339).unwrap_or_default();
    for (name, value) in [
        ("timestamp", timestamp.as_str()),
        ("level", line.level.as_str()),
    ] {
        begin(&mut text, name);
        push_text(&mut text, value);
    }
    let of_event = [("message", line.message()), ("target", line.target())];
    let others = line.fields.iter();
    let others = others.filter(|(name, _)| !FIRST.contains(name));
    for (name, value) in of_event.into_iter().chain(others) {
        begin(&mut text, name);
        text.extend_from_slice(value);
    }
    text.extend_from_slice(b"}\n");
    text
}

fn begin(text: &mut Vec<u8>, name: &str) {
    text.push(if text.is_empty() { b'{' } else { b',' });
    push_text(text, name);
    text.push(b':');
}

/// Writes a string. Most have nothing in them that must be escaped: to see that of many letters at once is several times as fast as to
/// look at one after the other.
pub fn push_text(json: &mut Vec<u8>, text: &str) {
    let is_special = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
    let has_special = |any, byte| any | is_special(byte);
    if text.bytes().fold(false, has_special) {
        // Writing a string into memory cannot fail.
        let _ = serde_json::to_writer(json, text);
        return;
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
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

    #[test]
    fn a_text_is_written_as_the_library_writes_it() {
        let every_letter = (0..0x250).filter_map(char::from_u32);
        let texts = every_letter.map(|letter| format!("a {letter} b"));
        for text in texts.chain([String::new(), "é\u{1f600}".repeat(40)]) {
            let mut json = Vec::new();

            push_text(&mut json, &text);

            assert_eq!(json, serde_json::to_vec(&text).unwrap(), "{text:?}");
        }
    }
}
