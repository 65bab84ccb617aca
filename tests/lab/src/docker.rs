//! A Docker Engine, and containers on it.
//!
//! Who develops here may have one: it is used if it answers. Else Debian's is started by hand, with its own folder and socket. It leaves
//! the machine's firewall alone, for a node of Kubernetes beside it; so its containers reach each other, and this machine them, by
//! networks of their own, but nothing outside.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Duration, sleep};

use crate::files::cache;
use crate::process::{eventually, run};

/// Where Debian has the engine, and where Docker's own packages have it.
const ENGINES: [&str; 2] = ["/usr/sbin/dockerd", "/usr/bin/dockerd"];
/// Where the client and the tools are that belong to it, whatever else is on the PATH.
const SYSTEM_PATH: &str = "/usr/bin:/usr/sbin:/bin:/sbin";

/// How long it may take until an engine answers; another one may have to end before.
const START_LIMIT: Duration = Duration::from_mins(5);

/// A running engine. One that was started here ends with it.
pub struct Docker {
    started: Option<Started>,
}

/// An engine of ours.
struct Started {
    /// It ends the engine when its standard input is closed, so also when the test program is killed.
    keeper: Child,
    folder: TempDir,
}

/// A container, which is removed when this is dropped. Its log is shown if the test failed.
pub struct Container {
    docker: Arc<Docker>,
    name: String,
}

/// A network of containers, which is removed when this is dropped.
pub struct Network {
    docker: Arc<Docker>,
    name: String,
}

/// A volume, which is removed when this is dropped.
pub struct Volume {
    docker: Arc<Docker>,
    name: String,
}

/// One engine at a time: the next one waits for the lock until this one has ended.
const KEEPER: &str = r#"
engine=$1 folder=$2 lock=$3
exec 9>"$lock"
flock 9
"$engine" --data-root "$folder/data" --exec-root "$folder/exec" --pidfile "$folder/pid" --host "unix://$folder/docker.sock" \
    --iptables=false --ip-forward=false --bridge=none >"$folder/log" 2>&1 9>&- &
cat >/dev/null
kill "$!"
wait
# What it leaves mounted.
grep -o " $folder/[^ ]*" /proc/mounts | while read -r mounted; do umount "$mounted"; done
rm -rf "$folder"
"#;

