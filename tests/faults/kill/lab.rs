//! Causes the lines of a table in one service, which is killed and started again for each of them.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::{fs, mem};

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use transcription_tests::process::{eventually, run};
use transcription_tests::s3_proxy::{Fault, Moment, S3Proxy, Stop};
use transcription_tests::seaweedfs::BUCKET;
use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::librivox;
use transcription_tests::transcription::{Google, Transcription, heard, silent_wav, token};

use super::case::{Asked, BROKEN, Case, First, Killed, Recording, Server, Trouble};
use super::left::{Sent, names_in, open_files, open_uploads, or_nothing};
use super::table::Table;

const SMALL_BYTES: usize = 64 * 1024;
/// Three parts, the last one smaller; and more than goes inline to Gemini.
const LARGE_BYTES: usize = 14 * 1024 * 1024 + 512 * 1024;
/// Whisper works for a while on so much, and a recording of so much is stored in parts.
const SMALL_SECONDS: usize = 20;
const LARGE_SECONDS: usize = 300;
/// How long the engine has computed before it is killed, in hundredths of a second (proc(5): a tick, on Linux).
const WORK_TICKS: u64 = 30;

/// What one table is caused in.
pub struct Lab {
    stack: Transcription,
    google: Google,
    /// In front of that.
    gemini: S3Proxy,
    is_whisper: bool,
    temporary: TempDir,
    rule: LifecycleRule,
    table: Table<6>,
    /// What each line has left, to look at it once more at the end.
    ended: Vec<Ended>,
}

struct Ended {
    sent: Sent,
    keys: Vec<String>,
    told: String,
}

/// What the stand-in for Google has, as far as a kill can change it.
#[derive(Clone, Copy)]
struct AtGoogle {
    files: i64,
    billed: i64,
}

/// The status and the body of an answer, or why there was none.
pub type Answered = Result<(StatusCode, Value), reqwest::Error>;

impl Lab {
    /// A service that asks Gemini.
    pub async fn of_gemini(title: &'static str) -> Self {
        Self::start(title, false).await
    }

    /// A service that hears by itself.
    pub async fn of_whisper(title: &'static str) -> Self {
        Self::start(title, true).await
    }

    async fn start(title: &'static str, is_whisper: bool) -> Self {
        let google = Google::start().await;
        let gemini = S3Proxy::start(&google.url).await;
        let temporary = TempDir::new().unwrap();
        let folder = temporary.path().display().to_string();
        let settings = [
            ("GEMINI_BASE_URL", gemini.endpoint.as_str()),
            ("TMPDIR", &folder),
        ];
        let stack = if is_whisper {
            Transcription::start_whisper("tiny.en", settings).await
        } else {
            Transcription::start_with(settings).await
        };
        let rule = rule_of_init_bucket(&stack).await;
        let heads = [
            "step",
            "killed",
            "the client saw",
            "left in the bucket",
            "left at Google",
            "told after the restart",
        ];
        Self {
            stack,
            google,
            gemini,
            is_whisper,
            temporary,
            rule,
            table: Table::new(title, heads),
            ended: Vec::new(),
        }
    }

    /// Causes each line, prints the table and fails the test if a line is not as it should be.
    pub async fn run(mut self, cases: &[Case]) {
        for case in cases {
            let seen = self.cause(case).await;
            self.table.add(case.expected(), seen);
        }
        // Nothing resumes by itself, and nothing comes late.
        for Ended { sent, keys, told } in &self.ended {
            assert_eq!(sent.keys(&self.stack.s3).await, *keys, "{}", sent.user);
            assert_eq!(sent.told(&self.stack).await, *told, "{}", sent.user);
        }
        self.table.finish();
    }

    async fn cause(&mut self, case: &Case) -> [String; 6] {
        let user = format!("{}", self.ended.len() + 1);
        let wav = self.recording(case.step.recording);
        let google = self.at_google().await;
        let stop = self.prepare(case).await;
        let begun = self.begun().await;
        let mut client = self.send(&user, &wav, case.step.trouble);

        let early = self
            .wait(case, stop.as_ref(), begun, google, &mut client)
            .await;
        let folder = self.kill().await;
        if let Some(stop) = stop {
            stop.break_off();
        }
        self.stack.proxy.heal();
        self.gemini.heal();
        let client = match early {
            Some(answered) => answered,
            None => client.await.unwrap(),
        };
        assert_eq!(names_in(&folder), ["log"], "the service's own folder");
        assert_eq!(names_in(self.temporary.path()), [""; 0]);
        self.stack.restart().await;
        self.is_ready().await;
        let left_at_google = google.left_until(self.at_google().await);
        // Not before: what is held has to find that nobody waits for it.
        self.google.release().await;
        self.transcribes_another(&user).await;

        let sent = Sent {
            id: self.id_of(&user),
            text: (!self.is_whisper).then(|| heard(&wav)),
            user,
            wav,
        };
        let told = sent.told(&self.stack).await;
        let bucket = sent.in_bucket(&self.stack.s3).await;
        self.open_uploads_are_covered().await;
        let keys = sent.keys(&self.stack.s3).await;
        let seen = [
            case.step.name.to_owned(),
            case.killed.name().to_owned(),
            name_of_answer(client),
            bucket,
            left_at_google,
            told.clone(),
        ];
        self.ended.push(Ended { sent, keys, told });
        seen
    }

