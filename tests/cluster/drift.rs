//! What somebody does to a stack's children by hand: what is changed or deleted of the operator's comes back, and what is added stays.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use transcription_tests::cluster::{Operator, whisper_stack, with};

use self::additions::{add, additions, has};
use self::child::{Child, KINDS, LIMIT, client};
use self::field::{Edit, Field, owned};

mod additions;
mod child;
mod field;

/// What the API server lets nobody change: it is fixed, or nothing else would do. What is not here was edited.
const UNCHANGEABLE: &[&str] = &[
    "Deployment spec.selector",
    "Deployment spec.template.metadata.labels.app.kubernetes.io/component",
    "Deployment spec.template.metadata.labels.app.kubernetes.io/instance",
    "Deployment spec.template.metadata.labels.app.kubernetes.io/name",
    "Deployment spec.template.spec.containers[transcription]",
    "Deployment spec.template.spec.containers[transcription].livenessProbe.successThreshold",
    "Deployment spec.template.spec.containers[transcription].startupProbe.successThreshold",
    "Deployment spec.template.spec.containers[transcription].volumeMounts[/etc/transcription/ca].name",
    "Deployment spec.template.spec.containers[transcription].volumeMounts[/models/volume].name",
    "Deployment spec.template.spec.topologySpreadConstraints[kubernetes.io/hostname,DoNotSchedule].whenUnsatisfiable",
    "Deployment spec.template.spec.topologySpreadConstraints[kubernetes.io/hostname,ScheduleAnyway].whenUnsatisfiable",
    "Deployment spec.template.spec.volumes[ca]",
    "Deployment spec.template.spec.volumes[ca].name",
    "Deployment spec.template.spec.volumes[model]",
    "Deployment spec.template.spec.volumes[model].name",
    "PersistentVolumeClaim spec.accessModes",
    "PersistentVolumeClaim spec.resources.requests.storage",
    "StatefulSet spec.podManagementPolicy",
    "StatefulSet spec.selector",
    "StatefulSet spec.serviceName",
    "StatefulSet spec.template.metadata.labels.app.kubernetes.io/component",
    "StatefulSet spec.template.metadata.labels.app.kubernetes.io/instance",
    "StatefulSet spec.template.metadata.labels.app.kubernetes.io/name",
    "StatefulSet spec.template.spec.containers[auth]",
    "StatefulSet spec.template.spec.containers[auth].livenessProbe.successThreshold",
    "StatefulSet spec.template.spec.containers[auth].startupProbe.successThreshold",
    "StatefulSet spec.template.spec.containers[auth].volumeMounts[/app/data].name",
    "StatefulSet spec.template.spec.topologySpreadConstraints[kubernetes.io/hostname,DoNotSchedule].whenUnsatisfiable",
    "StatefulSet spec.template.spec.topologySpreadConstraints[kubernetes.io/hostname,ScheduleAnyway].whenUnsatisfiable",
    "StatefulSet spec.template.spec.volumes[data]",
    "StatefulSet spec.template.spec.volumes[data].name",
];

/// What came of editing.
#[derive(Default)]
struct Outcome {
    /// How many edits were made.
    edited: usize,
    /// How long the slowest of them took to be undone, and where it was.
    slowest: (Duration, String),
    /// Fields that nobody can change.
    unchangeable: BTreeSet<String>,
    /// Fields that did not come back.
    lost: Vec<String>,
}

#[tokio::test]
async fn every_field_of_the_operators_that_is_edited_by_hand_is_back_within_five_seconds() {
    let operator = start("drift").await;
    let children = settled(&operator).await.concat();
    join_all(children.iter().map(hold_pods)).await;
    let began = Instant::now();

    let outcomes = join_all(children.iter().map(edit_every_field)).await;

    let mut all = Outcome::default();
    for outcome in outcomes {
        all.edited += outcome.edited;
        all.slowest = all.slowest.max(outcome.slowest);
        all.unchangeable.extend(outcome.unchangeable);
        all.lost.extend(outcome.lost);
    }
    let edited = format!("{} edits of {} objects", all.edited, children.len());
    tell(&edited, began.elapsed(), &all.slowest);
    assert!(all.lost.is_empty(), "lost: {:#?}", all.lost);
    let unchangeable = UNCHANGEABLE.iter().map(|place| (*place).to_owned());
    let unchangeable = unchangeable.collect::<BTreeSet<_>>();
    assert_eq!(all.unchangeable, unchangeable);
}

#[tokio::test]
async fn every_kind_of_child_that_is_deleted_is_back_within_five_seconds() {
    let operator = start("deleted").await;
    let stacks = settled(&operator).await;
    let began = Instant::now();

    let took = join_all(stacks.iter().map(|children| delete_one_by_one(children))).await;

    let took = took.concat();
    let slowest = took.iter().max().unwrap();
    tell(
        &format!("{} deletions", took.len()),
        began.elapsed(),
        slowest,
    );
}

