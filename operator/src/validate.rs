//! The second step: from what is asked and what was found to what can be built. Pure.
//!
//! The API server has held the rules of the schema. What is left are the ones that need to know more than the resource.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use tracing::instrument;

use crate::api::{DeletionPolicy, TranscriptionStack, TranscriptionStackSpec};
use crate::dereference::{Found, References};
use crate::error::Error;
use crate::hash::hash;
use crate::names::{self, Component};
use crate::needs::{Need, Source};
use crate::reason::Reason;
use crate::release::{Release, Releases};
use crate::signing_key;

/// A stack that can be built.
#[derive(Clone, Debug)]
pub struct Validated {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its unique id.
    pub uid: String,
    /// What owns the children.
    pub owner: OwnerReference,
    /// What is asked.
    pub spec: TranscriptionStackSpec,
    /// What it runs.
    pub release: Release,
    /// Where images are.
    pub image_prefix: String,
    /// What each component's pods use.
    pub configurations: BTreeMap<Component, Configuration>,
    /// The signing key, if it is the operator's.
    pub signing_key: Option<MadeKey>,
    /// What keeps a component from being what is asked: what is missing, in sentences.
    pub troubles: Vec<Trouble>,
    /// Whether the cluster knows ServiceMonitors.
    pub has_service_monitors: bool,
    /// Whether the claim with the users is gone, and is to be made anew.
    pub replaces_storage: bool,
}

/// What a component's pods use beside their template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// All of it is there, with this hash.
    Complete(String),
    /// Something is missing: pods that run keep their template, and none are made.
    Incomplete,
}

/// The signing key that the operator makes.
#[derive(Clone, Debug)]
pub enum MadeKey {
    /// It is there.
    There,
    /// It has to be made, of this.
    New(ByteString),
}

/// Something that a person has to mend, and that the rest need not wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// What is known beside the stack itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What can be run.
    pub releases: Releases,
    /// Where images are.
    pub image_prefix: String,
    /// Whether the cluster knows ServiceMonitors.
    pub has_service_monitors: bool,
}

/// Finds what can be built.
#[instrument(skip_all)]
pub fn validate(
    stack: &TranscriptionStack,
    references: &References,
    surroundings: Surroundings,
) -> Result<Validated, Error> {
    let name = stack.name_any();
    let namespace = stack.namespace().unwrap_or_default();
    let owner = stack
        .controller_owner_ref(&())
        .ok_or_else(|| Error::Stalled {
            reason: Reason::Refused,
            message: "the resource has no unique id".to_owned(),
        })?;
    let release = release(stack, &surroundings.releases)?;
    let replaces_storage = is_storage_replaced(stack, references)?;
    let signing_key = match &stack.spec.auth.jwt {
        Some(jwt) if jwt.secret_ref.is_some() => None,
        _ if references.key_is_missing => Some(MadeKey::New(signing_key::make())),
        _ => Some(MadeKey::There),
    };
    let configurations = Component::ALL.map(|component| {
        let configuration = configuration(component, references, &name, signing_key.as_ref());
        (component, configuration)
    });
    Ok(Validated {
        uid: owner.uid.clone(),
        owner,
        spec: stack.spec.clone(),
        release,
        image_prefix: surroundings.image_prefix,
        configurations: configurations.into(),
        signing_key,
        troubles: troubles(references),
        has_service_monitors: surroundings.has_service_monitors,
        replaces_storage,
        name,
        namespace,
    })
}

fn release(stack: &TranscriptionStack, releases: &Releases) -> Result<Release, Error> {
    let recorded = stack
        .status
        .as_ref()
        .and_then(|status| status.version.as_ref());
    let Some(number) = stack.spec.version.as_ref().or(recorded) else {
        return Ok(releases.newest());
    };
    releases.of(number).ok_or_else(|| {
        let known = releases.all().map(Release::number);
        let known = known.collect::<Vec<_>>().join(", ");
        Error::Stalled {
            reason: Reason::VersionUnknown,
            message: format!(
                "spec.version: this operator does not know the release {number}: set one that it knows ({known}), or install the operator of that release"
            ),
        }
    })
}