    fn recording(&self, recording: Recording) -> Vec<u8> {
        let talk = |seconds| sound::wav(&conversation(&librivox(), seconds, 0.3..0.6, 5).samples);
        match (self.is_whisper, recording) {
            (false, Recording::Small) => silent_wav(SMALL_BYTES),
            (false, Recording::Large) => silent_wav(LARGE_BYTES),
            (true, Recording::Small) => talk(SMALL_SECONDS),
            (true, Recording::Large) => talk(LARGE_SECONDS),
        }
    }

    /// Brings about what goes wrong besides, and has the request of the step held.
    async fn prepare(&self, case: &Case) -> Option<Stop> {
        let s3 = &self.stack.proxy;
        match case.step.trouble {
            Trouble::No | Trouble::BadField => {}
            Trouble::ManifestAnswerLost => s3.fail(Method::PUT, "/manifests/", Fault::Lost),
            Trouble::TextRefused => s3.fail(Method::PUT, "/transcripts/", Fault::SlowDown),
            Trouble::ContentBlocked => {
                let blocked = json!({"block_reason": "SAFETY"});
                self.google.fail_to_generate(1, blocked).await;
            }
            Trouble::FileStays => {
                let files = "/v1beta/files/";
                self.gemini.stop(Method::DELETE, files, 0, Moment::Before);
            }
        }
        match (&case.step.request, case.killed) {
            (Asked::By(request), Killed::At(moment)) => {
                let proxy = match request.server {
                    Server::S3 => s3,
                    Server::Gemini => &self.gemini,
                };
                let method = request.method.clone();
                Some(proxy.stop(method, request.path_part, request.skipped, moment))
            }
            (Asked::EngineWorks, Killed::Meanwhile) => {
                self.google.hold(1).await;
                None
            }
            (Asked::Nothing, Killed::Meanwhile) => None,
            _ => panic!("{} has no such moment", case.step.name),
        }
    }

    /// How many recordings the engine has begun with.
    async fn begun(&self) -> i64 {
        if self.is_whisper {
            return self.stack.count("transcription_queue_seconds_count").await;
        }
        let calls = &self.google.counts().await["generate_content_calls"];
        calls.as_i64().unwrap()
    }

    /// Waits until it is time to kill the service; what the client has been answered by then.
    async fn wait(
        &self,
        case: &Case,
        stop: Option<&Stop>,
        begun: i64,
        google: AtGoogle,
        client: &mut JoinHandle<Answered>,
    ) -> Option<Answered> {
        let mut early = None;
        if case.step.first == First::Answered {
            early = Some(client.await.unwrap());
        }
        if let Some(stop) = stop {
            stop.held().await;
        }
        if let Asked::EngineWorks = case.step.request {
            eventually("the engine has begun", async || self.begun().await > begun).await;
            self.computes().await;
        }
        if case.step.first == First::Deleted {
            eventually("the file is deleted", async || {
                self.at_google().await.files == google.files
            })
            .await;
        }
        early
    }

    /// Waits until the engine, if it is in the process, has computed for a moment.
    async fn computes(&self) {
        let process = self.stack.process.id();
        let start = ticks(process);
        eventually("the engine computes", async || {
            !self.is_whisper || ticks(process) >= start + WORK_TICKS
        })
        .await;
    }

    fn send(&self, user: &str, wav: &[u8], trouble: Trouble) -> JoinHandle<Answered> {
        let part = Part::bytes(wav.to_vec()).file_name("a.wav");
        let mut form = Form::new().part("file", part);
        if trouble == Trouble::BadField {
            form = form.text("language", "no tag at all");
        }
        let url = format!("{}/transcribe", self.stack.url);
        let request = self.stack.http.post(url).bearer_auth(token(user));
        let request = request.multipart(form);
        tokio::spawn(async move {
            let response = request.send().await?;
            let status = response.status();
            Ok((status, response.json().await?))
        })
    }

