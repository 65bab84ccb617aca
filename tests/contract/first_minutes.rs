//! What a newcomer meets before anything is built: the scripts that fetch and install.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;
use transcription_tests::files::root;
use transcription_tests::process::{PATIENCE, Process, free_port, run};

/// Fetches a package into a cache, from pip's index on this port.
#[expect(
    clippy::disallowed_methods,
    reason = "pip is where this machine has it"
)]
fn fetch(cache: &Path, port: u16) -> Command {
    let mut command = Command::new("env");
    command
        // Who runs the tests in the background has Ctrl-C ignored, and all that they start.
        .arg("--default-signal=INT")
        .arg(root().join("tests/lab/fetch.sh"))
        .arg("pyjwt")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", cache.parent().unwrap())
        .env("LAB_CACHE", cache)
        // Neither this machine's settings nor what pip has kept.
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_NO_CACHE_DIR", "1")
        .env("PIP_RETRIES", "1")
        .env("PIP_INDEX_URL", format!("http://127.0.0.1:{port}/simple"));
    command
}

/// What is in the cache, beside the file for the lock.
fn contents(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(cache).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "fetch.lock")
        .collect()
}

#[tokio::test]
async fn an_index_that_cannot_be_reached_is_one_sentence_and_nothing_is_left() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("a cache");
    let left_by_a_killed_one = cache.join("fetch.Ab12Cd");
    fs::create_dir_all(&left_by_a_killed_one).unwrap();
    fs::write(left_by_a_killed_one.join("half.whl"), "half").unwrap();

    let output = run(fetch(&cache, free_port()), "").await;

    let errors = String::from_utf8(output.stderr).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with("Fetching PyJWT 2.15.1 failed: pip's index cannot be reached (Connection refused). Check the network"),
        "{errors}"
    );
    assert!(printed.contains("Trying again"), "{printed}");
    assert!(!printed.contains("Retry("), "{printed}");
    assert_eq!(contents(&cache), Vec::<String>::new());
}

#[tokio::test]
async fn ctrl_c_while_pip_waits_leaves_nothing_and_no_trace() {
    let folder = TempDir::new().unwrap();
    let cache = folder.path().join("cache");
    fs::create_dir(&cache).unwrap();
    // It takes connections and says nothing.
    let index = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut command = fetch(&cache, index.local_addr().unwrap().port());
    command.env("PIP_TIMEOUT", "60");
    // Ctrl-C goes to all processes of a terminal: to a group.
    command.process_group(0);
    let mut process = Process::start(&mut command, folder.path().join("log"));
    let _connection = timeout(PATIENCE, index.accept()).await.unwrap().unwrap();

    let start = Instant::now();
    process.signal_group("INT");
    let status = process.ended().await;

    assert_eq!(status.code(), Some(130));
    assert!(start.elapsed() < Duration::from_secs(30));
    let log = process.log();
    assert!(!log.contains("Traceback"), "{log}");
    assert!(!log.contains("Interrupt"), "{log}");
    assert!(!log.contains("failed"), "{log}");
    assert_eq!(contents(&cache), Vec::<String>::new());
}

#[tokio::test]
async fn a_build_folder_with_a_space_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(root().join("services/standalone/prepare.sh"));
    command.env("CARGO_TARGET_DIR", folder.path().join("my code"));

    let output = run(command, "").await;

    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("has a space in it"), "{errors}");
    assert!(errors.contains("CARGO_TARGET_DIR"), "{errors}");
}
