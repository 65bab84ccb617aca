//! Texts that could not be stored yet. They stay in memory, within a bound, and are tried again until the service ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use transcription_common::jwt::UserId;
use uuid::Uuid;

use crate::job::Complete;

/// Bytes of all texts in memory.
const MAX_BYTES: usize = 64 * 1024 * 1024;
/// What is kept free for a text that is being made: as long as one is likely to be.
const EXPECTED_BYTES: usize = 1024 * 1024;

const OVERHEAD_BYTES: usize = 16 * 1024;

/// The texts, each by its user and id.
#[derive(Clone)]
pub struct Pending {
    expected_bytes: usize,
    held: Arc<Mutex<Held>>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Held {
    texts: HashMap<(UserId, Uuid), Complete>,
    bytes: usize,
    /// The texts with what each costs besides.
    charged: usize,
    reserved: usize,
}

/// Room for a text that is being made. It is free again when this is dropped.
pub struct Room {
    pending: Pending,
}

impl Pending {
    /// Room for as many texts as can be made at once.
    pub fn new(places: usize, gauge: IntGauge) -> Self {
        Self {
            // Half of the memory at most: the other half is for those that wait.
            expected_bytes: EXPECTED_BYTES.min(MAX_BYTES / 2 / places.max(1)),
            held: Arc::default(),
            gauge,
        }
    }

    /// Keeps room for a text, if there is any.
    pub fn reserve(&self) -> Option<Room> {
        let mut held = self.lock();
        if held.charged + held.reserved + self.expected_bytes > MAX_BYTES {
            return None;
        }
        held.reserved += self.expected_bytes;
        drop(held);
        Some(Room {
            pending: self.clone(),
        })
    }

    /// A text that is not stored yet.
    pub fn get(&self, user: &UserId, id: Uuid) -> Option<Complete> {
        self.lock().texts.get(&(user.clone(), id)).cloned()
    }

    /// Forgets a text: it is stored.
    pub fn remove(&self, user: &UserId, id: Uuid) {
        let mut held = self.lock();
        if let Some(complete) = held.texts.remove(&(user.clone(), id)) {
            held.bytes -= complete.text.len();
            held.charged -= charge(&complete);
        }
        self.tell(&held);
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, held: &Held) {
        self.gauge
            .set(i64::try_from(held.bytes).unwrap_or(i64::MAX));
    }
}

impl Room {
    /// Keeps a text, unless it is much longer than expected and there is no room for it.
    pub fn hold(self, user: &UserId, complete: Complete) -> bool {
        let mut held = self.pending.lock();
        let others = held.reserved - self.pending.expected_bytes;
        if held.charged + others + charge(&complete) > MAX_BYTES {
            return false;
        }
        held.bytes += complete.text.len();
        held.charged += charge(&complete);
        let key = (user.clone(), complete.manifest.id);
        held.texts.insert(key, complete);
        self.pending.tell(&held);
        true
    }
}

/// Also a short text has a manifest, a task and a place in the table.
fn charge(complete: &Complete) -> usize {
    complete.text.len() + OVERHEAD_BYTES
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut held = self.pending.lock();
        held.reserved -= self.pending.expected_bytes;
    }
}
