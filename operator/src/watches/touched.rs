//! Which stacks are to be looked at when an object has changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::TranscriptionStack;

/// The stack that controls an object.
pub(super) fn owners(metadata: &ObjectMeta) -> Vec<ObjectRef<TranscriptionStack>> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let owners = metadata.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.controller == Some(true))
        .filter_map(|owner| ObjectRef::from_owner_ref(Some(namespace), owner, ()))
        .collect()
}

/// The stacks of the same namespace that name an object.
pub(super) fn naming(
    stacks: &Store<TranscriptionStack>,
    metadata: &ObjectMeta,
    uses: impl Fn(&str, &TranscriptionStack) -> bool,
) -> Vec<ObjectRef<TranscriptionStack>> {
    let Some(name) = &metadata.name else {
        return Vec::new();
    };
    let stacks = stacks
        .state_filter(|stack| stack.meta().namespace == metadata.namespace && uses(name, stack));
    stacks
        .iter()
        .map(|stack| ObjectRef::from_obj(&**stack))
        .collect()
}
