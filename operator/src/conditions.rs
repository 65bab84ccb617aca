//! How a stack is, condition by condition: a pure function of what is asked and what was seen.

use std::sync::Arc;

use self::rollout::{of_deployment, of_stateful_set};
use self::storage::storage;
use self::workload::workload;
use crate::apply::Applied;
use crate::dereference::References;
use crate::diagnosis::Diagnosis;
use crate::error::Error;
use crate::names::Component;
use crate::reason::{ConditionType, Reason};
use crate::validate::Validated;

mod rollout;
mod storage;
mod workload;

pub use self::storage::{is_growing, leaving};

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::True, Self::False, Self::Unknown];

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
pub fn of_applied(
    stack: &Validated,
    references: &References,
    applied: &Applied,
    diagnosis: &Diagnosis,
) -> Verdicts {
    let Applied {
        claim,
        stateful_set,
        deployment,
        errors,
        left,
        deeds: _,
    } = applied;
    let secrets = secrets(stack);
    let not_grown = errors
        .iter()
        .find(|error| error.reason() == Reason::StorageNotGrown);
    let storage = match not_grown {
        Some(error) => fails(error.reason(), error.sentence()),
        None => storage(
            stack,
            references,
            claim.as_ref(),
            diagnosis.claim.as_deref(),
        ),
    };
    let auth = workload(
        stack,
        Component::Auth,
        stateful_set.as_ref().map(|set| of_stateful_set(set)),
        diagnosis.pods.get(&Component::Auth),
    );
    let transcription = workload(
        stack,
        Component::Transcription,
        deployment.as_ref().map(|set| of_deployment(set)),
        diagnosis.pods.get(&Component::Transcription),
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

/// A sentence if metrics are to be found by a kind that the cluster does not have.
fn missing_monitors(stack: &Validated) -> Option<String> {
    let is_missing = stack.spec.observability.service_monitor && !stack.has_service_monitors;
    is_missing.then(|| {
        "every pod is available, but there are no ServiceMonitors: the cluster does not know that kind; install the Prometheus operator, or set spec.observability.serviceMonitor to false".to_owned()
    })
}
