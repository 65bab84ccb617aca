//! Everything that installs the operator, as plain YAML: the definition, the least rights, the operator itself.

use serde_json::{Value, json};

use crate::api::schema;
use crate::config::{ManifestSettings, Namespaces};
use crate::names;
use crate::release::Release;
use crate::yaml;

const NAME: &str = "transcription-operator";

/// All of it, in an order in which it can be applied at once.
pub fn yaml(settings: &ManifestSettings) -> anyhow::Result<String> {
    let documents = yaml::documents(&objects(settings)?)?;
    Ok(format!(
        "# Installs the operator: kubectl apply --server-side -f this file. Made by `transcription-operator manifests`: not edited by hand.\n{documents}"
    ))
}

/// All objects.
pub fn objects(settings: &ManifestSettings) -> anyhow::Result<Vec<Value>> {
    let ManifestSettings {
        namespace,
        watch_namespaces,
        image_prefix,
    } = settings;
    let mut objects = vec![
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }),
        serde_json::to_value(schema::definition()?)?,
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(namespace),
            "automountServiceAccountToken": false,
        }),
    ];
    objects.extend(rights(namespace, watch_namespaces));
    objects.extend(lease_rights(namespace));
    objects.push(service(namespace));
    objects.push(network_policy(namespace));
    objects.push(deployment(namespace, watch_namespaces, image_prefix));
    Ok(objects)
}

fn labels() -> Value {
    json!({
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/instance": NAME,
        "app.kubernetes.io/component": "operator",
        "app.kubernetes.io/part-of": "transcription-stack",
    })
}

fn metadata(namespace: &str) -> Value {
    json!({"name": NAME, "namespace": namespace, "labels": labels()})
}

/// The rights: in all namespaces, or only in those that are listed.
fn rights(namespace: &str, watched: &Namespaces) -> Vec<Value> {
    let subjects = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]);
    let pair = |role: &str, binding: &str, metadata: &Value| {
        vec![
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": role,
                "metadata": metadata,
                "rules": rules(),
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": binding,
                "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": NAME},
                "subjects": subjects,
            }),
        ]
    };
    if watched.0.is_empty() {
        return pair(
            "ClusterRole",
            "ClusterRoleBinding",
            &json!({"name": NAME, "labels": labels()}),
        );
    }
    let namespaces = watched.0.iter();
    namespaces
        .flat_map(|namespace| pair("Role", "RoleBinding", &metadata(namespace)))
        .collect()
}

/// The right to hold the Lease, in the operator's own namespace.
fn lease_rights(namespace: &str) -> Vec<Value> {
    let mut metadata = metadata(namespace);
    let name = format!("{NAME}-lease");
    metadata["name"] = name.as_str().into();
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [
                // The name of what is made cannot be limited.
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": [NAME], "verbs": ["get", "update"]},
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }),
    ]
}

/// What the operator may do, and no more. A test works under these rights alone.
pub fn rules() -> Value {
    // Server-side apply is a patch, and asks for `create` too where the object is not there yet.
    let keeps = ["get", "list", "watch", "create", "patch"];
    let prunes = ["get", "list", "watch", "create", "patch", "delete"];
    json!([
        {"apiGroups": ["transcription.dev"], "resources": ["transcriptionstacks"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["transcription.dev"], "resources": ["transcriptionstacks/status"], "verbs": ["patch"]},
        // Asked for by clusters that check who may block the deletion of an owner (OwnerReferencesPermissionEnforcement).
        {"apiGroups": ["transcription.dev"], "resources": ["transcriptionstacks/finalizers"], "verbs": ["update"]},
        // The names of the Secrets are not known before. Watches hold their metadata only; a content is read when a stack names it.
        {"apiGroups": [""], "resources": ["secrets", "persistentvolumeclaims"], "verbs": keeps},
        {"apiGroups": [""], "resources": ["configmaps", "services", "serviceaccounts"], "verbs": prunes},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": keeps},
        // Why pods are not available: what they tell, and what was told of those that could not be made.
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": prunes},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "networkpolicies"], "verbs": prunes},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": prunes},
        {"apiGroups": ["monitoring.coreos.com"], "resources": ["servicemonitors"], "verbs": prunes},
    ])
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace),
        "spec": {
            "selector": labels(),
            "ports": [{
                "name": names::MANAGEMENT,
                "port": names::MANAGEMENT_PORT,
                "targetPort": names::MANAGEMENT,
                "protocol": "TCP",
            }],
        },
    })
}

fn network_policy(namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(namespace),
        "spec": {
            "podSelector": {"matchLabels": labels()},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": names::MANAGEMENT, "protocol": "TCP"}]}],
        },
    })
}

fn deployment(namespace: &str, watched: &Namespaces, image_prefix: &str) -> Value {
    let release = Release::NEWEST;
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(namespace),
        "spec": {
            // One works, the other waits for its lease to lapse, with everything seen already.
            "replicas": 2,
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": labels()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "automountServiceAccountToken": true,
                    "enableServiceLinks": false,
                    "terminationGracePeriodSeconds": 15,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": names::USER,
                        "runAsGroup": names::USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "operator",
                        "image": format!("{image_prefix}/{NAME}:{release}"),
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["run"],
                        "env": environment(watched, image_prefix),
                        "ports": [{
                            "name": names::MANAGEMENT,
                            "containerPort": names::MANAGEMENT_PORT,
                            "protocol": "TCP",
                        }],
                        "startupProbe": probe("/healthz", 1, 60),
                        "livenessProbe": probe("/healthz", 10, 3),
                        "readinessProbe": probe("/readyz", 5, 2),
                        "resources": {
                            "requests": {"cpu": "50m", "memory": "64Mi"},
                            "limits": {"cpu": "1", "memory": "256Mi"},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "capabilities": {"drop": ["ALL"]},
                            "readOnlyRootFilesystem": true,
                        },
                    }],
                },
            },
        },
    })
}

fn environment(watched: &Namespaces, image_prefix: &str) -> Value {
    json!([
        {"name": "WATCH_NAMESPACES", "value": watched.0.join(",")},
        {"name": "IMAGE_PREFIX", "value": image_prefix},
        {"name": "MANAGEMENT_ADDR", "value": format!("[::]:{}", names::MANAGEMENT_PORT)},
    ])
}

fn probe(path: &str, period_seconds: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": names::MANAGEMENT},
        "periodSeconds": period_seconds,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    })
}
