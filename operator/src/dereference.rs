//! The first step: what the spec names is looked up. Reads only.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::{Api, ResourceExt};
use tracing::instrument;

use crate::api::TranscriptionStack;
use crate::contents::Value;
use crate::context::Context;
use crate::error::Error;
use crate::names::{self, Component};
use crate::needs::{self, Need, Purpose, Source};

/// What was found.
#[derive(Debug, Default)]
pub struct References {
    /// What pods use, and how it was found.
    pub needs: Vec<(Need, Found)>,
    /// Whether the operator has to make the signing key.
    pub key_is_missing: bool,
    /// The claim with the users.
    pub users_claim: Option<Arc<PersistentVolumeClaim>>,
    /// Whether the claim with the model is there, if there is to be one.
    pub model_claim_exists: bool,
}

/// How a need was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be, with this hash.
    Usable(String),
    /// There is none, and there need not be.
    Absent,
    /// The Secret or ConfigMap is not there.
    ObjectMissing,
    /// It is there without the key.
    KeyMissing,
    /// The value cannot be used, for this reason.
    Invalid(&'static str),
}

/// Fewer bytes than this do not sign (RFC 7518 §3.2, and the services refuse them).
const SIGNING_KEY_BYTES: usize = 32;

/// Looks up what the spec names.
#[instrument(skip_all)]
pub async fn dereference(
    stack: &TranscriptionStack,
    context: &Context,
) -> Result<References, Error> {
    let namespace = stack.namespace().unwrap_or_default();
    let mut all = needs::of(&stack.spec);
    let mut key_is_missing = false;
    if stack
        .spec
        .auth
        .jwt
        .as_ref()
        .is_none_or(|jwt| jwt.secret_ref.is_none())
    {
        let name = names::made_key(&stack.name_any());
        // If the watch has not told of it yet, making it is refused, and it is tried again.
        if context.stores.secrets.find(&namespace, &name).is_some() {
            all.extend(Component::ALL.map(|component| Need {
                component,
                source: Source::Secret,
                name: name.clone(),
                key: names::JWT_KEY.to_owned(),
                purpose: Purpose::SigningKey,
            }));
        } else {
            key_is_missing = true;
        }
    }
    let mut found = Vec::with_capacity(all.len());
    for need in &all {
        let of_same = all
            .iter()
            .filter(|other| (other.source, &other.name) == (need.source, &need.name));
        let keys = of_same.map(|other| other.key.as_str()).collect();
        let how = find(need, &keys, &namespace, context).await?;
        found.push((need.clone(), how));
    }
    let users_claim = match context
        .stores
        .claims
        .find(&namespace, &needs::users_claim(stack))
    {
        Some(claim) => Some(claim),
        // The watch may not have told yet; whether it is lost must be known for sure.
        None => context
            .read(
                Api::<PersistentVolumeClaim>::namespaced(context.client.clone(), &namespace)
                    .get_opt(&needs::users_claim(stack)),
            )
            .await?
            .map(Arc::new),
    };
    let model_claim_exists = needs::model_claim(&stack.spec)
        .is_none_or(|name| context.stores.claims.find(&namespace, name).is_some());
    Ok(References {
        needs: found,
        key_is_missing,
        users_claim,
        model_claim_exists,
    })
}

async fn find(
    need: &Need,
    keys: &BTreeSet<&str>,
    namespace: &str,
    context: &Context,
) -> Result<Found, Error> {
    let Need {
        source,
        name,
        key,
        purpose,
        component: _,
    } = need;
    let contents = &context.contents;
    let value = match source {
        Source::Secret => match context.stores.secrets.find(namespace, name) {
            Some(seen) => {
                contents
                    .of::<Secret>(context, &seen.metadata, key, keys)
                    .await?
            }
            None => Value::ObjectMissing,
        },
        Source::ConfigMap => match context.stores.config_map_names.find(namespace, name) {
            Some(seen) => {
                contents
                    .of::<ConfigMap>(context, &seen.metadata, key, keys)
                    .await?
            }
            None => Value::ObjectMissing,
        },
    };
    Ok(judge(value, *purpose))
}

fn judge(value: Value, purpose: Purpose) -> Found {
    match (value, purpose) {
        (Value::ObjectMissing | Value::KeyMissing, Purpose::Optional) => Found::Absent,
        (Value::ObjectMissing, _) => Found::ObjectMissing,
        (Value::KeyMissing, _) => Found::KeyMissing,
        (Value::There { length_bytes, .. }, Purpose::SigningKey)
            if length_bytes < SIGNING_KEY_BYTES =>
        {
            Found::Invalid("has fewer than 32 bytes: make one with openssl rand -base64 48")
        }
        (
            Value::There {
                length_bytes: 0, ..
            },
            Purpose::Credential,
        ) => Found::Invalid("is empty"),
        (Value::There { hash, .. }, _) => Found::Usable(hash),
    }
}
