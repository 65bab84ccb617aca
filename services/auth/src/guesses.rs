//! The limit on guessing passwords (contract §1): failures of one (account, client address) are counted, and after too many
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
/// Failures are forgotten after so long without another. A wait is not quiet: whoever guesses is only kept from it. So the time
/// counts from the wait's end; from the last failure on, the longest wait would end with ten free failures.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(15);
const MAX_ENTRIES: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Counts failures. Names are kept as keyed hashes: what people type into a name field may be a password.
#[derive(Clone)]
pub struct Guesses {
    hasher: RandomState,
    entries: Arc<Mutex<LruCache<u64, Entry>>>,
}

/// What is tried.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Target<'a> {
    /// The password of the account with this id, under whichever of its names.
    Account(i64),
    /// The password of an account that does not exist, by its name without regard to case.
    NoAccount(&'a str),
    /// Names that may be taken.
    Registration,
}

/// Who fails at what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesser {
    hash: u64,
    free: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last: Instant,
}

/// A failure that was counted before it was known to be one.
#[derive(Debug)]
#[must_use = "if it turns out to be none it has to be taken back"]
pub struct Counted {
    guesser: Guesser,
    at: Instant,
    last_before: Option<Instant>,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            entries: Arc::new(Mutex::new(LruCache::new(MAX_ENTRIES))),
        }
    }
}

