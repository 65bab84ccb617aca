//! A Kubernetes cluster to play with: `make cluster` and `make cluster-down`.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it speaks to a person"
)]
#![expect(clippy::unwrap_used, reason = "what fails here is told by its line")]

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use transcription_lab::docker::Docker;
use transcription_lab::files::cache;
use transcription_lab::images;
use transcription_lab::kubernetes::{ControlPlane, Node};

/// How long a cluster may take to start; the first one is read from a cold disk.
const START_LIMIT: Duration = Duration::from_mins(3);
/// And to end.
const END_LIMIT: Duration = Duration::from_mins(2);

/// Starts and ends a Kubernetes cluster on this machine.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Starts a cluster that stays, with our images on its node.
    Up(Folder),
    /// Ends it.
    Down,
    /// Is the cluster until it is told to end.
    #[command(hide = true)]
    Keep(Folder),
}

/// Where the programs are.
#[derive(clap::Args)]
struct Folder {
    programs: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Action::Up(folder) => up(&folder).await,
        Action::Down => down().await,
        Action::Keep(folder) => keep(folder).await,
    }
}

/// Where the kubeconfig is while a cluster runs.
fn kubeconfig() -> PathBuf {
    cache().join("cluster/kubeconfig")
}

fn process_file() -> PathBuf {
    cache().join("cluster/process")
}

#[expect(
    clippy::zombie_processes,
    reason = "it goes on when this program has ended"
)]
async fn up(folder: &Folder) -> ExitCode {
    if running().is_some() && kubeconfig().exists() {
        println!("A cluster is already running.");
        tell();
        return ExitCode::SUCCESS;
    }
    println!("Starting a cluster, and building the images for it (half a minute) ...");
    fs::create_dir_all(cache().join("cluster")).unwrap();
    let _ = fs::remove_file(kubeconfig());
    let log = cache().join("cluster/log");
    let output = File::create(&log).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .arg("keep")
        .arg(&folder.programs)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        // It stays when this program and its terminal are gone.
        .process_group(0)
        .spawn()
        .unwrap();
    fs::write(process_file(), child.id().to_string()).unwrap();
    let began = Instant::now();
    while !kubeconfig().exists() {
        let is_over = child.try_wait().unwrap().is_some() || began.elapsed() > START_LIMIT;
        if is_over {
            // What it has begun ends with it.
            let _ = child.kill();
            let _ = child.wait();
            eprintln!(
                "The cluster does not start. Its log, {}, says:",
                log.display()
            );
            eprintln!("{}", fs::read_to_string(&log).unwrap_or_default());
            return ExitCode::FAILURE;
        }
        sleep(Duration::from_millis(100)).await;
    }
    print!("{}", fs::read_to_string(&log).unwrap_or_default());
    tell();
    ExitCode::SUCCESS
}

fn tell() {
    println!(
        "It is there. To use it here: export KUBECONFIG={}",
        kubeconfig().display()
    );
    println!("To end it: make cluster-down");
}

async fn down() -> ExitCode {
    let Some(process) = running() else {
        println!("No cluster is running.");
        return ExitCode::SUCCESS;
    };
    println!("Ending the cluster ...");
    let _ = Command::new("kill").arg(process.to_string()).status();
    let began = Instant::now();
    while running().is_some() {
        if began.elapsed() > END_LIMIT {
            eprintln!("It does not end: process {process}.");
            return ExitCode::FAILURE;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let _ = fs::remove_file(process_file());
    println!("It has ended.");
    ExitCode::SUCCESS
}

/// The process that is the cluster, if there is one. A number may have been given to another program since then.
fn running() -> Option<u32> {
    let process = fs::read_to_string(process_file())
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let command = fs::read(format!("/proc/{process}/cmdline")).ok()?;
    let command = String::from_utf8_lossy(&command).replace('\0', " ");
    command.contains("cluster keep").then_some(process)
}

async fn keep(folder: Folder) -> ExitCode {
    let mut end = signal(SignalKind::terminate()).unwrap();
    if is_root() {
        let node = Node::start().await;
        bring_images(&node, &folder.programs).await;
        publish(&node);
        end.recv().await;
    } else {
        println!(
            "A node needs root: this is a control plane without one. Objects are checked and kept; no pod runs."
        );
        let plane = ControlPlane::start().await;
        publish(&plane);
        end.recv().await;
    }
    let _ = fs::remove_file(kubeconfig());
    ExitCode::SUCCESS
}

/// The engine is only needed for this.
async fn bring_images(node: &Node, programs: &Path) {
    let docker = Docker::start().await;
    print!("{}", images::build(&docker, programs).await);
    let archive = node.folder().join("images.tar");
    images::save(&docker, programs, &archive).await;
    node.import_image(&archive).await;
    let _ = fs::remove_file(archive);
}

/// Says by the kubeconfig that the cluster is ready.
fn publish(plane: &ControlPlane) {
    let ready = cache().join("cluster/kubeconfig.new");
    fs::copy(plane.kubeconfig(), &ready).unwrap();
    fs::rename(ready, kubeconfig()).unwrap();
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    user.is_some_and(|ids| ids.split_whitespace().nth(1) == Some("0"))
}
