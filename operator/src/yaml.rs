//! YAML as it is printed for people and files.

use serde::Serialize;

/// One document, without the line that divides documents. By way of JSON: Kubernetes's types write themselves for JSON.
pub fn document(object: &impl Serialize) -> anyhow::Result<String> {
    let value = serde_json::to_value(object)?;
    Ok(serde_saphyr::to_string(&value)?)
}

/// Several documents in one text.
pub fn documents(objects: &[serde_json::Value]) -> anyhow::Result<String> {
    let documents = objects
        .iter()
        .map(document)
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(documents.join("---\n"))
}
