//! Strict parsing: which fields a request may have, and of which type.
//!
//! Like Google's servers this takes `camelCase` and `snake_case` and refuses every name that it does not know. What comes out
//! has only `snake_case`. What a value means, beyond its type, is decided in [`crate::generate`] and [`crate::files`].

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{StatusCode, Uri};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::refusal::Refusal;

/// The largest request body of `generateContent`.
pub const LARGEST_BODY: usize = 100_000_000;

/// The fields of a message.
pub type Fields = &'static [(&'static str, Kind)];

/// The type of a field.
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these strings.
    Enumeration(&'static [&'static str]),
    /// A message.
    Message(Fields),
    /// An array.
    List(&'static Kind),
    /// One or an array of it.
    OneOrList(&'static Kind),
    /// An object whose names are the client's own.
    Map(&'static Kind),
    /// A schema, which can have schemas in it.
    Schema,
    /// Anything: the stand-in has no use for it.
    Any,
}

/// The body of `generateContent`.
pub const GENERATE_CONTENT: Fields = &[
    ("model", Kind::Text),
    ("contents", Kind::List(&Kind::Message(CONTENT))),
    ("system_instruction", Kind::Message(CONTENT)),
    ("generation_config", Kind::Message(GENERATION_CONFIG)),
    (
        "safety_settings",
        Kind::List(&Kind::Message(&[
            ("category", Kind::Enumeration(HARM_CATEGORIES)),
            ("threshold", Kind::Enumeration(HARM_THRESHOLDS)),
        ])),
    ),
    ("tools", Kind::List(&Kind::Any)),
    ("tool_config", Kind::Any),
    ("cached_content", Kind::Text),
    (
        "service_tier",
        Kind::Enumeration(&["flex", "standard", "priority"]),
    ),
    ("continuation_token", Kind::Text),
    ("store", Kind::Boolean),
    ("labels", Kind::Map(&Kind::Text)),
];

/// The body of `countTokens`.
pub const COUNT_TOKENS: Fields = &[
    ("contents", Kind::List(&Kind::Message(CONTENT))),
    ("generate_content_request", Kind::Message(GENERATE_CONTENT)),
];

/// The body that starts an upload.
pub const CREATE_FILE: Fields = &[(
    "file",
    Kind::Message(&[
        ("name", Kind::Text),
        ("display_name", Kind::Text),
        ("mime_type", Kind::Text),
        // 64 bits: the client sends a number, proto3 JSON a string.
        ("size_bytes", Kind::Any),
    ]),
)];

const HARM_CATEGORIES: &[&str] = &[
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
    "HARM_CATEGORY_CIVIC_INTEGRITY",
];

const HARM_THRESHOLDS: &[&str] = &[
    "BLOCK_LOW_AND_ABOVE",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_NONE",
    "OFF",
];

const CONTENT: Fields = &[
    ("role", Kind::Enumeration(&["user", "model"])),
    ("parts", Kind::List(&Kind::Message(PART))),
];

const PART: Fields = &[
    ("text", Kind::Text),
    (
        "inline_data",
        Kind::Message(&[
            ("mime_type", Kind::Text),
            ("data", Kind::Text),
            ("display_name", Kind::Text),
        ]),
    ),
    (
        "file_data",
        Kind::Message(&[
            ("mime_type", Kind::Text),
            ("file_uri", Kind::Text),
            ("display_name", Kind::Text),
        ]),
    ),
    (
        "audio_metadata",
        Kind::Message(&[("start_offset", Kind::Text), ("end_offset", Kind::Text)]),
    ),
    ("thought", Kind::Boolean),
    ("thought_signature", Kind::Text),
    ("audio_transcription", Kind::Any),
    ("function_call", Kind::Any),
    ("function_response", Kind::Any),
    ("executable_code", Kind::Any),
    ("code_execution_result", Kind::Any),
    ("media_resolution", Kind::Any),
    ("video_metadata", Kind::Any),
    ("part_metadata", Kind::Any),
];

const GENERATION_CONFIG: Fields = &[
    (
        "audio_transcription_config",
        Kind::Message(AUDIO_TRANSCRIPTION_CONFIG),
    ),
    ("temperature", Kind::Number),
    ("top_p", Kind::Number),
    ("top_k", Kind::Number),
    ("seed", Kind::Integer),
    ("candidate_count", Kind::Integer),
    ("max_output_tokens", Kind::Integer),
    ("stop_sequences", Kind::List(&Kind::Text)),
    ("response_logprobs", Kind::Boolean),
    ("logprobs", Kind::Integer),
    ("presence_penalty", Kind::Number),
    ("frequency_penalty", Kind::Number),
    ("response_mime_type", Kind::Text),
    ("response_schema", Kind::Schema),
    ("response_json_schema", Kind::Any),
    (
        "response_format",
        Kind::OneOrList(&Kind::Message(RESPONSE_FORMAT)),
    ),
    (
        "response_modalities",
        Kind::List(&Kind::Enumeration(&["TEXT", "IMAGE", "AUDIO"])),
    ),
    (
        "media_resolution",
        Kind::Enumeration(&[
            "MEDIA_RESOLUTION_LOW",
            "MEDIA_RESOLUTION_MEDIUM",
            "MEDIA_RESOLUTION_HIGH",
        ]),
    ),
    ("speech_config", Kind::Any),
    ("image_config", Kind::Any),
    ("enable_enhanced_civic_answers", Kind::Boolean),
    ("continuation_token", Kind::Text),
    ("thinking_config", Kind::Message(THINKING_CONFIG)),
];

const THINKING_CONFIG: Fields = &[
    ("include_thoughts", Kind::Boolean),
    ("thinking_budget", Kind::Integer),
    (
        "thinking_level",
        Kind::Enumeration(&["MINIMAL", "LOW", "MEDIUM", "HIGH"]),
    ),
];

const RESPONSE_FORMAT: Fields = &[(
    "text",
    Kind::Message(&[("mime_type", Kind::Text), ("schema", Kind::Any)]),
)];

const AUDIO_TRANSCRIPTION_CONFIG: Fields = &[
    ("language_codes", Kind::List(&Kind::Text)),
    ("custom_vocabulary", Kind::List(&Kind::Text)),
    ("word_timestamp", Kind::Boolean),
    ("diarization", Kind::Boolean),
    ("mode", Kind::Enumeration(&["VERBATIM", "SMART"])),
    ("source_text", Kind::Text),
    // Deprecated twins.
    ("language_auto", Kind::Any),
    ("language_hints", Kind::Any),
    ("adaptation_phrases", Kind::List(&Kind::Text)),
];

const SCHEMA: Fields = &[
    (
        "type",
        Kind::Enumeration(&[
            "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL",
        ]),
    ),
    ("properties", Kind::Map(&Kind::Schema)),
    ("items", Kind::Schema),
    ("any_of", Kind::List(&Kind::Schema)),
    ("required", Kind::List(&Kind::Text)),
    ("property_ordering", Kind::List(&Kind::Text)),
    ("enum", Kind::List(&Kind::Text)),
    ("format", Kind::Text),
    ("title", Kind::Text),
    ("description", Kind::Text),
    ("pattern", Kind::Text),
    ("nullable", Kind::Boolean),
    ("default", Kind::Any),
    ("example", Kind::Any),
    ("minimum", Kind::Number),
    ("maximum", Kind::Number),
    // 64 bits, as above.
    ("min_items", Kind::Any),
    ("max_items", Kind::Any),
    ("min_length", Kind::Any),
    ("max_length", Kind::Any),
    ("min_properties", Kind::Any),
    ("max_properties", Kind::Any),
];

/// Takes a body to its end, so that the client hears why it is refused instead of a broken connection.
pub async fn receive(mut body: Body, largest: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::invalid("The request body broke off."))?;
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length <= largest {
            bytes.extend_from_slice(&data);
        }
    }
    if length > largest {
        return Err(Refusal::page(StatusCode::PAYLOAD_TOO_LARGE));
    }
    Ok(bytes)
}

