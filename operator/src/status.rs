//! The last step: what was seen becomes the status, written only if it says something new.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tracing::instrument;
use transcription_common::clock;

use crate::api::TranscriptionStack;
use crate::api::status::{Endpoints, Scale, StorageStatus, TranscriptionStackStatus};
use crate::api::stored::StoredStack;
use crate::apply::Applied;
use crate::build::network::endpoint;
use crate::conditions::Verdicts;
use crate::context::Context;
use crate::error::Error;
use crate::names::{self, Component};
use crate::reason::ConditionType;
use crate::release::Release;
use crate::validate::{Validated, asks_for_replacement};

/// What the status is made of, of a stack that could be built.
pub fn of_applied(
    stack: &TranscriptionStack,
    validated: &Validated,
    applied: &Applied,
    verdicts: &Verdicts,
    newest: Release,
) -> TranscriptionStackStatus {
    let before = stack.status.clone().unwrap_or_default();
    let amount = |amounts: Option<
        &std::collections::BTreeMap<
            String,
            k8s_openapi::apimachinery::pkg::api::resource::Quantity,
        >,
    >| { Some(amounts?.get("storage")?.0.clone()) };
    let storage = applied.claim.as_ref().map(|claim| StorageStatus {
        // Once there is a volume, it is done.
        replaced: asks_for_replacement(stack)
            && claim
                .status
                .as_ref()
                .is_some_and(|status| status.capacity.is_some()),
        requested: amount(
            claim
                .spec
                .as_ref()
                .and_then(|spec| spec.resources.as_ref()?.requests.as_ref()),
        ),
        actual: amount(
            claim
                .status
                .as_ref()
                .and_then(|status| status.capacity.as_ref()),
        ),
    });
    TranscriptionStackStatus {
        observed_generation: stack.meta().generation,
        version: Some(validated.release.to_string()),
        available_version: (newest != validated.release).then(|| newest.to_string()),
        transcription: Some(scale(validated, applied.deployment.as_deref())),
        // What was there stays known, so that its loss is seen.
        storage: storage.or_else(|| before.storage.clone()),
        endpoints: Some(Endpoints {
            auth: endpoint(validated, Component::Auth),
            transcription: endpoint(validated, Component::Transcription),
        }),
        conditions: conditions(stack, &before, verdicts),
    }
}

/// What the status is made of, of a stack that could not be built: what is known of it stays.
pub fn of_error(stack: &TranscriptionStack, verdicts: &Verdicts) -> TranscriptionStackStatus {
    let before = stack.status.clone().unwrap_or_default();
    TranscriptionStackStatus {
        observed_generation: stack.meta().generation,
        conditions: conditions(stack, &before, verdicts),
        // Taken away, the annotation may be set again.
        storage: before.storage.map(|storage| StorageStatus {
            replaced: storage.replaced && asks_for_replacement(stack),
            ..storage
        }),
        ..before
    }
}

fn scale(stack: &Validated, deployment: Option<&Deployment>) -> Scale {
    let selector = names::selector(&stack.name, Component::Transcription);
    let selector = selector
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    Scale {
        replicas: deployment
            .and_then(|deployment| deployment.status.as_ref()?.replicas)
            .unwrap_or(0),
        selector: selector.collect::<Vec<_>>().join(","),
    }
}

fn conditions(
    stack: &TranscriptionStack,
    before: &TranscriptionStackStatus,
    verdicts: &Verdicts,
) -> Vec<Condition> {
    let conditions = ConditionType::ALL.iter().copied().map(|kind| {
        let verdict = verdicts.of(kind);
        let known = before
            .conditions
            .iter()
            .find(|known| known.type_ == kind.name());
        let since = known.filter(|known| known.status == verdict.status.name());
        Condition {
            type_: kind.name().to_owned(),
            status: verdict.status.name().to_owned(),
            reason: verdict.reason.name().to_owned(),
            message: shortened(&verdict.message),
            observed_generation: stack.meta().generation,
            // When the status changed, and not when it was last looked at.
            last_transition_time: since
                .map_or_else(now, |known| known.last_transition_time.clone()),
        }
    });
    conditions.collect()
}

/// The API server takes 32768 characters.
fn shortened(message: &str) -> String {
    const MOST: usize = 4096;
    message.chars().take(MOST).collect()
}

fn now() -> Time {
    Time(Timestamp::from_second(clock::now().unix_timestamp()).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// What became of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is stored.
    Written,
    /// It says nothing new.
    Unchanged,
    /// The stack is another than it was when it was looked at.
    Refused,
}

/// Writes the status, if it is another one than what is there, and tells whether it did.
///
/// That there is a newer release is told with the next thing that there is to tell: a new operator alone writes nothing.
#[instrument(skip_all)]
pub async fn update_status(
    context: &Context,
    stack: &TranscriptionStack,
    status: TranscriptionStackStatus,
) -> Result<Written, Error> {
    if let Some(before) = &stack.status {
        let available_version = before.available_version.clone();
        let unchanged = TranscriptionStackStatus {
            available_version,
            ..status.clone()
        };
        if *before == unchanged {
            return Ok(Written::Unchanged);
        }
    }
    let namespace = stack.namespace().unwrap_or_default();
    // What comes back need not be readable.
    let api = Api::<StoredStack>::namespaced(context.client.clone(), &namespace);
    let name = stack.name_any();
    let patch = json!({
        "apiVersion": TranscriptionStack::api_version(&()),
        "kind": TranscriptionStack::kind(&()),
        // Only if the stack still is as it was seen: else it is looked at again anyway.
        "metadata": {"name": name, "namespace": namespace, "uid": stack.uid(), "resourceVersion": stack.resource_version()},
        "status": status,
    });
    let parameters = PatchParams::apply(names::STATUS_MANAGER).force();
    let written = context
        .request(
            "writing the status",
            api.patch_status(&name, &parameters, &Patch::Apply(&patch)),
        )
        .await;
    match written {
        // It was deleted or changed meanwhile: the watch tells, and it is looked at again in any case.
        Err(Error::Api { source, .. }) if matches!(&*source, kube::Error::Api(answer) if matches!(answer.code, 404 | 409)) => {
            Ok(Written::Refused)
        }
        other => other.map(|_| Written::Written),
    }
}
