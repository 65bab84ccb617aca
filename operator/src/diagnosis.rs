//! Why pods that are wanted are not available: the real trouble, lifted from the pods to the stack.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStatus, PersistentVolumeClaim, Pod,
};
use kube::{Resource, ResourceExt};
use tracing::instrument;
use transcription_common::clock;

use crate::apply::Applied;
use crate::conditions;
use crate::context::Context;
use crate::names::Component;
use crate::reason::Reason;
use crate::validate::{Trouble, Validated};
use crate::warnings::Look;

/// What is wrong with what was made, part by part.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// Of the components' pods.
    pub pods: BTreeMap<Component, Trouble>,
    /// Of the claim with the users, in the words of who makes volumes.
    pub claim: Option<String>,
    /// When there may be more to know, and nothing tells.
    pub look_again: Option<Duration>,
}

/// Finds out what is wrong. Asks the API server only where something is.
#[instrument(skip_all)]
pub async fn diagnose(context: &Context, stack: &Validated, applied: &Applied) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    for component in Component::ALL {
        let pods = context
            .stores
            .pods
            .of_component(&stack.namespace, &stack.name, component);
        let trouble = match component {
            Component::Auth => match &applied.stateful_set {
                // Its controller tells of pods that it could not make by nothing but Events.
                Some(set) if lacks_pods(set) => {
                    let name = set.name_any();
                    let look = context.warnings.about(context, &**set).await;
                    let words = diagnosis.noted(look);
                    words.map(|words| not_made("StatefulSet", &name, &words))
                }
                _ => None,
            },
            Component::Transcription => applied.deployment.as_deref().and_then(of_deployment),
        };
        if let Some(trouble) = trouble.or_else(|| of_pods(&pods)) {
            if trouble.reason == Reason::PodsUnavailable {
                diagnosis.again_in(STARTING);
            }
            diagnosis.pods.insert(component, trouble);
        }
    }
    if let Some(claim) = &applied.claim
        && (is_pending(claim) || conditions::is_growing(claim, stack))
    {
        let look = context.warnings.about(context, &**claim).await;
        diagnosis.claim = diagnosis.noted(look);
    }
    diagnosis
}

impl Diagnosis {
    /// The words that were found, if any. Nothing tells when there are others.
    fn noted(&mut self, look: Look) -> Option<String> {
        let Look { words, next } = look;
        self.again_in(next);
        words.map(|words| one_line(&words))
    }

    fn again_in(&mut self, next: Duration) {
        self.look_again = Some(self.look_again.map_or(next, |known| known.min(next)));
    }
}

fn is_pending(claim: &PersistentVolumeClaim) -> bool {
    let status = claim.status.as_ref();
    status.and_then(|status| status.phase.as_deref()) == Some("Pending")
}

fn lacks_pods(set: &StatefulSet) -> bool {
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    set.status
        .as_ref()
        .is_some_and(|status| status.replicas < wanted)
}

/// A container that is not ready for so long is only starting.
const STARTING: Duration = Duration::from_secs(15);
/// What ends a container again and again was told by the one before.
const CRASH: &str = "CrashLoopBackOff";

/// The trouble of these pods that says most: the one that is least likely to go by itself. Pods that are on their way out have none.
pub fn of_pods(pods: &[Arc<Pod>]) -> Option<Trouble> {
    let staying = pods
        .iter()
        .filter(|pod| pod.meta().deletion_timestamp.is_none());
    let staying = staying.collect::<Vec<_>>();
    // Those that a node has ended stay until somebody clears them away: while others are in their place they say nothing.
    let has_failed = |pod: &Pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Failed")
    };
    let all_have = staying.iter().all(|pod| has_failed(pod));
    let speaking = staying
        .into_iter()
        .filter(|pod| all_have || !has_failed(pod));
    let troubles = speaking.filter_map(|pod| of_pod(pod));
    // Of several the first, so that it is the same one each time.
    troubles.min_by_key(|trouble| Reverse(weight(trouble.reason)))
}

/// What keeps a Deployment's pods from being made: a quota, an admission.
pub fn of_deployment(deployment: &Deployment) -> Option<Trouble> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let name = deployment.name_any();
    Some(not_made(
        "Deployment",
        &name,
        failure.message.as_deref().unwrap_or_default(),
    ))
}

/// Of pods that the API server refuses, with its words.
pub fn not_made(kind: &str, name: &str, words: &str) -> Trouble {
    let (reason, remedy) = if words.contains("exceeded quota") || words.contains("failed quota") {
        (
            Reason::QuotaExceeded,
            "raise the quota of the namespace, or ask for less in resources",
        )
    } else {
        (Reason::PodsRefused, "mend what these words name")
    };
    Trouble {
        reason,
        message: format!(
            "{kind} {name}: its pods are refused: {}; {remedy}",
            one_line(words)
        ),
    }
}

