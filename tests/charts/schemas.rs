//! What a Kubernetes takes, as JSON Schema for kubeconform: made of what Kubernetes publishes (`api/openapi-spec/swagger.json`), of our definition,
//! and of those of the Prometheus operator. A field that is not there is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use transcription_tests::charts::{parsed, read};
use transcription_tests::files::{cached, data, root};

/// The releases of Kubernetes, the oldest that is supported first. `tests/lab/fetch.sh kubernetes-schemas` fetches what they publish.
pub const VERSIONS: [&str; 3] = ["1.33.13", "1.34.4", "1.35.4"];

/// Where kubeconform looks for a kind.
pub const LOCATION: &str = "{{ .ResourceKind }}{{ .KindSuffix }}.json";

const METADATA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// As Kubernetes reads them (`ParseQuantity`).
const QUANTITY_PATTERN: &str =
    "^[+-]?([0-9]+|[0-9]+\\.[0-9]*|\\.[0-9]+)([EPTGMK]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// A kind, with its group and version.
pub type Kind = (String, String);

/// The kind of an object.
pub fn kind(object: &Value) -> Kind {
    let text = |field: &str| object[field].as_str().unwrap().to_owned();
    (text("apiVersion"), text("kind"))
}

/// Writes the schemas of these kinds into a folder, as a release of Kubernetes has them.
pub fn write(folder: &Path, version: &str, kinds: &BTreeSet<Kind>) {
    let published = cached(&format!("kubernetes-schemas-1/{version}.json"));
    let published = fs::read_to_string(published).unwrap();
    let published = serde_json::from_str::<Value>(&published).unwrap();
    let definitions = published["definitions"].as_object().unwrap();
    let others = fs::read_to_string(data("schemas/prometheus-operator.yaml")).unwrap();
    let mut custom = parsed(&others);
    custom.push(read(&root().join("k8s/crd.yaml")));

    for kind in kinds {
        let schema = custom
            .iter()
            .find_map(|definition| defined(definition, kind));
        let schema = schema.or_else(|| built_in(definitions, kind));
        // Without one kubeconform says so.
        let Some(schema) = schema else { continue };
        let schema = complete(&translated(&schema, true), definitions);
        fs::write(folder.join(file_name(kind)), schema.to_string()).unwrap();
    }
}

/// The schema of a kind of Kubernetes's own.
fn built_in(definitions: &Map<String, Value>, kind: &Kind) -> Option<Value> {
    let (api_version, kind) = kind;
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let wanted = json!([{"group": group, "kind": kind, "version": version}]);
    let mut all = definitions.values();
    all.find(|schema| schema["x-kubernetes-group-version-kind"] == wanted)
        .cloned()
}

/// The schema of a kind in the definition of a custom resource.
fn defined(definition: &Value, kind: &Kind) -> Option<Value> {
    let spec = &definition["spec"];
    let group = spec["group"].as_str().unwrap();
    let (wanted, version) = kind.0.split_once('/')?;
    if wanted != group || spec["names"]["kind"] != kind.1.as_str() {
        return None;
    }
    let versions = spec["versions"].as_array().unwrap();
    let version = versions.iter().find(|known| known["name"] == version)?;
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    // What every object has, and a definition need not say.
    for field in ["apiVersion", "kind"] {
        schema["properties"][field] = json!({"type": "string"});
    }
    schema["properties"]["metadata"] = json!({"$ref": format!("#/definitions/{METADATA}")});
    Some(schema)
}

/// A schema with all that it refers to.
fn complete(schema: &Value, definitions: &Map<String, Value>) -> Value {
    let mut schema = schema.clone();
    let mut known = Map::new();
    let mut missing = Vec::new();
    references(&schema, &mut missing);
    while let Some(name) = missing.pop() {
        if known.contains_key(&name) {
            continue;
        }
        let definition = match name.as_str() {
            // It is published as a string, and is taken as a number too.
            QUANTITY => {
                json!({"oneOf": [{"type": "string", "pattern": QUANTITY_PATTERN}, {"type": "number"}]})
            }
            _ => translated(&definitions[&name], true),
        };
        references(&definition, &mut missing);
        known.insert(name, definition);
    }
    schema["definitions"] = Value::Object(known);
    schema
}

/// The names that a schema refers to.
fn references(schema: &Value, into: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            let reference = fields.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|reference| reference.strip_prefix("#/definitions/"));
            into.extend(name.map(str::to_owned));
            for value in fields.values() {
                references(value, into);
            }
        }
        Value::Array(values) => {
            for value in values {
                references(value, into);
            }
        }
        _ => {}
    }
}

/// A schema of Kubernetes's as JSON Schema: it is closed where it names its fields, and what only Kubernetes understands is left out.
fn translated(schema: &Value, is_closed: bool) -> Value {
    let Some(fields) = schema.as_object() else {
        return schema.clone();
    };
    let mut kept = Map::new();
    for (key, value) in fields {
        let value = match key.as_str() {
            "properties" => {
                let properties = value.as_object().unwrap().iter();
                let properties = properties
                    .map(|(name, property)| (name.clone(), translated(property, is_closed)));
                properties.collect::<Map<_, _>>().into()
            }
            "items" | "additionalProperties" => translated(value, is_closed),
            "not" => translated(value, false),
            // These look at the same object once more, and need not name all its fields.
            "allOf" | "anyOf" | "oneOf" => {
                let all = value.as_array().unwrap().iter();
                all.map(|one| translated(one, false)).collect()
            }
            "$ref" | "enum" | "maxItems" | "maxLength" | "maximum" | "minItems" | "minLength"
            | "minimum" | "pattern" | "required" | "type" => value.clone(),
            _ => continue,
        };
        kept.insert(key.clone(), value);
    }
    if schema["x-kubernetes-int-or-string"] == true || schema["format"] == "int-or-string" {
        kept.remove("type");
        kept.insert(
            "anyOf".to_owned(),
            json!([{"type": "integer"}, {"type": "string"}]),
        );
    }
    if schema["nullable"] == true {
        let own = kept.remove("type");
        kept.insert("type".to_owned(), json!([own, "null"]));
    }
    let is_open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if is_closed && !is_open && kept.contains_key("properties") {
        kept.entry("additionalProperties").or_insert(false.into());
    }
    kept.into()
}

/// What kubeconform calls the file of a kind: of a group only what is before its first point.
fn file_name((api_version, kind): &Kind) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let group = group.split('.').next().unwrap_or_default();
    let parts = [kind, group, version].into_iter();
    let parts = parts.filter(|part| !part.is_empty());
    format!(
        "{}.json",
        parts.collect::<Vec<_>>().join("-").to_lowercase()
    )
}
