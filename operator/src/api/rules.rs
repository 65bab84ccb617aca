//! The rules that need to see more than one field, or what was there before. The API server holds them (CEL, Kubernetes 1.30 and
//! newer), so that no webhook can be down. Each message says what to do.
//!
//! Rules on storage stand at the spec, not at the field: a rule with `oldSelf` is not asked when its own field is removed.

use kube::core::Rule;

/// A name of a host whose last label does not begin with a digit: one that ends in a number is an IP address
/// (<https://url.spec.whatwg.org/#host-parsing>).
const NAME: &str = "([a-z0-9_]([-a-z0-9_]*[a-z0-9_])?[.])*[a-z]([-a-z0-9_]*[a-z0-9_])?";
const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const IPV6: &str = r"\\[(([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|([0-9a-f]{1,4}(:[0-9a-f]{1,4}){0,6})?::([0-9a-f]{1,4}(:[0-9a-f]{1,4}){0,6})?)\\]";
const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// What is claimed when nothing is said.
pub const DEFAULT_SIZE: &str = "1Gi";

/// Names that leave room for what is derived from them, and are DNS labels (RFC 1035) for the Services.
pub fn name() -> Rule {
    Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "metadata.name: use at most 40 characters, only a to z, 0 to 9 and -, beginning with a letter and not ending with -: the names of Services are made of it",
    )
}

/// A volume cannot be made smaller.
pub fn storage_grows() -> Rule {
    let default = format!("'{DEFAULT_SIZE}'");
    let (before, now) = (
        storage_of("oldSelf", "size", &default),
        storage_of("self", "size", &default),
    );
    Rule::new(format!("quantity({now}).compareTo(quantity({before})) >= 0"))
    .message("spec.auth.storage.size can only grow (1Gi when absent): a volume cannot be made smaller. Set the size that it had. If it was typed too large: back up with auth-service backup, delete the stack and its PersistentVolumeClaim, make the stack again with the right size, and restore")
}

/// The class of a claim is immutable.
pub fn storage_class_stays() -> Rule {
    let (was_there, is_there) = (
        has_storage("oldSelf", "storageClassName"),
        has_storage("self", "storageClassName"),
    );
    // An empty name is a class too: none.
    let (before, now) = (
        storage_of("oldSelf", "storageClassName", "''"),
        storage_of("self", "storageClassName", "''"),
    );
    Rule::new(format!("{was_there} == {is_there} && {before} == {now}")).message(
        "spec.auth.storage.storageClassName cannot be changed, added or removed: a claim keeps its class. Set what it was. To move to another class: back up with auth-service backup, delete the stack and its PersistentVolumeClaim, make the stack again, and restore",
    )
}

/// The access modes of a claim are immutable.
pub fn access_modes_stay() -> Rule {
    let default = "['ReadWriteOnce']";
    let (before, now) = (
        storage_of("oldSelf", "accessModes", default),
        storage_of("self", "accessModes", default),
    );
    Rule::new(format!("{before} == {now}")).message(
        "spec.auth.storage.accessModes cannot be changed: a claim keeps its access modes ([ReadWriteOnce] when absent). Set what they were. To change them: back up with auth-service backup, delete the stack and its PersistentVolumeClaim, make the stack again, and restore",
    )
}

/// A claim that the operator made does not become somebody else's.
pub fn claim_stays_ours() -> Rule {
    let (was_there, is_there) = (
        has_storage("oldSelf", "existingClaim"),
        has_storage("self", "existingClaim"),
    );
    Rule::new(format!("{was_there} || !{is_there}")).message(
        "spec.auth.storage.existingClaim cannot be added to a stack whose claim the operator made: the users would be left behind. Remove it; to move them, back up with auth-service backup, make another stack on that claim, and restore there",
    )
}

/// A claim that was given does not become the operator's.
pub fn claim_stays_theirs() -> Rule {
    let (was_there, is_there) = (
        has_storage("oldSelf", "existingClaim"),
        has_storage("self", "existingClaim"),
    );
    Rule::new(format!("!{was_there} || {is_there}")).message(
        "spec.auth.storage.existingClaim cannot be removed: the users are on that claim. Set it again; to move them, back up with auth-service backup, make another stack, and restore there",
    )
}

/// A given claim has its own size, class and modes.
pub fn existing_claim_stands_alone() -> Rule {
    Rule::new("!has(self.existingClaim) || !(has(self.size) || has(self.storageClassName) || has(self.accessModes))").message(
        "spec.auth.storage: existingClaim stands alone: remove size, storageClassName and accessModes, which that claim has already, or remove existingClaim",
    )
}

/// Whether a field of the storage is there. Not by CEL's optionals (`self.?auth`): the API server takes what they give for as large as
/// can be, and refuses the rule as too costly.
fn has_storage(of: &str, field: &str) -> String {
    format!("(has({of}.auth) && has({of}.auth.storage) && has({of}.auth.storage.{field}))")
}

