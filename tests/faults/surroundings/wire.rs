//! What the tests of surroundings have in common: requests by hand, a client that asks all the time, what a process takes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use transcription_tests::process::run;

/// How long a client here waits for an answer that it is sure to get.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// The address in a URL.
pub fn address(url: &str) -> String {
    url.strip_prefix("http://").unwrap().to_owned()
}

/// Sends bytes on a connection of their own and gives the status of the answer; nothing if the server hung up without one.
pub async fn status_of(url: &str, request: Vec<u8>) -> Option<u16> {
    let said = said_to(url, request).await;
    let status = said.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    status.parse().ok()
}

/// Sends bytes on a connection of their own and gives all that is answered until the server hangs up.
pub async fn said_to(url: &str, request: Vec<u8>) -> String {
    let address = address(url);
    let talk = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        stream.set_write_timeout(Some(ANSWER_LIMIT)).unwrap();
        let mut reader = stream.try_clone().unwrap();
        // It may answer, and hang up, before it has read everything: that is to be heard.
        let reading = std::thread::spawn(move || {
            let mut said = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut piece) {
                said.extend_from_slice(&piece[..count]);
            }
            said
        });
        let _ = stream.write_all(&request);
        String::from_utf8_lossy(&reading.join().unwrap()).into_owned()
    };
    tokio::task::spawn_blocking(talk).await.unwrap()
}

/// Someone who opens a connection, asks, and hangs up, again and again.
pub struct Prober {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Vec<Duration>>,
}

impl Prober {
    /// Starts to ask for this path; fails the test on anything but 200.
    pub fn start(url: &str, path: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let url = url.to_owned();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let task = tokio::spawn(async move {
            let mut times = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                let status = status_of(&url, request.clone().into_bytes()).await;
                assert_eq!(status, Some(200), "after {:?}", start.elapsed());
                times.push(start.elapsed());
                sleep(Duration::from_millis(50)).await;
            }
            times
        });
        Self { stop, task }
    }

    /// Ends it; how often it asked, the median and the longest time.
    pub async fn end(self) -> (usize, Duration, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.task.await.unwrap();
        times.sort_unstable();
        (times.len(), times[times.len() / 2], times[times.len() - 1])
    }
}

/// How many files and connections a process has open.
pub fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// The time that a process has computed for so far, in all its threads (proc(5)).
pub fn processor_time(process: u32) -> Duration {
    /// The kernel's unit, which is the same on every machine (`USER_HZ`).
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is the name, in parentheses.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let fields = fields.split_whitespace().collect::<Vec<_>>();
    let ticks = |at: usize| fields[at].parse::<u32>().unwrap();
    TICK * (ticks(11) + ticks(12))
}

/// Lets a process have so many files open, from now on.
pub async fn limit_files(process: u32, limit: usize) {
    let mut command = Command::new("prlimit");
    command.args([&format!("--nofile={limit}:"), "--pid", &process.to_string()]);
    let output = run(command, "").await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{limit} open files: {said}");
}
