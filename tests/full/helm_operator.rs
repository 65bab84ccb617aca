//! The chart of the operator.

use std::fs;
use std::time::Instant;

use transcription_lab::kubernetes::Node;
use transcription_tests::process::eventually;
use transcription_tests::speech::{Clip, librivox, word_errors};

use crate::objects::{are_left, objects, with};
use crate::recorded::PASSWORD;
use crate::release::{FORMER, Helm, commands, notes, of_former_release, readme};
use crate::stack::{Namespace, file};

/// Where the README installs it.
const SYSTEM: &str = "transcription-system";
/// What stays: the definition (`crds.keep`), and that it is served.
const KEPT: [&str; 2] = [
    "customresourcedefinition.apiextensions.k8s.io/transcriptionstacks.transcription.dev",
    "apiservice.apiregistration.k8s.io/v1alpha1.transcription.dev",
];

/// Installed by one version of Helm, it makes a stack, which outlives it. The other begins with the former release, which finds the
/// definition and the stack, and goes on to this one and back.
pub async fn story(node: &Node, first: &Helm, second: &Helm) {
    let space = Namespace::make(node, "team").await;
    node.succeed(&["create", "namespace", SYSTEM], "").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    node.succeed(&["label", "namespace", SYSTEM, label], "")
        .await;
    eventually("the namespace has its service account", async || {
        let account = ["get", "serviceaccount", "default", "--namespace", SYSTEM];
        node.kubectl(&account, "").await.status.success()
    })
    .await;
    let system = objects(node, Some(SYSTEM)).await;
    let cluster = with(objects(node, None).await, &KEPT);
    let [_, _, _, _, install] = readme();

    let began = Instant::now();
    let printed = first.shell(&space, &install).await;
    follow_notes(&space, first, &printed).await;
    stack(&space).await;
    println!(
        "from nothing to Ready with Helm: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    serves(&space, 0).await;
    let pods = pods(&space).await;
    uninstall(&space, first).await;
    are_left(node, Some(SYSTEM), &system).await;
    are_left(node, None, &cluster).await;
    serves(&space, 1).await;
    // Nobody is there to mend it.
    space
        .kubectl(&["delete", "configmap", "demo-auth"], "")
        .await;

    second.shell(&space, &of_former_release(&install)).await;
    runs(node, FORMER).await;
    is_mended(&space).await;
    let upgrade = install.replace("helm install", "helm upgrade");
    second.shell(&space, &upgrade).await;
    runs(node, env!("CARGO_PKG_VERSION")).await;
    space
        .kubectl(&["delete", "configmap", "demo-auth"], "")
        .await;
    is_mended(&space).await;
    let rollback = format!("helm rollback transcription-operator --namespace {SYSTEM} --wait");
    second.shell(&space, &rollback).await;
    runs(node, FORMER).await;
    space
        .kubectl(&["delete", "configmap", "demo-auth"], "")
        .await;
    is_mended(&space).await;
    // None of all that has touched the stack's pods.
    assert_eq!(pods, self::pods(&space).await);

    space.kubectl(&["delete", "tstack", "demo"], "").await;
    space.is_left_by("demo").await;
    uninstall(&space, second).await;
    are_left(node, Some(SYSTEM), &system).await;
    are_left(node, None, &cluster).await;
}

/// The commands that need nothing filled in, and the stack, as far as it can be made without Amazon.
async fn follow_notes(space: &Namespace<'_>, helm: &Helm, printed: &str) {
    let all = notes(printed);
    let rollout = &all[0];
    assert!(rollout.starts_with("kubectl rollout status"), "{all:?}");
    let (_, rest) = printed.split_once("\nkubectl apply -f - <<END\n").unwrap();
    let (stack, _) = rest.split_once("\nEND\n").unwrap();
    let script = format!("{rollout}\nkubectl apply --dry-run=server -f - <<END\n{stack}\nEND\n");
    let said = helm.shell_of_notes(space, &script, "").await;
    assert!(
        said.contains("transcriptionstack.transcription.dev/demo created"),
        "{said}"
    );
}

/// The commands of the README's section on Kubernetes, but for the first, which installs the operator.
async fn stack(space: &Namespace<'_>) {
    let text = fs::read_to_string(file("README.md")).unwrap();
    let (_, section) = text
        .split_once("\n## Kubernetes in four commands\n")
        .unwrap();
    let block = section.split("```sh\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let all = commands(block, "kubectl ");
    assert_eq!(all.len(), 4, "{all:?}");
    println!("{}", space.shell(&all[1..].join("\n")).await);
    let add = "auth-service user add ada ada@example.com";
    space
        .shell(&format!(
            "echo '{PASSWORD}' | kubectl exec -i demo-auth-0 -- {add}"
        ))
        .await;
}

/// Real speech becomes text, and is stored.
async fn serves(space: &Namespace<'_>, clip: usize) {
    let token = space.log_in("demo", "ada", PASSWORD).await;
    let Clip { wav, words, .. } = librivox().remove(clip);
    let answer = space.transcribe("demo", &token, wav).await;
    let text = answer.json["transcription"].as_str().unwrap_or_default();
    assert!(word_errors(text, &words) <= 2, "{answer:?}");
    space.is_stored(&answer.json).await;
}

async fn uninstall(space: &Namespace<'_>, helm: &Helm) {
    let command = format!("helm uninstall transcription-operator --namespace {SYSTEM} --wait");
    helm.shell(space, &command).await;
}

/// The operator's pods are of a release.
async fn runs(node: &Node, version: &str) {
    let path = "-o=jsonpath={.spec.template.spec.containers[0].image}";
    let deployment = [
        "get",
        "deployment",
        "transcription-operator",
        "--namespace",
        SYSTEM,
        path,
    ];
    let image = node.succeed(&deployment, "").await;
    assert_eq!(
        image,
        format!("ghcr.io/transcription-stack/transcription-operator:{version}")
    );
}

/// What was deleted comes back.
async fn is_mended(space: &Namespace<'_>) {
    eventually("the operator has mended the stack", async || {
        let get = ["--namespace", &space.name, "get", "configmap", "demo-auth"];
        space.plane.kubectl(&get, "").await.status.success()
    })
    .await;
    space.ready("demo").await;
}

/// The pods of the stack, by what no other has.
async fn pods(space: &Namespace<'_>) -> String {
    let path = "-o=jsonpath={.items[*].metadata.uid}";
    let selector = "app.kubernetes.io/instance=demo";
    space
        .kubectl(&["get", "pods", "-l", selector, path], "")
        .await
}
