//! What was seen of a kind, looked up.

use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};

use crate::names::{self, Component};

/// What was seen of a kind.
#[derive(Clone)]
pub struct Seen<K: Resource<DynamicType = ()> + 'static>(pub(super) Store<K>);

impl<K: Resource<DynamicType = ()> + Clone + 'static> Seen<K> {
    /// The object of this name, if there is one.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.0.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects of a component of a stack, by their labels.
    pub fn of_component(&self, namespace: &str, stack: &str, component: Component) -> Vec<Arc<K>> {
        let selector = names::selector(stack, component);
        let mut found = self.0.state_filter(|object| {
            let labels = object.meta().labels.as_ref();
            let has = |(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value);
            object.meta().namespace.as_deref() == Some(namespace) && selector.iter().all(has)
        });
        // The store has them in another order in each program.
        found.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
        found
    }

    /// The objects that are controlled by an owner.
    pub fn owned_by(&self, namespace: &str, uid: &str) -> Vec<Arc<K>> {
        let mut found = self.0.state_filter(|object| {
            let owners = object.meta().owner_references.iter().flatten();
            let mut controllers = owners.filter(|owner| owner.controller == Some(true));
            object.meta().namespace.as_deref() == Some(namespace)
                && controllers.any(|owner| owner.uid == uid)
        });
        found.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
        found
    }
}
