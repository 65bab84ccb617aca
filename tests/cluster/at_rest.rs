//! A settled stack costs nothing, and what it runs is its own to change: not the operator's that comes next.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use transcription_tests::cluster::{Operator, Start, whisper_stack, with};
use transcription_tests::process::eventually;

/// How long nothing may happen.
const REST: Duration = Duration::from_mins(3);
/// How long a new operator has for what it might do.
const START: Duration = Duration::from_secs(15);
/// How many rest.
const STACKS: usize = 20;

#[tokio::test]
async fn settled_stacks_cost_no_write_nor_does_an_operator_that_is_restarted_or_newer() {
    let operator = Operator::start("settled").await;
    operator.s3_secret().await;
    let names = (0..STACKS).map(|number| format!("demo{number}"));
    let names = names.collect::<Vec<_>>();
    for name in &names {
        operator.volume_for(&format!("{name}-auth-data")).await;
    }
    let stacks = names.iter().map(|name| whisper_stack(name));
    let stacks = stacks.collect::<Vec<_>>();
    operator
        .put(&json!({"apiVersion": "v1", "kind": "List", "items": stacks}))
        .await;
    for name in &names {
        operator.settle(name).await;
    }
    let began = written_no_more(&operator).await;
    let pods = pods(&operator).await;
    assert_eq!(pods.len(), 2 * STACKS);

    sleep(REST).await;

    assert_eq!(operator.writes_since(began), Vec::<String>::new());
    let operator = operator.restart().await;
    sleep(START).await;
    assert_eq!(operator.writes_since(began), Vec::<String>::new());
    let newer = Start {
        program: "newer-operator",
        ..Start::default()
    };
    let operator = operator.restart_as(newer).await;
    sleep(START).await;
    assert_eq!(operator.writes_since(began), Vec::<String>::new());
    assert_eq!(self::pods(&operator).await, pods);

    // It is there all the same.
    let two = json!({"spec": {"transcription": {"replicas": 2}}});
    operator.put(&with(whisper_stack("demo7"), two)).await;
    let stack = operator.settle("demo7").await;
    assert_eq!(stack["status"]["transcription"]["replicas"], 2);
    assert_eq!(stack["status"]["version"], "0.1.0");
    assert_eq!(stack["status"]["availableVersion"], "0.2.0");
    let stayed = self::pods(&operator).await;
    assert!(pods.iter().all(|pod| stayed.contains(pod)));
}

#[tokio::test]
async fn another_release_is_run_when_the_spec_says_so_and_not_before() {
    let operator = Operator::start("release").await;
    operator.s3_secret().await;
    operator.volume_for("demo-auth-data").await;
    operator.put(&whisper_stack("demo")).await;
    operator.settle("demo").await;
    let newer = Start {
        program: "newer-operator",
        ..Start::default()
    };
    let operator = operator.restart_as(newer).await;
    assert_eq!(images(&operator).await, ["0.1.0", "0.1.0-whisper"]);

    let asked = json!({"spec": {"version": "0.2.0"}});
    operator.put(&with(whisper_stack("demo"), asked)).await;

    operator
        .condition("demo", "Reconciling", "True", "Unschedulable")
        .await;
    eventually("the pods roll", async || {
        images(&operator).await == ["0.2.0", "0.2.0-whisper"]
    })
    .await;
    let stack = operator.settle("demo").await;
    assert_eq!(stack["status"]["version"], "0.2.0");
    assert_eq!(stack["status"].get("availableVersion"), None);

    // The operator before does not know that release: it says so, and leaves alone what runs.
    let operator = operator.restart().await;
    let look = ["annotate", "tstack", "demo", "look=again"];
    operator.in_namespace(&look, "").await;
    operator
        .condition("demo", "Stalled", "True", "VersionUnknown")
        .await;
    assert_eq!(images(&operator).await, ["0.2.0", "0.2.0-whisper"]);
    // A stack that is new with the newer one is of the newer release.
    let operator = operator.restart_as(newer).await;
    operator.put(&whisper_stack("other")).await;
    operator
        .until("tstack", "other", "is of the newest", |stack| {
            stack["status"]["version"] == "0.2.0"
        })
        .await;
}

/// Waits until the operator has written nothing for five seconds, and gives the place in the log.
async fn written_no_more(operator: &Operator) -> u64 {
    loop {
        let place = operator.audit_place();
        sleep(Duration::from_secs(5)).await;
        if operator.writes_since(place).is_empty() {
            return place;
        }
    }
}

async fn pods(operator: &Operator) -> Vec<Value> {
    let arguments = ["get", "pods", "-o", "json"];
    let listed = operator.in_namespace(&arguments, "").await;
    let listed = serde_json::from_str::<Value>(&listed).unwrap();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|pod| pod["metadata"]["uid"].clone()).collect()
}

/// The tags of the images of the auth service and the transcription service of the stack `demo`.
async fn images(operator: &Operator) -> Vec<String> {
    let mut tags = Vec::new();
    for (kind, name) in [
        ("statefulset", "demo-auth"),
        ("deployment", "demo-transcription"),
    ] {
        let object = operator.get(kind, name).await.unwrap();
        let image = object["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        let image = image.as_str().unwrap();
        tags.push(image.rsplit(':').next().unwrap().to_owned());
    }
    tags
}
