//! What is in Secrets and ConfigMaps, as far as a stack names it. The watches hold metadata only; a content is read when its
//! resource version moves, and only a hash of it is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;
use crate::hash::hash;

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Something.
    There {
        /// Its hash.
        hash: String,
        /// Its length.
        length_bytes: usize,
    },
    /// There is no such key.
    KeyMissing,
    /// There is no such object.
    ObjectMissing,
}

/// An object with values under keys.
pub trait Keyed:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    /// The value under a key.
    fn value(&self, key: &str) -> Option<&[u8]>;
}

impl Keyed for Secret {
    fn value(&self, key: &str) -> Option<&[u8]> {
        Some(&self.data.as_ref()?.get(key)?.0)
    }
}

impl Keyed for ConfigMap {
    fn value(&self, key: &str) -> Option<&[u8]> {
        let text = self.data.as_ref().and_then(|data| data.get(key));
        let binary = || Some(&self.binary_data.as_ref()?.get(key)?.0[..]);
        text.map(String::as_bytes).or_else(binary)
    }
}

/// What is known of contents.
#[derive(Default)]
pub struct Contents {
    known: Mutex<HashMap<Id, Known>>,
    turns: Mutex<HashMap<Id, Turn>>,
    tidied: Mutex<Option<Instant>>,
}

/// How often what is no longer there is forgotten. To find it, all Secrets are looked through.
const TIDY_EVERY: Duration = Duration::from_mins(10);

/// The unique id of an object; a new one of the same name has another.
type Id = String;

/// Who holds it reads the object.
type Turn = Arc<tokio::sync::Mutex<()>>;

struct Known {
    resource_version: String,
    values: BTreeMap<String, Value>,
}

impl Contents {
    /// What is under a key of an object that a watch has seen. What is under the other `keys` that are named is kept in mind with it.
    pub async fn of<K: Keyed>(
        &self,
        context: &Context,
        seen: &ObjectMeta,
        key: &str,
        keys: &BTreeSet<&str>,
    ) -> Result<Value, Error> {
        let (Some(id), Some(version), Some(namespace), Some(name)) = (
            &seen.uid,
            &seen.resource_version,
            &seen.namespace,
            &seen.name,
        ) else {
            return Ok(Value::ObjectMissing);
        };
        if let Some(value) = self.known(id, version, key) {
            return Ok(value);
        }
        // A Secret that many stacks use is read once, and not by all of them at once.
        let turn = self.turn(id);
        let _turn = turn.lock().await;
        if let Some(value) = self.known(id, version, key) {
            return Ok(value);
        }
        let api = Api::<K>::namespaced(context.client.clone(), namespace);
        let Some(object) = context.read(api.get_opt(name)).await? else {
            return Ok(Value::ObjectMissing);
        };
        let under = |key: &str| {
            object
                .value(key)
                .map_or(Value::KeyMissing, |bytes| Value::There {
                    hash: hash(bytes),
                    length_bytes: bytes.len(),
                })
        };
        if object.meta().uid.as_ref() == Some(id) {
            let read = object.meta().resource_version.clone().unwrap_or_default();
            for key in keys {
                self.remember(id, read.clone(), key, under(key));
            }
        }
        Ok(under(key))
    }

    /// Keeps in mind what was put under a key of an object, so that it need not be read.
    pub fn put(&self, object: &ObjectMeta, key: &str, bytes: &[u8]) {
        if let (Some(id), Some(version)) = (&object.uid, &object.resource_version) {
            let value = Value::There {
                hash: hash(bytes),
                length_bytes: bytes.len(),
            };
            self.remember(id, version.clone(), key, value);
        }
    }

    /// Forgets what is no longer there, now and then. `there` tells the unique ids of what is.
    pub fn tidy(&self, there: impl FnOnce() -> BTreeSet<String>) {
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        if tidied.is_some_and(|tidied| tidied.elapsed() < TIDY_EVERY) {
            return;
        }
        *tidied = Some(Instant::now());
        let there = there();
        self.lock().retain(|id, _| there.contains(id));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|id, _| there.contains(id));
    }

    fn turn(&self, id: &str) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(id.to_owned()).or_default())
    }

    fn known(&self, id: &str, version: &str, key: &str) -> Option<Value> {
        let known = self.lock();
        let known = known
            .get(id)
            .filter(|known| known.resource_version == version)?;
        known.values.get(key).cloned()
    }

    fn remember(&self, id: &str, resource_version: String, key: &str, value: Value) {
        let mut known = self.lock();
        let known = known.entry(id.to_owned()).or_insert_with(|| Known {
            resource_version: resource_version.clone(),
            values: BTreeMap::new(),
        });
        if known.resource_version != resource_version {
            known.resource_version = resource_version;
            known.values.clear();
        }
        known.values.insert(key.to_owned(), value);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Id, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