#[tokio::test]
async fn what_others_add_stays_when_a_field_comes_back_and_when_the_spec_changes() {
    const VERSION: &str = "app.kubernetes.io/version";
    // Nothing of the spec stands in them that could be another.
    const LASTING: [&str; 3] = ["PodDisruptionBudget", "Service", "ServiceAccount"];
    let operator = start("additions").await;
    let children = settle(&operator, &placed()).await;
    for child in &children {
        let addition = additions(child.kind);
        let edited = child.edit(|object| add(object, &addition)).await;
        let edited = edited.unwrap_or_else(|| panic!("nothing can be added to {child}"));
        assert!(has(&edited, &addition), "{child}: {edited:#}");
    }

    for child in &children {
        let version = |object: &Value| object["metadata"]["labels"][VERSION].clone();
        let wanted = version(&child.get().await);
        let edited = child.edit(|object| object["metadata"]["labels"][VERSION] = json!("other"));
        assert!(edited.await.is_some(), "{child}");
        let back = child.comes_back(|object| version(object) == wanted).await;
        assert!(back.is_some(), "the label of {child} does not come back");
    }
    assert_have_their_additions(&children).await;

    let before = join_all(children.iter().map(Child::get)).await;
    let change = json!({"spec": {
        "deletionPolicy": "Retain",
        "auth": {"bcryptCost": 10},
        "transcription": {"engineTimeoutSeconds": 60, "autoscaling": {"maxReplicas": 4}},
        "ingress": {"annotations": {"a/b": "d"}},
        "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    }});
    operator.put(&with(placed(), change)).await;
    let applied = |object: &Value| {
        object["metadata"]["annotations"]["transcription.dev/applied-hash"].clone()
    };
    for (child, before) in children.iter().zip(&before) {
        if LASTING.contains(&child.kind) {
            continue;
        }
        let changed = child.comes_back(|object| applied(object) != applied(before));
        assert!(changed.await.is_some(), "{child} stays as it was");
    }
    assert_have_their_additions(&children).await;
}

async fn assert_have_their_additions(children: &[Child]) {
    for child in children {
        let object = child.get().await;
        assert!(has(&object, &additions(child.kind)), "{child}: {object:#}");
    }
}

/// Edits one field of a child after the other, and waits each time until it is as it was.
async fn edit_every_field(child: &Child) -> Outcome {
    let mut outcome = Outcome::default();
    let was = child.get().await;
    let fields = owned(&was);
    assert!(!fields.is_empty(), "{child}");
    for field in &fields {
        let wanted = field.find(&was);
        let mut is_edited = false;
        for edits in [field.changes(wanted), field.additions(wanted)] {
            let Some(edited) = make_one(child, field, wanted, edits).await else {
                continue;
            };
            is_edited = true;
            outcome.edited += 1;
            let took = child
                .comes_back(|object| field.find(object) == wanted)
                .await;
            match took {
                Some(took) => {
                    let took = (took, format!("{child} {field}"));
                    outcome.slowest = outcome.slowest.max(took);
                }
                None => outcome.lost.push(format!(
                    "{child} {field}: {wanted:?} is wanted, and it was made {:?}",
                    field.find(&edited)
                )),
            }
            // Under another key an edited element is somebody's addition, and stays.
            let now = child.get().await;
            if asked(&now) != asked(&was) {
                let done = child.edit(|object| put_back(object, &was)).await;
                assert!(done.is_some(), "{child} {field} cannot be put back");
            }
        }
        if !is_edited {
            let place = format!("{} {field}", child.kind);
            outcome.unchangeable.insert(place);
        }
    }
    let now = child.get().await;
    assert_eq!(asked(&now), asked(&was), "{child}");
    if outcome.lost.is_empty() {
        let names = |fields: &[Field]| fields.iter().map(Field::to_string).collect::<Vec<_>>();
        assert_eq!(names(&owned(&now)), names(&fields), "{child}");
    }
    outcome
}

/// Makes the first of these edits that the API server takes and that makes the field another: it may put back a default by itself.
async fn make_one(
    child: &Child,
    field: &Field,
    wanted: Option<&Value>,
    edits: Vec<Edit>,
) -> Option<Value> {
    for edit in edits {
        let edited = child.edit(|object| edit.make(object)).await;
        if let Some(edited) = edited.filter(|edited| field.find(edited) != wanted) {
            return Some(edited);
        }
    }
    None
}

/// An object without what the API server and the controllers tell of it.
fn asked(object: &Value) -> Value {
    let told = json!({
        "metadata": {"generation": null, "managedFields": null, "resourceVersion": null},
        "status": null,
    });
    with(object.clone(), told)
}

fn put_back(object: &mut Value, was: &Value) {
    let metadata = &object["metadata"];
    let now = json!({"metadata": {
        "managedFields": metadata["managedFields"],
        "resourceVersion": metadata["resourceVersion"],
    }});
    *object = with(was.clone(), now);
}

/// Keeps the controllers from making other pods at each edit: that is not what is looked at here, and takes time. Whoever does so adds
/// fields beside the operator's, or says what the autoscaler would.
async fn hold_pods(child: &Child) {
    let held = match child.kind {
        "Deployment" => json!({"paused": true, "replicas": 2}),
        "StatefulSet" => json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}),
        _ => return,
    };
    let held = json!({ "spec": held });
    let edited = child.edit(|object| *object = with(object.clone(), held.clone()));
    assert!(edited.await.is_some(), "{child}");
}

/// Deletes one child of a stack after the other, and tells how long each took to be there again with all that is the operator's.
async fn delete_one_by_one(children: &[Child]) -> Vec<(Duration, String)> {
    let mut all = Vec::new();
    for child in children {
        // A claim is kept by its pod, and the users on it do not come back: `hardships` and `lifecycle` tell what becomes of that.
        if child.kind == "PersistentVolumeClaim" {
            continue;
        }
        let was = child.get().await;
        let fields = owned(&was);
        child.delete().await;
        let is_another = |object: &Value| {
            let mut fields = fields.iter();
            object["metadata"]["uid"] != was["metadata"]["uid"]
                && fields.all(|field| field.find(object) == field.find(&was))
        };
        let Some(took) = child.comes_back(is_another).await else {
            let now = child.find().await;
            panic!("{child} is not back within {LIMIT:?}: {now:#?}");
        };
        if child.kind == "Secret" {
            let key = child.get().await["data"].clone();
            assert_ne!(key, was["data"], "a key that is gone cannot come back");
        }
        all.push((took, child.to_string()));
    }
    all
}

#[expect(clippy::print_stdout, reason = "these are measurements")]
fn tell(what: &str, took: Duration, slowest: &(Duration, String)) {
    let (longest, place) = slowest;
    println!("{what} in {took:.1?}; the slowest was undone after {longest:.1?}: {place}");
}

/// An operator, and what the stacks use.
async fn start(prefix: &str) -> Operator {
    let operator = Operator::start(prefix).await;
    operator.s3_secret().await;
    operator.secret("ca", &[("ca.crt", "certificate")]).await;
    let model = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "model"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    operator.volume_for("model").await;
    operator.put(&model).await;
    operator
}

/// The children of two stacks that have every kind of child and every field between them.
async fn settled(operator: &Operator) -> [Vec<Child>; 2] {
    let (placed, filled) = (placed(), filled());
    let stacks = tokio::join!(settle(operator, &placed), settle(operator, &filled));
    let stacks = <[Vec<Child>; 2]>::from(stacks);
    for (_, _, kind) in KINDS {
        let mut all = stacks.iter().flatten();
        assert!(all.any(|child| child.kind == kind), "no stack has a {kind}");
    }
    stacks
}

/// Makes a stack, and gives its children when it is settled.
async fn settle(operator: &Operator, stack: &Value) -> Vec<Child> {
    let name = stack["metadata"]["name"].as_str().unwrap();
    operator.volume_for(&format!("{name}-auth-data")).await;
    operator.put(stack).await;
    operator.settle(name).await;
    let client = client(operator).await;
    Child::all(&client, &operator.namespace, name).await
}

/// A stack that says where its pods may be, and how they are reached.
fn placed() -> Value {
    let labels = json!({"matchLabels": {"app": "x"}});
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": labels});
    let spread = |when: &str| json!({"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": when, "labelSelector": labels});
    let pod = json!({
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}},
        "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "value": "c", "effect": "NoExecute", "tolerationSeconds": 5}],
        "topologySpreadConstraints": [spread("DoNotSchedule"), spread("ScheduleAnyway")],
        "nodeSelector": {"a": "b"},
        "podAnnotations": {"a": "b"},
        "priorityClassName": "system-cluster-critical",
    });
    let spec = json!({"spec": {
        "deletionPolicy": "Delete",
        "auth": with(pod.clone(), json!({"trustedProxies": ["10.0.0.0/8"]})),
        "transcription": with(pod, json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})),
        "ingress": {
            "enabled": true, "className": "nginx", "annotations": {"a/b": "c"}, "tls": {"secretName": "tls"},
            "auth": {"host": "auth.example.com"}, "transcription": {"host": "listen.example.com"},
        },
        "networkPolicy": {"egress": [
            {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}], "to": [{"namespaceSelector": {}}]},
            {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}]},
        ]},
        "observability": {"otlpEndpoint": "http://collector:4318"},
    }});
    with(whisper_stack("placed"), spec)
}

/// A stack that says what is in its pods.
fn filled() -> Value {
    let pod = json!({
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2.0", "memory": "4096Mi"}},
        "extraEnv": [
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}}},
            {"name": "EMPTY", "value": ""},
        ],
    });
    let model = json!({"modelPath": null, "persistentVolumeClaim": {"claimName": "model", "subPath": "base"}});
    let model = json!({"spec": {"transcription": {"engine": {"whisper": model}}}});
    let spec = json!({"spec": {
        "deletionPolicy": "Delete",
        "auth": pod.clone(),
        "transcription": with(pod, json!({"replicas": 2})),
        "s3": {
            "credentialsSecretRef": null, "serviceAccountAnnotations": {"example.com/role": "recorder"},
            "region": "eu-central-1", "caBundleSecretRef": {"name": "ca"},
        },
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
    }});
    with(with(whisper_stack("filled"), model), spec)
}
