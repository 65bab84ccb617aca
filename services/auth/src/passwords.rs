//! Password hashing: bcrypt on the threads for blocking work, as many at a time as there are cores, with a bounded queue.

use std::hint::black_box;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::Context;
use prometheus::Histogram;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tracing::{Span, info_span};

use crate::account::{MAX_PASSWORD_BYTES, NewPassword};
use crate::error::Error;
use crate::metrics::AuthMetrics;

/// How many may wait for a core; the next one is told to come back.
const MAX_WAITING: usize = 128;
/// The costs that bcrypt knows.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Hashes passwords and checks them.
#[derive(Clone)]
pub struct Passwords {
    cost: u32,
    cores: Arc<Semaphore>,
    places: Arc<Semaphore>,
    metrics: AuthMetrics,
}

/// What a password is checked against.
pub struct Check {
    /// What the client sent.
    pub password: SecretString,
    /// What is stored for the user, if there is one.
    pub hash: Option<SecretString>,
    /// The highest cost of a stored hash: every check costs as much.
    pub highest_cost: Option<u32>,
    /// Whether a hash that is too cheap is replaced when the password is right.
    pub rehash: bool,
}

/// What came of a check.
pub struct Checked {
    /// Whether the password is the one that was hashed.
    pub matches: bool,
    /// A hash at the cost of today, to be stored in place of a cheaper one; or why there is none.
    pub rehashed: Option<anyhow::Result<String>>,
}

impl Passwords {
    /// Prepares hashing at this bcrypt cost.
    pub fn new(cost: u32, metrics: AuthMetrics) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self {
            cost,
            cores: Arc::new(Semaphore::new(cores)),
            places: Arc::new(Semaphore::new(cores + MAX_WAITING)),
            metrics,
        }
    }

    /// The bcrypt hash (`$2b$`) of a new password.
    pub async fn hash(&self, password: NewPassword) -> Result<String, Error> {
        let cost = self.cost;
        let work = move |turn: &Turn| turn.spend("password.hash", || hash(&password, cost));
        self.run(|| Ok(()), work).await?.map_err(Error::from)
    }

    /// Checks a password, whether there is a hash or not, in the same time: what differs is the answer. `may_go_on` is asked
    /// when the password's turn has come, which can be long after it was sent.
    pub async fn check(
        &self,
        check: Check,
        may_go_on: impl FnOnce() -> Result<(), Error>,
    ) -> Result<Checked, Error> {
        let cost = self.cost;
        self.run(may_go_on, move |turn| {
            let matches = turn.spend("password.check", || check.matches(cost));
            let too_cheap = || check.hash.as_ref().and_then(cost_of) < Some(cost);
            let rehashed = (matches && check.rehash && too_cheap()).then(|| {
                let password = check.password.expose_secret();
                turn.spend("password.hash", || bcrypt::hash(password, cost))
                    .context("hashing with bcrypt")
            });
            Checked { matches, rehashed }
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        may_go_on: impl FnOnce() -> Result<(), Error>,
        work: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            self.metrics.hash_rejected.inc();
            Error::HashingBusy
        })?;
        let queued = Instant::now();
        let core = Arc::clone(&self.cores)
            .acquire_owned()
            .await
            .context("waiting for a core to hash on")?;
        self.metrics
            .hash_queue_seconds
            .observe(queued.elapsed().as_secs_f64());
        may_go_on()?;
        let turn = Turn {
            request: Span::current(),
            seconds: self.metrics.hash_seconds.clone(),
        };
        let result = tokio::task::spawn_blocking(move || {
            let result = work(&turn);
            // Held by the work, not by the request: a client that hangs up must not let more than the cores start.
            drop((core, place));
            result
        });
        Ok(result.await.context("hashing on its thread")?)
    }
}

/// A core for a while, for one hash or for two in turn.
struct Turn {
    request: Span,
    seconds: Histogram,
}

impl Turn {
    /// Hashes, in a span of its own, and measures it.
    fn spend<T>(&self, name: &'static str, hash: impl FnOnce() -> T) -> T {
        let span = info_span!(parent: &self.request, "password", otel.name = name);
        let start = Instant::now();
        let result = span.in_scope(hash);
        self.seconds.observe(start.elapsed().as_secs_f64());
        result
    }
}

/// The bcrypt hash (`$2b$`) of a new password, here and now: for programs that do nothing else.
pub fn hash(password: &NewPassword, cost: u32) -> anyhow::Result<String> {
    bcrypt::hash(password.expose(), cost).context("hashing with bcrypt")
}

impl Check {
    /// The work is 2^`cost` rounds for the highest cost there is, whatever the hash: 2^5 = 2^3 + 2^3 + 2^4.
    fn matches(&self, cost: u32) -> bool {
        let highest_cost = self.highest_cost.unwrap_or(cost).max(cost);
        // bcrypt would cut a longer password and take it for a shorter one, and stop at a NUL.
        let password = self.password.expose_secret();
        let possible = password.len() <= MAX_PASSWORD_BYTES && !password.contains('\0');
        let hash = self.hash.as_ref().filter(|_| possible);
        let known = hash.and_then(|hash| Some((cost_of(hash)?, hash)));
        let Some((stored_cost, hash)) = known else {
            spend(highest_cost);
            return false;
        };
        let Ok(matches) = bcrypt::verify(password, hash.expose_secret()) else {
            spend(highest_cost);
            return false;
        };
        (stored_cost..highest_cost).for_each(spend);
        matches
    }
}

/// Does what a hash of this cost takes, for nothing.
fn spend(cost: u32) {
    black_box(bcrypt::bcrypt(
        black_box(cost),
        *b"salt for nobody!",
        b"password",
    ));
}

/// The cost in a hash such as `$2b$12$...`; none if it is no bcrypt hash.
fn cost_of(hash: &SecretString) -> Option<u32> {
    let mut parts = hash.expose_secret().strip_prefix("$2")?.split('$');
    let cost = parts.nth(1)?.parse().ok()?;
    COSTS.contains(&cost).then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(password: &str, hash: Option<&str>) -> bool {
        let check = Check {
            password: SecretString::from(password),
            hash: hash.map(SecretString::from),
            highest_cost: None,
            rehash: false,
        };
        check.matches(4)
    }

    #[test]
    fn only_the_very_password_matches() {
        let long = "p".repeat(72);
        let hash = bcrypt::hash(&long, 4).unwrap();

        assert!(check(&long, Some(&hash)));
        assert!(!check(&"p".repeat(73), Some(&hash)), "bcrypt cuts at 72");
        assert!(!check(&"p".repeat(71), Some(&hash)));
        let hash = bcrypt::hash("pass", 4).unwrap();
        assert!(!check("pass\0word", Some(&hash)));
        assert!(!check("pass", None));
    }

    #[test]
    fn what_is_no_hash_matches_nothing() {
        for hash in [
            "",
            "!",
            "plain",
            "$2b$",
            "$2b$99$x",
            "$2b$04$short",
            "$1$04$x",
        ] {
            assert!(!check(hash, Some(hash)), "{hash}");
        }
    }

    #[test]
    fn hashes_of_other_programs_are_taken() {
        // Made by Python's bcrypt 5.0.0 (`$2b$`); PHP writes the same as `$2y$`.
        let of_python = "$2b$04$f4ufPIUmgN/72pxu8c09t.3PrfT9QJEUPkGNC4t45Ng2DSX97.U76";
        assert!(check("correct horse battery staple", Some(of_python)));
        let of_php = of_python.replace("$2b$", "$2y$");
        assert!(check("correct horse battery staple", Some(&of_php)));
    }
}
