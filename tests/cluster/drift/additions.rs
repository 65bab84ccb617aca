//! What somebody adds to a child beside what the operator wants there.

use serde_json::{Value, json};
use transcription_tests::cluster::with;

/// What is added to an object of a kind: a label, an annotation and a finalizer, and whatever else may stand beside the operator's.
pub fn additions(kind: &str) -> Value {
    let everywhere = json!({"metadata": {
        "labels": {"example.com/theirs": "label"},
        "annotations": {"example.com/theirs": "annotation"},
        "finalizers": ["example.com/theirs"],
    }});
    let further = match kind {
        "ConfigMap" => json!({"data": {"THEIRS": "value"}}),
        "Secret" => json!({"data": {"THEIRS": "dmFsdWU="}}),
        "Service" => json!({"spec": {"ports": [
            {"name": "theirs", "port": 7000, "protocol": "TCP", "targetPort": 7000},
        ]}}),
        "StatefulSet" => to_pods("auth"),
        "Deployment" => to_pods("transcription"),
        _ => json!({}),
    };
    with(everywhere, further)
}

fn to_pods(container: &str) -> Value {
    let metadata = json!({
        "labels": {"example.com/theirs": "label"},
        "annotations": {"example.com/theirs": "annotation"},
    });
    let variable = json!({"name": "THEIRS", "value": "value"});
    let mount = json!({"name": "theirs", "mountPath": "/theirs"});
    json!({"spec": {"template": {"metadata": metadata, "spec": {
        "containers": [
            {"name": container, "env": [variable], "volumeMounts": [mount]},
            {"name": "theirs", "image": "theirs:1"},
        ],
        "imagePullSecrets": [{"name": "theirs"}],
        "volumes": [{"name": "theirs", "emptyDir": {}}],
    }}}})
}

/// Adds that to an object. Elements of a list with the same name are the same.
pub fn add(object: &mut Value, addition: &Value) {
    match addition {
        Value::Object(fields) => {
            for (name, addition) in fields {
                add(&mut object[name.as_str()], addition);
            }
        }
        Value::Array(elements) => {
            if object.is_null() {
                *object = json!([]);
            }
            let list = object.as_array_mut().unwrap();
            for element in elements {
                let name = element.get("name");
                let is_same = |other: &&mut Value| name.is_some() && other.get("name") == name;
                match list.iter_mut().find(is_same) {
                    Some(same) => add(same, element),
                    None => list.push(element.clone()),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            *object = addition.clone();
        }
    }
}

/// Whether an object has all that.
pub fn has(object: &Value, addition: &Value) -> bool {
    match addition {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, addition)| has(&object[name.as_str()], addition)),
        Value::Array(elements) => elements.iter().all(|element| {
            let mut list = object.as_array().into_iter().flatten();
            list.any(|other| has(other, element))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => object == addition,
    }
}