impl Docker {
    /// The engine of this machine, if one answers, else a new one.
    pub async fn start() -> Self {
        let existing = Self { started: None };
        if existing.answers().await {
            return existing;
        }
        let engine = ENGINES.into_iter().find(|path| Path::new(path).exists());
        let engine =
            engine.expect("no Docker Engine: run the tests by `make e2e`, which installs one");
        let folder = tempfile::Builder::new()
            .prefix("lab-docker-")
            .tempdir()
            .unwrap();
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "lab-docker", engine])
            .arg(folder.path())
            .arg(cache().join("docker.lock"))
            .env("PATH", SYSTEM_PATH)
            .stdin(Stdio::piped())
            // Ctrl-C is for the test program alone.
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let docker = Self {
            started: Some(Started { keeper, folder }),
        };
        docker.wait_until_it_answers().await;
        docker
    }

    /// The command `docker` with these arguments, for this engine.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(args);
        self.name_to(&mut command);
        command
    }

    /// Lets a program that calls `docker` meet this engine.
    pub fn name_to(&self, command: &mut Command) {
        let Some(started) = &self.started else {
            return;
        };
        let socket = started.folder.path().join("docker.sock");
        command
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("PATH", SYSTEM_PATH);
    }

    /// Runs `docker` with these arguments; what it prints. Fails the test if it fails.
    pub async fn run(&self, args: &[&str]) -> String {
        let output = self.try_run(args).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs `docker` with these arguments.
    pub async fn try_run(&self, args: &[&str]) -> Output {
        run(self.command(args), "").await
    }

    /// What `docker inspect` knows of an image, a container or a network.
    pub async fn inspect(&self, name: &str) -> Value {
        let text = self.run(&["inspect", name]).await;
        let mut list: Vec<Value> = serde_json::from_str(&text).unwrap();
        list.remove(0)
    }

    async fn answers(&self) -> bool {
        self.try_run(&["info"]).await.status.success()
    }

    async fn wait_until_it_answers(&self) {
        let start = Instant::now();
        while !self.answers().await {
            let log = self.log();
            assert!(
                !log.contains("failed to start daemon") && start.elapsed() < START_LIMIT,
                "the Docker Engine does not start:\n{log}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn log(&self) -> String {
        let started = self.started.as_ref().unwrap();
        fs::read_to_string(started.folder.path().join("log")).unwrap_or_default()
    }
}

impl Container {
    /// Starts a container, with these arguments of `docker run`.
    pub async fn start(docker: &Arc<Docker>, args: &[&str]) -> Self {
        Self::make(docker, &["run", "--detach"], args).await
    }

    /// Makes a container and does not start it.
    pub async fn create(docker: &Arc<Docker>, args: &[&str]) -> Self {
        Self::make(docker, &["create"], args).await
    }

    async fn make(docker: &Arc<Docker>, verb: &[&str], args: &[&str]) -> Self {
        let name = unique_name();
        let container = Self {
            docker: Arc::clone(docker),
            name: name.clone(),
        };
        docker.run(&[verb, &["--name", &name], args].concat()).await;
        container
    }

    /// What other commands of `docker` know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where this machine reaches a port of its that was published.
    pub async fn url(&self, port: u16) -> String {
        let published = self
            .docker
            .run(&["port", &self.name, &port.to_string()])
            .await;
        format!("http://{}", published.lines().next().unwrap())
    }

    /// What it has written.
    pub async fn log(&self) -> String {
        let output = self.docker.try_run(&["logs", &self.name]).await;
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Runs a command in it.
    pub async fn exec(&self, command: &[&str]) -> Output {
        self.docker
            .try_run(&[&["exec", &self.name], command].concat())
            .await
    }

    /// Waits until its health check says that it is healthy.
    pub async fn wait_until_healthy(&self) {
        eventually("the container is healthy", async || {
            let state = &self.docker.inspect(&self.name).await["State"];
            assert_eq!(state["Running"], true, "{}", self.log().await);
            state["Health"]["Status"] == "healthy"
        })
        .await;
    }

    /// Asks it to end, as Kubernetes does; the code that it ends with.
    pub async fn stop(&self) -> i64 {
        self.docker.run(&["stop", &self.name]).await;
        let state = &self.docker.inspect(&self.name).await["State"];
        state["ExitCode"].as_i64().unwrap()
    }
}

impl Network {
    /// Makes a network in which containers find each other by name.
    pub async fn make(docker: &Arc<Docker>) -> Self {
        let name = unique_name();
        docker.run(&["network", "create", &name]).await;
        Self {
            docker: Arc::clone(docker),
            name,
        }
    }

    /// What `--network` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Volume {
    /// Makes an empty volume.
    pub async fn make(docker: &Arc<Docker>) -> Self {
        let name = unique_name();
        docker.run(&["volume", "create", &name]).await;
        Self {
            docker: Arc::clone(docker),
            name,
        }
    }

    /// What `--volume` knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A name that nothing has yet on an engine that others use too.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("transcription-lab-{}-{count}", std::process::id())
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.docker.command(&["logs", &self.name]).output();
            let log = log.map(|output| [output.stdout, output.stderr].concat());
            eprintln!(
                "--- {}\n{}",
                self.name,
                String::from_utf8_lossy(&log.unwrap_or_default())
            );
        }
        let mut remove = self
            .docker
            .command(&["rm", "--force", "--volumes", &self.name]);
        let _ = remove.output();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.docker.command(&["network", "rm", &self.name]).output();
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = self.docker.command(&["volume", "rm", &self.name]).output();
    }
}
