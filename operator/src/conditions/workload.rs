//! Whether the pods of a component are available.

use super::rollout::Rollout;
use super::{Verdict, fails, holds};
use crate::names::Component;
use crate::reason::Reason;
use crate::validate::{Configuration, Trouble, Validated};

/// Of a workload as its controller tells, and of what keeps its pods from being available.
pub(super) fn workload(
    stack: &Validated,
    component: Component,
    rollout: Option<Rollout>,
    trouble: Option<&Trouble>,
) -> Verdict {
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
    let is_rolling = updated < wanted || total > updated;
    // What keeps pods from being available says more than that they are not.
    if let Some(trouble) = trouble.filter(|_| available < wanted || is_rolling) {
        let how = if is_rolling {
            format!("is rolling out: {updated} of {wanted} pods are as asked")
        } else {
            format!("has {available} of {wanted} pods available")
        };
        let message = format!("{kind} {name} {how}. {}", trouble.message);
        return fails(trouble.reason, message);
    }
    if is_rolling {
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
