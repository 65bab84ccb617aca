//! A transcription service of two processes that asks the stand-in for Google, one with Whisper, and everything that can become of
//! recordings.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep;
use transcription_tests::client::{Answer, FILE_HEAD, form_head};
use transcription_tests::process::{Process, eventually};
use transcription_tests::s3_proxy::Fault;
use transcription_tests::speech::librivox;
use transcription_tests::transcription::{Google, Transcription, silent_wav, token};

const MIB: usize = 1024 * 1024;
/// A few scrapes.
const SOME_SCRAPES: Duration = Duration::from_secs(3);
const BETWEEN_PROBES: Duration = Duration::from_millis(250);

/// The services.
pub struct Recordings {
    /// The process whose stand-in and bucket fail.
    pub gemini: Transcription,
    /// The address of the other one, with which all is well.
    pub steady_url: String,
    /// The one with Whisper.
    pub whisper: Transcription,
    _steady: (Process, TempDir, Google),
}

impl Recordings {
    /// Starts both, with limits that are soon reached.
    pub async fn start() -> Self {
        let (gemini, whisper) = tokio::join!(
            Transcription::start_with([
                ("ENGINE_TIMEOUT_SECONDS", "5"),
                ("MAX_CONCURRENT_PER_USER", "2"),
                ("MAX_CONCURRENT_TRANSCRIPTIONS", "4"),
                ("MAX_UPLOAD_BYTES", "20971520"),
            ]),
            Transcription::start_whisper("tiny.en", [])
        );
        let google = Google::start().await;
        let well = [
            ("GEMINI_BASE_URL", google.url.as_str()),
            ("AWS_ENDPOINT_URL_S3", gemini.s3.endpoint.as_str()),
        ];
        let (process, steady_url, folder) = Transcription::start_beside(&gemini, well).await;
        Self {
            gemini,
            steady_url,
            whisper,
            _steady: (process, folder, google),
        }
    }

    /// Everything happens, and again until it is time.
    pub async fn are_sent(&self, until: Instant) {
        tokio::join!(
            self.to_gemini(until),
            self.to_steady(until),
            self.to_whisper(until)
        );
    }

