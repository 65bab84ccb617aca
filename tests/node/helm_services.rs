//! The charts of the two services, without the operator.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;
use transcription_lab::kubernetes::Node;
use transcription_tests::speech::{Clip, librivox, word_errors};

use crate::objects::{are_left, objects, with};
use crate::recorded::{PASSWORD, Recorded};
use crate::release::{FORMER, Helm, commands, notes, of_former_release, readme, script};
use crate::stack::Namespace;
use crate::witness::{Report, Witness};

/// Two pods are on the node while one takes the place of the other.
const FOR_A_SMALL_NODE: &str = "--set resources.requests.cpu=250m";
/// What is promised of a roll: SQLite has one writer, so there is a moment without one.
const LONGEST_GAP_SECONDS: f64 = 10.0;
/// How long a pod may take to end.
const END_LIMIT: Duration = Duration::from_mins(5);

/// By the README's commands with one version of Helm; then again with the other, which finds the users there, begins with the former
/// release, and does what the notes say.
pub async fn story(node: &Node, first: &Helm, second: &Helm) {
    let space = Namespace::make(node, "charts").await;
    let [install, prove, change, end, _] = readme();
    space
        .shell(&commands(&install, "kubectl ").join("\n"))
        .await;
    space
        .kubectl(
            &[
                "wait",
                "--for=condition=Complete",
                "--timeout=120s",
                "job/make-bucket",
            ],
            "",
        )
        .await;
    let before = objects(node, Some(&space.name)).await;
    println!("before: {before:?}");
    let kept = with(before, &["persistentvolumeclaim/auth-data", "secret/smoke"]);

    for command in commands(&install, "helm ") {
        first.shell(&space, &command).await;
    }
    let printed = first.shell(&space, &prove).await;
    assert_eq!(phases(&printed), 2, "{printed}");
    let earlier = Recorded::by(&space, "grace").await;
    first.shell(&space, &end).await;
    are_left(node, Some(&space.name), &kept).await;
    println!("kept: {kept:?}");

    former_release(&space, second, &install).await;
    earlier.is_there(&space).await;
    let later = Recorded::by(&space, "ada").await;
    changes(&space, second, &change, &[&earlier, &later]).await;
    second.shell(&space, &end).await;
    are_left(node, Some(&space.name), &kept).await;
}

/// How many tests of `helm test` succeeded.
fn phases(printed: &str) -> usize {
    let is_success = |line: &&str| line.starts_with("Phase:") && line.ends_with("Succeeded");
    printed.lines().filter(is_success).count()
}

/// Installs the packed charts of the former release, and does what their notes say.
async fn former_release(space: &Namespace<'_>, helm: &Helm, install: &str) {
    let smoke = "--set smokeTest.existingSecret=smoke";
    let [auth, transcription] = commands(install, "helm ").try_into().unwrap();
    let printed = helm
        .shell(space, &format!("{} {smoke}", of_former_release(&auth)))
        .await;
    let token = auth_notes(space, helm, &printed).await;
    let printed = helm
        .shell(
            space,
            &format!(
                "{} {smoke} --set smokeTest.authURL=http://auth:8001 {FOR_A_SMALL_NODE}",
                of_former_release(&transcription)
            ),
        )
        .await;
    transcription_notes(space, helm, &printed, &token).await;
    assert_eq!(images(space).await, tags(FORMER));
}

