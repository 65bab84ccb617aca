//! How a stack is, condition by condition: a pure function of what is asked and what was seen.

use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use self::rollout::{Rollout, of_deployment, of_stateful_set};
use crate::apply::Applied;
use crate::dereference::References;
use crate::error::Error;
use crate::names::Component;
use crate::needs;
use crate::reason::{ConditionType, Reason};
use crate::validate::{Configuration, Validated};

pub mod rollout;

/// What is said of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `True`, `False` or `Unknown`.
    pub status: Truth,
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Truth {
    /// Its name in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// All verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    ready: Verdict,
    reconciling: Verdict,
    stalled: Verdict,
    secrets: Verdict,
    storage: Verdict,
    auth: Verdict,
    transcription: Verdict,
    paused: Verdict,
}

impl Verdicts {
    /// One of them.
    pub const fn of(&self, condition: ConditionType) -> &Verdict {
        match condition {
            ConditionType::Ready => &self.ready,
            ConditionType::Reconciling => &self.reconciling,
            ConditionType::Stalled => &self.stalled,
            ConditionType::SecretsReady => &self.secrets,
            ConditionType::StorageReady => &self.storage,
            ConditionType::AuthAvailable => &self.auth,
            ConditionType::TranscriptionAvailable => &self.transcription,
            ConditionType::Paused => &self.paused,
        }
    }
}

fn holds(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict {
        status: Truth::True,
        reason,
        message: message.into(),
    }
}

fn fails(reason: Reason, message: impl Into<String>) -> Verdict {
    Verdict {
        status: Truth::False,
        reason,
        message: message.into(),
    }
}

fn unknown(message: impl Into<String>) -> Verdict {
    Verdict {
        status: Truth::Unknown,
        reason: Reason::Waiting,
        message: message.into(),
    }
}

/// Of a stack that could be built, and was made so as far as it could be.
pub fn of_applied(stack: &Validated, references: &References, applied: &Applied) -> Verdicts {
    let Applied {
        claim,
        stateful_set,
        deployment,
        errors,
        left,
    } = applied;
    let secrets = secrets(stack);
    let storage = storage(stack, references, claim.as_ref());
    let auth = workload(
        stack,
        Component::Auth,
        stateful_set.as_ref().map(|set| of_stateful_set(set)),
    );
    let transcription = workload(
        stack,
        Component::Transcription,
        deployment.as_ref().map(|set| of_deployment(set)),
    );
    let is_paused = stack.spec.paused;
    let stalled = stalled(errors);
    let parts = [&secrets, &storage, &auth, &transcription];
    let failed = errors
        .first()
        .map(|error| fails(error.reason(), error.sentence()));
    let monitors = missing_monitors(stack);
    let left = (!left.is_empty()).then(|| fails(Reason::Paused, format!("spec.paused is true, and not everything is as asked: {}; set spec.paused to false to have it made so", left.join("; "))));
    let worst = failed.or(left).or_else(|| {
        parts
            .into_iter()
            .find(|part| part.status != Truth::True)
            .cloned()
    });
    let ready = match worst {
        Some(worst) => fails(worst.reason, worst.message),
        None => match monitors {
            // Nothing that transcribes is missing.
            Some(sentence) => holds(Reason::KindMissing, sentence),
            None => holds(
                Reason::AsWanted,
                "everything is as asked, and every pod is available",
            ),
        },
    };
    let reconciling = if is_paused {
        fails(
            Reason::NotAsked,
            "the operator only watches: spec.paused is true",
        )
    } else if stalled.status == Truth::True {
        fails(
            stalled.reason,
            "nothing changes until the stack is mended: see Stalled",
        )
    } else if ready.status == Truth::True {
        fails(Reason::AsWanted, "nothing is left to do")
    } else {
        holds(ready.reason, ready.message.clone())
    };
    Verdicts {
        ready,
        reconciling,
        stalled,
        secrets,
        storage,
        auth,
        transcription,
        paused: paused(is_paused),
    }
}