/// A field of the storage, or what stands for it.
fn storage_of(of: &str, field: &str, default: &str) -> String {
    let is_there = has_storage(of, field);
    format!("({is_there} ? {of}.auth.storage.{field} : {default})")
}

/// A host of an Ingress; empty if there is none.
fn host_of(component: &str) -> String {
    format!("(has(self.{component}) && has(self.{component}.host) ? self.{component}.host : '')")
}

/// There is one engine.
pub fn exactly_one_engine() -> Rule {
    Rule::new("has(self.gemini) != has(self.whisper)")
        .message("spec.transcription.engine: give exactly one engine, gemini or whisper")
}

/// The model is in one place.
pub fn exactly_one_whisper_source() -> Rule {
    Rule::new("has(self.modelPath) != has(self.persistentVolumeClaim)").message(
        "spec.transcription.engine.whisper: give exactly one source of the model: modelPath, a folder of the image (for example /models/base), or persistentVolumeClaim",
    )
}

/// Either a number of replicas is given, or who finds it.
pub fn replicas_or_autoscaling() -> Rule {
    Rule::new("!(has(self.replicas) && has(self.autoscaling))").message(
        "spec.transcription: give replicas or autoscaling, not both: the autoscaler sets the number of replicas",
    )
}

/// The bounds are in order.
pub fn minimum_below_maximum() -> Rule {
    Rule::new("self.minReplicas <= self.maxReplicas").message(
        "spec.transcription.autoscaling: minReplicas must not be larger than maxReplicas: lower the one or raise the other",
    )
}

/// There is one way to credentials.
pub fn one_way_to_credentials() -> Rule {
    Rule::new("!(has(self.credentialsSecretRef) && has(self.serviceAccountAnnotations))").message(
        "spec.s3: give credentialsSecretRef or serviceAccountAnnotations (workload identity), not both; without either the AWS SDK looks where it usually does",
    )
}

/// An Ingress needs a host.
pub fn ingress_has_a_host() -> Rule {
    let (auth, transcription) = (host_of("auth"), host_of("transcription"));
    Rule::new(format!(
        "!self.enabled || {auth} != '' || {transcription} != ''"
    ))
    .message("spec.ingress: enabled needs a host: set auth.host, transcription.host or both")
}

/// Two services cannot share a host without rewriting paths.
pub fn ingress_hosts_differ() -> Rule {
    let (auth, transcription) = (host_of("auth"), host_of("transcription"));
    Rule::new(format!("{auth} == '' || {auth} != {transcription}")).message(
        "spec.ingress: auth.host and transcription.host must differ: both services answer at /",
    )
}

/// Networks are written as CIDRs.
pub fn are_networks() -> Rule {
    Rule::new("self.all(network, isCIDR(network))")
        .message("spec.auth.trustedProxies: write networks as CIDRs, for example 10.0.0.0/8")
}

/// An address that the services can ask: they take what the URL Standard takes.
///
/// By CEL and not by a pattern of the field, for the sake of the message; and not by CEL's `url()`, for the API server takes what that
/// gives for as long as can be, and refuses the rule as too costly.
pub fn is_address() -> Rule {
    let origin = origin().replace("a-z", "a-zA-Z").replace("a-f", "a-fA-F");
    Rule::new(format!("self == '' || self.matches('^{origin}(/[!-~]*)?$')")).message(
        "write an address with http or https, a host, and a port from 1 to 65535 if there is one, for example http://minio:9000",
    )
}

/// Origins as browsers send them (RFC 6454 §6.2): the services compare them letter by letter.
pub fn are_origins() -> Rule {
    let is_origin = format!("origin.matches('^{}$')", origin());
    let has_its_own_port =
        "(origin.startsWith('http://') ? origin.endsWith(':80') : origin.endsWith(':443'))";
    Rule::new(format!(
        "self.all(origin, origin == '*' ? self.size() == 1 : {is_origin} && !{has_its_own_port})"
    ))
    .message("spec.corsAllowedOrigins: write origins as browsers send them: scheme, host and port, in lower case, without a path and without the scheme's own port, for example https://app.example.com; or * alone")
}

fn origin() -> String {
    format!("https?://({NAME}|({BYTE}[.]){{3}}{BYTE}|{IPV6})(:{PORT})?")
}

/// What the operator sets by itself has a field of its own.
pub fn extra_environment_is_extra() -> Rule {
    let names = crate::environment::OURS
        .map(|name| format!("'{name}'"))
        .join(", ");
    Rule::new(format!("!(self.name in [{names}])")).message(
        "extraEnv: this variable is set by the operator, from a field of the spec: set that field, and remove the variable",
    )
}