/// The parameters of an address.
pub fn query(uri: &Uri) -> HashMap<String, String> {
    let query = uri.query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Parses a body that may have these fields.
pub fn parse<T: DeserializeOwned>(body: &[u8], fields: Fields) -> Result<T, Refusal> {
    let value = serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))?;
    let value = read(&Kind::Message(fields), value, "")?;
    serde_json::from_value(value)
        .map_err(|error| Refusal::invalid(format!("Invalid JSON payload received. {error}")))
}

/// Decodes base64 in the standard or in the URL-safe alphabet, with or without padding.
pub fn decode(text: &str, field: &str) -> Result<Vec<u8>, Refusal> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    let decoded = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
    decoded.map_err(|error| {
        let message =
            format!("Invalid value at '{field}' (TYPE_BYTES), Base64 decoding failed: {error}");
        Refusal::bad_field(field, &message)
    })
}

fn read(kind: &Kind, value: Value, path: &str) -> Result<Value, Refusal> {
    let wrong = |expected: &str, value: &Value| {
        let message = format!("Invalid value at '{path}' ({expected}), {}", excerpt(value));
        Err(Refusal::bad_field(path, &message))
    };
    match (kind, value) {
        (Kind::Text, value @ Value::String(_))
        | (Kind::Boolean, value @ Value::Bool(_))
        | (Kind::Number, value @ Value::Number(_))
        | (Kind::Any, value) => Ok(value),
        (Kind::Integer, value) if value.is_i64() => Ok(value),
        (Kind::Enumeration(names), Value::String(name)) if names.contains(&name.as_str()) => {
            Ok(Value::String(name))
        }
        (Kind::Message(fields), Value::Object(object)) => read_message(fields, object, path),
        (Kind::Schema, value @ Value::Object(_)) => read(&Kind::Message(SCHEMA), value, path),
        (Kind::List(kind) | Kind::OneOrList(kind), Value::Array(values)) => {
            let values = values.into_iter().enumerate();
            let read = values.map(|(index, value)| read(kind, value, &format!("{path}[{index}]")));
            read.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        (Kind::OneOrList(kind), value @ Value::Object(_)) => {
            Ok(Value::Array(vec![read(kind, value, path)?]))
        }
        (Kind::Map(kind), Value::Object(object)) => {
            let mut map = Map::new();
            for (name, value) in object {
                let value = read(kind, value, &format!("{path}[\"{name}\"]"))?;
                map.insert(name, value);
            }
            Ok(Value::Object(map))
        }
        (Kind::Text, value) => wrong("TYPE_STRING", &value),
        (Kind::Boolean, value) => wrong("TYPE_BOOL", &value),
        (Kind::Integer, value) => wrong("TYPE_INT32", &value),
        (Kind::Number, value) => wrong("TYPE_FLOAT", &value),
        (Kind::Enumeration(_), value) => wrong("TYPE_ENUM", &value),
        (Kind::List(_) | Kind::OneOrList(_), value) => wrong("list", &value),
        (Kind::Message(_) | Kind::Schema | Kind::Map(_), value) => wrong("TYPE_MESSAGE", &value),
    }
}

fn read_message(fields: Fields, object: Map<String, Value>, path: &str) -> Result<Value, Refusal> {
    let mut message = Map::new();
    for (name, value) in object {
        let field = fields
            .iter()
            .find(|(field, _)| *field == name || camel_case(field) == name);
        let Some((field, kind)) = field else {
            let place = if path.is_empty() {
                String::new()
            } else {
                format!(" at '{path}'")
            };
            let message = format!(
                "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
            );
            return Err(Refusal::bad_field(path, &message));
        };
        // In proto3 JSON, null is the same as no field.
        if value.is_null() {
            continue;
        }
        let inner = if path.is_empty() {
            (*field).to_owned()
        } else {
            format!("{path}.{field}")
        };
        let value = read(kind, value, &inner)?;
        if message.insert((*field).to_owned(), value).is_some() {
            let message = format!("Invalid value at '{inner}': it is there in both spellings.");
            return Err(Refusal::bad_field(&inner, &message));
        }
    }
    Ok(Value::Object(message))
}

fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        name.push_str(&word[..1].to_ascii_uppercase());
        name.push_str(&word[1..]);
    }
    name
}

