//! Programs that are started for a test and are gone after it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a condition may take to come true on a loaded machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// How long a program that is to end by itself may take.
const RUN_LIMIT: Duration = Duration::from_mins(3);

/// A running program. It is killed when this is dropped, and its log is shown if the test failed.
pub struct Process {
    child: Child,
    log: PathBuf,
    is_quiet: bool,
}

impl Process {
    /// Starts a program that logs to `log`. It has no environment but what `command` sets.
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let output = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self {
            child,
            log,
            is_quiet: false,
        }
    }

    /// Does not show its log when a test fails: who started it does something better with it.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Tells whether the program has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Fails the test if the program has ended.
    pub fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the program ended with {status}:\n{}", self.log());
        }
    }

    /// Asks the program to end, as Kubernetes does, and waits for that.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Sends the program a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(kill.unwrap().success(), "{pid} was gone already");
    }

    /// Sends a signal to the program's process group, as a terminal does.
    pub fn signal_group(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let kill = Command::new("kill")
            .args([&format!("-{name}"), "--", &group])
            .status();
        assert!(kill.unwrap().success(), "{group} was gone already");
    }

    /// Waits until the program has ended.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "the program does not end:\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it leads a group, like `make`: what it started too. There is no such group otherwise.
        let group = format!("-{}", self.child.id());
        let kill = Command::new("kill").args(["-KILL", "--", &group]).output();
        drop(kill);
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() && !self.is_quiet {
            // Its folder may be gone before it; another panic here would end all tests.
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            eprintln!("--- {}\n{log}", self.log.display());
        }
    }
}

/// What `/proc` says of the memory of a process, in KiB: `VmRSS:` or `VmHWM:`, the most since [`forget_peak`] (proc(5)).
pub fn memory_kib(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// The seconds of a processor that a process has used so far, its own and those of the kernel for it (proc(5): `stat`).
pub fn cpu_seconds(process: u32) -> f64 {
    /// Linux tells them in hundredths of a second (`USER_HZ`), whatever the machine.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name may have spaces in it, and a bracket.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS
}

/// Lets the most memory of a process begin anew (proc(5): `clear_refs`).
pub fn forget_peak(process: u32) {
    fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
}

/// Runs a program to its end, with this on its standard input.
pub async fn run(command: Command, input: &str) -> Output {
    run_within(command, input, RUN_LIMIT).await
}

/// Runs a program that is known to be slow to its end.
pub async fn run_within(mut command: Command, input: &str, limit: Duration) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    let (pid, input) = (child.id().to_string(), input.to_owned());
    let output = tokio::task::spawn_blocking(move || {
        // A program that does not read its input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    if let Ok(output) = timeout(limit, output).await {
        return output.unwrap();
    }
    let _ = Command::new("kill").args(["-KILL", &pid]).status();
    panic!("{command:?} does not end");
}

/// Starts a program that is told its address, waits until it answers there, and gives it with its URL. Another program may have
/// been quicker at the port: then it is started at another one.
pub async fn start_at_free_port(start: impl Fn(&str) -> Process) -> (Process, String) {
    let mut tries = 0;
    loop {
        tries += 1;
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");
        let mut process = start(&address);
        if is_answered(&url, &mut process).await && process.is_running() {
            return (process, url);
        }
        if tries == 5 || !process.log().contains("in use") {
            process.assert_running();
        }
    }
}

/// A port that was free a moment ago, and another one at each call: a program that is given one twice for two of its listeners, or two
/// programs that are given the same one, may answer in the place of each other.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        if GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

/// Waits until a GET of `url` is answered, whatever the answer.
pub async fn wait_until_answered(url: &str, process: &mut Process) {
    if !is_answered(url, process).await {
        process.assert_running();
    }
}

/// Waits until a GET of `url` is answered, or the program has ended.
pub async fn is_answered(url: &str, process: &mut Process) -> bool {
    let start = Instant::now();
    while !answers(url).await {
        if !process.is_running() {
            return false;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{url} does not answer:\n{}",
            process.log()
        );
        sleep(Duration::from_millis(50)).await;
    }
    true
}

/// Asks by hand: an HTTP client would be most of what this package needs.
async fn answers(url: &str) -> bool {
    let rest = url.strip_prefix("http://").expect("a URL of plain HTTP");
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let answer = async {
        let mut connection = TcpStream::connect(address).await?;
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        let mut start = [0; 5];
        connection.read_exact(&mut start).await?;
        Ok::<_, io::Error>(start == *b"HTTP/")
    };
    matches!(timeout(Duration::from_secs(5), answer).await, Ok(Ok(true)))
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE, "in vain waited until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
