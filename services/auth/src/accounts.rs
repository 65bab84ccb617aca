//! Registering and logging in: the rules of contract §1, in their order.

use std::sync::Arc;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use tracing::{debug, warn};
use transcription_common::jwt::Signer;

use crate::account::{Email, NewPassword, Username, key_of};
use crate::client_address::ClientAddress;
use crate::config::Registration;
use crate::error::Error;
use crate::guesses::{Guesser, Guesses, Target};
use crate::metrics::{AuthMetrics, LoginResult, RegistrationResult};
use crate::passwords::{Check, Checked, Passwords};
use crate::users::{Candidate, User, Users};

/// Makes accounts.
#[derive(Clone)]
pub struct Registrar {
    pub(crate) registration: Registration,
    pub(crate) users: Users,
    pub(crate) passwords: Passwords,
    pub(crate) guesses: Guesses,
    pub(crate) metrics: AuthMetrics,
}

/// A new account whose fields keep the rules.
pub struct NewAccount {
    /// The user name.
    pub username: Username,
    /// The e-mail address.
    pub email: Email,
    /// The password.
    pub password: NewPassword,
}

impl Registrar {
    /// Adds a user, and counts what came of it.
    pub async fn register(
        &self,
        account: impl FnOnce() -> Result<NewAccount, Error>,
        client: ClientAddress,
    ) -> Result<User, Error> {
        let added = self.add(account, client).await;
        self.metrics.registration(match &added {
            Ok(_) => RegistrationResult::Ok,
            Err(error) => error.as_registration_result(),
        });
        added
    }

    async fn add(
        &self,
        account: impl FnOnce() -> Result<NewAccount, Error>,
        client: ClientAddress,
    ) -> Result<User, Error> {
        if self.registration == Registration::Closed {
            return Err(Error::RegistrationClosed);
        }
        let NewAccount {
            username,
            email,
            password,
        } = account()?;
        // A taken name tells that there is an account: nobody may ask for many, nor for many at once.
        let guesser = self.guesses.guesser(Target::Registration, client.0);
        let counted = self.guesses.count_ahead(guesser, Instant::now());
        let counted = counted.map_err(|wait| Error::Throttled { wait })?;
        let free = self.users.check_free(&username, &email).await;
        if !is_taken(&free) {
            self.guesses.take_back(&counted);
        }
        free?;
        let hash = self.passwords.hash(password).await?;
        let added = self.users.add(&username, &email, &hash).await;
        if is_taken(&added) {
            self.guesses.failed(guesser, Instant::now());
        }
        added
    }
}

fn is_taken<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::UsernameTaken | Error::EmailTaken))
}

/// Checks passwords and gives tokens.
#[derive(Clone)]
pub struct Authenticator {
    pub(crate) users: Users,
    pub(crate) passwords: Passwords,
    pub(crate) guesses: Guesses,
    pub(crate) metrics: AuthMetrics,
    pub(crate) signer: Arc<Signer>,
    pub(crate) token_lifetime_seconds: u64,
}

/// An attempt to log in. From the moment that its hash begins it counts as a failure, until it is known to be none: a client that
/// hangs up meanwhile must not guess for nothing.
struct Attempt<'a> {
    guesses: &'a Guesses,
    guesser: Guesser,
    failed: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.guesses.failed(self.guesser, Instant::now());
        }
    }
}

/// A token for a user.
pub struct Token {
    /// Whose it is.
    pub user_id: i64,
    /// The token.
    pub access_token: String,
    /// Seconds from now.
    pub expires_in: u64,
}

impl Authenticator {
    /// Gives a token for a user name (or e-mail address) and a password, and counts what came of it.
    pub async fn log_in(
        &self,
        name: &str,
        password: SecretString,
        client: ClientAddress,
    ) -> Result<Token, Error> {
        let given = self.give_token(name, password, client).await;
        let result = match &given {
            Ok(_) => Some(LoginResult::Ok),
            Err(error) => error.as_login_result(),
        };
        if let Some(result) = result {
            self.metrics.login(result);
        }
        given
    }

    async fn give_token(
        &self,
        name: &str,
        password: SecretString,
        client: ClientAddress,
    ) -> Result<Token, Error> {
        let candidate = self.users.by_login(name).await?;
        let key = key_of(name);
        // By the account, so that its user name and its e-mail address are not two times ten guesses. That a limit is shared tells
        // whoever fails ten times that both are one account's; the contract takes that.
        let target = match &candidate.user {
            Some((user, _)) => Target::Account(user.id),
            None => Target::NoAccount(&key),
        };
        let guesser = self.guesses.guesser(target, client.0);
        let may_try = || match self.guesses.wait(guesser, Instant::now()) {
            Some(wait) => Err(Error::Throttled { wait }),
            None => Ok(()),
        };
        may_try()?;
        let mut attempt = Attempt {
            guesses: &self.guesses,
            guesser,
            failed: false,
        };
        let begin = || {
            may_try()?;
            attempt.failed = true;
            Ok(())
        };
        let result = self.user_with(candidate, password, begin).await;
        attempt.failed = matches!(result, Err(Error::BadCredentials | Error::UserDisabled));
        let user = result?;
        self.guesses.succeeded(guesser);
        self.token_for(&user)
    }

    /// The candidate, if this is the password.
    async fn user_with(
        &self,
        candidate: Candidate,
        password: SecretString,
        may_go_on: impl FnOnce() -> Result<(), Error>,
    ) -> Result<User, Error> {
        let Candidate { user, highest_cost } = candidate;
        let (user, hash) = user.map_or((None, None), |(user, hash)| (Some(user), hash));
        let check = Check {
            password,
            hash: hash.clone(),
            highest_cost,
            // Only for those who get in: others would see the time it takes.
            rehash: user.as_ref().is_some_and(|user| !user.disabled),
        };
        let Checked { matches, rehashed } = self.passwords.check(check, may_go_on).await?;
        let (Some(user), Some(hash), true) = (user, hash, matches) else {
            return Err(Error::BadCredentials);
        };
        if user.disabled {
            return Err(Error::UserDisabled);
        }
        // The password may have waited long for its turn. Who was disabled or deleted meanwhile, or has another password by now,
        // does not get in.
        let hash = hash.expose_secret();
        if !self.users.still_may_log_in(user.id, hash).await? {
            return Err(Error::BadCredentials);
        }
        if let Some(rehashed) = rehashed {
            self.store_rehashed(&user, hash, rehashed).await;
        }
        Ok(user)
    }

    /// The log-in goes on without it.
    async fn store_rehashed(&self, user: &User, hash: &str, rehashed: anyhow::Result<String>) {
        let stored = match rehashed {
            Ok(rehashed) => self.users.replace_hash(user.id, hash, &rehashed).await,
            Err(error) => Err(error.into()),
        };
        match stored {
            Ok(()) => debug!(user.id, "a password was hashed anew at the cost of today"),
            Err(error) => {
                warn!(user.id, %error, "a password could not be hashed anew; the next log-in tries again");
            }
        }
    }

    fn token_for(&self, user: &User) -> Result<Token, Error> {
        let expires_in = self.token_lifetime_seconds;
        let access_token = self
            .signer
            .sign(
                user.id,
                user.username.as_deref().unwrap_or_default(),
                expires_in,
            )
            .map_err(anyhow::Error::from)?;
        Ok(Token {
            user_id: user.id,
            access_token,
            expires_in,
        })
    }
}
