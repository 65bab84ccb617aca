//! What Kubernetes's controllers say of an object by Events alone: that a volume cannot be made, that a pod is refused.
//!
//! Nobody watches Events: a cluster has more of them than of anything else. So they are looked for, ever more seldom.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tracing::warn;
use transcription_common::clock;

use crate::apply::Child;
use crate::context::Context;
use crate::error::Error;

/// Before this age of an object nobody has anything to say of it.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// What was found stands for so long, and then twice as long each time.
const SECOND_LOOK: Duration = Duration::from_secs(30);
/// But never for longer than this.
const LONGEST: Duration = Duration::from_mins(10);
/// More than these are not looked through: events of one object are few, and counted together.
const MOST: u32 = 100;
/// What was said before is over: controllers say again what still is so, a quarter of an hour apart at most.
const STALE: Duration = Duration::from_mins(20);

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The words of the latest warning.
    pub words: Option<String>,
    /// When it is worth to look again.
    pub next: Duration,
}

/// What was found of each object, by its unique id.
#[derive(Default)]
pub struct Warnings(Mutex<HashMap<String, Known>>);

struct Known {
    words: Option<String>,
    looked: Instant,
    stands_for: Duration,
}

impl Warnings {
    /// What the latest warning about an object says.
    pub async fn about<K: Child>(&self, context: &Context, object: &K) -> Look {
        let made = object.meta().creation_timestamp.as_ref();
        let age = made.map_or(0, |made| clock::now().unix_timestamp() - made.0.as_second());
        let age = Duration::from_secs(age.try_into().unwrap_or(0));
        let too_early = FIRST_LOOK.saturating_sub(age);
        if !too_early.is_zero() {
            let words = None;
            return Look {
                words,
                next: too_early,
            };
        }
        let id = object.uid().unwrap_or_default();
        let mut stands_for = SECOND_LOOK;
        if let Some(known) = self.lock().get(&id) {
            let left = known.stands_for.saturating_sub(known.looked.elapsed());
            if !left.is_zero() {
                return Look {
                    words: known.words.clone(),
                    next: left,
                };
            }
            stands_for = (2 * known.stands_for).min(LONGEST);
        }
        // The state of a stack does not wait for what would only explain it.
        let words = latest(context, object).await.unwrap_or_else(|error| {
            warn!(
                "what is said of {} {} could not be read: {}",
                K::kind(&()),
                object.name_any(),
                error.sentence()
            );
            None
        });
        let mut all = self.lock();
        all.retain(|_, known| known.looked.elapsed() < 2 * LONGEST);
        let known = Known {
            words: words.clone(),
            looked: Instant::now(),
            stands_for,
        };
        all.insert(id, known);
        Look {
            words,
            next: stands_for,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn latest<K: Child>(context: &Context, object: &K) -> Result<Option<String>, Error> {
    // Not what was said of one before it of the same name.
    let about = format!(
        "involvedObject.uid={},involvedObject.name={},type=Warning",
        object.uid().unwrap_or_default(),
        object.name_any()
    );
    let parameters = ListParams::default().fields(&about).limit(MOST);
    let namespace = object.namespace().unwrap_or_default();
    let events = Api::<Event>::namespaced(context.client.clone(), &namespace);
    let events = context.read(events.list(&parameters)).await?;
    // Of what makes pods only this one thing is asked for.
    let is_meant = |event: &Event| {
        K::kind(&()) != "StatefulSet" || event.reason.as_deref() == Some("FailedCreate")
    };
    let all = events.items.into_iter().filter(is_meant).map(|event| {
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let series = event.event_time.as_ref().map(|time| time.0);
        (last.max(series), event.message)
    });
    let begins = clock::now().unix_timestamp() - i64::try_from(STALE.as_secs()).unwrap_or(i64::MAX);
    let fresh = all.filter(|(time, _)| time.is_some_and(|time| time.as_second() >= begins));
    Ok(fresh
        .max_by_key(|(time, _)| *time)
        .and_then(|(_, words)| words))
}
