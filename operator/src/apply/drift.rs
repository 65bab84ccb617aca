//! Whether an object still is as it is wanted.

use serde_json::{Map, Value};

use crate::quantity;

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
    if let Some(keys) = list_keys(name, wanted) {
        return wanted.iter().all(|wanted| {
            let is_same = |live: &&Value| keys.iter().all(|key| live.get(key) == wanted.get(key));
            let same = live.iter().find(is_same);
            same.is_some_and(|live| is_within(name, wanted, live))
        });
    }
    wanted.len() == live.len()
        && wanted
            .iter()
            .zip(live)
            .all(|(wanted, live)| is_within(name, wanted, live))
}

/// The keys by which Kubernetes tells the elements of a list apart (`x-kubernetes-list-map-keys` in its schemas), if it does: what
/// others add to such a list is theirs. Every other list is one value.
pub(super) fn list_keys(name: &str, list: &[Value]) -> Option<&'static [&'static str]> {
    let have = |key: &str| list.iter().all(|element| element.get(key).is_some());
    match name {
        "containers" | "volumes" | "env" | "imagePullSecrets" | "claims" => Some(&["name"]),
        "ownerReferences" => Some(&["uid"]),
        "volumeMounts" => Some(&["mountPath"]),
        "topologySpreadConstraints" => Some(&["topologyKey", "whenUnsatisfiable"]),
        // Of a container, of a Service; those of a NetworkPolicy have no names and are one value.
        "ports" if have("containerPort") => Some(&["containerPort", "protocol"]),
        "ports" if have("port") && have("name") => Some(&["port", "protocol"]),
        _ => None,
    }
}

/// Where values are amounts: all below `requests` and `limits`, whose keys are names of resources.
fn is_amounts(name: &str) -> bool {
    matches!(name, "requests" | "limits" | "divisor")
}

/// The server writes amounts in its own way: 1000m becomes 1.
fn is_same_amount(name: &str, one: &str, other: &str) -> bool {
    is_amounts(name)
        && quantity::value(one).is_some_and(|value| Some(value) == quantity::value(other))
}

/// Whether a value says nothing.
pub(super) fn is_empty(value: &Value) -> bool {
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
    fn lists_whose_elements_have_names_by_chance_are_one_value() {
        let wanted =
            json!({"podAffinity": {"preferred": [{"topologyKey": "a"}, {"topologyKey": "a"}]}});
        let live = json!({"podAffinity": {"preferred": [{"topologyKey": "a"}]}});

        assert!(holds(&wanted, &wanted));
        assert!(!holds(&wanted, &live));
    }

    #[test]
    fn elements_with_two_keys_are_told_apart_by_both() {
        let spread = |when: &str, skew: i32| json!({"topologyKey": "zone", "whenUnsatisfiable": when, "maxSkew": skew});
        let both = json!({"topologySpreadConstraints": [spread("DoNotSchedule", 2), spread("ScheduleAnyway", 1)]});
        let swapped = json!({"topologySpreadConstraints": [spread("ScheduleAnyway", 1), spread("DoNotSchedule", 2)]});

        assert!(holds(&both, &swapped));
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
