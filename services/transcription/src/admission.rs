//! Who may start: so many transcriptions in all, so many of one user. Whoever may not is told at once and does not wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntGauge;
use transcription_common::jwt::UserId;

use crate::error::Error;

/// Gives out places.
#[derive(Clone)]
pub struct Admission {
    limit: usize,
    limit_per_user: usize,
    taken: Arc<Mutex<Taken>>,
    in_flight: IntGauge,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    per_user: HashMap<UserId, usize>,
}

/// A place that is taken until this is dropped.
pub struct Place {
    taken: Arc<Mutex<Taken>>,
    user: UserId,
    in_flight: IntGauge,
}

impl Admission {
    /// So many places in all, so many for one user. `in_flight` tells how many are taken.
    pub fn new(limit: usize, limit_per_user: usize, in_flight: IntGauge) -> Self {
        Self {
            limit,
            limit_per_user,
            taken: Arc::default(),
            in_flight,
        }
    }

    /// Takes a place, or says whether the user's own places or all of them are taken.
    pub fn admit(&self, user: &UserId) -> Result<Place, Error> {
        let mut taken = lock(&self.taken);
        let of_user = taken.per_user.get(user).copied().unwrap_or(0);
        if of_user >= self.limit_per_user {
            return Err(Error::UserBusy);
        }
        if taken.in_all >= self.limit {
            return Err(Error::Busy);
        }
        taken.in_all += 1;
        taken.per_user.insert(user.clone(), of_user + 1);
        self.in_flight.inc();
        Ok(Place {
            taken: Arc::clone(&self.taken),
            user: user.clone(),
            in_flight: self.in_flight.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.in_all -= 1;
        self.in_flight.dec();
        // Users who have nothing in flight leave no trace: the map is as small as the number of places.
        if let Entry::Occupied(mut of_user) = taken.per_user.entry(self.user.clone()) {
            *of_user.get_mut() -= 1;
            if *of_user.get() == 0 {
                of_user.remove();
            }
        }
    }
}

/// The numbers are whole after every statement, so a panic elsewhere cannot have left them wrong.
fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_per_user_and_come_back() {
        let admission = Admission::new(3, 2, IntGauge::new("places", "taken").unwrap());
        let ada = "1".parse::<UserId>().unwrap();
        let bob = "2".parse::<UserId>().unwrap();

        let first = admission.admit(&ada).unwrap();
        let _second = admission.admit(&ada).unwrap();
        assert!(matches!(admission.admit(&ada), Err(Error::UserBusy)));
        let _third = admission.admit(&bob).unwrap();
        assert!(matches!(admission.admit(&bob), Err(Error::Busy)));
        drop(first);
        let _fourth = admission.admit(&bob).unwrap();

        assert_eq!(lock(&admission.taken).per_user.len(), 2);
    }
}
