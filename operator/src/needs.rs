//! What a stack uses that others make: keys of Secrets, ConfigMaps and claims, as its spec names them.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::api::pod::PodOptions;
use crate::api::{TranscriptionStack, TranscriptionStackSpec};
use crate::names::{self, Component};

/// A key of a Secret, or a whole one's or a ConfigMap's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Whose pods use it.
    pub component: Component,
    /// Where it is.
    pub source: Source,
    /// The name of the object.
    pub name: String,
    /// The key in it.
    pub key: String,
    /// What it is for.
    pub purpose: Purpose,
}

/// What kind of object holds a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

impl Source {
    /// The name of the kind.
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

/// What a value is for, which says what it must be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Signs tokens: at least 32 bytes.
    SigningKey,
    /// Something that must not be empty.
    Credential,
    /// A variable of the user's, which need not be there.
    Optional,
    /// A variable of the user's.
    Variable,
}

/// Everything that the pods of a stack use, without the signing key that the operator makes.
pub fn of(spec: &TranscriptionStackSpec) -> Vec<Need> {
    let mut needs = Vec::new();
    let mut need = |component, name: &str, key: &str, purpose| {
        needs.push(Need {
            component,
            source: Source::Secret,
            name: name.to_owned(),
            key: key.to_owned(),
            purpose,
        });
    };
    for component in Component::ALL {
        if let Some(secret) = spec
            .auth
            .jwt
            .as_ref()
            .and_then(|jwt| jwt.secret_ref.as_ref())
        {
            need(component, &secret.name, &secret.key, Purpose::SigningKey);
            if let Some(previous) = &secret.previous_key {
                need(component, &secret.name, previous, Purpose::SigningKey);
            }
        }
    }
    let component = Component::Transcription;
    if let Some(gemini) = &spec.transcription.engine.gemini {
        let secret = &gemini.api_key_secret_ref;
        need(component, &secret.name, &secret.key, Purpose::Credential);
    }
    if let Some(secret) = &spec.s3.credentials_secret_ref {
        for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
            need(component, &secret.name, key, Purpose::Credential);
        }
    }
    if let Some(secret) = &spec.s3.ca_bundle_secret_ref {
        need(component, &secret.name, &secret.key, Purpose::Credential);
    }
    needs.extend(of_variables(Component::Auth, &spec.auth.pod));
    needs.extend(of_variables(component, &spec.transcription.pod));
    needs.sort();
    needs.dedup();
    needs
}

fn of_variables(component: Component, pod: &PodOptions) -> Vec<Need> {
    let mut needs = Vec::new();
    for source in pod
        .extra_env
        .iter()
        .filter_map(|variable| variable.value_from.as_ref())
    {
        let purpose = |optional: Option<bool>| match optional {
            Some(true) => Purpose::Optional,
            _ => Purpose::Variable,
        };
        if let Some(secret) = &source.secret_key_ref {
            needs.push(Need {
                component,
                source: Source::Secret,
                name: secret.name.clone(),
                key: secret.key.clone(),
                purpose: purpose(secret.optional),
            });
        }
        if let Some(map) = &source.config_map_key_ref {
            needs.push(Need {
                component,
                source: Source::ConfigMap,
                name: map.name.clone(),
                key: map.key.clone(),
                purpose: purpose(map.optional),
            });
        }
    }
    needs
}

/// The names of the Secrets that a stack is to be looked at for.
pub fn secrets(stack: &TranscriptionStack) -> BTreeSet<String> {
    let mut names = objects(stack, Source::Secret);
    names.insert(names::made_key(&stack.name_any()));
    names
}

/// The names of the ConfigMaps of others that a stack is to be looked at for.
pub fn config_maps(stack: &TranscriptionStack) -> BTreeSet<String> {
    objects(stack, Source::ConfigMap)
}

fn objects(stack: &TranscriptionStack, source: Source) -> BTreeSet<String> {
    let needs = of(&stack.spec).into_iter();
    needs
        .filter(|need| need.source == source)
        .map(|need| need.name)
        .collect()
}

/// The names of the claims that a stack is to be looked at for.
pub fn claims(stack: &TranscriptionStack) -> BTreeSet<String> {
    let mut names = BTreeSet::from([users_claim(stack)]);
    names.extend(model_claim(&stack.spec).map(str::to_owned));
    names
}

/// The claim with the users: the one that is given, or the operator's.
pub fn users_claim(stack: &TranscriptionStack) -> String {
    let given = stack.spec.auth.storage.as_ref();
    given
        .and_then(|storage| storage.existing_claim.clone())
        .unwrap_or_else(|| names::claim(&stack.name_any()))
}

/// The claim with the model, if there is one.
pub fn model_claim(spec: &TranscriptionStackSpec) -> Option<&str> {
    let whisper = spec.transcription.engine.whisper.as_ref()?;
    Some(&whisper.persistent_volume_claim.as_ref()?.claim_name)
}
