//! How everything is named, labelled and owned.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::names::{self, Component};
use crate::validate::Validated;

/// Of an object that goes with the stack.
pub fn owned(stack: &Validated, component: Component, name: String) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![stack.owner.clone()]),
        ..kept(stack, component, name)
    }
}

/// Of an object that cannot be made again: it stays, unless it is to go.
pub fn data(stack: &Validated, component: Component, name: String) -> ObjectMeta {
    if stack.owns_data() {
        owned(stack, component, name)
    } else {
        kept(stack, component, name)
    }
}

fn kept(stack: &Validated, component: Component, name: String) -> ObjectMeta {
    let mut labels = names::labels(&stack.name, component);
    labels.insert(
        "app.kubernetes.io/version".to_owned(),
        stack.release.to_string(),
    );
    ObjectMeta {
        name: Some(name),
        namespace: Some(stack.namespace.clone()),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// Selects a component's pods.
pub fn selector(stack: &Validated, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::selector(&stack.name, component)),
        match_expressions: None,
    }
}
