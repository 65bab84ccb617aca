//! Fields of a JSON body, taken one by one, so that an answer can name every one that is wrong, and none of the values.

use secrecy::SecretString;
use serde_json::Value;
use transcription_common::problem::FieldError;

/// A text that must be there.
pub fn required(field: &'static str, value: Value) -> Result<String, FieldError> {
    optional(field, value)?.ok_or_else(|| FieldError::new(field, "is missing."))
}

/// A text that may be left out, or be null.
pub fn optional(field: &'static str, value: Value) -> Result<Option<String>, FieldError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(FieldError::new(field, "must be a string."))
        }
    }
}

/// A secret text that must be there.
pub fn required_secret(field: &'static str, value: Value) -> Result<SecretString, FieldError> {
    required(field, value).map(SecretString::from)
}