/// Whether a new claim is to be made in the place of one that is gone. Never unasked: the users are on that claim, and a new, empty
/// one would look as if they were gone.
fn is_storage_replaced(stack: &TranscriptionStack, references: &References) -> Result<bool, Error> {
    let known = stack
        .status
        .as_ref()
        .and_then(|status| status.storage.as_ref());
    let was_there = known.is_some_and(|storage| storage.actual.is_some());
    let is_used_up = known.is_some_and(|storage| storage.replaced);
    let has_own = stack
        .spec
        .auth
        .storage
        .as_ref()
        .is_none_or(|storage| storage.existing_claim.is_none());
    let claim = names::claim(&stack.name_any());
    let is_asked = asks_for_replacement(stack) && !is_used_up;
    if references.users_claim.is_some() || !was_there || !has_own {
        return Ok(false);
    }
    if is_asked {
        return Ok(true);
    }
    let annotation = names::REPLACE_STORAGE;
    let first = if is_used_up {
        format!("take away the annotation {annotation}, which has replaced the claim before, and ")
    } else {
        String::new()
    };
    Err(Error::Stalled {
        reason: Reason::StorageLost,
        message: format!(
            "PersistentVolumeClaim {claim} with the users is gone. Bring it back under that name ({}), or start with no users: {first}kubectl annotate tstack {} {annotation}={claim}",
            names::bring_in("PersistentVolumeClaim", &claim, &stack.name_any()),
            stack.name_any(),
        ),
    })
}

/// Whether a new claim is asked for in the place of one that is gone.
pub fn asks_for_replacement(stack: &TranscriptionStack) -> bool {
    let claim = names::claim(&stack.name_any());
    stack.annotations().get(names::REPLACE_STORAGE) == Some(&claim)
}

fn configuration(
    component: Component,
    references: &References,
    stack: &str,
    key: Option<&MadeKey>,
) -> Configuration {
    let mut lines = Vec::new();
    if let Some(MadeKey::New(bytes)) = key {
        lines.push(line(
            Source::Secret,
            &names::made_key(stack),
            names::JWT_KEY,
            &hash(&bytes.0),
        ));
    }
    for (need, found) in references
        .needs
        .iter()
        .filter(|(need, _)| need.component == component)
    {
        let Need {
            source,
            name,
            key,
            component: _,
            purpose: _,
        } = need;
        match found {
            Found::Usable(hash) => lines.push(line(*source, name, key, hash)),
            Found::Absent => {}
            Found::ObjectMissing | Found::KeyMissing | Found::Invalid(_) => {
                return Configuration::Incomplete;
            }
        }
    }
    // The order in which they were found says nothing.
    lines.sort();
    lines.dedup();
    Configuration::Complete(hash(lines.join("\n")))
}

fn line(source: Source, name: &str, key: &str, hash: &str) -> String {
    format!("{}/{name}/{key}={hash}", source.kind())
}

/// What is wrong with what the spec names; each once, whichever components use it.
fn troubles(references: &References) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for (need, found) in &references.needs {
        let Need {
            source,
            name,
            key,
            component: _,
            purpose: _,
        } = need;
        let kind = source.kind();
        let (reason, message) = match found {
            Found::Usable(_) | Found::Absent => continue,
            Found::ObjectMissing => {
                let of_same = references.needs.iter().filter(|(other, found)| {
                    *found == Found::ObjectMissing && (other.source, &other.name) == (*source, name)
                });
                let keys = of_same.map(|(other, _)| other.key.as_str());
                let keys = keys.collect::<BTreeSet<_>>();
                let word = if keys.len() == 1 { "key" } else { "keys" };
                let keys = keys.into_iter().collect::<Vec<_>>().join(" and ");
                (
                    Reason::SecretMissing,
                    format!("{kind} {name} is not there: make it, with the {word} {keys}"),
                )
            }
            Found::KeyMissing => (
                Reason::SecretMissing,
                format!(
                    "{kind} {name} has no key {key}: add it, or name the right one in the spec"
                ),
            ),
            Found::Invalid(what) => (
                Reason::SecretInvalid,
                format!("{kind} {name}: the value of the key {key} {what}"),
            ),
        };
        let trouble = Trouble { reason, message };
        if !troubles.contains(&trouble) {
            troubles.push(trouble);
        }
    }
    troubles
}

impl Validated {
    /// Whether what cannot be made again goes with the stack.
    pub fn owns_data(&self) -> bool {
        match self.spec.deletion_policy {
            DeletionPolicy::Retain => false,
            DeletionPolicy::Delete => true,
        }
    }

    /// The name of a component's objects.
    pub fn name_of(&self, component: Component) -> String {
        names::of(&self.name, component)
    }
}
