//! The fields of an object that are the operator's, as `metadata.managedFields` tells
//! (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>), and what somebody may make of them.

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value, json};

/// Who applies the children, and who the number of replicas.
const MANAGERS: [&str; 2] = ["transcription-operator", "transcription-operator-replicas"];

/// A field of an object, or an element of a list.
#[derive(Clone, Debug)]
pub struct Field {
    steps: Vec<Step>,
    /// Whether it is only owned that it is there: what is in it are fields of their own.
    is_mere_presence: bool,
}

/// What is made of a field, or of the one around it.
#[derive(Clone, Debug)]
pub struct Edit {
    steps: Vec<Step>,
    /// Nothing takes it away.
    value: Option<Value>,
}

#[derive(Clone, Debug)]
enum Step {
    /// To a field of an object.
    Field(String),
    /// To the element of a list that has these keys.
    Element(Map<String, Value>),
}

/// All fields of an object that are the operator's.
pub fn owned(object: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    for entry in entries {
        let manager = entry["manager"].as_str().unwrap();
        if entry["operation"] == "Apply" && MANAGERS.contains(&manager) {
            gather(&entry["fieldsV1"], &[], &mut fields);
        }
    }
    fields
}

/// A field with no field below it is one value, whatever is in it.
fn gather(below: &Value, steps: &[Step], fields: &mut Vec<Field>) {
    for (name, below) in below.as_object().unwrap() {
        if name == "." {
            fields.push(Field {
                steps: steps.to_vec(),
                is_mere_presence: true,
            });
            continue;
        }
        let mut steps = steps.to_vec();
        steps.push(Step::read(name));
        if below == &json!({}) {
            fields.push(Field {
                steps,
                is_mere_presence: false,
            });
        } else {
            gather(below, &steps, fields);
        }
    }
}

impl Display for Field {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Field(name) if number == 0 => write!(formatter, "{name}")?,
                Step::Field(name) => write!(formatter, ".{name}")?,
                Step::Element(keys) => {
                    let keys = keys
                        .values()
                        .map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned));
                    write!(formatter, "[{}]", keys.collect::<Vec<_>>().join(","))?;
                }
            }
        }
        Ok(())
    }
}

impl Field {
    /// What it is in an object, if it is there.
    pub fn find<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        let mut steps = self.steps.iter();
        steps.try_fold(object, |value, step| step.below(value))
    }

    /// Edits after which it is no longer what is wanted, in the order in which to try them: the API server takes not all of them.
    pub fn changes(&self, wanted: Option<&Value>) -> Vec<Edit> {
        let mut edits = Vec::new();
        if !self.is_mere_presence {
            // What is wanted empty is not there.
            let values = wanted.map_or_else(|| vec![json!("x")], others);
            edits.extend(values.iter().map(|value| self.made(value.clone())));
            // What belongs to one type may not stand beside another.
            if let [parents @ .., Step::Field(name)] = &self.steps[..]
                && name == "type"
            {
                edits.extend(values.into_iter().map(|value| Edit {
                    steps: parents.to_vec(),
                    value: Some(json!({ "type": value })),
                }));
            }
        }
        edits.push(Edit {
            steps: self.steps.clone(),
            value: None,
        });
        edits
    }

    /// Edits that add something to a value that is one: it is no longer what is wanted either.
    pub fn additions(&self, wanted: Option<&Value>) -> Vec<Edit> {
        if self.is_mere_presence {
            return Vec::new();
        }
        let values = wanted.map(more).unwrap_or_default().into_iter();
        values.map(|value| self.made(value)).collect()
    }

    fn made(&self, value: Value) -> Edit {
        Edit {
            steps: self.steps.clone(),
            value: Some(value),
        }
    }
}

impl Edit {
    /// Makes the edit. Where there is no such field there is nothing to edit.
    pub fn make(&self, object: &mut Value) {
        let Some((last, parents)) = self.steps.split_last() else {
            return;
        };
        let mut place = object;
        for step in parents {
            let Some(below) = step.below_mut(place) else {
                return;
            };
            place = below;
        }
        match (last, &self.value) {
            (Step::Field(name), Some(value)) => place[name.as_str()] = value.clone(),
            (Step::Field(name), None) => {
                if let Some(fields) = place.as_object_mut() {
                    fields.remove(name);
                }
            }
            (Step::Element(_), Some(value)) => {
                if let Some(element) = last.below_mut(place) {
                    *element = value.clone();
                }
            }
            (Step::Element(keys), None) => {
                if let Some(elements) = place.as_array_mut() {
                    elements.retain(|element| !has(element, keys));
                }
            }
        }
    }
}

