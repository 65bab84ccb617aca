//! Which stacks are to be looked at when an object has changed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::api::TranscriptionStack;
use crate::names;

/// What was last asked of each stack. That its status is another is no news: the operator has written it, and would work on a stack that
/// fails in other words each time without a pause.
#[derive(Default)]
pub(super) struct Asked(Mutex<HashMap<String, u64>>);

impl Asked {
    /// Whether something else is asked of a stack than before, or it is on its way out.
    pub fn is_news(&self, stack: &TranscriptionStack) -> bool {
        let metadata = stack.meta();
        let mut hasher = DefaultHasher::new();
        metadata.generation.hash(&mut hasher);
        metadata.labels.hash(&mut hasher);
        metadata.annotations.hash(&mut hasher);
        metadata.deletion_timestamp.is_some().hash(&mut hasher);
        let asked = hasher.finish();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = metadata.uid.clone().unwrap_or_default();
        // Every one that was ever there would be kept in mind.
        if all.len() > MOST_KNOWN {
            all.clear();
        }
        all.insert(id, asked) != Some(asked)
    }
}

/// More stacks than a cluster has.
const MOST_KNOWN: usize = 100_000;

/// The stack that controls an object, and the one whose label it has: somebody may have changed either.
pub(super) fn owners(metadata: &ObjectMeta) -> Vec<ObjectRef<TranscriptionStack>> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let owners = metadata.owner_references.iter().flatten();
    let mut stacks = owners
        .filter(|owner| owner.controller == Some(true))
        .filter_map(|owner| ObjectRef::from_owner_ref(Some(namespace), owner, ()))
        .collect::<Vec<_>>();
    let labelled = labelled(metadata).into_iter();
    let others = labelled
        .filter(|stack| !stacks.contains(stack))
        .collect::<Vec<_>>();
    stacks.extend(others);
    stacks
}

/// The stack that an object belongs to by its label: pods are controlled by their workload.
pub(super) fn labelled(metadata: &ObjectMeta) -> Vec<ObjectRef<TranscriptionStack>> {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let labels = metadata.labels.as_ref();
    let stack = labels.and_then(|labels| labels.get(names::INSTANCE));
    let stack = stack.map(|stack| ObjectRef::new(stack).within(namespace));
    stack.into_iter().collect()
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
