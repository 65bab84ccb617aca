//! Somebody who asks a service all the time, and tells what was answered while something was done to it.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use transcription_tests::client::{Answer, http};

/// No answer is waited for longer than this: a machine that is at work with other things may take some of it.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How long what is in flight may take at the end.
const END_LIMIT: Duration = Duration::from_mins(5);

/// Somebody who asks, until told to end.
pub struct Witness {
    asks: JoinHandle<Report>,
    end: oneshot::Sender<()>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Report {
    /// How often it was asked.
    pub asked: usize,
    /// What was answered otherwise than wanted, with the seconds since the beginning.
    pub failures: Vec<String>,
    /// The longest time from one good answer to the next.
    pub longest_gap: Duration,
}

impl Witness {
    /// Asks five times a second who somebody is, each time on a connection of its own.
    pub fn of_a_token(url: String, token: String) -> Self {
        let client = with_new_connections();
        Self::start(Duration::from_millis(200), move || {
            let request = client.get(format!("{url}/me")).bearer_auth(&token);
            async move { wanted(request.send().await) }
        })
    }

    /// Asks five times a second for the greeting, each time on a connection of its own.
    pub fn of_a_greeting(url: String) -> Self {
        let client = with_new_connections();
        Self::start(Duration::from_millis(200), move || {
            let request = client.get(&url);
            async move { wanted(request.send().await) }
        })
    }

    /// Sends a recording, and the next one as soon as it is answered, as a client does that keeps its connections.
    pub fn of_recordings(url: String, token: String, wav: Vec<u8>) -> Self {
        let client = http();
        Self::start(Duration::ZERO, move || {
            let part = reqwest::multipart::Part::bytes(wav.clone()).file_name("speech.wav");
            let form = reqwest::multipart::Form::new().part("file", part);
            let request = client.post(format!("{url}/transcribe")).bearer_auth(&token);
            let request = request.multipart(form);
            async move {
                let answer = request.send().await.map_err(|error| told(&error))?;
                let answer = Answer::of(answer).await;
                let text = answer.json["transcription"].as_str().unwrap_or_default();
                if answer.status == StatusCode::OK && !text.is_empty() {
                    return Ok(());
                }
                Err(format!("{answer:?}"))
            }
        })
    }

    fn start<F, A>(pause: Duration, ask: F) -> Self
    where
        F: Fn() -> A + Send + 'static,
        A: Future<Output = Result<(), String>> + Send,
    {
        let (end, mut ended) = oneshot::channel();
        let asks = tokio::spawn(async move {
            let began = Instant::now();
            let mut report = Report::default();
            let mut answered = began;
            // At least once after it was told to end: so it is seen how it ended.
            loop {
                let is_last = ended.try_recv() != Err(oneshot::error::TryRecvError::Empty);
                report.asked += 1;
                match ask().await {
                    Ok(()) => {
                        report.longest_gap = report.longest_gap.max(answered.elapsed());
                        answered = Instant::now();
                    }
                    Err(failure) => {
                        let after = began.elapsed().as_secs_f64();
                        report.failures.push(format!("{after:.1} s: {failure}"));
                    }
                }
                if is_last {
                    report.longest_gap = report.longest_gap.max(answered.elapsed());
                    return report;
                }
                sleep(pause).await;
            }
        });
        Self { asks, end }
    }

    /// Ends it; what it has seen.
    pub async fn report(self) -> Report {
        let Self { asks, end } = self;
        // It is still there, unless it panicked, which the next line tells.
        let _ = end.send(());
        timeout(END_LIMIT, asks).await.unwrap().unwrap()
    }
}

fn with_new_connections() -> Client {
    Client::builder()
        .connect_timeout(PROBE_LIMIT)
        .timeout(PROBE_LIMIT)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .unwrap()
}

fn wanted(answer: reqwest::Result<reqwest::Response>) -> Result<(), String> {
    match answer {
        Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
        Ok(answer) => Err(answer.status().to_string()),
        Err(error) => Err(told(&error)),
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes = causes.map(ToString::to_string).collect::<Vec<_>>();
    causes.join(": ")
}
