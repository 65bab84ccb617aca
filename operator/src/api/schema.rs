//! The CustomResourceDefinition, made from the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

use super::TranscriptionStack;

/// Kubernetes's own types within ours: what they mean is told by `kubectl explain pod.spec`, and with all of that text the definition
/// would be too large for `kubectl apply` (256 KiB).
const KUBERNETES_TYPES: [&str; 6] = [
    "affinity",
    "egress",
    "resources",
    "tolerations",
    "topologySpreadConstraints",
    "valueFrom",
];

/// The definition, as it is installed.
pub fn definition() -> anyhow::Result<CustomResourceDefinition> {
    let mut definition = serde_json::to_value(TranscriptionStack::crd())?;
    let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    forbid_null(schema);
    shorten(schema);
    Ok(serde_json::from_value(definition)?)
}

/// The definition as YAML, with where it comes from.
pub fn yaml() -> anyhow::Result<String> {
    Ok(format!(
        "# The custom resource. Made from the types of the operator by `make generate`: not edited by hand.\n{}",
        crate::yaml::document(&definition()?)?
    ))
}

/// Without `nullable`, a field that is set to null is as if it were not there: the server drops it before it asks the rules. With
/// it, `has(self.replicas)` would be true of a null.
fn forbid_null(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(forbid_null);
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_null),
        _ => {}
    }
}

/// Takes the long descriptions away from Kubernetes's own types.
fn shorten(schema: &mut Value) {
    let Value::Object(fields) = schema else {
        return;
    };
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        for (name, property) in properties {
            if KUBERNETES_TYPES.contains(&name.as_str()) {
                if let Value::Object(property) = property {
                    for (key, value) in property.iter_mut().filter(|(key, _)| *key != "description")
                    {
                        undescribe(key, value);
                    }
                }
            } else {
                shorten(property);
            }
        }
    }
    if let Some(items) = fields.get_mut("items") {
        shorten(items);
    }
}

fn undescribe(key: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            // `description` is a keyword of schemas, but no name of a field in any of these types.
            if key != "properties" {
                fields.remove("description");
            }
            let fields: &mut Map<String, Value> = fields;
            for (key, value) in fields.iter_mut() {
                undescribe(key, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| undescribe("items", item)),
        _ => {}
    }
}
