//! A transcription service that asks Gemini's stand-in, on an S3 server whose faults can be chosen.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use reqwest::Client;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::client::{Answer, http};
use crate::files::{binary, sha256_of};
use crate::process::{Process, forget_peak, is_answered, memory_kib, start_at_free_port};
use crate::s3_proxy::S3Proxy;
use crate::seaweedfs::SeaweedFs;
use crate::stack::{Environment, SIGNING_KEY, model, transcription_environment};

/// The key that the stand-in takes.
pub const GEMINI_KEY: &str = "a-key-of-the-lab-for-gemini";

/// A running service.
pub struct Transcription {
    /// The running program.
    pub process: Process,
    /// Its address.
    pub url: String,
    /// Its settings.
    pub environment: Environment,
    /// What it stores in.
    pub s3: SeaweedFs,
    /// What is in front of that.
    pub proxy: S3Proxy,
    /// What it asks.
    pub google: Google,
    /// A client, which keeps its connections.
    pub http: Client,
    folder: TempDir,
}

/// The stand-in for Google.
pub struct Google {
    /// Its address.
    pub url: String,
    http: Client,
}

impl Transcription {
    /// Starts a service.
    pub async fn start() -> Self {
        Self::start_with([]).await
    }

    /// Starts a service with further settings.
    pub async fn start_with<const N: usize>(settings: [(&'static str, &str); N]) -> Self {
        Self::launch(&binary("transcription-service"), settings, |environment| {
            environment.remove("WHISPER_MODEL");
        })
        .await
    }

    /// Starts the service as it is built alone, without Whisper.
    pub async fn start_slim() -> Self {
        Self::launch(&binary("transcription-service-slim"), [], |environment| {
            environment.remove("WHISPER_MODEL");
        })
        .await
    }

    /// Starts a service that does not ask the stand-in but Whisper, with further settings.
    pub async fn start_whisper<const N: usize>(
        model_name: &str,
        settings: [(&'static str, &str); N],
    ) -> Self {
        Self::launch(&binary("transcription-service"), settings, |environment| {
            environment.insert("TRANSCRIPTION_ENGINE", "whisper".to_owned());
            environment.insert("WHISPER_MODEL", model(model_name));
        })
        .await
    }

    async fn launch<const N: usize>(
        program: &Path,
        settings: [(&'static str, &str); N],
        choose_engine: impl FnOnce(&mut Environment),
    ) -> Self {
        let s3 = SeaweedFs::start().await;
        let proxy = S3Proxy::start(&s3.endpoint).await;
        let google = Google::start().await;
        let mut environment = transcription_environment(&s3);
        choose_engine(&mut environment);
        let of_test = settings.map(|(name, value)| (name, value.to_owned()));
        environment.extend([
            ("AWS_ENDPOINT_URL_S3", proxy.endpoint.clone()),
            ("GEMINI_API_KEY", GEMINI_KEY.to_owned()),
            ("GEMINI_BASE_URL", google.url.clone()),
        ]);
        environment.extend(of_test);
        let folder = TempDir::new().unwrap();
        let (process, url) = start(program, &environment, &folder).await;
        let address = url.strip_prefix("http://").unwrap();
        // For what is run beside it.
        environment.insert("LISTEN_ADDR", address.to_owned());
        Self {
            process,
            url,
            environment,
            s3,
            proxy,
            google,
            http: http(),
            folder,
        }
    }

    /// Starts it again after it has ended, with the same settings, and at the same address unless another program was quicker there.
    pub async fn restart(&mut self) {
        let mut command = self.command(&["serve"]);
        let mut process = Process::start(&mut command, self.folder.path().join("log"));
        if is_answered(&self.url, &mut process).await && process.is_running() {
            self.process = process;
            return;
        }
        let program = binary("transcription-service");
        (self.process, self.url) = start(&program, &self.environment, &self.folder).await;
        let address = self.url.trim_start_matches("http://").to_owned();
        self.environment.insert("LISTEN_ADDR", address);
    }

    /// Starts a second service with the settings of `other` but for these; the program and its address.
    pub async fn start_beside<const N: usize>(
        other: &Self,
        settings: [(&'static str, &str); N],
    ) -> (Process, String, TempDir) {
        let mut environment = other.environment.clone();
        environment.extend(settings.map(|(name, value)| (name, value.to_owned())));
        let folder = TempDir::new().unwrap();
        let program = binary("transcription-service");
        let (process, url) = start(&program, &environment, &folder).await;
        (process, url, folder)
    }

    /// The same with one setting that differs.
    pub async fn start_on(
        other: &Self,
        name: &'static str,
        value: &str,
    ) -> (Process, String, TempDir) {
        Self::start_beside(other, [(name, value)]).await
    }

    /// The program with other arguments and the same settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let program = binary("transcription-service");
        command(&program, &self.environment, &self.folder, args)
    }

    /// Sends a file as the user with this id.
    pub async fn transcribe(&self, user_id: &str, name: &str, bytes: impl Into<Vec<u8>>) -> Answer {
        let part = Part::bytes(bytes.into()).file_name(name.to_owned());
        self.send(user_id, Form::new().part("file", part)).await
    }

    /// Sends a form as the user with this id.
    pub async fn send(&self, user_id: &str, form: Form) -> Answer {
        self.send_to(&self.url, user_id, form).await
    }

    /// Sends a form to another service with the same signing key.
    pub async fn send_to(&self, url: &str, user_id: &str, form: Form) -> Answer {
        let request = self
            .http
            .post(format!("{url}/transcribe"))
            .bearer_auth(token(user_id))
            // An hour of sound on a busy machine takes its time.
            .timeout(Duration::from_mins(10))
            .multipart(form);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Sends a recording as the user with this id, and goes on. The answer may fail to come.
    pub fn call(&self, user_id: &str, wav: Vec<u8>) -> JoinHandle<Answer> {
        let form = Form::new().part("file", Part::bytes(wav).file_name("a.wav"));
        let request = self
            .http
            .post(format!("{}/transcribe", self.url))
            .bearer_auth(token(user_id))
            .multipart(form);
        tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
    }

    /// Asks for a transcription as the user with this id.
    pub async fn ask(&self, user_id: &str, id: &str) -> Answer {
        let request = self
            .http
            .get(format!("{}/transcriptions/{id}", self.url))
            .bearer_auth(token(user_id));
        Answer::of(request.send().await.unwrap()).await
    }

    /// The manifest of a transcription of the user with this id.
    pub async fn manifest(&self, user_id: &str, id: &Value) -> Value {
        let id = id.as_str().unwrap();
        let key = format!("private/{user_id}/manifests/{id}.json");
        serde_json::from_slice(&self.s3.object(&key).await.0).unwrap()
    }

    /// The metrics.
    pub async fn metrics(&self) -> String {
        let request = self.http.get(format!("{}/metrics", self.url));
        Answer::of(request.send().await.unwrap()).await.text
    }

    /// The value of a metric that is a whole number.
    pub async fn count(&self, name: &str) -> i64 {
        let text = self.metrics().await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in:\n{text}"))
            .parse()
            .unwrap()
    }

    /// The most memory that the program had in use since [`forget_peak`](Self::forget_peak), in KiB.
    pub fn peak_kib(&self) -> u64 {
        memory_kib(self.process.id(), "VmHWM:")
    }

    /// The memory that the program has in use, in KiB.
    pub fn resident_kib(&self) -> u64 {
        memory_kib(self.process.id(), "VmRSS:")
    }

    /// Lets the peak begin anew.
    pub fn forget_peak(&self) {
        forget_peak(self.process.id());
    }
}

impl Google {
    /// Starts the stand-in on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { gemini_stand_in::serve(listener, GEMINI_KEY).await });
        Self { url, http: http() }
    }

    /// Queues faults, each for the next request that it fits.
    pub async fn fail(&self, faults: Value) {
        let request = self.http.post(format!("{}/_stand-in/faults", self.url));
        let status = request.json(&faults).send().await.unwrap().status();
        assert!(status.is_success(), "{faults}: {status}");
    }

    /// Queues a fault for the next requests to transcribe.
    pub async fn fail_to_generate(&self, times: u32, fault: Value) {
        self.fail(json!([{"on": "generate", "times": times, "fault": fault}]))
            .await;
    }

    /// Holds the answers to the next requests to transcribe until [`release`](Self::release).
    pub async fn hold(&self, times: u32) {
        self.fail_to_generate(times, json!({"held": true})).await;
    }

    /// Lets go what is held, and forgets faults that are still to come.
    pub async fn release(&self) {
        let url = format!("{}/_stand-in/faults", self.url);
        self.http.delete(url).send().await.unwrap();
    }

    /// Forgets faults and counts.
    pub async fn reset(&self) {
        for path in ["faults", "counts"] {
            let url = format!("{}/_stand-in/{path}", self.url);
            self.http.delete(url).send().await.unwrap();
        }
    }

    /// What the stand-in has counted.
    pub async fn counts(&self) -> Value {
        let request = self.http.get(format!("{}/_stand-in/counts", self.url));
        request.send().await.unwrap().json().await.unwrap()
    }
}

/// A token of the user with this id, as the old backend made them.
pub fn token(user_id: &str) -> String {
    let claims = json!({"sub": user_id, "username": "ada", "exp": 4_102_444_800_u64});
    let key = EncodingKey::from_secret(SIGNING_KEY.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

/// A WAV file of silence with this many bytes in all.
pub fn silent_wav(size_bytes: usize) -> Vec<u8> {
    let mut wav = wav_header(size_bytes);
    wav.resize(size_bytes, 0);
    wav
}

/// The head of a WAV file with this many bytes in all: 16 kHz, one channel, 16 bit.
pub fn wav_header(size_bytes: usize) -> Vec<u8> {
    const HEAD_BYTES: usize = 44;
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut head = b"RIFF".to_vec();
    head.extend(number(size_bytes - 8));
    head.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
    head.extend(number(size_bytes - HEAD_BYTES));
    assert_eq!(head.len(), HEAD_BYTES);
    head
}

/// The service, and its address.
async fn start(program: &Path, environment: &Environment, folder: &TempDir) -> (Process, String) {
    start_at_free_port(|address| {
        let mut command = command(program, environment, folder, &["serve"]);
        command.env("LISTEN_ADDR", address);
        Process::start(&mut command, folder.path().join("log"))
    })
    .await
}

fn command(program: &Path, environment: &Environment, folder: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs(environment)
        .current_dir(folder.path())
        .args(args);
    command
}

/// What the stand-in for Google hears in these bytes.
pub fn heard(bytes: &[u8]) -> String {
    format!(
        "heard {} bytes, sha256 {}",
        bytes.len(),
        &sha256_of(bytes)[..12]
    )
}
