//! The commands in the README and in `docs/`, run as they stand there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use transcription_tests::auth::Auth;
use transcription_tests::client::PASSWORD;
use transcription_tests::files::{binary, root};
use transcription_tests::process::{Process, eventually, free_port, run};
use transcription_tests::stack::{Standalone, TwoServices, transcription_environment};

const README: &str = "README.md";
const OPERATING: &str = "docs/operating.md";
const BACKUP: &str = "docs/backup.md";
/// What no test here runs, and why.
const RUN_ELSEWHERE: &[(&str, &str)] = &[
    ("docker compose ", "tests/compose runs it"),
    ("AUTH_ENV_FILE=", "so does it this"),
    ("COMPOSE_PROFILES=", "this"),
    ("docker run --rm --network none --volumes-from", "and this"),
    ("kubectl ", "tests/node runs it on a node"),
    ("helm ", "and this"),
    ("umask 077", "and this"),
    ("sed 's/claimName", "and this"),
    (
        "echo \"correct horse battery\" | kubectl",
        "so does it this",
    ),
    ("  --set ", "and this, the second line of one of those"),
    ("sleep ", "and this"),
    ("make test", "it runs this"),
    ("python3 -m venv", "for the line after it"),
    ("convert/bin/pip", "takes gigabytes from the internet"),
    ("convert/bin/ct2-", "takes a model from the internet"),
    ("WHISPER_MODEL=$PWD/small", "needs that model"),
];

/// The lines of the blocks of this language in a document.
fn lines(document: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

/// The commands in a document that begin so.
fn commands(document: &str, beginnings: &[&str]) -> Vec<String> {
    let mut lines = lines(document, "sh");
    lines.retain(|line| {
        beginnings
            .iter()
            .any(|beginning| line.starts_with(beginning))
    });
    lines
}

/// Those of standalone; those of a cluster are run on a node.
fn curls() -> Vec<String> {
    let mut curls = commands(README, &["curl ", "TOKEN="]);
    curls.truncate(3);
    curls
}

fn accounts() -> Vec<String> {
    commands(OPERATING, &["auth-service "])
}

fn backup() -> Vec<String> {
    commands(BACKUP, &["auth-service "])
}

fn bucket() -> Vec<String> {
    commands(OPERATING, &["transcription-service ", "SMOKE_"])
}

/// A shell that finds our programs.
fn shell(script: &str) -> Command {
    let programs = binary("auth-service");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let mut command = Command::new("bash");
    command.env_clear().env("PATH", path).args(["-ec", script]);
    command
}

/// Runs a script that has to succeed; what it prints.
async fn succeed(command: Command, input: &str) -> String {
    let shown = format!("{command:?}");
    let output = run(command, input).await;
    let [printed, said] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{shown}: {printed}{said}");
    printed
}

#[test]
fn every_command_is_run_by_a_test() {
    let on_a_node = commands(README, &["curl ", "TOKEN="]).split_off(3);
    let known = [
        curls(),
        on_a_node,
        accounts(),
        backup(),
        bucket(),
        vec!["make run".to_owned()],
    ]
    .concat();
    let known = known.into_iter().collect::<BTreeSet<_>>();
    let documents = fs::read_dir(root().join("docs")).unwrap();
    let documents = documents.map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let documents = documents.map(|path| path.display().to_string());

    for document in documents.chain([README.to_owned()]) {
        for line in lines(&document, "sh") {
            let elsewhere = RUN_ELSEWHERE
                .iter()
                .any(|(beginning, _)| line.starts_with(beginning));
            assert!(
                known.contains(&line) || elsewhere,
                "{document}: no test runs `{line}`"
            );
        }
    }
}

#[tokio::test]
async fn the_three_curls_answer_what_the_readme_shows() {
    let folder = TempDir::new().unwrap();
    let stack = Standalone::start(folder.path()).await;
    let curls = curls();
    assert_eq!(curls.len(), 3, "{curls:?}");
    let script = curls.join("\n");
    let script = script.replace("http://127.0.0.1:8001", &stack.auth_url);
    let script = script.replace("http://127.0.0.1:8000", &stack.transcription_url);
    let mut command = shell(&script);
    command.current_dir(root());

    let printed = succeed(command, "").await;

    let (_, answer) = printed.split_once('}').unwrap();
    let answer: Value = serde_json::from_str(answer).unwrap();
    let shown: Value = serde_json::from_str(&lines(README, "json")[0]).unwrap();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&answer), names(&shown));
    for same in [
        "transcription",
        "filename",
        "language",
        "duration_seconds",
        "engine",
        "model",
    ] {
        assert_eq!(answer[same], shown[same]);
    }
}

