//! `values.yaml` and `values.schema.json` of a chart say the same.

use serde_json::{Map, Value, json};
use transcription_tests::charts::{CHARTS, Helm, folder, read, together};

/// What the schema has and `values.yaml` does not.
const ONLY_IN_SCHEMA: [(&str, &str); 2] = [
    (
        "enabled",
        "a value for the condition of an umbrella chart, which nobody sets for the chart alone",
    ),
    (
        "resources.claims",
        "Kubernetes's third kind of resources, for which there is no default",
    ),
];

/// Both files of a chart.
pub struct Definition {
    values: Value,
    schema: Value,
}

impl Definition {
    /// Reads them.
    pub fn of(chart: &str) -> Self {
        Self {
            values: read(&folder(chart).join("values.yaml")),
            schema: read(&folder(chart).join("values.schema.json")),
        }
    }

    /// The names of all values, with what they are by default. A value that is a list, or a map of the user's own, is one.
    pub fn leaves(&self) -> Vec<(String, Value)> {
        let mut leaves = Vec::new();
        self.walk(&mut |name, value, properties| {
            if properties.is_none() {
                leaves.push((name.to_owned(), value.clone()));
            }
        });
        leaves
    }

    /// Comes to each value, and tells the schema's properties where it has values of its own.
    fn walk(&self, visit: &mut impl FnMut(&str, &Value, Option<&Value>)) {
        self.step("", &self.values, &self.schema, visit);
    }

    fn step(
        &self,
        name: &str,
        value: &Value,
        schema: &Value,
        visit: &mut impl FnMut(&str, &Value, Option<&Value>),
    ) {
        let schema = self.resolved(schema);
        let properties = schema.get("properties");
        let fields = value.as_object().filter(|fields| !fields.is_empty());
        let (Some(properties), Some(fields)) = (properties, fields) else {
            visit(name, value, None);
            return;
        };
        visit(name, value, Some(schema));
        for (key, value) in fields {
            let Some(property) = properties.get(key) else {
                // What is not there is told by a test of its own.
                continue;
            };
            self.step(&joined(name, key), value, property, visit);
        }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str();
        reference.map_or(schema, |reference| {
            let pointer = reference.strip_prefix('#').unwrap();
            self.schema.pointer(pointer).unwrap()
        })
    }
}

/// The value of a name, if it is there.
pub fn value_of<'a>(values: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.')
        .try_fold(values, |values, key| values.get(key))
}

fn joined(name: &str, key: &str) -> String {
    if name.is_empty() {
        key.to_owned()
    } else {
        format!("{name}.{key}")
    }
}

#[test]
fn every_value_is_in_the_schema_and_every_property_of_the_schema_is_a_value() {
    let mut met = Vec::new();
    for chart in CHARTS {
        let definition = Definition::of(chart);
        let mut problems = Vec::new();

        definition.walk(&mut |name, value, schema| {
            let Some(schema) = schema else { return };
            let values = value.as_object().unwrap();
            let properties = schema["properties"].as_object().unwrap();
            for key in values.keys().filter(|key| !properties.contains_key(*key)) {
                problems.push(format!("{} is not in the schema", joined(name, key)));
            }
            for key in properties.keys().filter(|key| !values.contains_key(*key)) {
                let name = joined(name, key);
                if ONLY_IN_SCHEMA.iter().any(|(allowed, _)| *allowed == name) {
                    met.push(name);
                } else {
                    problems.push(format!("{name} is not in values.yaml"));
                }
            }
            let is_closed = schema["additionalProperties"] == false;
            // Other charts of an umbrella chart have their values there too.
            if is_closed == (name == "global") {
                problems.push(format!("{name}: additionalProperties"));
            }
        });

        assert!(problems.is_empty(), "{chart}: {problems:#?}");
    }
    for (name, _) in ONLY_IN_SCHEMA {
        assert!(
            met.iter().any(|met| met == name),
            "{name} is allowed for nothing"
        );
    }
}

#[tokio::test]
async fn a_value_that_nobody_knows_is_refused_wherever_it_is() {
    for chart in CHARTS {
        let definition = Definition::of(chart);
        let mut levels = Vec::new();
        definition.walk(&mut |name, _, schema| {
            if schema.is_some() && name != "global" {
                levels.push(name.to_owned());
            }
        });
        assert!(levels.len() > 10, "{levels:?}");
        let mut values = json!({});
        for level in &levels {
            insert(&mut values, &joined(level, "unknownValue"), &json!(1));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), values.to_string()).unwrap();
        let arguments = ["--values", file.path().to_str().unwrap()];

        let said = together(Helm::BOTH, async |helm: Helm| {
            helm.template(chart, &arguments).await.unwrap_err()
        });

        for said in said.await {
            for level in &levels {
                let path = level.replace('.', "/");
                let slash = if path.is_empty() { "" } else { "/" };
                let line =
                    format!("at '{slash}{path}': additional properties 'unknownValue' not allowed");
                assert!(said.contains(&line), "{chart}: {line}\n{said}");
            }
        }
    }
}

/// Sets a value by its name.
fn insert(values: &mut Value, name: &str, value: &Value) {
    let (level, key) = name.rsplit_once('.').unwrap_or(("", name));
    let mut place = values;
    for key in level.split('.').filter(|key| !key.is_empty()) {
        let fields = place.as_object_mut().unwrap();
        place = fields
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    place[key] = value.clone();
}

/// Takes a value away by its name.
pub fn remove(values: &mut Value, name: &str) {
    let (level, key) = name.rsplit_once('.').unwrap_or(("", name));
    let pointer = level.replace('.', "/");
    let slash = if pointer.is_empty() { "" } else { "/" };
    let place = values.pointer_mut(&format!("{slash}{pointer}")).unwrap();
    place.as_object_mut().unwrap().remove(key).unwrap();
}
