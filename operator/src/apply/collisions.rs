//! Elements of a list that are in the way of ours: of the same name, under another key.
//!
//! A Service's ports are told apart by their numbers. If somebody changes 8001 to 8002, ours is gone and theirs has its name. Applied, ours
//! is added, and the API server refuses two of one name. So theirs has to become ours again before.

use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::drift::list_keys;
use super::{Child, Work};
use crate::error::Error;
use crate::names;

/// How often it is tried again when somebody else was quicker.
const TRIES: u32 = 5;

impl Work<'_> {
    /// Applies what was refused for what is in its way, if that is the cause.
    pub(super) async fn apply_past_collisions<K: Child>(
        &self,
        api: &Api<K>,
        name: &str,
        wanted: &Value,
        refused: Error,
    ) -> Result<K, Error> {
        let there = self.context.read(api.get(name)).await?;
        let version = there.resource_version();
        let mut there = serde_json::to_value(&there)?;
        let mut found = Vec::new();
        find("", wanted, &there, &mut found);
        if found.is_empty() {
            return Err(refused);
        }
        for (place, ours) in found {
            if let Some(theirs) = there.pointer_mut(&place) {
                *theirs = ours;
            }
        }
        let doing = format!("clearing the way for {} {name}", K::kind(&()));
        // Only if it still is as it was read. Its status is no part of it.
        let cleared = json!({"metadata": {"resourceVersion": version}, "spec": there["spec"]});
        let parameters = PatchParams {
            field_manager: Some(names::CLEARING_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.context
            .request(
                &doing,
                api.patch(name, &parameters, &Patch::Merge(&cleared)),
            )
            .await?;
        let parameters = PatchParams::apply(names::FIELD_MANAGER)
            .force()
            .validation_strict();
        let applied = self
            .context
            .request(&doing, api.patch(name, &parameters, &Patch::Apply(wanted)))
            .await?;
        // Else what was cleared would stay when it is no longer wanted: it has two owners.
        self.own_alone(api, applied, &doing).await
    }

    async fn own_alone<K: Child>(
        &self,
        api: &Api<K>,
        mut object: K,
        doing: &str,
    ) -> Result<K, Error> {
        let name = object.name_any();
        let parameters = PatchParams::default();
        let mut tries = 0;
        loop {
            let account = object.managed_fields().iter();
            let account = account
                .filter(|entry| entry.manager.as_deref() != Some(names::CLEARING_MANAGER))
                .collect::<Vec<_>>();
            let alone = json!({"metadata": {"resourceVersion": object.resource_version(), "managedFields": account}});
            let alone = Patch::Merge(&alone);
            let written = api.patch(&name, &parameters, &alone);
            match self.context.request(doing, written).await {
                // Its controller has written its status meanwhile.
                Err(Error::Api { source, .. })
                    if tries < TRIES
                        && matches!(&*source, kube::Error::Api(status) if status.is_conflict()) =>
                {
                    tries += 1;
                    object = self.context.read(api.get(&name)).await?;
                }
                written => return written,
            }
        }
    }
}

/// The places of elements that have the name of a wanted one under another key, and what is wanted there.
fn find(place: &str, wanted: &Value, there: &Value, found: &mut Vec<(String, Value)>) {
    match (wanted, there) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (name, wanted) in wanted {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                if let Some(there) = there.get(name) {
                    find(&format!("{place}/{escaped}"), wanted, there, found);
                }
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            let list = place.rsplit('/').next().unwrap_or_default();
            let Some(keys) = list_keys(list, wanted) else {
                return;
            };
            for ours in wanted {
                let is_same =
                    |theirs: &&Value| keys.iter().all(|key| theirs.get(key) == ours.get(key));
                let has_name = |theirs: &&Value| {
                    ours.get("name").is_some() && theirs.get("name") == ours.get("name")
                };
                let at = |is: &dyn Fn(&&Value) -> bool| there.iter().position(|theirs| is(&theirs));
                match (at(&is_same), at(&has_name)) {
                    (Some(index), _) => {
                        find(&format!("{place}/{index}"), ours, &there[index], found);
                    }
                    (None, Some(index)) => found.push((format!("{place}/{index}"), ours.clone())),
                    (None, None) => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_our_name_under_another_key_is_found() {
        let port =
            |number: u16, name: &str| json!({"port": number, "protocol": "TCP", "name": name});
        let wanted = json!({"spec": {"ports": [port(1, "http"), port(2, "management")]}});
        let there =
            json!({"spec": {"ports": [port(9, "other"), port(2, "management"), port(3, "http")]}});
        let mut found = Vec::new();

        find("", &wanted, &there, &mut found);

        assert_eq!(found, [("/spec/ports/2".to_owned(), port(1, "http"))]);
    }
}
