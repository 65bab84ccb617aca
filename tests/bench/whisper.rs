//! Our Whisper next to faster-whisper, with the same model, threads and files, in turns. Ours is asked as users ask it: the time is
//! that of an upload, stored in S3, until its text is stored.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use transcription_tests::files::cached;
use transcription_tests::sound::{self, conversation};
use transcription_tests::speech::{Clip, librivox, times_heard, word_count, word_errors};
use transcription_tests::stack::model;
use transcription_tests::transcription::Transcription;

const TURNS: usize = 5;
const LONG_SECONDS: usize = 600;
const SEED: u64 = 20_261_123;

#[tokio::main]
async fn main() {
    let threads = available_parallelism().unwrap().get();
    let clips = librivox();
    let folder = TempDir::new().unwrap();
    let talk = conversation(&clips, LONG_SECONDS, 0.3..2.0, SEED);
    let long = Clip {
        file_name: "ten minutes".to_owned(),
        wav: sound::wav(&talk.samples),
        words: talk
            .played
            .iter()
            .map(|&clip| clips[clip].words.as_str())
            .collect::<Vec<_>>()
            .join(" "),
    };
    println!(
        "{threads} threads, int8; each file {TURNS} times in turns, the long one once; medians"
    );
    println!(
        "{:8} {:12} {:>6} | {:>9} {:>9} {:>6} | {:>9} {:>9}",
        "model", "file", "words", "seconds", "theirs", "ratio", "errors", "theirs"
    );
    for name in ["tiny.en", "base"] {
        let ours = Transcription::start_whisper(name, [("RUST_LOG", "warn")]).await;
        let mut theirs = FasterWhisper::start(name, threads);
        for (clip, turns) in clips.iter().map(|clip| (clip, TURNS)).chain([(&long, 1)]) {
            let path = folder.path().join("file.wav");
            fs::write(&path, &clip.wav).unwrap();
            let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
            let mut texts = (String::new(), String::new());
            for _ in 0..turns {
                let start = Instant::now();
                let answer = ours.transcribe("1", "a.wav", clip.wav.clone()).await;
                our_times.push(start.elapsed());
                let our_text = answer.json["transcription"].as_str().unwrap().to_owned();
                let start = Instant::now();
                texts = (our_text, theirs.transcribe(&path));
                their_times.push(start.elapsed());
            }
            let (our_text, their_text) = texts;
            let (our_time, their_time) = (median(our_times), median(their_times));
            println!(
                "{name:8} {:12} {:6} | {:9.2} {:9.2} {:6.2} | {:9} {:9}",
                short_name(clip),
                word_count(&clip.words),
                our_time.as_secs_f64(),
                their_time.as_secs_f64(),
                our_time.as_secs_f64() / their_time.as_secs_f64(),
                word_errors(&our_text, &clip.words),
                word_errors(&their_text, &clip.words),
            );
            if clip.file_name == long.file_name {
                for (text, whose) in [(&our_text, "ours"), (&their_text, "theirs")] {
                    let missing = clips.iter().enumerate().map(|(number, clip)| {
                        let played = talk.played.iter().filter(|&&clip| clip == number).count();
                        played.abs_diff(times_heard(text, &clip.words))
                    });
                    let missing = missing.sum::<usize>();
                    println!(
                        "{name:8} sentences of {} lost or too many, {whose}: {missing}",
                        talk.played.len()
                    );
                }
            }
        }
        let (our_kib, their_kib) = (peak_kib(ours.process.id()), peak_kib(theirs.process.id()));
        println!(
            "{name:8} peak memory: {} MiB, theirs {} MiB, ratio {:.2}",
            our_kib / 1024,
            their_kib / 1024,
            mebibytes(our_kib) / mebibytes(their_kib)
        );
    }
}

/// The last four digits of a clip's name.
fn short_name(clip: &Clip) -> &str {
    let name = clip.file_name.trim_end_matches(".wav");
    name.rsplit('-').next().unwrap_or(name)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "a few gibibytes")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// The most memory that a process had in use since it began, in KiB.
fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.unwrap().trim().trim_end_matches(" kB");
    number.parse().unwrap()
}

/// A Python process that has loaded the model.
struct FasterWhisper {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl FasterWhisper {
    fn start(name: &str, threads: usize) -> Self {
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/witness.py");
        let mut process = Command::new("python3")
            .env("PYTHONPATH", cached("faster-whisper-1.2.1"))
            .arg(script)
            .arg(model(name))
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut started = Self {
            input: process.stdin.take().unwrap(),
            output: BufReader::new(process.stdout.take().unwrap()),
            process,
        };
        assert_eq!(started.read()["ready"], true);
        started
    }

    fn transcribe(&mut self, file: &Path) -> String {
        writeln!(self.input, "{}", file.display()).unwrap();
        let answer = self.read();
        assert_eq!(answer["language"], "en");
        answer["text"].as_str().unwrap().to_owned()
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for FasterWhisper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
