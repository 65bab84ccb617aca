//! The signing key that the operator makes: once.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{Work, drift, this_one_alone};
use crate::error::Error;
use crate::hash::hash;
use crate::names::{self, Component};
use crate::reason::Deed;

/// There was none before.
const MADE: &str = "made";
/// There was another before.
const REMADE: &str = "remade";

fn has_annotation(metadata: &ObjectMeta, name: &str) -> bool {
    let annotations = metadata.annotations.as_ref();
    annotations.is_some_and(|annotations| annotations.contains_key(name))
}

impl Work<'_> {
    /// Makes the signing key once, and tells whether there is one. Later only its labels and its owner are ours, and its content is nobody's
    /// but its reader's.
    pub(super) async fn key(&mut self, wanted: Option<Secret>) -> bool {
        let Some(secret) = wanted else { return true };
        let result = self.make_key_so(secret).await;
        self.note(result).is_some()
    }

    async fn make_key_so(&mut self, wanted: Secret) -> Result<(), Error> {
        let new = wanted
            .data
            .as_ref()
            .and_then(|data| data.get(names::JWT_KEY));
        let new = new.map(|key| key.0.clone());
        let api = self.api::<Secret>();
        let name = wanted.name_any();
        let live = if wanted.data.is_some() {
            if self.stack.spec.paused {
                self.left.push(format!("Secret {name} is not there"));
                return Ok(());
            }
            self.make_key(&api, &wanted).await?.metadata
        } else {
            match self
                .context
                .stores
                .secrets
                .find(&self.stack.namespace, &name)
            {
                Some(live) => live.metadata.clone(),
                None => match self.context.read(api.get_metadata_opt(&name)).await? {
                    Some(live) => live.metadata,
                    None => return Ok(()),
                },
            }
        };
        self.is_ours("Secret", &live, true)?;
        let mut metadata = wanted.metadata;
        let hash = hash(serde_json::to_vec(&metadata)?);
        metadata
            .annotations
            .get_or_insert_default()
            .insert(names::APPLIED_HASH.to_owned(), hash);
        let mut value = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
        if live.deletion_timestamp.is_some()
            || drift::holds(&value["metadata"], &serde_json::to_value(&live)?)
        {
            return Ok(());
        }
        if self.stack.spec.paused {
            self.left.push(format!("Secret {name} is another"));
            return Ok(());
        }
        this_one_alone(&mut value, &live);
        let parameters = PatchParams::apply(names::FIELD_MANAGER)
            .force()
            .validation_strict();
        let doing = format!("applying the metadata of Secret {name}");
        let applied = self
            .context
            .request(
                &doing,
                api.patch_metadata(&name, &parameters, &Patch::Apply(&value)),
            )
            .await?;
        let is_first = !has_annotation(&live, names::APPLIED_HASH);
        if is_first && has_annotation(&live, names::SIGNING_KEY) {
            self.tell_of_key(&name, &live);
        }
        if let Some(new) = new {
            let contents = &self.context.contents;
            contents.put(&applied.metadata, names::JWT_KEY, &new);
        }
        Ok(())
    }

    /// Whether there were users before: what they hold is signed with another key.
    fn had_users(&self) -> bool {
        let (namespace, stack) = (&self.stack.namespace, &self.stack.name);
        let stores = &self.context.stores;
        let auth = self.stack.name_of(Component::Auth);
        stores.stateful_sets.find(namespace, &auth).is_some()
            || stores
                .claims
                .find(namespace, &names::claim(stack))
                .is_some()
    }

    fn tell_of_key(&mut self, name: &str, live: &ObjectMeta) {
        let annotations = live.annotations.as_ref();
        let story = annotations.and_then(|annotations| annotations.get(names::SIGNING_KEY));
        if story.is_some_and(|story| story == REMADE) {
            let note = format!(
                "the signing key was gone, and another one was made in Secret {name}: all sessions have ended"
            );
            self.did(Deed::SigningKeyRemade, note);
        } else {
            let note = format!("the key that signs tokens was made in Secret {name}: back it up");
            self.did(Deed::SigningKeyMade, note);
        }
    }

    /// Without an owner: who makes the object owns its fields, and the owner must be able to go again.
    async fn make_key(&self, api: &Api<Secret>, wanted: &Secret) -> Result<Secret, Error> {
        let parameters = PostParams {
            field_manager: Some(names::KEY_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let mut secret = wanted.clone();
        secret.metadata.owner_references = None;
        // Told once its metadata is applied: also if this request is done and not answered.
        let story = if self.had_users() { REMADE } else { MADE };
        secret
            .annotations_mut()
            .insert(names::SIGNING_KEY.to_owned(), story.to_owned());
        let name = secret.name_any();
        let doing = format!("making Secret {name}");
        let made = self
            .context
            .request(&doing, api.create(&parameters, &secret))
            .await;
        let made = made.map_err(|error| match error {
            Error::Api { source, .. } if matches!(&*source, kube::Error::Api(status) if status.is_already_exists()) => {
                Error::Waiting(format!("Secret {name} is there, and the operator has not seen it yet"))
            }
            other => other,
        })?;
        Ok(made)
    }
}