    async fn to_steady(&self, until: Instant) {
        let mut round = 0;
        while Instant::now() < until {
            // Up to two minutes of sound.
            let file = Part::bytes(silent_wav(round % 7 * 600_000 + 32_044));
            let form = Form::new().part("file", file.file_name("a.wav"));
            let answer = self.gemini.send_to(&self.steady_url, "1", form).await;
            assert_status(&answer, 200);
            round += 1;
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn to_whisper(&self, until: Instant) {
        let clips = librivox();
        let service = &self.whisper;
        let send = async |number: usize| {
            let clip = &clips[number % clips.len()];
            let answer = service
                .transcribe("1", &clip.file_name, clip.wav.clone())
                .await;
            assert_eq!(answer.status, 200, "{answer:?}");
        };
        let mut round = 0;
        while round < 2 || Instant::now() < until {
            // One after another, and then more than are heard at once.
            send(round).await;
            join_all((1..4).map(|number| send(round + number))).await;
            let broken = [b"fLaC\0\0\0\x22".as_slice(), &[0; 4000]].concat();
            service.transcribe("1", "broken.flac", broken).await;
            round += 1;
            sleep(Duration::from_secs(1)).await;
        }
    }

    async fn to_gemini(&self, until: Instant) {
        let mut round = 0;
        while round < 1 || Instant::now() < until {
            self.usual_things().await;
            self.refused_recordings().await;
            self.failures_of_the_engine().await;
            self.too_many_at_once().await;
            self.failures_of_the_bucket().await;
            round += 1;
        }
    }

    async fn usual_things(&self) {
        let service = &self.gemini;
        for megabytes in [0, 0, 9, 0, 15, 0] {
            let wav = silent_wav(megabytes * MIB + 64_044);
            let answer = service.transcribe("1", "a.wav", wav).await;
            assert_status(&answer, 200);
            let id = answer.json["id"].as_str().unwrap();
            service.ask("1", id).await;
            let answer = service.ask("2", id).await;
            assert_eq!(answer.status, 404, "{answer:?}");
        }
        readiness(service).await;
    }

    async fn refused_recordings(&self) {
        let service = &self.gemini;
        let answers = [
            service.send("1", Form::new().text("language", "en")).await,
            service.transcribe("1", "a.wav", silent_wav(21 * MIB)).await,
            service.transcribe("1", "a.wav", "no audio at all").await,
        ];
        let statuses = answers.each_ref().map(|answer| answer.status.as_u16());
        assert_eq!(statuses, [400, 413, 415], "{answers:?}");
        // Somebody hangs up in the middle of it.
        let address = service.url.strip_prefix("http://").unwrap();
        let mut gone = TcpStream::connect(address).await.unwrap();
        let head = form_head(&service.url, &token("1"), MIB);
        gone.write_all(head.as_bytes()).await.unwrap();
        gone.write_all(FILE_HEAD).await.unwrap();
        gone.write_all(&silent_wav(100_044)).await.unwrap();
        drop(gone);
    }

    async fn failures_of_the_engine(&self) {
        let cases = [
            // Tried again, and well.
            (json!({"unavailable": true}), 200),
            (json!({"cut_before_answer": true}), 200),
            (json!({"rate_per_minute": {"retry_seconds": 0.2}}), 200),
            (json!({"quota_per_day": true}), 503),
            (json!({"bad_key": true}), 503),
            (json!({"block_reason": "SAFETY"}), 422),
            (json!({"status": 418, "body": "{}"}), 502),
            // Longer than the time limit.
            (json!({"delay_milliseconds": 6000}), 504),
        ];
        for (fault, status) in cases {
            self.gemini.google.reset().await;
            self.gemini.google.fail_to_generate(1, fault).await;
            let answer = self.small("1").await;
            assert_status(&answer, status);
        }
        self.gemini.google.reset().await;
    }

    async fn too_many_at_once(&self) {
        self.gemini.google.hold(10).await;
        // Two of them are so large that they are files at Google.
        let held = ["1", "1", "2", "2"].map(|user| {
            let megabytes = if user == "1" { 15 } else { 0 };
            self.gemini.call(user, silent_wav(megabytes * MIB + 32_044))
        });
        eventually("all places are taken", async || {
            self.gemini.count("transcription_in_flight").await == 4
        })
        .await;
        for user in ["3", "1"] {
            let answer = self.small(user).await;
            assert!([429, 503].contains(&answer.status.as_u16()), "{answer:?}");
        }
        sleep(Duration::from_secs(1)).await;
        self.gemini.google.release().await;
        for answer in join_all(held).await {
            assert_status(&answer.unwrap(), 200);
        }
    }

    async fn failures_of_the_bucket(&self) {
        let proxy = &self.gemini.proxy;
        proxy.fail(Method::PUT, "/audio/", Fault::SlowDown);
        let answer = self.small("1").await;
        assert_eq!(answer.status, 503, "{answer:?}");
        proxy.heal();

        proxy.fail(Method::PUT, "/transcripts/", Fault::SlowDown);
        let answer = self.small("1").await;
        assert_eq!(answer.json["storage"], "pending", "{answer:?}");
        // Nor does it tell whether it is there.
        proxy.fail(Method::GET, "list-type=2", Fault::Held);
        eventually("the service is not ready", async || {
            sleep(BETWEEN_PROBES).await;
            readiness(&self.gemini).await == 503
        })
        .await;
        sleep(SOME_SCRAPES).await;
        proxy.heal();
        eventually("the text is stored", async || {
            self.gemini.count("transcription_pending_bytes").await == 0
        })
        .await;
        eventually("the service is ready", async || {
            sleep(BETWEEN_PROBES).await;
            readiness(&self.gemini).await == 200
        })
        .await;
    }

    async fn small(&self, user: &str) -> Answer {
        let file = Part::bytes(silent_wav(32_044)).file_name("a.wav");
        self.gemini.send(user, Form::new().part("file", file)).await
    }
}

/// On a machine that stalls the engine may be too slow.
fn assert_status(answer: &Answer, status: u16) {
    assert!(
        [status, 504].contains(&answer.status.as_u16()),
        "{status} is wanted of {answer:?}"
    );
}

/// What `/readyz` of a service answers.
async fn readiness(service: &Transcription) -> u16 {
    let request = service.http.get(format!("{}/readyz", service.url));
    request.send().await.unwrap().status().as_u16()
}