    /// Kills the service; the folder that it ran in.
    async fn kill(&mut self) -> PathBuf {
        let process = &mut self.stack.process;
        let id = process.id();
        let folder = fs::read_link(format!("/proc/{id}/cwd")).unwrap();
        assert_eq!(open_files(id), [""; 0], "nothing is spooled to the disk");
        process.signal("KILL");
        let status = process.ended().await;
        assert_eq!(status.signal(), Some(9), "it was killed: {status}");
        folder
    }

    async fn is_ready(&self) {
        let request = self.stack.http.get(format!("{}/readyz", self.stack.url));
        let ready = request.send().await.unwrap();
        assert_eq!(ready.status(), StatusCode::OK, "after the restart");
    }

    async fn transcribes_another(&self, user: &str) {
        let wav = if self.is_whisper {
            librivox().swap_remove(4).wav
        } else {
            silent_wav(3000)
        };
        let answer = self.stack.transcribe(user, "b.wav", wav).await;
        assert_eq!(answer.status, 200, "after the restart: {answer:?}");
        assert!(answer.json.get("storage").is_none(), "{answer:?}");
        let told = self
            .stack
            .ask(user, answer.json["id"].as_str().unwrap())
            .await;
        assert_eq!(told.json["state"], "complete", "{told:?}");
        assert_eq!(told.json["transcription"], answer.json["transcription"]);
    }

    /// The id of a user's first recording, as the bucket heard of it.
    fn id_of(&self, user: &str) -> String {
        let folder = format!("/private/{user}/audio/");
        let requests = self.stack.proxy.requests();
        let id = requests.iter().find_map(|request| {
            let (_, name) = request.line.split_once(&folder)?;
            Some(name.split_once('.')?.0.to_owned())
        });
        id.unwrap_or_else(|| panic!("the bucket was asked for nothing of {user}"))
    }

    async fn at_google(&self) -> AtGoogle {
        let counts = self.google.counts().await;
        AtGoogle {
            files: counts["files_existing"].as_i64().unwrap(),
            billed: counts["billed_calls"].as_i64().unwrap(),
        }
    }

    /// Fails the test if an upload is open that the lifecycle rule would leave.
    async fn open_uploads_are_covered(&self) {
        let prefix = self.rule.filter().and_then(|filter| filter.prefix());
        for upload in open_uploads(&self.stack.s3).await {
            let key = upload.key.unwrap();
            assert!(key.starts_with(prefix.unwrap()), "{key}: {:?}", self.rule);
        }
    }
}

impl AtGoogle {
    /// What has come since, in words.
    fn left_until(self, now: Self) -> String {
        let mut words = Vec::new();
        match now.files - self.files {
            0 => {}
            1 => words.push("1 file".to_owned()),
            other => words.push(format!("{other} files")),
        }
        match now.billed - self.billed {
            0 => {}
            1 => words.push("1 call billed".to_owned()),
            other => words.push(format!("{other} calls billed")),
        }
        or_nothing(&words)
    }
}

/// The rule that `init-bucket` gives the bucket for uploads that stay open.
async fn rule_of_init_bucket(stack: &Transcription) -> LifecycleRule {
    let output = run(stack.command(&["init-bucket"]), "").await;
    assert!(output.status.success(), "{output:?}");
    let request = stack.s3.client.get_bucket_lifecycle_configuration();
    let mut there = request.bucket(BUCKET).send().await.unwrap();
    let mut rules = mem::take(&mut there.rules).unwrap_or_default();
    assert_eq!(rules.len(), 1, "{rules:?}");
    let rule = rules.remove(0);
    let abort = rule.abort_incomplete_multipart_upload.as_ref();
    let days = abort.and_then(|abort| abort.days_after_initiation);
    assert_eq!(days, Some(1), "{rule:?}");
    assert_eq!(rule.status, ExpirationStatus::Enabled, "{rule:?}");
    rule
}

/// What a client was answered, in words.
pub fn name_of_answer(answered: Answered) -> String {
    match answered {
        Ok((StatusCode::OK, answer)) if answer["storage"] == "pending" => {
            "200, the text is pending".to_owned()
        }
        Ok((StatusCode::OK, answer)) if answer["transcription"].is_string() => {
            "200, the text".to_owned()
        }
        Ok((status, answer)) => format!("{status} {answer}"),
        Err(error) if error.is_timeout() => "no end".to_owned(),
        Err(error) if error.is_connect() => "no connection".to_owned(),
        Err(_) => BROKEN.to_owned(),
    }
}

/// How long a process has computed, in hundredths of a second (proc(5): `utime` and `stime`).
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name of the program may have spaces.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}
