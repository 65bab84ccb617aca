//! Whose an object is that has the name of a child.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::Work;
use crate::error::Error;
use crate::names;
use crate::reason::Reason;
use crate::validate::Validated;

impl Work<'_> {
    /// Whether an object with a child's name is this stack's. What cannot be made again may be taken up from a stack before it.
    pub(super) fn is_ours(
        &self,
        kind: &str,
        live: &ObjectMeta,
        is_data: bool,
    ) -> Result<(), Error> {
        let owners = || live.owner_references.iter().flatten();
        let controller = owners().find(|owner| owner.controller == Some(true));
        // Its owner, and somebody has said that it does not control it.
        let is_owned = || owners().any(|owner| owner.uid == self.stack.uid);
        let label = |name: &str| {
            live.labels
                .as_ref()
                .and_then(|labels| labels.get(name))
                .map(String::as_str)
        };
        let ours = match controller {
            Some(owner) => owner.uid == self.stack.uid,
            None => {
                is_owned()
                    || is_data
                        && label(names::MANAGED_BY) == Some(names::FIELD_MANAGER)
                        && label(names::INSTANCE) == Some(&self.stack.name)
            }
        };
        if ours {
            return Ok(());
        }
        let name = live.name.as_deref().unwrap_or_default();
        if controller.is_some_and(|owner| is_predecessor(owner, self.stack)) {
            return Err(Error::Waiting(format!(
                "{kind} {name} is still there from the stack of this name before: it is being cleared away"
            )));
        }
        let whose = match controller {
            Some(owner) => format!("is controlled by {} {}", owner.kind, owner.name),
            None => "was not made by this stack".to_owned(),
        };
        let remedy = if is_data && controller.is_none() {
            format!(
                "if it is this stack's, say so: {}; else give the stack another name",
                names::bring_in(kind, name, &self.stack.name)
            )
        } else {
            "rename or delete it, or give the stack another name".to_owned()
        };
        Err(Error::Stalled {
            reason: Reason::NameTaken,
            message: format!("{kind} {name} {whose}: {remedy}"),
        })
    }
}

/// Whether an owner is the stack of the same name before: the garbage collector still clears its children away.
fn is_predecessor(owner: &OwnerReference, stack: &Validated) -> bool {
    owner.kind == stack.owner.kind
        && owner.api_version.split('/').next() == stack.owner.api_version.split('/').next()
        && owner.name == stack.name
        && owner.uid != stack.uid
}
