//! Pods that follow the load, by the cluster's own autoscaler and metrics-server, and who has the say on how many there are.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;
use transcription_lab::kubernetes::Node;
use transcription_tests::files::data;
use transcription_tests::process::eventually;
use transcription_tests::traffic::{Ask, Outcome, Traffic};

use crate::crowd::{self, Key, STACK};
use crate::images;
use crate::stack::Namespace;

const KEY: Key = Key {
    id: "stack",
    secret: "a-secret-of-the-stack",
};
const GEMINI_KEY: &str = "a-key-for-the-stand-in";
/// The Deployment, and the autoscaler of the same name.
const NAME: &str = "demo-transcription";
/// How many people send recordings without a pause.
const PEOPLE: usize = 8;
/// The autoscaler looks every 15 seconds, metrics-server every 10, and a pod's use is known from its second sample on.
const LIMIT: Duration = Duration::from_mins(4);

#[tokio::test]
async fn pods_follow_the_load_and_their_number_is_handed_over() {
    let node = Node::start().await;
    images::bring(&node).await;
    let _metrics = node.start_metrics_server().await;
    let space = Namespace::make(&node, "load").await;
    let addresses = crowd::gather(&space, KEY, GEMINI_KEY, json!({"replicas": 2})).await;

    hand_over_to_the_autoscaler(&space).await;
    let recording = fs::read(data("formats/second.mp3")).unwrap();
    let mut traffic = Traffic::start(addresses, PEOPLE, &[recording], Duration::ZERO).await;
    scale_out(&space).await;
    take_back(&space, &traffic).await;
    traffic.stop().await;
}

/// The number of pods stays as it is until the autoscaler wants another one.
async fn hand_over_to_the_autoscaler(space: &Namespace<'_>) {
    let autoscaling =
        json!({"minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 30});
    let change = json!({"spec": {"transcription": {"replicas": null, "autoscaling": autoscaling}}});
    let began = Instant::now();
    space.patch(STACK, &change).await;
    // It has seen the pods, and without load it wants fewer: not before five quiet minutes.
    loop {
        assert_eq!(
            replicas(space).await,
            2,
            "the number was not left as it was"
        );
        if let Some(utilization) = utilization(space).await {
            println!(
                "the autoscaler sees {utilization} % without load after {:.1} s",
                began.elapsed().as_secs_f64()
            );
            break;
        }
        assert!(began.elapsed() < LIMIT, "{}", described(space).await);
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(replicas(space).await, 2);
    space.ready(STACK).await;
}

async fn scale_out(space: &Namespace<'_>) {
    let began = Instant::now();
    while replicas(space).await < 3 {
        assert!(began.elapsed() < LIMIT, "{}", described(space).await);
        sleep(Duration::from_millis(500)).await;
    }
    println!(
        "from 2 to 3 pods after {:.1} s of load",
        began.elapsed().as_secs_f64()
    );
    let deployment = format!("deployment/{NAME}");
    let available = "--for=jsonpath={.status.availableReplicas}=3";
    let wait = ["wait", available, "--timeout=60s", &deployment];
    space.kubectl(&wait, "").await;
    println!("{}", space.kubectl(&["top", "pods"], "").await);
    println!("{}", described(space).await);
}

/// The number is the stack's again, at once, and no request is lost though two pods go while people ask.
async fn take_back(space: &Namespace<'_>, traffic: &Traffic) {
    let since = traffic.now();
    let change = json!({"spec": {"transcription": {"replicas": 1, "autoscaling": null}}});
    space.patch(STACK, &change).await;
    space.ready(STACK).await;
    assert_eq!(replicas(space).await, 1);
    eventually("the autoscaler is gone", async || {
        autoscalers(space).await.is_empty()
    })
    .await;
    let component =
        format!("app.kubernetes.io/instance={STACK},app.kubernetes.io/component=transcription");
    eventually("two pods are gone", async || {
        let get = ["get", "pods", "-l", &component, "-o", "name"];
        space.kubectl(&get, "").await.lines().count() == 1
    })
    .await;

    let report = traffic.report(since);
    println!("What clients saw while two of three pods went:\n{report}");
    assert!(report.count(&[Ask::Transcribe]) >= PEOPLE);
    assert_eq!(report.failures(&Ask::TRANSCRIPTION), [] as [&Outcome; 0]);
}

async fn replicas(space: &Namespace<'_>) -> i64 {
    let get = ["get", "deployment", NAME, "-o", "json"];
    let deployment = serde_json::from_str::<Value>(&space.kubectl(&get, "").await).unwrap();
    deployment["spec"]["replicas"].as_i64().unwrap()
}

/// How much of what they request the pods use, in percent, as the autoscaler knows it.
async fn utilization(space: &Namespace<'_>) -> Option<i64> {
    let all = autoscalers(space).await;
    let metric = &all.first()?["status"]["currentMetrics"][0];
    metric["resource"]["current"]["averageUtilization"].as_i64()
}

async fn autoscalers(space: &Namespace<'_>) -> Vec<Value> {
    let get = ["get", "hpa", "-o", "json"];
    let list = serde_json::from_str::<Value>(&space.kubectl(&get, "").await).unwrap();
    list["items"].as_array().unwrap().clone()
}

async fn described(space: &Namespace<'_>) -> String {
    space.kubectl(&["describe", "hpa", NAME], "").await
}
