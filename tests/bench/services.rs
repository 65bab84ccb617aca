//! The services as they are measured: started as in production, on loopback, with the real S3 server and the engine's stand-in.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use transcription_tests::client::http;
use transcription_tests::files::binary;
use transcription_tests::process::{
    Process, eventually, forget_peak, free_port, memory_kib, run_within, start_at_free_port,
};
use transcription_tests::seaweedfs::SeaweedFs;
use transcription_tests::stack::{Environment, transcription_environment};
use transcription_tests::transcription::{GEMINI_KEY, Google};

/// How long a run of the bare calls may take.
const BARE_LIMIT: Duration = Duration::from_mins(5);

/// A transcription service with what it needs.
pub struct Stack {
    /// The program.
    pub process: Process,
    /// Its address.
    pub url: String,
    /// What it stores in.
    pub s3: SeaweedFs,
    /// What it asks.
    pub google: Google,
    _folder: TempDir,
}

impl Stack {
    /// Starts it with further settings.
    pub async fn start(settings: &[(&'static str, &str)]) -> Self {
        let s3 = SeaweedFs::start_roomy().await;
        let google = Google::start().await;
        let mut environment = transcription_environment(&s3);
        environment.remove("WHISPER_MODEL");
        environment.insert("GEMINI_API_KEY", GEMINI_KEY.to_owned());
        environment.insert("GEMINI_BASE_URL", google.url.clone());
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        environment.extend(settings);
        let folder = TempDir::new().unwrap();
        let (process, url) = start_at_free_port(|address| {
            let mut command = Command::new(binary("transcription-service-slim"));
            command
                .env_clear()
                .envs(&environment)
                .env("LISTEN_ADDR", address)
                .current_dir(folder.path());
            Process::start(&mut command, folder.path().join("log")).quiet()
        })
        .await;
        Self {
            process,
            url,
            s3,
            google,
            _folder: folder,
        }
    }

    /// Waits until nothing is in flight: what a client did not wait for is finished all the same.
    pub async fn idle(&self) {
        let (client, url) = (http(), format!("{}/metrics", self.url));
        eventually("nothing is in flight", async || {
            let answer = client.get(&url).send().await.unwrap();
            let metrics = answer.text().await.unwrap();
            metrics.contains("\ntranscription_in_flight 0\n")
        })
        .await;
    }

    /// Waits until the service gives no memory back any more, and the store has been at rest for as long; the service's memory, in KiB.
    pub async fn settled_kib(&self) -> u64 {
        settled_kib(self.process.id()).await
    }

    /// How much more memory the process had at most while `work` was done, in MiB.
    pub async fn growth_mib<T>(&self, work: impl Future<Output = T>) -> (T, f64) {
        let process = self.process.id();
        let before = self.settled_kib().await;
        forget_peak(process);
        let done = work.await;
        let most = memory_kib(process, "VmHWM:");
        (done, mib(most.saturating_sub(before)))
    }
}

/// The memory of a process once it gives nothing back any more. jemalloc keeps what was freed for a second.
async fn settled_kib(process: u32) -> u64 {
    let mut kib = u64::MAX;
    loop {
        let before = kib;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        kib = memory_kib(process, "VmRSS:");
        if kib >= before {
            return kib;
        }
    }
}

/// KiB in MiB.
pub fn mib(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap()) / 1024.0
}

/// Makes bare calls in a process of their own; what it prints.
pub async fn bare(arguments: &[&str]) -> Value {
    let mut command = Command::new(binary("bench-bare"));
    command.args(arguments);
    let output = run_within(command, "", BARE_LIMIT).await;
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The bare handlers, in a process of their own.
pub struct BareServer {
    /// Their address.
    pub url: String,
    child: Child,
}

impl BareServer {
    /// Starts them on the users of this database.
    pub fn start(database: &Path) -> Self {
        let mut child = Command::new(binary("bench-bare"))
            .arg("serve")
            .arg(database)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap();
        Self {
            url: url.to_owned(),
            child,
        }
    }
}

impl BareServer {
    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a program and asks it until it answers 200: how long that took, and the memory that it has two seconds later, in MiB.
pub async fn first_answer(program: &str, environment: &Environment) -> (Duration, f64) {
    let folder = TempDir::new().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(binary(program));
    command
        .env_clear()
        .envs(environment)
        .env("LISTEN_ADDR", &address)
        .current_dir(folder.path());
    let start = Instant::now();
    let mut process = Process::start(&mut command, folder.path().join("log"));
    while !is_ok(&address).await {
        process.assert_running();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    (took, mib(memory_kib(process.id(), "VmRSS:")))
}

async fn is_ok(address: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut connection) = TcpStream::connect(address).await else {
        return false;
    };
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    true
}
