//! The limit on guessing passwords (contract §1): failures of one (name, client address) are counted, and after too many
//! the next attempt has to wait, longer each time.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

/// Failures that cost nothing.
const FREE_LOGINS: u32 = 10;
/// Names that an address may find taken; whoever tries more is making a list of our users.
const FREE_REGISTRATIONS: u32 = 100;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(15);
/// Failures are forgotten after so long without another, counted from the end of the wait: else the longest wait would end
/// with ten free failures.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(15);
const MAX_ENTRIES: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Counts failures. Names are kept as keyed hashes: what people type into a name field may be a password.
#[derive(Clone)]
pub struct Guesses {
    free: u32,
    hasher: RandomState,
    entries: Arc<Mutex<LruCache<u64, Entry>>>,
}

/// Who fails at what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesser(u64);

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last: Instant,
}

impl Guesses {
    /// For log-ins.
    pub fn of_logins() -> Self {
        Self::new(FREE_LOGINS)
    }

    /// For registrations of names that are taken.
    pub fn of_registrations() -> Self {
        Self::new(FREE_REGISTRATIONS)
    }

    fn new(free: u32) -> Self {
        Self {
            free,
            hasher: RandomState::new(),
            entries: Arc::new(Mutex::new(LruCache::new(MAX_ENTRIES))),
        }
    }

    /// Someone at `address` who tries the account `name`. An IPv6 address counts by its /64 network, which is what one
    /// customer gets.
    pub fn guesser(&self, name: &str, address: IpAddr) -> Guesser {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        };
        Guesser(self.hasher.hash_one((name, network)))
    }

    /// How long the next attempt has to wait, if it has to.
    pub fn wait(&self, guesser: Guesser, now: Instant) -> Option<Duration> {
        let entry = self.with(|entries| entries.get(&guesser.0).copied())?;
        let quiet = now.saturating_duration_since(entry.last);
        let left = self.wait_after(entry.failures).saturating_sub(quiet);
        (!left.is_zero()).then_some(left)
    }

    /// Counts a failure.
    pub fn failed(&self, guesser: Guesser, now: Instant) {
        self.with(|entries| {
            let before = entries
                .get(&guesser.0)
                .filter(|entry| !self.is_forgotten(entry, now))
                .map_or(0, |entry| entry.failures);
            let entry = Entry {
                failures: before.saturating_add(1),
                last: now,
            };
            // The entry that was used least recently makes place.
            entries.put(guesser.0, entry);
        });
    }

    /// Forgets the failures.
    pub fn succeeded(&self, guesser: Guesser) {
        self.with(|entries| entries.pop(&guesser.0));
    }

    fn is_forgotten(&self, entry: &Entry, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(entry.last);
        quiet >= self.wait_after(entry.failures) + FORGOTTEN_AFTER
    }

    /// Nothing, then 1 s after the last free failure, twice as long after each further one, 15 minutes at most.
    fn wait_after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
    }

    fn with<T>(&self, work: impl FnOnce(&mut LruCache<u64, Entry>) -> T) -> T {
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn the_first_wait_is_a_second_and_each_further_one_doubles_to_15_minutes() {
        let guesses = Guesses::of_logins();
        let ada = guesses.guesser("ada", HERE);
        let mut now = Instant::now();
        for _ in 0..10 {
            assert_eq!(guesses.wait(ada, now), None);
            guesses.failed(ada, now);
        }

        let mut waits = Vec::new();
        for _ in 0..12 {
            let wait = guesses.wait(ada, now).unwrap();
            waits.push(wait.as_secs());
            let last = Duration::from_millis(1);
            assert_eq!(
                guesses.wait(ada, now + wait.saturating_sub(last)),
                Some(last),
                "asking changes nothing"
            );
            now += wait;
            assert_eq!(guesses.wait(ada, now), None);
            guesses.failed(ada, now);
        }

        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
    }

    #[test]
    fn another_address_and_another_name_are_not_delayed() {
        let guesses = Guesses::of_logins();
        let now = Instant::now();
        for _ in 0..50 {
            guesses.failed(guesses.guesser("ada", HERE), now);
        }

        assert!(guesses.wait(guesses.guesser("ada", HERE), now).is_some());
        assert_eq!(guesses.wait(guesses.guesser("ada", ELSEWHERE), now), None);
        assert_eq!(guesses.wait(guesses.guesser("bob", HERE), now), None);
    }

    #[test]
    fn failures_are_forgotten_after_15_quiet_minutes_or_a_success() {
        let guesses = Guesses::of_logins();
        let ada = guesses.guesser("ada", HERE);
        let start = Instant::now();
        let fail_often = |now| (0..10).for_each(|_| guesses.failed(ada, now));

        fail_often(start);
        guesses.succeeded(ada);
        assert_eq!(guesses.wait(ada, start), None);

        fail_often(start);
        let quiet = start + FIRST_WAIT + FORGOTTEN_AFTER;
        let almost = start + FORGOTTEN_AFTER;
        let second = Guesses::of_logins();
        (0..10).for_each(|_| second.failed(ada, start));
        second.failed(ada, almost);
        assert!(second.wait(ada, almost).is_some(), "not yet");
        guesses.failed(ada, quiet);
        assert_eq!(guesses.wait(ada, quiet), None, "it is the first again");
    }

    #[test]
    fn at_most_100_000_entries_are_kept_and_the_oldest_goes() {
        let guesses = Guesses::of_logins();
        let now = Instant::now();
        let name = |number: u32| guesses.guesser(&number.to_string(), HERE);
        for number in 0..100_001 {
            for _ in 0..10 {
                guesses.failed(name(number), now);
            }
        }

        assert_eq!(guesses.with(|entries| entries.len()), 100_000);
        assert_eq!(guesses.wait(name(0), now), None);
        assert!(guesses.wait(name(1), now).is_some());
    }

    #[test]
    fn an_ipv6_customer_is_one_and_an_ipv4_address_has_one_form() {
        let guesses = Guesses::of_logins();
        let at = |address: &str| guesses.guesser("ada", address.parse().unwrap());

        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
    }
}
