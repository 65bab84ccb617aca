//! Which fields of an object are still the operator's, as the API server keeps the account of it
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>).
//!
//! Whoever changes a field takes it over, also when it was changed back, and also when something was added to what is one value. So a field
//! that is no longer the operator's was changed by somebody.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;

use super::drift::is_empty;
use crate::names;

/// What names an object is in no account.
const IDENTITY: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// And in its metadata.
const NAME: [&str; 3] = ["name", "namespace", "uid"];

/// Keeps of the account only the operator's part, as text: it takes a tenth of the memory. Who set which other field nobody here asks.
pub fn pack(metadata: &mut ObjectMeta) {
    let Some(account) = metadata.managed_fields.take() else {
        return;
    };
    let ours = account.into_iter().find(is_ours).map(|mut ours| {
        ours.fields_v1 = ours
            .fields_v1
            .map(|fields| FieldsV1(Value::String(fields.0.to_string())));
        ours
    });
    metadata.managed_fields = ours.map(|ours| vec![ours]);
}

/// The operator's part of the account.
fn ours(metadata: &ObjectMeta) -> Option<Value> {
    let account = metadata.managed_fields.iter().flatten();
    let ours = account.into_iter().find(|entry| is_ours(entry))?;
    match &ours.fields_v1.as_ref()?.0 {
        Value::String(packed) => serde_json::from_str(packed).ok(),
        fields => Some(fields.clone()),
    }
}

fn is_ours(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(names::FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref().unwrap_or_default().is_empty()
}

/// Whether all that is wanted is the operator's.
pub fn are_ours(wanted: &Value, live: &ObjectMeta) -> bool {
    let (Some(ours), Some(object)) = (ours(live), wanted.as_object()) else {
        return false;
    };
    let parts = object
        .iter()
        .filter(|(name, _)| !IDENTITY.contains(&name.as_str()));
    let metadata = wanted["metadata"].as_object().into_iter().flatten();
    let metadata = metadata.filter(|(name, _)| !NAME.contains(&name.as_str()));
    parts
        .into_iter()
        .all(|(name, value)| is_field_ours(name, value, &ours))
        && metadata
            .into_iter()
            .all(|(name, value)| is_field_ours(name, value, &ours["f:metadata"]))
}

fn is_field_ours(name: &str, wanted: &Value, ours: &Value) -> bool {
    match ours.get(format!("f:{name}")) {
        Some(ours) => is_ours_within(wanted, ours),
        // The server keeps no account of what it leaves out.
        None => is_empty(wanted),
    }
}

fn is_ours_within(wanted: &Value, ours: &Value) -> bool {
    let Some(parts) = ours.as_object().filter(|parts| !parts.is_empty()) else {
        // It is one value, and it is ours.
        return true;
    };
    match wanted {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, value)| is_field_ours(name, value, ours)),
        Value::Array(elements) => elements.iter().all(|element| {
            parts
                .iter()
                .any(|(key, ours)| is_element(key, element) && is_ours_within(element, ours))
        }),
        _ => true,
    }
}

/// Whether a key of the account, `k:{"name":"auth"}` or `v:"one"`, is that of an element.
fn is_element(key: &str, element: &Value) -> bool {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let Some(Value::Object(keys)) = key.strip_prefix("k:").and_then(parsed) {
        return keys
            .iter()
            .all(|(name, value)| element.get(name) == Some(value));
    }
    let value = key.strip_prefix("v:").and_then(parsed);
    value.is_some_and(|value| value == *element)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn account(fields: Value) -> ObjectMeta {
        let entry = |manager: &str, fields: Value| ManagedFieldsEntry {
            manager: Some(manager.to_owned()),
            operation: Some("Apply".to_owned()),
            fields_v1: Some(FieldsV1(fields)),
            ..ManagedFieldsEntry::default()
        };
        let mut metadata = ObjectMeta {
            managed_fields: Some(vec![
                entry("someone", json!({"f:data": {"f:a": {}}})),
                entry(names::FIELD_MANAGER, fields),
            ]),
            creation_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                Timestamp::UNIX_EPOCH,
            )),
            ..ObjectMeta::default()
        };
        pack(&mut metadata);
        metadata
    }

    #[test]
    fn what_somebody_else_has_changed_is_no_longer_ours() {
        let wanted = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "namespace": "b", "labels": {"c": "d"}},
            "spec": {"selector": {"e": "f"}, "ports": [{"port": 1, "protocol": "TCP", "name": "http"}], "list": ["x"], "empty": []},
        });
        let ours = json!({
            "f:metadata": {"f:labels": {"f:c": {}}},
            "f:spec": {
                "f:selector": {},
                "f:ports": {r#"k:{"port":1,"protocol":"TCP"}"#: {".": {}, "f:port": {}, "f:protocol": {}, "f:name": {}}},
                "f:list": {r#"v:"x""#: {}},
            },
        });

        assert!(are_ours(&wanted, &account(ours.clone())));
        assert!(!are_ours(&wanted, &ObjectMeta::default()));
        for lost in [
            "/f:metadata/f:labels/f:c",
            "/f:spec/f:selector",
            r#"/f:spec/f:ports/k:{"port":1,"protocol":"TCP"}"#,
            r#"/f:spec/f:ports/k:{"port":1,"protocol":"TCP"}/f:name"#,
            r#"/f:spec/f:list/v:"x""#,
        ] {
            let mut less = ours.clone();
            let (parent, name) = lost.rsplit_once('/').unwrap();
            let parent = less.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            assert!(parent.remove(name).is_some(), "{lost}");
            parent.insert(".".to_owned(), json!({}));
            assert!(!are_ours(&wanted, &account(less)), "{lost}");
        }
    }
}
