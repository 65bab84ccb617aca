//! Why a condition is as it is, and what happened to a stack: closed sets, part of the public surface.

/// A closed set of words, each with its meaning and what is to be done.
macro_rules! words {
    ($(#[$about:meta])* $set:ident { $($word:ident: $meaning:literal, $remedy:literal;)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $set {
            $(#[doc = $meaning] $word,)+
        }

        impl $set {
            /// All of them, in the order they are told.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// What it means, and what to do.
            pub const fn meaning(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$word => ($meaning, $remedy),)+
                }
            }
        }
    };
}

words! {
    /// A condition of a stack. What it means is what it means when it is `True`.
    ConditionType {
        Ready: "All of it: this generation of the spec is rolled out, and every pod that is wanted is available.", "When it is not: its sentence is that of the first part that fails.";
        Reconciling: "Something is being changed, or is waited for.", "Wait, or mend what its sentence names.";
        Stalled: "Nothing will get better without an edit.", "Mend what its sentence names.";
        SecretsReady: "Every key that the spec names is there.", "When it is not: make what its sentence names.";
        StorageReady: "The volume with the users is there, and as large as asked.", "When it is not: see what its sentence names.";
        AuthAvailable: "The pod of the auth service is available.", "When it is not: see what its sentence names.";
        TranscriptionAvailable: "The pods of the transcription service are available.", "When they are not: see what its sentence names.";
        Paused: "The operator only watches.", "Set `spec.paused` to false to have it work again.";
    }
}

words! {
    /// Why a condition is as it is.
    Reason {
        AsWanted: "It is as wanted.", "Nothing is to be done.";
        RollingOut: "A change is rolling out.", "Wait; `kubectl rollout status` follows it.";
        PodsUnavailable: "Pods that are wanted are not available.", "`kubectl describe pods` tells why; the sentence has the selector.";
        ImageUnavailable: "A pod cannot get its image.", "Mend the name of the image or its registry, or name credentials in `spec.imagePullSecrets`.";
        ContainerNotMade: "A pod cannot start its container.", "Mend what the sentence names.";
        ContainerCrashing: "A container ends again and again.", "`kubectl logs --previous` tells why; the sentence has the exit code.";
        ProbeFailing: "A pod runs and says that it is not ready.", "`kubectl logs` tells why.";
        Unschedulable: "There is no node for a pod.", "Ask for less in `resources`, change `nodeSelector`, `affinity` or `tolerations`, or add a node.";
        PodEvicted: "A node has ended a pod.", "`kubectl describe pod` tells why.";
        QuotaExceeded: "A quota of the namespace keeps pods from being made.", "Raise the quota, or ask for less in `resources`.";
        PodsRefused: "Pods are refused by the API server.", "The sentence has its words: a policy, an admission webhook.";
        NoPodsWanted: "No pods are wanted.", "Set `spec.transcription.replicas`, or `kubectl scale`.";
        SecretMissing: "A Secret, a key of it or a ConfigMap that the spec names is not there.", "Make the object, or add the key that the sentence names.";
        SecretInvalid: "A key of a Secret has a value that cannot be used.", "Put another value under that key.";
        StoragePending: "A claim is not bound to a volume yet.", "`kubectl describe pvc` tells what is waited for: a pod, a provisioner, a class.";
        StorageGrowing: "A claim is to be larger, and its volume is not yet.", "Wait; if it lasts, do what the sentence says: some volumes grow only while no pod uses them.";
        StorageNotGrown: "A claim cannot be made as large as asked.", "Let its class allow it (`allowVolumeExpansion: true`), or restore a backup to a larger claim.";
        StorageMissing: "A claim that the spec names is not there.", "Make the claim, or name another one.";
        StorageLost: "The claim with the users was there and is gone.", "Bring the claim back, or say by the annotation in the sentence that it is to be replaced, without users.";
        NameTaken: "An object of another owner has the name of a child.", "Rename or delete the object that the sentence names, or give the stack another name.";
        SpecUnreadable: "This operator cannot read the spec.", "Mend the field that the sentence names, or install the operator of the release that knows it.";
        VersionUnknown: "This operator does not know the release that is asked for.", "Set a release that the operator knows, or install the operator of that release.";
        Refused: "The API server refuses an object.", "The sentence has the words of the API server: a quota, a right, a field.";
        KindMissing: "The cluster has no such kind.", "Install what brings the kind, or do not ask for it.";
        ApiUnavailable: "The API server does not do what it is asked; it is tried again.", "Nothing is to be done, unless it lasts: then look at the API server.";
        Waiting: "It waits for something else.", "See the condition that the sentence names.";
        Paused: "The operator only watches, and not everything is as asked.", "Set `spec.paused` to false to have it made so.";
        Asked: "The spec says so.", "Nothing is to be done.";
        NotAsked: "The spec does not say so.", "Nothing is to be done.";
    }
}