impl Guesses {
    /// Someone at `address` who tries `target`. An IPv6 address counts by its /64 network, which is what one customer gets.
    pub fn guesser(&self, target: Target<'_>, address: IpAddr) -> Guesser {
        let network = match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64 << 64;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        };
        let free = match target {
            Target::Account(_) | Target::NoAccount(_) => FREE_LOGINS,
            Target::Registration => FREE_REGISTRATIONS,
        };
        Guesser {
            hash: self.hasher.hash_one((target, network)),
            free,
        }
    }

    /// How long the next attempt has to wait, if it has to.
    pub fn wait(&self, guesser: Guesser, now: Instant) -> Option<Duration> {
        self.with(|entries| guesser.wait(entries.get(&guesser.hash)?, now))
    }

    /// Counts a failure.
    pub fn failed(&self, guesser: Guesser, now: Instant) {
        self.with(|entries| guesser.count(entries, now));
    }

    /// Counts a failure before it is known to be one, so that many at once cannot all find the limit not yet reached.
    ///
    /// Fails with the time that the attempt has to wait, if it has to; then nothing is counted.
    pub fn count_ahead(&self, guesser: Guesser, now: Instant) -> Result<Counted, Duration> {
        self.with(|entries| {
            let before = entries.get(&guesser.hash).copied();
            if let Some(wait) = before.and_then(|entry| guesser.wait(&entry, now)) {
                return Err(wait);
            }
            guesser.count(entries, now);
            Ok(Counted {
                guesser,
                at: now,
                last_before: before.map(|entry| entry.last),
            })
        })
    }

    /// It was no failure.
    pub fn take_back(&self, counted: &Counted) {
        let hash = counted.guesser.hash;
        self.with(|entries| {
            let Some(entry) = entries.get_mut(&hash) else {
                return;
            };
            entry.failures = entry.failures.saturating_sub(1);
            if let Some(last) = counted.last_before
                && entry.last == counted.at
            {
                entry.last = last;
            }
            if entry.failures == 0 {
                entries.pop(&hash);
            }
        });
    }

    /// Forgets the failures.
    pub fn succeeded(&self, guesser: Guesser) {
        self.with(|entries| entries.pop(&guesser.hash));
    }

    fn with<T>(&self, work: impl FnOnce(&mut LruCache<u64, Entry>) -> T) -> T {
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Guesser {
    fn count(self, entries: &mut LruCache<u64, Entry>, now: Instant) {
        let before = entries
            .get(&self.hash)
            .filter(|entry| !self.has_forgotten(entry, now))
            .map_or(0, |entry| entry.failures);
        let entry = Entry {
            failures: before.saturating_add(1),
            last: now,
        };
        // The entry that was used least recently makes place.
        entries.put(self.hash, entry);
    }

    fn wait(self, entry: &Entry, now: Instant) -> Option<Duration> {
        let quiet = now.saturating_duration_since(entry.last);
        let left = self.wait_after(entry.failures).saturating_sub(quiet);
        (!left.is_zero()).then_some(left)
    }

    fn has_forgotten(self, entry: &Entry, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(entry.last);
        quiet >= self.wait_after(entry.failures) + FORGOTTEN_AFTER
    }

    /// Nothing, then 1 s after the last free failure, twice as long after each further one, 15 minutes at most.
    fn wait_after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(self.free) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const ADA: Target<'static> = Target::Account(1);
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn the_first_wait_is_a_second_and_each_further_one_doubles_to_15_minutes() {
        let guesses = Guesses::default();
        let ada = guesses.guesser(ADA, HERE);
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
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..50 {
            guesses.failed(guesses.guesser(ADA, HERE), now);
        }

        assert!(guesses.wait(guesses.guesser(ADA, HERE), now).is_some());
        assert_eq!(guesses.wait(guesses.guesser(ADA, ELSEWHERE), now), None);
        assert_eq!(
            guesses.wait(guesses.guesser(Target::Account(2), HERE), now),
            None
        );
    }

    #[test]
    fn failures_are_forgotten_after_15_quiet_minutes_or_a_success() {
        let guesses = Guesses::default();
        let ada = guesses.guesser(ADA, HERE);
        let start = Instant::now();
        let fail_often = |now| (0..10).for_each(|_| guesses.failed(ada, now));

        fail_often(start);
        guesses.succeeded(ada);
        assert_eq!(guesses.wait(ada, start), None);

        fail_often(start);
        let quiet = start + FIRST_WAIT + FORGOTTEN_AFTER;
        let almost = start + FORGOTTEN_AFTER;
        let second = Guesses::default();
        let again = second.guesser(ADA, HERE);
        (0..10).for_each(|_| second.failed(again, start));
        second.failed(again, almost);
        assert!(second.wait(again, almost).is_some(), "not yet");
        guesses.failed(ada, quiet);
        assert_eq!(guesses.wait(ada, quiet), None, "it is the first again");
    }

    #[test]
    fn the_longest_wait_does_not_end_with_free_failures() {
        let guesses = Guesses::default();
        let ada = guesses.guesser(ADA, HERE);
        let start = Instant::now();
        (0..30).for_each(|_| guesses.failed(ada, start));

        let end = start + LONGEST_WAIT;
        assert_eq!(guesses.wait(ada, end), None);
        guesses.failed(ada, end);

        assert_eq!(guesses.wait(ada, end), Some(LONGEST_WAIT));
    }

    #[test]
    fn what_was_counted_ahead_and_taken_back_leaves_no_trace() {
        let guesses = Guesses::default();
        let prober = guesses.guesser(Target::Registration, HERE);
        let start = Instant::now();
        for _ in 0..500 {
            let counted = guesses.count_ahead(prober, start).unwrap();
            guesses.take_back(&counted);
        }
        assert_eq!(guesses.with(|entries| entries.len()), 0);

        let counted = (0..200).filter(|_| guesses.count_ahead(prober, start).is_ok());
        assert_eq!(counted.count(), 100, "and not one more at once");
        let later = start + FIRST_WAIT;
        let honest = guesses.count_ahead(prober, later).unwrap();
        guesses.take_back(&honest);
        assert_eq!(guesses.wait(prober, later), None, "the wait is over");
    }

    #[test]
    fn at_most_100_000_entries_are_kept_and_the_oldest_goes() {
        let guesses = Guesses::default();
        let now = Instant::now();
        let name = |number: i64| guesses.guesser(Target::Account(number), HERE);
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
        let guesses = Guesses::default();
        let at = |address: &str| guesses.guesser(ADA, address.parse().unwrap());

        assert_eq!(at("2001:db8:0:1::1"), at("2001:db8:0:1:ffff::2"));
        assert_ne!(at("2001:db8:0:1::1"), at("2001:db8:0:2::1"));
        assert_eq!(at("192.0.2.1"), at("::ffff:192.0.2.1"));
    }
}
