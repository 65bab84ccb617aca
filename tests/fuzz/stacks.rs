//! Specs of the custom resource: whatever the API server takes, the operator makes something of it or says what is wrong, and none of
//! it shows a secret.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use transcription_operator::api::TranscriptionStack;
use transcription_operator::api::schema;
use transcription_operator::api::stored::StoredStack;
use transcription_tests::arbitrary::{try_for_a_while, within};
use transcription_tests::cluster::{Operator, condition_of, control_plane};
use transcription_tests::process::eventually;
use transcription_tests::rendered::children;

use super::time;

mod specs;

const LIMIT: Duration = Duration::from_secs(20);
/// Stacks that are made for good, to see what the operator says of them.
const MADE: usize = 12;
/// While they are looked at: no stack is worked on more often than it is asked about anew, which takes minutes.
const CALM: Duration = Duration::from_secs(20);

/// What the API server says.
struct Server {
    client: Client,
    namespace: String,
}

impl Server {
    async fn of(operator: &Operator) -> Self {
        let plane = control_plane().await;
        let config = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        Self {
            client: Client::try_from(config.unwrap()).unwrap(),
            namespace: operator.namespace.clone(),
        }
    }

    fn api(&self, object: &Value) -> Api<DynamicObject> {
        let text = |name: &str| object[name].as_str().unwrap();
        let (group, version) = text("apiVersion")
            .split_once('/')
            .unwrap_or(("", text("apiVersion")));
        let kind = GroupVersionKind::gvk(group, version, text("kind"));
        Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::from_gvk(&kind),
        )
    }

    /// Whether it would take a stack.
    async fn takes(&self, stack: &Value) -> bool {
        let object = serde_json::from_value(stack.clone()).unwrap();
        let dry_run = PostParams {
            dry_run: true,
            field_manager: None,
        };
        match self.api(stack).create(&dry_run, &object).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if status.code == 422 || status.code == 400 => false,
            Err(error) => panic!("{error}: {stack}"),
        }
    }

    /// What it says against a child, if it would not take it.
    async fn refusal(&self, child: &Value) -> Option<String> {
        let name = child["metadata"]["name"].as_str().unwrap();
        let mut child = child.clone();
        child["metadata"]["namespace"] = self.namespace.as_str().into();
        let dry_run = PatchParams::apply("fuzz").dry_run();
        match self
            .api(&child)
            .patch(name, &dry_run, &Patch::Apply(&child))
            .await
        {
            Ok(_) => None,
            Err(kube::Error::Api(status)) => Some(status.message.clone()),
            Err(error) => panic!("{error}: {child}"),
        }
    }
}

/// What came of the specs.
#[derive(Default)]
struct Findings {
    accepted: u32,
    /// What the API server said against children, with the first stack of which it said so.
    refusals: BTreeMap<String, Value>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_api_server_takes_is_rendered_or_said_to_be_wrong() {
    let operator = Operator::start("fuzz").await;
    let server = Server::of(&operator).await;
    let definition = serde_json::to_value(schema::definition().unwrap()).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let findings = RefCell::new(Findings::default());

    let specs = specs::of(&schema["properties"]["spec"]);

    let tried = block_in_place(|| {
        try_for_a_while(time() / 2, &specs, |spec| {
            rendered(&stack_of(&spec)).map(drop)
        })
    });
    println!("{tried} specs were rendered, or not");
    let tried = block_in_place(|| {
        try_for_a_while(time() / 2, &specs, |spec| {
            Handle::current().block_on(check(&server, spec, &findings))
        })
    });

    let Findings { accepted, refusals } = findings.into_inner();
    println!(
        "{tried} specs were shown to the API server, {accepted} were taken; of their children the API server said:"
    );
    for said in refusals.keys() {
        println!("  {said}");
    }
    assert!(accepted > 0, "none was taken");
    let stacks = refusals.into_values().take(MADE).collect::<Vec<_>>();
    assert_said(&operator, &stacks).await;
}

fn stack_of(spec: &Value) -> Value {
    json!({
        "apiVersion": "transcription.dev/v1alpha1",
        "kind": "TranscriptionStack",
        // As long as a name can be.
        "metadata": {"name": "a-name-that-is-as-long-as-a-name-can-be0"},
        "spec": spec,
    })
}

async fn check(
    server: &Server,
    spec: Value,
    findings: &RefCell<Findings>,
) -> Result<(), TestCaseError> {
    let stack = stack_of(&spec);
    let rendered = rendered(&stack)?;
    if !server.takes(&stack).await {
        return Ok(());
    }
    findings.borrow_mut().accepted += 1;
    for child in rendered.into_iter().flatten() {
        // This cluster does not know them.
        if child["kind"] == "ServiceMonitor" {
            continue;
        }
        if let Some(said) = server.refusal(&child).await {
            prop_assert!(!said.contains("metadata.name:"), "{said}");
            let said = words(&format!("{}: {said}", child["kind"].as_str().unwrap()));
            let mut findings = findings.borrow_mut();
            findings
                .refusals
                .entry(said)
                .or_insert_with(|| stack.clone());
        }
    }
    Ok(())
}

/// What the operator makes of a stack, unless it says that it can make nothing of it.
fn rendered(stack: &Value) -> Result<Option<Vec<Value>>, TestCaseError> {
    let mut stored = stack.clone();
    stored["metadata"]["namespace"] = "team".into();
    stored["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    let children = within(LIMIT, move || {
        let stored = serde_json::from_value::<StoredStack>(stored).unwrap();
        let stack = TranscriptionStack::from(stored);
        if stack.spec.unreadable.is_some() {
            return None;
        }
        children(&stack).ok()
    })?;
    for child in children.iter().flatten() {
        assert_plain(child)?;
    }
    Ok(children)
}

