//! What clients see while pods go and keys change: a stack with two transcription pods, and people who ask it all the time.

use std::fs;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;
use transcription_lab::kubernetes::Node;
use transcription_tests::client::{PASSWORD, http};
use transcription_tests::cluster::condition_of;
use transcription_tests::process::eventually;
use transcription_tests::traffic::{Addresses, Ask, Outcome, Report, Traffic};

use crate::crowd::{self, Key, STACK};
use crate::images;
use crate::stack::{Namespace, file};

const FIRST_KEY: Key = Key {
    id: "first",
    secret: "the-first-secret",
};
const SECOND_KEY: Key = Key {
    id: "second",
    secret: "the-second-secret",
};
const FIRST_GEMINI_KEY: &str = "the-first-key-for-the-stand-in";
const SECOND_GEMINI_KEY: &str = "the-second-key-for-the-stand-in";
/// How many people send recordings.
const PEOPLE: usize = 4;
/// As long as this an answer of the engine takes.
const ENGINE: Duration = Duration::from_millis(1500);
/// The same, longer than a pod that goes takes new requests: what it has then it has to finish.
const SLOW_ENGINE: Duration = Duration::from_secs(8);
/// Between two events, so that each is seen by itself.
const CALM: Duration = Duration::from_secs(2);
/// The auth service has one pod: the new one begins when the old one has ended. That takes 5 seconds, and 15 on a machine with ten times
/// the work that it can do.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// One story, since nobody stops asking between its parts.
#[tokio::test]
async fn clients_go_on_while_pods_go_and_keys_change() {
    let node = Node::start().await;
    images::bring(&node).await;
    let space = Namespace::make(&node, "traffic").await;
    let transcription = json!({"replicas": 2});
    let addresses = crowd::gather(&space, FIRST_KEY, FIRST_GEMINI_KEY, transcription).await;
    crowd::slow_down(&space, ENGINE).await;
    let mut traffic = crowd::come(addresses.clone(), PEOPLE).await;
    sleep(CALM).await;

    delete_the_auth_pod(&space, &traffic).await;
    crowd::slow_down(&space, SLOW_ENGINE).await;
    evict_transcription_pods(&space, &traffic).await;
    crowd::slow_down(&space, ENGINE).await;
    change_credentials(&space, &traffic).await;
    let blocks = documented();
    change_the_signing_key(&space, &traffic, &blocks[1], "is taken too").await;
    change_the_signing_key(&space, &traffic, &blocks[2], "signs").await;
    traffic.stop().await;

    let users = traffic.assert_nobody_is_lost().await;
    let keys = space.keys(crowd::OWNER.id, crowd::OWNER.secret).await;
    let recordings = traffic.assert_no_recording_is_lost(&keys).await;
    println!("{users} users and {recordings} recordings, and none is lost");
    take_the_old_key_away(&space, &addresses, &traffic, &blocks[3]).await;
}