const fn weight(reason: Reason) -> u8 {
    match reason {
        Reason::ImageUnavailable | Reason::ContainerNotMade => 4,
        Reason::ContainerCrashing => 3,
        Reason::Unschedulable | Reason::PodEvicted => 2,
        _ => 1,
    }
}

fn of_pod(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let name = pod.name_any();
    let trouble = |reason, message: String| {
        Some(Trouble {
            reason,
            message: format!("Pod {name} {message}"),
        })
    };
    let condition = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)
    };
    if status.phase.as_deref() == Some("Failed") {
        let why = status.reason.as_deref().unwrap_or("Failed");
        let words = one_line(status.message.as_deref().unwrap_or_default());
        return trouble(
            Reason::PodEvicted,
            format!(
                "was ended by its node ({why}): {words}; kubectl describe pod {name} tells more"
            ),
        );
    }
    if let Some(scheduled) = condition("PodScheduled")
        && scheduled.status == "False"
    {
        let words = one_line(scheduled.message.as_deref().unwrap_or_default());
        return trouble(
            Reason::Unschedulable,
            format!(
                "has no node: {words}; ask for less in resources, change nodeSelector, affinity or tolerations, or add a node"
            ),
        );
    }
    for container in status.container_statuses.iter().flatten() {
        if let Some((reason, message)) = of_container(&name, container) {
            return trouble(reason, message);
        }
    }
    None
}

fn of_container(pod: &str, container: &ContainerStatus) -> Option<(Reason, String)> {
    let state = container.state.as_ref();
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let why = waiting.and_then(|waiting| waiting.reason.as_deref());
    let words = waiting.and_then(|waiting| waiting.message.as_deref());
    let words = one_line(words.unwrap_or_default());
    match why {
        Some(
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull"
            | "ImageInspectError",
        ) => Some((
            Reason::ImageUnavailable,
            format!(
                "cannot get the image {}: {words}; mend its name or its registry, or name credentials in spec.imagePullSecrets",
                container.image
            ),
        )),
        Some("CreateContainerConfigError" | "CreateContainerError" | "RunContainerError") => {
            Some((
                Reason::ContainerNotMade,
                format!("cannot start its container: {words}; mend what these words name"),
            ))
        }
        Some(CRASH) => Some(crashing(
            pod,
            container.last_state.as_ref(),
            container.restart_count,
        )),
        _ if state.is_some_and(|state| state.terminated.is_some()) => {
            Some(crashing(pod, state, container.restart_count))
        }
        _ if container.ready => None,
        _ => {
            let running = state.and_then(|state| state.running.as_ref())?;
            Some(not_ready(pod, running, container.started == Some(true)))
        }
    }
}

fn not_ready(pod: &str, running: &ContainerStateRunning, is_started: bool) -> (Reason, String) {
    let since = running.started_at.as_ref().map(|time| time.0.as_second());
    let is_young = since.is_some_and(|since| {
        let age = clock::now().unix_timestamp() - since;
        u64::try_from(age).is_ok_and(|age| age < STARTING.as_secs())
    });
    if !is_started {
        let message = format!(
            "runs, and /healthz does not answer yet; kubectl logs {pod} tells what it does"
        );
        return (Reason::PodsUnavailable, message);
    }
    let message =
        format!("runs, and /readyz says that it is not ready; kubectl logs {pod} tells why");
    if is_young {
        (Reason::PodsUnavailable, message)
    } else {
        (Reason::ProbeFailing, message)
    }
}

fn crashing(pod: &str, state: Option<&ContainerState>, restarts: i32) -> (Reason, String) {
    let ended = state.and_then(|state| state.terminated.as_ref());
    let how = ended.map_or_else(
        || "has ended".to_owned(),
        |ended| {
            let why = ended.reason.as_deref().unwrap_or("Error");
            format!("has ended with exit code {} ({why})", ended.exit_code)
        },
    );
    let remedy = match ended.and_then(|ended| ended.reason.as_deref()) {
        Some("OOMKilled") => {
            "it took more memory than it may: raise resources.limits.memory".to_owned()
        }
        _ if restarts == 0 => format!("kubectl logs {pod} tells why"),
        _ => format!("kubectl logs {pod} --previous tells why"),
    };
    let again = match restarts {
        0 => "is started again".to_owned(),
        1 => "was started again once".to_owned(),
        restarts => format!("was started again {restarts} times"),
    };
    (
        Reason::ContainerCrashing,
        format!("{how}, and {again}; {remedy}"),
    )
}

/// Words of others, for a sentence of ours.
fn one_line(words: &str) -> String {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.trim_end_matches(['.', ';']);
    words.chars().take(512).collect()
}
