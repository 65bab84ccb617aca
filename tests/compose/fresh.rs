//! From a fresh checkout to the text of a recording, through an end and a second beginning.

use std::time::Instant;

use reqwest::StatusCode;
use serde_json::Value;
use transcription_tests::auth::credentials;
use transcription_tests::client::{Answer, http, post};
use transcription_tests::files::root;
use transcription_tests::process::eventually;
use transcription_tests::speech::{Clip, librivox, word_errors};

use crate::backup;
use crate::project::Project;
use crate::readme::{command, curls, up};

/// The password of the README.
const PASSWORD: &str = "correct horse";

/// One story, in the order in which a user lives it: what comes later stands on what came before.
#[tokio::test]
async fn a_recording_becomes_text_and_is_still_there_after_down_and_up() {
    let project = Project::new("fresh").await;

    let began = Instant::now();
    project.succeed(&up()).await;
    println!(
        "from nothing to healthy, with the images built: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    let answer = transcribed(&project).await;
    everything_is_confined(&project).await;
    the_pages_work_together_and_metrics_are_not_published(&project).await;
    let before = token(&project).await;
    backup::saved_and_restored(&project, &before).await;

    project.succeed(&command(&["docker compose down"])).await;
    assert!(project.containers().await.is_empty());
    let began = Instant::now();
    project.succeed(&up()).await;
    println!(
        "from down to healthy: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_eq!(token_is_taken(&project, &before, &answer).await, answer);
    token(&project).await;

    watched(&project).await;
}

/// The recording of the README, by its three curls.
async fn transcribed(project: &Project) -> Value {
    let curls = curls().replace("http://127.0.0.1:8001", &project.url("AUTH_PORT"));
    let curls = curls.replace("http://127.0.0.1:8000", &project.url("TRANSCRIPTION_PORT"));

    let printed = project.succeed(&curls).await;

    let (_, answer) = printed.split_once('}').unwrap();
    let answer = serde_json::from_str::<Value>(answer).unwrap();
    let Clip { words, .. } = librivox().remove(0);
    assert_eq!(answer["engine"], "whisper");
    assert_eq!(answer["model"], "base");
    let heard = answer["transcription"].as_str().unwrap();
    assert!(word_errors(heard, &words) <= 2, "{heard}");
    let keys = project.local_keys().await;
    for key in ["audio_key", "transcript_key"] {
        let key = answer[key].as_str().unwrap();
        assert!(
            keys.iter().any(|found| found == key),
            "{key} is not in {keys:?}"
        );
    }
    answer
}

/// Nothing is root, may write what is not its own, or is reached from another machine.
async fn everything_is_confined(project: &Project) {
    let containers = project.containers().await;
    let services = containers.keys().map(String::as_str).collect::<Vec<_>>();
    let all = [
        "auth",
        "bucket",
        "signing-key",
        "store",
        "store-folder",
        "transcription",
    ];
    assert_eq!(services, all);
    for (service, container) in containers {
        let user = container["Config"]["User"].as_str().unwrap();
        assert_eq!(user, "65532:65532", "{service}");
        let host = &container["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{service}");
        let options = host["SecurityOpt"].to_string();
        assert!(options.contains("no-new-privileges:true"), "{service}");
        assert_ne!(host["Memory"], 0, "{service}");
        let published = host["PortBindings"].as_object().into_iter().flatten();
        for (port, bindings) in published {
            for binding in bindings.as_array().unwrap() {
                assert_eq!(binding["HostIp"], "127.0.0.1", "{service} {port}");
            }
        }
        let state = &container["State"];
        if state["Running"] == true {
            let id = container["Id"].as_str().unwrap();
            // It wants the column with the ids of processes.
            let top = ["top", id, "-eo", "uid,pid"];
            let processes = project.engine.docker.run(&top).await;
            let owner = user.split(':').next();
            let owners = processes.lines().skip(1);
            let mut owners = owners.map(|line| line.split_whitespace().next());
            assert!(owners.all(|found| found == owner), "{service}: {processes}");
        } else {
            assert_eq!(state["ExitCode"], 0, "{service}");
        }
    }
}

/// The page /docs of the one asks for a token of the other.
async fn the_pages_work_together_and_metrics_are_not_published(project: &Project) {
    let (auth, transcription) = (project.url("AUTH_PORT"), project.url("TRANSCRIPTION_PORT"));
    let get = async |url: String, origin: &str| {
        let request = http().get(url).header("origin", origin).send();
        Answer::of(request.await.unwrap()).await
    };

    let document = get(format!("{transcription}/openapi.json"), &auth).await;
    let found = document.text.contains(&format!("\"{auth}/token\""));
    assert!(found, "{}", document.text);
    for (page, asked) in [(&transcription, &auth), (&auth, &transcription)] {
        for page in [page.clone(), page.replace("127.0.0.1", "localhost")] {
            let answer = get(format!("{asked}/"), &page).await;
            assert_eq!(answer.header("access-control-allow-origin"), page);
        }
    }
    for service in [auth, transcription] {
        let metrics = get(format!("{service}/metrics"), "").await;
        assert_eq!(metrics.status, StatusCode::NOT_FOUND);
    }
}

async fn token(project: &Project) -> String {
    let url = format!("{}/login", project.url("AUTH_PORT"));
    let answer = post(&http(), &url, &credentials("ada", PASSWORD)).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json["access_token"].as_str().unwrap().to_owned()
}

/// What a transcription is now, to somebody with a token from before.
async fn token_is_taken(project: &Project, token: &str, answer: &Value) -> Value {
    let id = answer["id"].as_str().unwrap();
    let url = format!("{}/transcriptions/{id}", project.url("TRANSCRIPTION_PORT"));
    let request = http().get(url).bearer_auth(token).send();
    let mut found = Answer::of(request.await.unwrap()).await;
    assert_eq!(found.status, StatusCode::OK, "{found:?}");
    let state = found.json.as_object_mut().unwrap().remove("state");
    assert_eq!(state.unwrap(), "complete");
    found.json
}

/// Prometheus has our targets and our rules. The images of the others of that profile are not here.
async fn watched(project: &Project) {
    let watch = command(&["COMPOSE_PROFILES=observability"]);
    project.succeed(&format!("{watch} prometheus")).await;
    let ask = async |path: &str| {
        let url = format!("{}/api/v1/{path}", project.url("PROMETHEUS_PORT"));
        let answer = http().get(url).send().await.unwrap();
        let answer = answer.text().await.unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["data"].take()
    };
    let list = |value: &Value| value.as_array().unwrap().clone();

    eventually("all targets are up", async || {
        let targets = list(&ask("targets").await["activeTargets"]);
        let up = targets.iter().filter(|target| target["health"] == "up");
        let jobs = up.map(|target| target["labels"]["job"].as_str().unwrap().to_owned());
        let mut jobs = jobs.collect::<Vec<_>>();
        jobs.sort();
        jobs == ["auth", "transcription"]
    })
    .await;
    let rules = std::fs::read_to_string(root().join("k8s/monitoring/rules.yaml")).unwrap();
    let written = rules.matches("- alert: ").count() + rules.matches("- record: ").count();
    assert!(written > 20, "{written}");
    eventually("every rule was evaluated, and none failed", async || {
        let groups = list(&ask("rules").await["groups"]);
        let rules = groups.iter().flat_map(|group| list(&group["rules"]));
        rules.filter(|rule| rule["health"] == "ok").count() == written
    })
    .await;
    eventually("the rules know both services", async || {
        let seen = ask("query?query=transcription:target:seen").await;
        let seen = list(&seen["result"]);
        let has = |component: &str| {
            seen.iter()
                .any(|target| target["metric"]["component"] == component)
        };
        has("auth") && has("transcription")
    })
    .await;
    let alerts = list(&ask("alerts").await["alerts"]);
    let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
    assert_eq!(firing.collect::<Vec<_>>(), Vec::<&Value>::new());
}