/// Of a stack that cannot be built: what is known of its parts is what was known.
pub fn of_error(error: &Error, is_paused: bool) -> Verdicts {
    let message = error.sentence();
    let reason = error.reason();
    let part = || unknown(format!("not looked at: {message}"));
    let (reconciling, stalled) = if error.is_final() {
        (
            fails(
                reason,
                "nothing changes until the stack is mended: see Stalled",
            ),
            holds(reason, message.clone()),
        )
    } else {
        (
            holds(reason, format!("will try again: {message}")),
            fails(Reason::NotAsked, "nothing has to be mended by hand"),
        )
    };
    Verdicts {
        ready: fails(reason, message.clone()),
        reconciling,
        stalled,
        secrets: part(),
        storage: part(),
        auth: part(),
        transcription: part(),
        paused: paused(is_paused),
    }
}

fn paused(is_paused: bool) -> Verdict {
    if is_paused {
        holds(
            Reason::Asked,
            "spec.paused is true: the operator tells the state and changes nothing",
        )
    } else {
        fails(Reason::NotAsked, "the operator keeps the stack as asked")
    }
}

fn stalled(errors: &[Arc<Error>]) -> Verdict {
    match errors.iter().find(|error| error.is_final()) {
        Some(error) => holds(error.reason(), error.sentence()),
        None => fails(Reason::NotAsked, "nothing has to be mended by hand"),
    }
}

fn secrets(stack: &Validated) -> Verdict {
    let Some(first) = stack.troubles.first() else {
        return holds(Reason::AsWanted, "every key that the spec names is there");
    };
    let messages = stack
        .troubles
        .iter()
        .map(|trouble| trouble.message.as_str());
    fails(first.reason, messages.collect::<Vec<_>>().join("; "))
}

fn storage(
    stack: &Validated,
    references: &References,
    claim: Option<&Arc<PersistentVolumeClaim>>,
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
        Some("Bound") => holds(
            Reason::AsWanted,
            format!("PersistentVolumeClaim {name} is bound"),
        ),
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

fn workload(stack: &Validated, component: Component, rollout: Option<Rollout>) -> Verdict {
    let name = stack.name_of(component);
    let Some(rollout) = rollout else {
        return match stack.configurations.get(&component) {
            Some(Configuration::Incomplete) => fails(
                Reason::Waiting,
                format!(
                    "no pods are made for {name} before every key that it uses is there: see SecretsReady"
                ),
            ),
            _ => fails(
                Reason::Waiting,
                format!("the pods of {name} are not made yet"),
            ),
        };
    };
    let Rollout {
        kind,
        wanted,
        updated,
        available,
        total,
        is_seen,
    } = rollout;
    if !is_seen {
        return fails(
            Reason::RollingOut,
            format!("{kind} {name}: its controller has not seen the latest change yet"),
        );
    }
    if updated < wanted || total > updated {
        return fails(
            Reason::RollingOut,
            format!(
                "{kind} {name} is rolling out: {updated} of {wanted} pods are as asked, {available} available; kubectl rollout status {} {name} follows it",
                kind.to_lowercase()
            ),
        );
    }
    if available < wanted {
        return fails(
            Reason::PodsUnavailable,
            format!(
                "{kind} {name}: {available} of {wanted} pods are available; kubectl describe pods -l app.kubernetes.io/instance={},app.kubernetes.io/component={} tells why",
                stack.name,
                component.name()
            ),
        );
    }
    if wanted == 0 {
        return holds(
            Reason::NoPodsWanted,
            format!("{kind} {name} has 0 pods, as asked"),
        );
    }
    holds(
        Reason::AsWanted,
        format!("{kind} {name}: {available} of {wanted} pods are available"),
    )
}

/// A sentence if metrics are to be found by a kind that the cluster does not have.
fn missing_monitors(stack: &Validated) -> Option<String> {
    let is_missing = stack.spec.observability.service_monitor && !stack.has_service_monitors;
    is_missing.then(|| {
        "every pod is available, but there are no ServiceMonitors: the cluster does not know that kind; install the Prometheus operator, or set spec.observability.serviceMonitor to false".to_owned()
    })
}
