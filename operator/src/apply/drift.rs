//! Whether an object still is as it is wanted.

use serde_json::{Map, Value};

use crate::quantity;

/// Keys by which Kubernetes tells the elements of a list apart (`x-kubernetes-list-map-keys`), in the order they are tried. What
/// others add to such a list is theirs.
const LIST_KEYS: [&str; 5] = ["name", "uid", "mountPath", "containerPort", "topologyKey"];

/// Lists that are one value to Kubernetes although their elements have names.
const WHOLE_LISTS: [&str; 2] = ["envFrom", "ingress"];

/// Whether everything that is wanted is there. More may be there: defaults of the server, and what others added.
pub fn holds(wanted: &Value, live: &Value) -> bool {
    is_within("", wanted, live)
}

fn is_within(name: &str, wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => fields_are_within(name, wanted, live),
        (Value::Array(wanted), Value::Array(live)) => list_is_within(name, wanted, live),
        (Value::String(one), Value::String(other)) => {
            one == other || is_same_amount(name, one, other)
        }
        (wanted, live) => wanted == live,
    }
}

fn fields_are_within(name: &str, wanted: &Map<String, Value>, live: &Map<String, Value>) -> bool {
    wanted.iter().all(|(key, value)| match live.get(key) {
        Some(live) => {
            // Below `requests` and `limits` the keys are names of resources.
            let name = if is_amounts(name) { name } else { key };
            is_within(name, value, live)
        }
        // The server leaves empty ones out.
        None => is_empty(value),
    })
}

fn list_is_within(name: &str, wanted: &[Value], live: &[Value]) -> bool {
    if let Some(key) = list_key(name, wanted) {
        return wanted.iter().all(|wanted| {
            let same = live.iter().find(|live| live.get(key) == wanted.get(key));
            same.is_some_and(|live| is_within(name, wanted, live))
        });
    }
    wanted.len() == live.len()
        && wanted
            .iter()
            .zip(live)
            .all(|(wanted, live)| is_within(name, wanted, live))
}

fn list_key(name: &str, list: &[Value]) -> Option<&'static str> {
    if WHOLE_LISTS.contains(&name) || list.is_empty() {
        return None;
    }
    LIST_KEYS
        .into_iter()
        .find(|key| list.iter().all(|element| element.get(key).is_some()))
}

fn is_amounts(name: &str) -> bool {
    matches!(name, "requests" | "limits")
}

/// The server writes amounts in its own way: 1000m becomes 1.
fn is_same_amount(name: &str, one: &str, other: &str) -> bool {
    is_amounts(name)
        && quantity::value(one).is_some_and(|value| Some(value) == quantity::value(other))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::holds;

    fn pod(container: &Value) -> Value {
        json!({"spec": {"containers": [container]}})
    }

    #[test]
    fn defaults_of_the_server_and_additions_of_others_are_no_drift() {
        let wanted = pod(&json!({"name": "auth", "env": [{"name": "A", "value": "1"}]}));
        let mut live = pod(
            &json!({"name": "auth", "env": [{"name": "B"}, {"name": "A", "value": "1"}], "tty": false}),
        );
        live["spec"]["containers"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!({"name": "sidecar"}));

        assert!(holds(&wanted, &live));
    }

    #[test]
    fn a_changed_value_is_drift() {
        let wanted = pod(&json!({"name": "auth", "env": [{"name": "A", "value": "1"}]}));
        let live = pod(&json!({"name": "auth", "env": [{"name": "A", "value": "2"}]}));

        assert!(!holds(&wanted, &live));
    }

    #[test]
    fn a_removed_element_is_drift() {
        let wanted = pod(&json!({"name": "auth", "env": [{"name": "A"}, {"name": "B"}]}));
        let live = pod(&json!({"name": "auth", "env": [{"name": "A"}]}));

        assert!(!holds(&wanted, &live));
    }

    #[test]
    fn an_addition_to_a_list_that_is_one_value_is_drift() {
        let wanted = json!({"policyTypes": ["Ingress"]});
        let live = json!({"policyTypes": ["Ingress", "Egress"]});

        assert!(!holds(&wanted, &live));
    }

    #[test]
    fn an_amount_that_is_written_otherwise_is_no_drift() {
        let wanted = json!({"resources": {"limits": {"cpu": "1000m", "memory": "1Gi"}}});
        let same = json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}});
        let other = json!({"resources": {"limits": {"cpu": "2", "memory": "1Gi"}}});

        assert!(holds(&wanted, &same));
        assert!(!holds(&wanted, &other));
    }

    #[test]
    fn text_that_looks_like_an_amount_is_text() {
        assert!(!holds(
            &json!({"labels": {"a": "1000m"}}),
            &json!({"labels": {"a": "1"}})
        ));
    }

    #[test]
    fn what_is_wanted_empty_may_be_left_out() {
        assert!(holds(&json!({"spec": {"env": [], "name": ""}}), &json!({})));
        assert!(!holds(&json!({"spec": {"paused": false}}), &json!({})));
    }
}
