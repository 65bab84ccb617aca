//! Why a condition is as it is: a closed set, part of the public surface.

/// A condition of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// All of it: this generation of the spec is rolled out, and every pod that is wanted is available.
    Ready,
    /// Something is being changed, or is waited for.
    Reconciling,
    /// Nothing will get better without an edit.
    Stalled,
    /// Every key that the spec names is there.
    SecretsReady,
    /// The volume with the users is there.
    StorageReady,
    /// The pod of the auth service is available.
    AuthAvailable,
    /// The pods of the transcription service are available.
    TranscriptionAvailable,
    /// The operator only watches.
    Paused,
}

impl ConditionType {
    /// All of them, in the order they are told.
    pub const ALL: [Self; 8] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::SecretsReady,
        Self::StorageReady,
        Self::AuthAvailable,
        Self::TranscriptionAvailable,
        Self::Paused,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::SecretsReady => "SecretsReady",
            Self::StorageReady => "StorageReady",
            Self::AuthAvailable => "AuthAvailable",
            Self::TranscriptionAvailable => "TranscriptionAvailable",
            Self::Paused => "Paused",
        }
    }
}

/// Why a condition is as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is as wanted.
    AsWanted,
    /// A change is rolling out.
    RollingOut,
    /// Pods that are wanted are not available.
    PodsUnavailable,
    /// No pods are wanted.
    NoPodsWanted,
    /// A Secret, a key of it or a ConfigMap that the spec names is not there.
    SecretMissing,
    /// A key of a Secret has a value that cannot be used.
    SecretInvalid,
    /// A claim is not bound to a volume yet.
    StoragePending,
    /// A claim that the spec names is not there.
    StorageMissing,
    /// The claim with the users was there and is gone.
    StorageLost,
    /// An object of another owner has the name of a child.
    NameTaken,
    /// This operator does not know the release that is asked for.
    VersionUnknown,
    /// The API server refuses an object.
    Refused,
    /// The cluster has no such kind.
    KindMissing,
    /// The API server does not do what it is asked; it is tried again.
    ApiUnavailable,
    /// It waits for something else.
    Waiting,
    /// The spec says so.
    Asked,
    /// The spec does not say so.
    NotAsked,
}

impl Reason {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AsWanted => "AsWanted",
            Self::RollingOut => "RollingOut",
            Self::PodsUnavailable => "PodsUnavailable",
            Self::NoPodsWanted => "NoPodsWanted",
            Self::SecretMissing => "SecretMissing",
            Self::SecretInvalid => "SecretInvalid",
            Self::StoragePending => "StoragePending",
            Self::StorageMissing => "StorageMissing",
            Self::StorageLost => "StorageLost",
            Self::NameTaken => "NameTaken",
            Self::VersionUnknown => "VersionUnknown",
            Self::Refused => "Refused",
            Self::KindMissing => "KindMissing",
            Self::ApiUnavailable => "ApiUnavailable",
            Self::Waiting => "Waiting",
            Self::Asked => "Asked",
            Self::NotAsked => "NotAsked",
        }
    }
}
