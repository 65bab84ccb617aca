//! Password hashing: bcrypt on threads of its own, as many at a time as there are cores, with a bounded queue.

use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::account::{MAX_PASSWORD_BYTES, NewPassword};
use crate::error::Error;

/// How many may wait for a core; the next one is told to come back.
const MAX_WAITING: usize = 128;

/// Hashes passwords and checks them.
#[derive(Clone)]
pub struct Passwords {
    cost: u32,
    /// Checked when there is no such user, so that the answer takes as long as for a wrong password.
    dummy_hash: Arc<str>,
    cores: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    /// Prepares hashing at this bcrypt cost.
    pub async fn new(cost: u32) -> anyhow::Result<Self> {
        let cores = available_parallelism().map_or(1, usize::from);
        let mut passwords = Self {
            cost,
            dummy_hash: Arc::from(""),
            cores: Arc::new(Semaphore::new(cores)),
            places: Arc::new(Semaphore::new(cores + MAX_WAITING)),
        };
        let unguessable = SecretString::from(Uuid::new_v4().to_string());
        passwords.dummy_hash = passwords
            .bcrypt(move || bcrypt::hash(unguessable.expose_secret(), cost))
            .await
            .context("making the hash for unknown users")?
            .into();
        Ok(passwords)
    }

    /// The bcrypt hash (`$2b$`) of a new password.
    pub async fn hash(&self, password: NewPassword) -> Result<String, Error> {
        let cost = self.cost;
        let password = password.into_secret();
        self.bcrypt(move || bcrypt::hash(password.expose_secret(), cost))
            .await
    }

    /// Whether `password` is the one that was hashed. Without a hash (no such user) it takes as long and is `false`.
    pub async fn verify(
        &self,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, Error> {
        // bcrypt would cut a longer password and take it for a shorter one, and stop at a NUL.
        let text = password.expose_secret();
        let possible = text.len() <= MAX_PASSWORD_BYTES && !text.contains('\0');
        let hash = hash.filter(|_| possible);
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy_hash.to_string());
        let matches = self
            .bcrypt(move || bcrypt::verify(password.expose_secret(), &hash))
            .await?;
        Ok(known && matches)
    }

    async fn bcrypt<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> bcrypt::BcryptResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Error::HashingBusy)?;
        let core = Arc::clone(&self.cores)
            .acquire_owned()
            .await
            .context("waiting for a core to hash on")?;
        let result = tokio::task::spawn_blocking(move || {
            let result = work();
            // Held by the work, not by the request: a client that hangs up must not let more than the cores start.
            drop((core, place));
            result
        });
        let result = result.await.context("hashing on its thread")?;
        Ok(result.context("hashing with bcrypt")?)
    }
}
