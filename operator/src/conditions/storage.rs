//! Whether the volumes are there, and as large as asked.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimStatus};

use super::{Verdict, fails, holds};
use crate::dereference::References;
use crate::names::Component;
use crate::needs;
use crate::quantity;
use crate::reason::Reason;
use crate::validate::Validated;

/// Of the claim with the users and the one with the model. `words` are those of who makes volumes.
pub(super) fn storage(
    stack: &Validated,
    references: &References,
    claim: Option<&Arc<PersistentVolumeClaim>>,
    words: Option<&str>,
) -> Verdict {
    if !references.model_claim_exists {
        let name = needs::model_claim(&stack.spec).unwrap_or_default();
        return fails(
            Reason::StorageMissing,
            format!(
                "PersistentVolumeClaim {name} with the model is not there: make it, or name another one in spec.transcription.engine.whisper"
            ),
        );
    }
    let Some(claim) = claim else {
        let given = stack
            .spec
            .auth
            .storage
            .as_ref()
            .and_then(|storage| storage.existing_claim.as_ref());
        return match given {
            Some(name) => fails(
                Reason::StorageMissing,
                format!(
                    "PersistentVolumeClaim {name} is not there: make it, or name another one in spec.auth.storage.existingClaim"
                ),
            ),
            None => fails(Reason::Waiting, "the claim with the users is not made yet"),
        };
    };
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    if claim.metadata.deletion_timestamp.is_some() {
        return fails(Reason::StorageLost, leaving(name, stack));
    }
    let status = claim.status.as_ref();
    match status.and_then(|status| status.phase.as_deref()) {
        Some("Bound") => growth(claim, stack, words).unwrap_or_else(|| {
            holds(
                Reason::AsWanted,
                format!("PersistentVolumeClaim {name} is bound"),
            )
        }),
        Some("Lost") => fails(
            Reason::StorageLost,
            format!(
                "PersistentVolumeClaim {name} has lost its volume: bring the volume back, or restore a backup to another claim"
            ),
        ),
        _ => {
            let class = claim
                .spec
                .as_ref()
                .and_then(|spec| spec.storage_class_name.as_deref());
            let class = class.map_or_else(
                || "it has no class, and the cluster no default one yet".to_owned(),
                |class| format!("a volume of the class {class} is waited for"),
            );
            let class = words.map_or(class, str::to_owned);
            fails(
                Reason::StoragePending,
                format!(
                    "PersistentVolumeClaim {name} is not bound yet: {class}; kubectl describe pvc {name} tells more"
                ),
            )
        }
    }
}

/// Of a claim that is being deleted: it stays until its pod ends, so there is time to save what is on it.
pub fn leaving(claim: &str, stack: &Validated) -> String {
    let pod = format!("{}-0", stack.name_of(Component::Auth));
    format!(
        "PersistentVolumeClaim {claim} with the users is being deleted, and is gone when pod {pod} ends: back up now (kubectl exec {pod} -- auth-service backup), then delete the pod, and restore to another claim"
    )
}

/// How far a volume is that is smaller than asked.
fn growth(
    claim: &PersistentVolumeClaim,
    stack: &Validated,
    words: Option<&str>,
) -> Option<Verdict> {
    let status = claim.status.as_ref()?;
    let actual = actual(claim)?;
    let asked = asked(claim, stack)?;
    if quantity::value(actual)? >= quantity::value(asked)? {
        return None;
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let sizes = format!("PersistentVolumeClaim {name} has {actual}, and {asked} are asked for");
    let tells_more = format!("kubectl describe pvc {name} tells more");
    let (reason, message) = match Growth::of(status) {
        Growth::Failed(why) => {
            let why = why.or(words).unwrap_or("its driver could not");
            (
                Reason::StorageNotGrown,
                format!("{sizes}, but it cannot grow: {why}; {tells_more}"),
            )
        }
        Growth::WaitsForPod => (
            Reason::StorageGrowing,
            format!(
                "{sizes}: the volume has grown, and its filesystem grows when a pod mounts it; if that lasts, kubectl delete pod {}-0",
                stack.name_of(Component::Auth)
            ),
        ),
        Growth::InProgress => (
            Reason::StorageGrowing,
            format!("{sizes}: its driver makes the volume larger; {tells_more}"),
        ),
        Growth::NotBegun => {
            let words = words.unwrap_or("its driver has not begun");
            (
                Reason::StorageGrowing,
                format!("{sizes}: {words}; {tells_more}"),
            )
        }
    };
    Some(fails(reason, message))
}

/// How much there is.
fn actual(claim: &PersistentVolumeClaim) -> Option<&str> {
    let capacity = claim.status.as_ref()?.capacity.as_ref()?;
    Some(&capacity.get("storage")?.0)
}

/// How much there is to be: by the claim, or by the stack, if the claim could not be changed.
fn asked<'a>(claim: &'a PersistentVolumeClaim, stack: &'a Validated) -> Option<&'a str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    let claimed = requests.get("storage")?.0.as_str();
    let storage = stack.spec.auth.storage.as_ref();
    let wanted = storage.and_then(|storage| storage.size.as_deref());
    let all = [Some(claimed), wanted].into_iter().flatten();
    all.max_by_key(|size| quantity::value(size))
}

/// Whether a claim is to have more than it has.
pub fn is_growing(claim: &PersistentVolumeClaim, stack: &Validated) -> bool {
    let sizes = actual(claim).zip(asked(claim, stack));
    sizes.is_some_and(|(actual, asked)| quantity::value(actual) < quantity::value(asked))
}

/// What becomes of a claim that is to grow, as <https://kubernetes.io/docs/concepts/storage/persistent-volumes/> has it.
enum Growth<'a> {
    NotBegun,
    InProgress,
    WaitsForPod,
    Failed(Option<&'a str>),
}

impl<'a> Growth<'a> {
    fn of(status: &'a PersistentVolumeClaimStatus) -> Self {
        let state = status.allocated_resource_statuses.as_ref();
        let state = state.and_then(|states| states.get("storage"));
        let conditions = || {
            let conditions = status.conditions.iter().flatten();
            conditions.filter(|condition| condition.status == "True")
        };
        let has = |kind: &str| conditions().any(|condition| condition.type_ == kind);
        let failure = conditions().find(|condition| {
            ["ControllerResizeError", "NodeResizeError"].contains(&condition.type_.as_str())
        });
        match state.map(String::as_str) {
            Some("ControllerResizeInfeasible" | "NodeResizeInfeasible") => {
                Self::Failed(failure.and_then(|failure| failure.message.as_deref()))
            }
            _ if failure.is_some() => {
                Self::Failed(failure.and_then(|failure| failure.message.as_deref()))
            }
            Some("NodeResizePending") => Self::WaitsForPod,
            _ if has("FileSystemResizePending") => Self::WaitsForPod,
            Some("ControllerResizeInProgress" | "NodeResizeInProgress") => Self::InProgress,
            _ if has("Resizing") => Self::InProgress,
            _ => Self::NotBegun,
        }
    }
}