#[tokio::test]
async fn accounts_by_hand_are_kept_as_the_page_says() {
    let mut auth = Auth::start().await;

    for line in accounts() {
        if line.contains(" restore ") {
            auth.process.terminate().await;
        }
        let mut command = shell(&line);
        command
            .envs(&auth.environment)
            .current_dir(auth.folder.path());
        succeed(command, &format!("{PASSWORD}\n")).await;
        if line.contains(" set-password ") {
            assert_eq!(auth.login("ada", PASSWORD).await.status, 200);
        }
    }

    assert!(auth.folder.path().join("jwt.key").is_file());
}

#[tokio::test]
async fn a_backup_is_restored_as_the_page_says() {
    let mut auth = Auth::start().await;
    auth.register("ada").await;
    let [backup, restore] = backup().try_into().unwrap();
    let run = |auth: &Auth, line: &str| {
        let mut command = shell(line);
        command
            .envs(&auth.environment)
            .current_dir(auth.folder.path());
        succeed(command, "")
    };

    run(&auth, &backup).await;
    auth.register("eve").await;
    auth.process.terminate().await;
    run(&auth, &restore).await;
    auth.restart([]).await;

    auth.token("ada").await;
    assert_eq!(auth.login("eve", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn a_bucket_is_made_and_the_smoke_test_passes_as_the_page_says() {
    let stack = TwoServices::start().await;
    let account = stack.auth.succeed(
        &["user", "add", "ada", "ada@example.com"],
        "correct horse\n",
    );
    account.await;

    for line in bucket() {
        let line = line.replace("http://127.0.0.1:8001", &stack.auth.url);
        let line = line.replace("http://127.0.0.1:8000", &stack.transcription.url);
        let mut command = shell(&line);
        command.envs(transcription_environment(&stack.s3));
        succeed(command, "").await;
    }
}

#[tokio::test]
async fn make_run_transcribes_and_serves_until_ctrl_c() {
    let folder = TempDir::new().unwrap();
    let [auth, transcription] = [(); 2].map(|()| format!("127.0.0.1:{}", free_port()));
    let mut command = Command::new("make");
    // What Cargo and make set is not for another make.
    let inherited = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        let of_cargo =
            name.starts_with("CARGO") && !["CARGO_HOME", "CARGO_TARGET_DIR"].contains(&&*name);
        !of_cargo && !name.starts_with("MAKE") && name != "LD_LIBRARY_PATH"
    });
    command
        .env_clear()
        .envs(inherited)
        .env("AUTH_LISTEN_ADDR", &auth)
        .env("TRANSCRIPTION_LISTEN_ADDR", &transcription)
        .env("DATA_DIR", folder.path().join("data"))
        // What was built stays as it is, for the other tests too.
        .envs(option_env!("BUILD_REVISION").map(|revision| ("BUILD_REVISION", revision)))
        .arg("run")
        .current_dir(root())
        // Ctrl-C goes to all that runs in the terminal.
        .process_group(0);

    let mut process = Process::start(&mut command, folder.path().join("log"));
    eventually("the demo is over", async || {
        process.log().contains("Ctrl-C ends it.")
    })
    .await;
    let log = process.log();
    process.signal_group("INT");
    process.ended().await;

    assert!(log.contains("leisure to consider how much"), "{log}");
    for address in [auth, transcription] {
        assert!(log.contains(&format!("http://{address}")), "{log}");
    }
    let after = process.log().replace(&log, "");
    assert!(
        !after.contains("panicked") && !after.contains("Traceback"),
        "{after}"
    );
}