/// The made key stands in its Secret alone, and names and labels are such.
fn assert_plain(child: &Value) -> Result<(), TestCaseError> {
    let text = child.to_string();
    let is_secret = child["kind"] == "Secret";
    prop_assert_eq!(
        is_secret,
        child.get("data").is_some() && child["kind"] != "ConfigMap"
    );
    let name = child["metadata"]["name"].as_str().unwrap_or_default();
    prop_assert!((1..=63).contains(&name.len()), "{}", text);
    let labels = child["metadata"]["labels"].as_object();
    for (label, value) in labels.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        prop_assert!(value.len() <= 63, "{label}: {value}");
    }
    Ok(())
}

/// The kind of thing that is said, without the names and numbers of the case.
fn words(said: &str) -> String {
    let ends = [
        "Invalid value",
        "Required value",
        "Unsupported value",
        "Not found",
        "Forbidden",
    ];
    let end = ends.iter().filter_map(|end| said.find(end)).min();
    let said = &said[..end.unwrap_or(said.len())];
    let mut words = String::new();
    let mut quoted = false;
    for letter in said.chars() {
        match letter {
            '"' => quoted = !quoted,
            _ if quoted || letter.is_ascii_digit() => {}
            _ => words.push(letter),
        }
    }
    words.chars().take(160).collect()
}

/// The operator says what is wrong with these stacks, and then lets them be.
async fn assert_said(operator: &Operator, stacks: &[Value]) {
    let names = (0..stacks.len()).map(|number| format!("stack{number}"));
    let names = names.collect::<Vec<_>>();
    operator.s3_secret().await;
    for (name, stack) in names.iter().zip(stacks) {
        let mut stack = stack.clone();
        stack["metadata"]["name"] = name.as_str().into();
        // Whoever only watches makes nothing.
        stack["spec"]["paused"] = false.into();
        operator.put(&stack).await;
    }
    let said = RefCell::new(BTreeSet::new());
    for name in &names {
        eventually("it is said", async || {
            let stack = operator.get("transcriptionstack", name).await.unwrap();
            let ready = condition_of(&stack, "Ready");
            let message = ready["message"].as_str().unwrap_or_default();
            said.borrow_mut()
                .insert(format!("{}: {message}", ready["reason"]));
            ready["status"] == "False" && !message.is_empty()
        })
        .await;
    }
    let before = reconciliations(operator).await;
    tokio::time::sleep(CALM).await;
    let worked = reconciliations(operator).await - before;
    println!(
        "{} stacks were made; they are worked on {worked} times in {CALM:?}; it is said:",
        stacks.len()
    );
    for said in said.take() {
        println!("  {said}");
    }
    let bound = 4 * u64::try_from(stacks.len()).unwrap();
    assert!(worked <= bound, "it goes on: {worked} times in {CALM:?}");
    assert!(!operator.process.log().contains("panicked"));
}

async fn reconciliations(operator: &Operator) -> u64 {
    let (_, metrics) = operator.ask("/metrics").await;
    let counts = metrics
        .lines()
        .filter(|line| line.starts_with("operator_reconciliations_total{"));
    counts
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
        .sum()
}