/// Enough of a value to recognise it: it may be a hundred megabytes.
fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(body: &Value) -> Result<Value, Refusal> {
        parse(body.to_string().as_bytes(), GENERATE_CONTENT)
    }

    fn message_of(body: &Value) -> String {
        format!("{:?}", parsed(body).unwrap_err())
    }

    #[test]
    fn both_spellings_of_a_field_are_the_same() {
        let camel = json!({"contents": [{"parts": [{"inlineData": {"mimeType": "a", "data": ""}}]}], "generationConfig": {"audioTranscriptionConfig": {"wordTimestamp": true}}});
        let snake = json!({"contents": [{"parts": [{"inline_data": {"mime_type": "a", "data": ""}}]}], "generation_config": {"audio_transcription_config": {"word_timestamp": true}}});

        assert_eq!(parsed(&camel).unwrap(), snake);
        assert_eq!(parsed(&snake).unwrap(), snake);
    }

    #[test]
    fn an_unknown_field_is_refused_wherever_it_is() {
        let top = json!({"contents": [], "audio": 1});
        let deep = json!({"contents": [{"parts": [{"text": "a"}, {"txet": "b"}]}]});

        assert!(message_of(&top).contains(r#"Unknown name \\\"audio\\\": Cannot find field."#));
        assert!(
            message_of(&deep).contains(r#"Unknown name \\\"txet\\\" at 'contents[0].parts[1]'"#)
        );
    }

    #[test]
    fn a_field_in_both_spellings_is_refused() {
        let both = json!({"systemInstruction": {}, "system_instruction": {}});

        assert!(message_of(&both).contains("both spellings"));
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let wrong = [
            json!({"contents": {}}),
            json!({"contents": [{"role": "system"}]}),
            json!({"store": "false"}),
            json!({"generationConfig": {"maxOutputTokens": 1.5}}),
            json!({"generationConfig": {"thinkingConfig": {"thinkingLevel": "DEEP"}}}),
            json!({"generationConfig": {"mediaResolution": "BEST"}}),
            json!({"generationConfig": {"responseModalities": ["SMELL"]}}),
            json!({"serviceTier": "first class"}),
            json!({"safetySettings": [{"category": "HARM_CATEGORY_BOREDOM", "threshold": "OFF"}]}),
            json!({"safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "SOME"}]}),
            json!({"generationConfig": {"responseSchema": {"type": "object"}}}),
            json!({"generationConfig": {"responseSchema": {"properties": {"a": {"items": {"typ": 1}}}}}}),
            json!([]),
        ];

        for body in wrong {
            assert!(parsed(&body).is_err(), "{body}");
        }
    }

    #[test]
    fn names_of_the_clients_own_stay_as_they_are() {
        let schema = json!({"type": "OBJECT", "properties": {"startTime": {"type": "STRING"}}});
        let body = json!({"generationConfig": {"responseSchema": schema}, "labels": {"aB": "c"}});

        let parsed = parsed(&body).unwrap();

        assert_eq!(parsed["generation_config"]["response_schema"], schema);
        assert_eq!(parsed["labels"], json!({"aB": "c"}));
    }

    #[test]
    fn a_response_format_may_be_one_or_a_list() {
        let format = json!({"text": {"mime_type": "application/json", "schema": {}}});

        for given in [format.clone(), json!([format])] {
            let body = json!({"generationConfig": {"responseFormat": given}});
            let parsed = parsed(&body).unwrap();
            assert_eq!(
                parsed["generation_config"]["response_format"],
                json!([format])
            );
        }
    }

    #[test]
    fn base64_may_be_of_both_alphabets_but_not_mixed() {
        let bytes = [0xfb, 0xff, 0xfe, 0x01];

        for text in ["+//+AQ==", "+//+AQ", "-__-AQ==", "-__-AQ"] {
            assert_eq!(decode(text, "data").unwrap(), bytes, "{text}");
        }
        for text in ["+__+AQ==", "+//+A", "+//+AR==", "?", "+//+ AQ=="] {
            assert!(decode(text, "data").is_err(), "{text}");
        }
    }
}