impl Reason {
    /// Whether what a person has to mend is nothing that the operator watches: another's object, a class.
    pub const fn is_mended_elsewhere(self) -> bool {
        matches!(self, Self::NameTaken | Self::StorageNotGrown)
    }

    /// Whether somebody should look: what is as asked, or goes by itself soon, is nobody's trouble.
    pub const fn is_trouble(self) -> bool {
        match self {
            Self::AsWanted
            | Self::RollingOut
            | Self::PodsUnavailable
            | Self::NoPodsWanted
            | Self::StoragePending
            | Self::StorageGrowing
            | Self::Waiting
            | Self::Paused
            | Self::Asked
            | Self::NotAsked => false,
            Self::ImageUnavailable
            | Self::ContainerNotMade
            | Self::ContainerCrashing
            | Self::ProbeFailing
            | Self::Unschedulable
            | Self::PodEvicted
            | Self::QuotaExceeded
            | Self::PodsRefused
            | Self::SecretMissing
            | Self::SecretInvalid
            | Self::StorageNotGrown
            | Self::StorageMissing
            | Self::StorageLost
            | Self::NameTaken
            | Self::SpecUnreadable
            | Self::VersionUnknown
            | Self::Refused
            | Self::KindMissing
            | Self::ApiUnavailable => true,
        }
    }
}

impl Deed {
    /// Whether somebody should look.
    pub const fn is_trouble(self) -> bool {
        match self {
            Self::ResourcesMade
            | Self::ResourcesChanged
            | Self::ResourcesDeleted
            | Self::Scaled
            | Self::SigningKeyMade => false,
            Self::DriftCorrected | Self::SigningKeyRemade | Self::StorageReplaced => true,
        }
    }
}

words! {
    /// What the operator did to a stack, told once by an Event. How the stack is then is told by Events too, with the reason of `Ready`.
    Deed {
        ResourcesMade: "Objects of the stack were not there, and were made.", "Nothing is to be done.";
        ResourcesChanged: "Objects of the stack are to be other than they were, for the spec, a Secret or the release is another.", "Nothing is to be done.";
        DriftCorrected: "Somebody had changed objects of the stack; they are as asked again.", "Change the spec of the stack, and not what is made of it.";
        ResourcesDeleted: "Objects of the stack are no longer asked for, and were deleted.", "Nothing is to be done.";
        Scaled: "The transcription service is to have another number of pods.", "Nothing is to be done.";
        SigningKeyMade: "The key that signs tokens was made.", "Back up the Secret: without it all sessions end.";
        SigningKeyRemade: "The key that signs tokens was gone and another one was made: all sessions have ended.", "Users log in again. Keep a backup of the Secret, or bring your own by `spec.auth.jwt.secretRef`.";
        StorageReplaced: "The claim with the users was gone, and an empty one was made in its place, as asked.", "Restore a backup, and take away the annotation `transcription.dev/replace-storage`.";
    }
}
