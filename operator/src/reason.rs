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

    /// What it means when it is `True`.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ready => {
                "All of it: this generation of the spec is rolled out, and every pod that is wanted is available."
            }
            Self::Reconciling => "Something is being changed, or is waited for.",
            Self::Stalled => "Nothing will get better without an edit.",
            Self::SecretsReady => "Every key that the spec names is there.",
            Self::StorageReady => "The volume with the users is there.",
            Self::AuthAvailable => "The pod of the auth service is available.",
            Self::TranscriptionAvailable => "The pods of the transcription service are available.",
            Self::Paused => "The operator only watches.",
        }
    }

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
    /// This operator cannot read the spec.
    SpecUnreadable,
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
    /// The operator only watches, and not everything is as asked.
    Paused,
    /// The spec says so.
    Asked,
    /// The spec does not say so.
    NotAsked,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::AsWanted,
        Self::RollingOut,
        Self::PodsUnavailable,
        Self::NoPodsWanted,
        Self::SecretMissing,
        Self::SecretInvalid,
        Self::StoragePending,
        Self::StorageMissing,
        Self::StorageLost,
        Self::NameTaken,
        Self::SpecUnreadable,
        Self::VersionUnknown,
        Self::Refused,
        Self::KindMissing,
        Self::ApiUnavailable,
        Self::Waiting,
        Self::Paused,
        Self::Asked,
        Self::NotAsked,
    ];

    /// What it means, and what to do.
    pub const fn meaning(self) -> (&'static str, &'static str) {
        match self {
            Self::AsWanted => ("It is as wanted.", "Nothing is to be done."),
            Self::RollingOut => (
                "A change is rolling out.",
                "Wait; `kubectl rollout status` follows it.",
            ),
            Self::PodsUnavailable => (
                "Pods that are wanted are not available.",
                "`kubectl describe pods` tells why; the sentence has the selector.",
            ),
            Self::NoPodsWanted => (
                "No pods are wanted.",
                "Set `spec.transcription.replicas`, or `kubectl scale`.",
            ),
            Self::SecretMissing => (
                "A Secret, a key of it or a ConfigMap that the spec names is not there.",
                "Make the object, or add the key that the sentence names.",
            ),
            Self::SecretInvalid => (
                "A key of a Secret has a value that cannot be used.",
                "Put another value under that key.",
            ),
            Self::StoragePending => (
                "A claim is not bound to a volume yet.",
                "`kubectl describe pvc` tells what is waited for: a pod, a provisioner, a class.",
            ),
            Self::StorageMissing => (
                "A claim that the spec names is not there.",
                "Make the claim, or name another one.",
            ),
            Self::StorageLost => (
                "The claim with the users was there and is gone.",
                "Bring the claim back, or say by the annotation in the sentence that it is to be replaced, without users.",
            ),
            Self::NameTaken => (
                "An object of another owner has the name of a child.",
                "Rename or delete the object that the sentence names, or give the stack another name.",
            ),
            Self::SpecUnreadable => (
                "This operator cannot read the spec.",
                "Mend the field that the sentence names, or install the operator of the release that knows it.",
            ),
            Self::VersionUnknown => (
                "This operator does not know the release that is asked for.",
                "Set a release that the operator knows, or install the operator of that release.",
            ),
            Self::Refused => (
                "The API server refuses an object.",
                "The sentence has the words of the API server: a quota, a right, a field.",
            ),
            Self::KindMissing => (
                "The cluster has no such kind.",
                "Install what brings the kind, or do not ask for it.",
            ),
            Self::ApiUnavailable => (
                "The API server does not do what it is asked; it is tried again.",
                "Nothing is to be done, unless it lasts: then look at the API server.",
            ),
            Self::Waiting => (
                "It waits for something else.",
                "See the condition that the sentence names.",
            ),
            Self::Paused => (
                "The operator only watches, and not everything is as asked.",
                "Set `spec.paused` to false to have it made so.",
            ),
            Self::Asked => ("The spec says so.", "Nothing is to be done."),
            Self::NotAsked => ("The spec does not say so.", "Nothing is to be done."),
        }
    }

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
            Self::SpecUnreadable => "SpecUnreadable",
            Self::VersionUnknown => "VersionUnknown",
            Self::Refused => "Refused",
            Self::KindMissing => "KindMissing",
            Self::ApiUnavailable => "ApiUnavailable",
            Self::Waiting => "Waiting",
            Self::Paused => "Paused",
            Self::Asked => "Asked",
            Self::NotAsked => "NotAsked",
        }
    }
}
