//! The claim with the users: made, grown, never made smaller, and left alone on its way out.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Resource, ResourceExt};

use super::Work;
use crate::conditions;
use crate::error::Error;
use crate::quantity;
use crate::reason::{Deed, Reason};

impl Work<'_> {
    /// Makes the operator's claim so, or finds the one that is given.
    pub(super) async fn claim(
        &mut self,
        wanted: Option<PersistentVolumeClaim>,
        live: Option<Arc<PersistentVolumeClaim>>,
    ) -> Option<Arc<PersistentVolumeClaim>> {
        let Some(mut wanted) = wanted else {
            return live;
        };
        if let Some(live) = &live {
            never_smaller(&mut wanted, live);
        }
        let is_to_grow = live
            .as_ref()
            .is_some_and(|live| size(live) != size(&wanted));
        let result = self.make_this_so(live.clone(), wanted.clone()).await;
        let result = result.map_err(|error| match &live {
            Some(live) if is_to_grow && is_refused(&error) => cannot_grow(live, &wanted, &error),
            _ => error,
        });
        let made = self.note(result).flatten();
        if made.is_some() && self.stack.replaces_storage {
            self.did(
                Deed::StorageReplaced,
                format!("PersistentVolumeClaim {}", wanted.name_any()),
            );
        }
        let is_ours = |live: &Arc<PersistentVolumeClaim>| {
            self.is_ours("PersistentVolumeClaim", live.meta(), true)
                .is_ok()
        };
        made.or(live.filter(is_ours))
    }

    /// Whether the claim with the users is on its way out: it stays as long as the pod does, so the pod must not be touched.
    pub(super) fn claim_is_leaving(&mut self, claim: Option<&PersistentVolumeClaim>) -> bool {
        let leaving = claim.filter(|claim| claim.metadata.deletion_timestamp.is_some());
        let Some(claim) = leaving else { return false };
        self.errors.push(Arc::new(Error::Stalled {
            reason: Reason::StorageLost,
            message: conditions::leaving(&claim.name_any(), self.stack),
        }));
        true
    }
}

/// A claim that is taken up again may be larger than what is asked: it stays so, for a volume cannot be made smaller.
fn never_smaller(wanted: &mut PersistentVolumeClaim, live: &PersistentVolumeClaim) {
    let (Some(there), Some(asked)) = (size(live), size(wanted)) else {
        return;
    };
    if quantity::value(&there.0) <= quantity::value(&asked.0) {
        return;
    }
    let there = there.clone();
    let spec = wanted.spec.as_mut();
    let resources = spec.and_then(|spec| spec.resources.as_mut());
    if let Some(requests) = resources.and_then(|resources| resources.requests.as_mut()) {
        requests.insert("storage".to_owned(), there);
    }
}

fn size(claim: &PersistentVolumeClaim) -> Option<&Quantity> {
    let resources = claim.spec.as_ref()?.resources.as_ref()?;
    resources.requests.as_ref()?.get("storage")
}

/// Whether the API server will not have it: its class does not allow it, or a quota.
fn is_refused(error: &Error) -> bool {
    error.reason() == Reason::Refused
}

fn cannot_grow(
    live: &PersistentVolumeClaim,
    wanted: &PersistentVolumeClaim,
    error: &Error,
) -> Error {
    let amount = |claim| size(claim).map_or("?", |size: &Quantity| &size.0);
    Error::Stalled {
        reason: Reason::StorageNotGrown,
        message: format!(
            "PersistentVolumeClaim {} has {} and cannot be made {}: {}. Let its class allow it (allowVolumeExpansion: true), or restore a backup to a larger claim",
            live.name_any(),
            amount(live),
            amount(wanted),
            error.sentence()
        ),
    }
}
