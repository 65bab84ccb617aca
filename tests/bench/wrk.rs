//! wrk, which makes requests as fast as they are answered and takes next to nothing of the processor for it.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use transcription_tests::files::cached;
use transcription_tests::process::run;

/// What wrk sends.
pub struct Load<'a> {
    /// Where to.
    pub url: &'a str,
    /// The method.
    pub method: &'static str,
    /// The headers.
    pub headers: &'a [(&'static str, String)],
    /// The body.
    pub body: &'a [u8],
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// For how long.
    pub duration: Duration,
}

/// What wrk has seen.
#[derive(Debug, Deserialize)]
pub struct Seen {
    /// Answers.
    pub requests: u32,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Half of the answers came within this, in seconds.
    pub p50_seconds: f64,
    /// 99 of 100 came within this, in seconds.
    pub p99_seconds: f64,
    /// Answers with a status of 400 or more.
    pub refused: u32,
    /// Connections that failed, and answers that did not come.
    pub failed: u32,
}

impl Seen {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        f64::from(self.requests) / self.seconds
    }
}

const REPORT: &str = r#"
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format('\n{"requests":%d,"seconds":%f,"p50_seconds":%f,"p99_seconds":%f,"refused":%d,"failed":%d}\n',
        summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
        e.status, e.connect + e.read + e.write + e.timeout))
end
"#;

impl Load<'_> {
    /// Sends it.
    pub async fn send(&self) -> Seen {
        let folder = TempDir::new().unwrap();
        let body = folder.path().join("body");
        std::fs::write(&body, self.body).unwrap();
        let script = folder.path().join("script.lua");
        let mut text = format!("wrk.method = '{}'\n", self.method);
        if !self.body.is_empty() {
            let body = body.display();
            writeln!(text, "wrk.body = io.open('{body}', 'rb'):read('*a')").unwrap();
        }
        for (name, value) in self.headers {
            writeln!(text, "wrk.headers['{name}'] = '{value}'").unwrap();
        }
        std::fs::write(&script, text + REPORT).unwrap();
        let mut command = Command::new(cached("wrk/usr/bin/wrk"));
        let libraries = format!("wrk/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        command
            .env("LD_LIBRARY_PATH", cached(&libraries))
            .args(["--threads", "1", "--latency", "--timeout", "60s"])
            .args(["--connections", &self.connections.to_string()])
            .args(["--duration", &format!("{}s", self.duration.as_secs())])
            .arg("--script")
            .arg(&script)
            .arg(self.url);
        let output = run(command, "").await;
        let printed = String::from_utf8_lossy(&output.stdout);
        let report = printed.lines().rev().find(|line| line.starts_with('{'));
        let report = report.unwrap_or_else(|| panic!("wrk: {output:?}"));
        serde_json::from_str(report).unwrap()
    }
}