/// What the notes of the auth service say; a token.
async fn auth_notes(space: &Namespace<'_>, helm: &Helm, printed: &str) -> String {
    let mut all = notes(printed);
    println!("{all:#?}");
    // The next chart, with more … than can be filled in here.
    let next = all
        .iter()
        .position(|command| command.starts_with("helm install"));
    let next = all.remove(next.unwrap());
    assert!(
        next.contains("jwt.existingSecret=transcription-jwt"),
        "{next}"
    );
    let beginnings = all
        .iter()
        .map(|command| command.split(' ').take(2).collect::<Vec<_>>().join(" "));
    assert_eq!(
        beginnings.collect::<Vec<_>>(),
        [
            "kubectl rollout",
            "kubectl exec",
            "kubectl port-forward",
            "curl http://127.0.0.1:8001/login",
            "helm test",
            "kubectl exec"
        ]
    );
    let script = script(&all, 8001).replace('…', PASSWORD);
    // For the new user.
    let said = helm
        .shell_of_notes(space, &script, &format!("{PASSWORD}\n"))
        .await;
    println!("{said}");
    assert!(said.contains("Added: ada"), "{said}");
    assert_eq!(phases(&said), 1, "{said}");
    let backup = fs::read(helm.folder().join("auth.db")).unwrap();
    assert!(backup.starts_with(b"SQLite format 3\0"));
    let login = said.lines().find(|line| line.starts_with('{')).unwrap();
    // What comes after it has no line of its own: curl ends without one.
    let login = serde_json::Deserializer::from_str(login)
        .into_iter::<Value>()
        .next();
    login.unwrap().unwrap()["access_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// What the notes of the transcription service say.
async fn transcription_notes(space: &Namespace<'_>, helm: &Helm, printed: &str, token: &str) {
    let all = notes(printed);
    println!("{all:#?}");
    let beginnings = all
        .iter()
        .map(|command| command.split(' ').take(2).collect::<Vec<_>>().join(" "));
    assert_eq!(
        beginnings.collect::<Vec<_>>(),
        [
            "kubectl rollout",
            "kubectl port-forward",
            "curl http://127.0.0.1:8000/transcribe",
            "helm test"
        ]
    );
    let Clip { wav, words, .. } = librivox().remove(2);
    fs::write(helm.folder().join("recording.mp3"), wav).unwrap();
    let script = format!("TOKEN={token}\n{}", script(&all, 8000));
    let said = helm.shell_of_notes(space, &script, "").await;
    println!("{said}");
    assert_eq!(phases(&said), 1, "{said}");
    let answer = said.lines().find(|line| line.starts_with('{')).unwrap();
    let answer = serde_json::Deserializer::from_str(answer)
        .into_iter::<Value>()
        .next();
    let answer = answer.unwrap().unwrap();
    let text = answer["transcription"].as_str().unwrap();
    assert!(word_errors(text, &words) <= 2, "{text}");
    space.is_stored(&answer).await;
}

/// A newer release and back again, each time seen by clients.
async fn changes(space: &Namespace<'_>, helm: &Helm, change: &str, recorded: &[&Recorded]) {
    let all = commands(change, "helm ");
    let (upgrades, rollbacks): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|command| command.starts_with("helm upgrade"));
    for (commands, version) in [(upgrades, env!("CARGO_PKG_VERSION")), (rollbacks, FORMER)] {
        assert_eq!(commands.len(), 2);
        let pods = pods(space).await;
        let token = &recorded[0].token;
        let (auth, transcription) = (space.url("auth").await, space.url("transcription").await);
        let wav = librivox().remove(3).wav;
        let witnesses = [
            Witness::of_a_token(auth, token.clone()),
            Witness::of_a_greeting(transcription.clone()),
            Witness::of_recordings(transcription, token.clone(), wav),
        ];
        helm.shell(space, &commands.join("\n")).await;
        gone(space, &pods).await;
        let mut reports = Vec::new();
        for witness in witnesses {
            reports.push(witness.report().await);
        }
        assert_eq!(images(space).await, tags(version));
        let [me, greeting, recordings] = reports.try_into().unwrap();
        held(version, &me, &greeting, &recordings);
        for earlier in recorded {
            earlier.is_there(space).await;
        }
    }
}

fn held(version: &str, me: &Report, greeting: &Report, recordings: &Report) {
    let gap = me.longest_gap.as_secs_f64();
    println!(
        "to {version}: auth asked {} times, {} times without an answer, {gap:.1} s at the longest; transcription asked {} times, longest gap {:.1} s; {} recordings sent",
        me.asked,
        me.failures.len(),
        greeting.asked,
        greeting.longest_gap.as_secs_f64(),
        recordings.asked,
    );
    assert!(gap <= LONGEST_GAP_SECONDS, "{me:?}");
    // It was asked while the one pod was replaced, and not only before and after.
    assert!(
        me.asked > 5 && recordings.asked > 1,
        "{me:?} {recordings:?}"
    );
    assert_eq!(greeting.failures, [""; 0]);
    assert_eq!(recordings.failures, [""; 0]);
}

/// The images of the pods.
async fn images(space: &Namespace<'_>) -> BTreeSet<String> {
    let path =
        "-o=jsonpath={range .items[*]}{.spec.template.spec.containers[0].image}{\"\\n\"}{end}";
    let selector = "app.kubernetes.io/part-of=transcription-stack";
    let images = space
        .kubectl(
            &["get", "statefulsets,deployments", "-l", selector, path],
            "",
        )
        .await;
    images.lines().map(str::to_owned).collect()
}

fn tags(version: &str) -> BTreeSet<String> {
    let name = |name: &str| format!("ghcr.io/transcription-stack/{name}:{version}");
    BTreeSet::from([
        name("auth-service"),
        format!("{}-whisper", name("transcription-service")),
    ])
}

/// The pods of both services, by what no other has.
async fn pods(space: &Namespace<'_>) -> BTreeSet<String> {
    let path = "-o=jsonpath={range .items[*]}{.metadata.uid}{\"\\n\"}{end}";
    let selector = "app.kubernetes.io/part-of=transcription-stack";
    let pods = space
        .kubectl(&["get", "pods", "-l", selector, path], "")
        .await;
    pods.lines().map(str::to_owned).collect()
}

/// Waits until none of these pods is left: each finishes what it hears first, which takes long where others compute too.
async fn gone(space: &Namespace<'_>, old: &BTreeSet<String>) {
    let began = Instant::now();
    while !pods(space).await.is_disjoint(old) {
        assert!(began.elapsed() < END_LIMIT, "the old pods do not go");
        sleep(Duration::from_millis(200)).await;
    }
}
