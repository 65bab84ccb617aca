//! The metrics of the service (contract §5).

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts};
use transcription_common::metrics::Metrics;

/// Upper bounds in seconds, from the least cost to a full queue.
const HASH_SECONDS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0,
];

/// What happens to accounts.
#[derive(Clone)]
pub struct AuthMetrics {
    /// Attempts to log in, by [`LoginResult`].
    pub logins: IntCounterVec,
    /// Attempts to register, by [`RegistrationResult`].
    pub registrations: IntCounterVec,
    /// The time that a password's hash took.
    pub hash_seconds: Histogram,
    /// The time that it waited for a core.
    pub hash_queue_seconds: Histogram,
    /// Hashes that found the queue full.
    pub hash_rejected: IntCounter,
}

/// How an attempt to log in ended.
#[derive(Clone, Copy, Debug)]
pub enum LoginResult {
    /// A token was given.
    Ok,
    /// No such user, or a wrong password.
    BadCredentials,
    /// Too many failures before.
    Throttled,
    /// The password was right, but the user is disabled.
    Disabled,
    /// The queue of the hashes was full.
    Busy,
    /// A fault of ours.
    Error,
}

/// How an attempt to register ended.
#[derive(Clone, Copy, Debug)]
pub enum RegistrationResult {
    /// There is a new user.
    Ok,
    /// The user name or the e-mail address has an account.
    Taken,
    /// The request breaks a rule.
    Invalid,
    /// Registration is closed.
    Closed,
    /// The queue of the hashes was full, or the client found too many names taken.
    Busy,
    /// A fault of ours.
    Error,
}

impl LoginResult {
    const ALL: [Self; 6] = [
        Self::Ok,
        Self::BadCredentials,
        Self::Throttled,
        Self::Disabled,
        Self::Busy,
        Self::Error,
    ];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BadCredentials => "bad_credentials",
            Self::Throttled => "throttled",
            Self::Disabled => "disabled",
            Self::Busy => "busy",
            Self::Error => "error",
        }
    }
}

impl RegistrationResult {
    const ALL: [Self; 6] = [
        Self::Ok,
        Self::Taken,
        Self::Invalid,
        Self::Closed,
        Self::Busy,
        Self::Error,
    ];

    /// Its name as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Taken => "taken",
            Self::Invalid => "invalid",
            Self::Closed => "closed",
            Self::Busy => "busy",
            Self::Error => "error",
        }
    }
}

impl AuthMetrics {
    /// Registers them, all at zero, so that a first event is an increase.
    pub fn new(metrics: &Metrics) -> anyhow::Result<Self> {
        let by_result = |name, help| IntCounterVec::new(Opts::new(name, help), &["result"]);
        let seconds = |name, help| {
            let options = HistogramOpts::new(name, help).buckets(HASH_SECONDS.to_vec());
            Histogram::with_opts(options)
        };
        let own = Self {
            logins: by_result("auth_logins_total", "Attempts to log in, by result.")?,
            registrations: by_result(
                "auth_registrations_total",
                "Attempts to register, by result.",
            )?,
            hash_seconds: seconds(
                "auth_password_hash_seconds",
                "Time that hashing a password took.",
            )?,
            hash_queue_seconds: seconds(
                "auth_hash_queue_seconds",
                "Time that a password waited for a core to be hashed on.",
            )?,
            hash_rejected: IntCounter::new(
                "auth_hash_rejected_total",
                "Passwords that found the queue full.",
            )?,
        };
        for result in LoginResult::ALL {
            own.logins.with_label_values(&[result.name()]);
        }
        for result in RegistrationResult::ALL {
            own.registrations.with_label_values(&[result.name()]);
        }
        metrics.register(own.logins.clone())?;
        metrics.register(own.registrations.clone())?;
        metrics.register(own.hash_seconds.clone())?;
        metrics.register(own.hash_queue_seconds.clone())?;
        metrics.register(own.hash_rejected.clone())?;
        Ok(own)
    }

    /// Counts an attempt to log in.
    pub fn login(&self, result: LoginResult) {
        self.logins.with_label_values(&[result.name()]).inc();
    }

    /// Counts an attempt to register.
    pub fn registration(&self, result: RegistrationResult) {
        self.registrations.with_label_values(&[result.name()]).inc();
    }
}