impl Step {
    fn read(written: &str) -> Self {
        match written.split_once(':') {
            Some(("f", name)) => Self::Field(name.to_owned()),
            Some(("k", keys)) => Self::Element(serde_json::from_str(keys).unwrap()),
            // Elements of sets, and those of lists by their number: nothing of the operator's is such a list.
            _ => panic!("{written}: the tests do not know how to find that"),
        }
    }

    fn below<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Field(name) => value.get(name),
            Self::Element(keys) => {
                let mut elements = value.as_array()?.iter();
                elements.find(|element| has(element, keys))
            }
        }
    }

    fn below_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Self::Field(name) => value.get_mut(name),
            Self::Element(keys) => {
                let mut elements = value.as_array_mut()?.iter_mut();
                elements.find(|element| has(element, keys))
            }
        }
    }
}

fn has(element: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter()
        .all(|(name, value)| element.get(name) == Some(value))
}

/// Values that are not this one. Of a list or an object: with one part that is another, or with an element less.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Bool(is_so) => vec![json!(!is_so)],
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            vec![json!(number + 1), json!(number - 1)]
        }
        Value::String(text) => texts(text),
        Value::Array(elements) => {
            let mut all = with_one_part(value, others);
            if let Some((_, rest)) = elements.split_last() {
                all.push(json!(rest));
            }
            all
        }
        Value::Object(_) => with_one_part(value, others),
    }
}

/// Texts that are not this one: where only some words are known, another of them.
fn texts(text: &str) -> Vec<Value> {
    let known: &[&str] = match text {
        "AlwaysAllow" => &["IfHealthyBudget"],
        "ClusterIP" => &["NodePort"],
        "DoNotSchedule" => &["ScheduleAnyway"],
        "HTTP" => &["HTTPS"],
        "IfNotPresent" | "OnRootMismatch" => &["Always"],
        "Ingress" => &["Egress"],
        "RollingUpdate" => &["OnDelete", "Recreate"],
        "RuntimeDefault" => &["Unconfined"],
        "ScheduleAnyway" => &["DoNotSchedule"],
        "TCP" => &["UDP"],
        "limits.cpu" => &["requests.cpu"],
        "spec.nodeName" => &["metadata.name"],
        _ => &[],
    };
    let longer = format!("{text}x");
    // What is not a word may be an amount.
    let guesses = [longer.as_str(), "7", "7Gi", "1m"];
    let all = known.iter().chain(&guesses);
    all.filter(|other| **other != text)
        .map(|other| json!(other))
        .collect()
}

/// Values that have more than this one, in whatever is in it. Where the API server knows no such field it leaves it out.
fn more(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    if value.is_object() {
        for (name, addition) in [
            // To what is a map: of labels, for instance.
            ("someone", json!("x")),
            // To what names a Secret or a ConfigMap.
            ("optional", json!(true)),
            // To a rule of a NetworkPolicy.
            ("from", json!([{"podSelector": {}}])),
        ] {
            if value.get(name).is_none() {
                let mut value = value.clone();
                value[name] = addition;
                all.push(value);
            }
        }
    }
    all.extend(with_one_part(value, more));
    all
}

/// A list or an object with one of its parts made another, in each of these ways.
fn with_one_part(value: &Value, ways: fn(&Value) -> Vec<Value>) -> Vec<Value> {
    let mut all = Vec::new();
    match value {
        Value::Array(elements) => {
            for (number, element) in elements.iter().enumerate() {
                all.extend(ways(element).into_iter().map(|way| {
                    let mut value = value.clone();
                    value[number] = way;
                    value
                }));
            }
        }
        Value::Object(fields) => {
            // Yes and no first: in a reference the rest says what it refers to, and one that refers to nothing is the end of its object.
            let mut fields = fields.iter().collect::<Vec<_>>();
            fields.sort_by_key(|(_, field)| !field.is_boolean());
            for (name, field) in fields {
                all.extend(ways(field).into_iter().map(|way| {
                    let mut value = value.clone();
                    value[name.as_str()] = way;
                    value
                }));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    all
}