/// The commands of the documentation on keys.
fn documented() -> [String; 4] {
    let text = fs::read_to_string(file("docs/kubernetes.md")).unwrap();
    let (_, section) = text.split_once("\n## Keys\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().unwrap().to_owned());
    let blocks = blocks.collect::<Vec<_>>();
    blocks.try_into().unwrap()
}

async fn delete_the_auth_pod(space: &Namespace<'_>, traffic: &Traffic) {
    let since = traffic.now();
    let pod = format!("{STACK}-auth-0");
    space.kubectl(&["delete", "pod", &pod], "").await;
    settled(space).await;
    sleep(CALM).await;

    let report = told(traffic, since, "the auth pod was deleted");
    assert_eq!(report.failures(&Ask::TRANSCRIPTION), [] as [&Outcome; 0]);
    assert_only_a_gap(&report);
}

/// While the auth service has no pod nobody connects to it; but nobody is told anything wrong.
fn assert_only_a_gap(report: &Report) {
    for failure in report.failures(&Ask::AUTH) {
        let is_gap = matches!(
            failure,
            Outcome::NotConnected(_) | Outcome::Broken(_) | Outcome::Late
        );
        assert!(is_gap, "{failure}");
    }
    for ask in Ask::AUTH {
        let gap = report.longest_gap(&[ask]);
        assert!(gap < LONGEST_GAP, "{ask:?}: {gap:?}");
    }
}

async fn evict_transcription_pods(space: &Namespace<'_>, traffic: &Traffic) {
    eventually("the budget allows an eviction", async || {
        let budget = format!("pdb/{STACK}-transcription");
        let allowed = "-o=jsonpath={.status.disruptionsAllowed}";
        space.kubectl(&["get", &budget, allowed], "").await == "1"
    })
    .await;
    let pods = pods(space, "transcription").await;
    let [first, second] = &pods[..] else {
        panic!("two pods, and not {pods:?}");
    };
    // Those who were answered quickly have sent their next recording.
    sleep(ENGINE + CALM).await;
    let since = traffic.now();
    let in_flight = traffic.uploads_in_flight();
    assert!(in_flight > 0, "nothing is in flight that could be lost");
    evict(space, &first.name).await.unwrap();
    let mut refused = 0;
    while let Err(refusal) = evict(space, &second.name).await {
        refused += 1;
        assert!(refusal.contains("TooManyRequests"), "{refusal}");
        assert!(refusal.contains("disruption budget"), "{refusal}");
        let waited = traffic.now().saturating_sub(since);
        assert!(waited < Duration::from_mins(1), "it is refused for ever");
    }
    let waited = traffic.now().saturating_sub(since);
    assert!(refused > 0, "the second eviction was not refused");
    let now = self::pods(space, "transcription").await;
    let is_new = |pod: &&Pod| pod.name != first.name && pod.name != second.name;
    let ready = now.iter().filter(is_new).filter(|pod| pod.is_ready).count();
    assert_eq!(ready, 1, "evicted while the first was not ready: {now:?}");
    settled(space).await;
    sleep(CALM).await;

    println!(
        "the second eviction was refused {refused} times, for {:.1} s; {in_flight} recordings were in flight",
        waited.as_secs_f64()
    );
    let report = told(traffic, since, "both transcription pods were evicted");
    // Less than what may be lost: a pod that goes finishes what it has, and sends its clients elsewhere before it closes.
    assert_eq!(report.failures(&Ask::TRANSCRIPTION), [] as [&Outcome; 0]);
    assert_eq!(report.failures(&Ask::AUTH), [] as [&Outcome; 0]);
}

/// By the commands of the documentation. Store and stand-in take both keys, and the old ones no longer once no pod has them.
async fn change_credentials(space: &Namespace<'_>, traffic: &Traffic) {
    let Key { id, secret } = SECOND_KEY;
    crowd::allow(space, SECOND_KEY).await;
    crowd::set_gemini_keys(space, &[FIRST_GEMINI_KEY, SECOND_GEMINI_KEY]).await;
    let commands = &documented()[0];
    let since = traffic.now();

    let values = format!("NEW_ID={id} NEW_SECRET={secret} NEW_KEY={SECOND_GEMINI_KEY}");
    println!("{}", space.shell(&format!("{values}\n{commands}")).await);
    settled(space).await;
    crowd::forbid(space, FIRST_KEY).await;
    crowd::set_gemini_keys(space, &[SECOND_GEMINI_KEY]).await;
    sleep(CALM).await;

    let what = "the keys of the store and of Gemini were changed";
    let report = told(traffic, since, what);
    assert_eq!(report.failures(&Ask::TRANSCRIPTION), [] as [&Outcome; 0]);
    assert_eq!(report.failures(&Ask::AUTH), [] as [&Outcome; 0]);
}

/// By the commands of the documentation. Tokens of before, between and after are good all the time.
async fn change_the_signing_key(
    space: &Namespace<'_>,
    traffic: &Traffic,
    commands: &str,
    what: &str,
) {
    let since = traffic.now();

    println!("{}", space.shell(commands).await);
    settled(space).await;
    sleep(CALM).await;

    let report = told(traffic, since, &format!("the new signing key {what}"));
    assert_eq!(report.failures(&Ask::TRANSCRIPTION), [] as [&Outcome; 0]);
    assert_only_a_gap(&report);
}

/// Sooner than documented, so that there are tokens of it: they are refused, and only they.
async fn take_the_old_key_away(
    space: &Namespace<'_>,
    addresses: &Addresses,
    traffic: &Traffic,
    commands: &str,
) {
    let old = traffic.oldest_token();
    let new = space.log_in(STACK, "speaker0", PASSWORD).await;
    println!("{}", space.shell(commands).await);
    settled(space).await;

    let me = format!("{}/me", addresses.auth);
    let looked = format!("{}/transcriptions/0", addresses.transcription);
    for (url, token, status) in [
        (&me, &new, StatusCode::OK),
        (&looked, &new, StatusCode::NOT_FOUND),
        (&me, &old, StatusCode::UNAUTHORIZED),
        (&looked, &old, StatusCode::UNAUTHORIZED),
    ] {
        let answer = http().get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}");
    }
}

/// Prints what clients saw since a time. Fails the test if they did not ask.
fn told(traffic: &Traffic, since: Duration, what: &str) -> Report {
    let report = traffic.report(since);
    println!("What clients saw while {what}:\n{report}\n");
    for ask in [Ask::Me, Ask::Look, Ask::Transcribe] {
        assert!(report.count(&[ask]) >= PEOPLE, "nobody asked: {ask:?}");
    }
    report
}

#[derive(Debug)]
struct Pod {
    name: String,
    is_ready: bool,
    is_leaving: bool,
}

/// The pods of a component, those that are leaving too.
async fn pods(space: &Namespace<'_>, component: &str) -> Vec<Pod> {
    let selector =
        format!("app.kubernetes.io/instance={STACK},app.kubernetes.io/component={component}");
    let get = ["get", "pods", "-l", &selector, "-o", "json"];
    let list = serde_json::from_str::<Value>(&space.kubectl(&get, "").await).unwrap();
    let pods = list["items"].as_array().unwrap().iter();
    let pods = pods.map(|pod| Pod {
        name: pod["metadata"]["name"].as_str().unwrap().to_owned(),
        is_ready: condition_of(pod, "Ready")["status"] == "True",
        is_leaving: pod["metadata"]["deletionTimestamp"].is_string(),
    });
    pods.collect()
}

/// Waits until there are the pods that are wanted, all ready, and no others.
async fn settled(space: &Namespace<'_>) {
    eventually("all pods are ready, and the old ones gone", async || {
        let auth = pods(space, "auth").await;
        let transcription = pods(space, "transcription").await;
        let mut all = auth.iter().chain(&transcription);
        let is_settled = |pod: &Pod| pod.is_ready && !pod.is_leaving;
        (auth.len(), transcription.len()) == (1, 2) && all.all(is_settled)
    })
    .await;
}

/// Evicts a pod, as `kubectl drain` does; or gives the refusal.
async fn evict(space: &Namespace<'_>, pod: &str) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", space.name);
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": space.name},
    });
    let create = ["create", "--raw", &path, "-f", "-"];
    let output = space.plane.kubectl(&create, &eviction.to_string()).await;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8(output.stderr).unwrap())
}
