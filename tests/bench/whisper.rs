//! Our Whisper next to faster-whisper, with the same model, threads and files, in turns. Ours is asked as users ask it: the time is
//! that of an upload, stored in S3, until its text is stored.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a person, which has to stop at what it does not expect"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use transcription_tests::files::{cached, root};
use transcription_tests::process::{forget_peak, memory_kib};
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
        "{threads} threads, int8; each clip {TURNS} times in turns, the long file once; medians"
    );
    println!(
        "{:8} {:12} {:>6} | {:>9} {:>9} {:>6} | {:>9} {:>9} | {:>9} {:>9} {:>6}",
        "model",
        "file",
        "words",
        "seconds",
        "theirs",
        "ratio",
        "errors",
        "theirs",
        "peak MiB",
        "theirs",
        "ratio"
    );
    let mut missed = Vec::new();
    for name in ["tiny.en", "base"] {
        let ours = Transcription::start_whisper(name, [("RUST_LOG", "warn")]).await;
        let mut theirs = FasterWhisper::start(name, threads);
        for (clip, turns) in clips.iter().map(|clip| (clip, TURNS)).chain([(&long, 1)]) {
            let path = folder.path().join("file.wav");
            fs::write(&path, &clip.wav).unwrap();
            let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
            let mut texts = (String::new(), String::new());
            for process in [ours.process.id(), theirs.process.id()] {
                forget_peak(process);
            }
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
            let errors = [&our_text, &their_text].map(|text| word_errors(text, &clip.words));
            let seconds = [our_times, their_times].map(|times| median(times).as_secs_f64());
            let peaks = [ours.process.id(), theirs.process.id()].map(peak_mebibytes);
            let file = short_name(clip);
            let (time_ratio, memory_ratio) = (seconds[0] / seconds[1], peaks[0] / peaks[1]);
            println!(
                "{name:8} {file:12} {:6} | {:9.2} {:9.2} {time_ratio:6.2} | {:9} {:9} | {:9.0} {:9.0} {memory_ratio:6.2}",
                word_count(&clip.words),
                seconds[0],
                seconds[1],
                errors[0],
                errors[1],
                peaks[0],
                peaks[1],
            );
            for (goal, met) in [
                ("no more word errors", errors[0] <= errors[1]),
                ("time at most 1.0 of theirs", time_ratio <= 1.0),
                ("memory at most 0.7 of theirs", memory_ratio <= 0.7),
            ] {
                if !met {
                    missed.push(format!("{name} {file}: {goal}"));
                }
            }
            if clip.file_name == long.file_name {
                for (text, whose) in [(&our_text, "ours"), (&their_text, "theirs")] {
                    let wrong = clips.iter().enumerate().map(|(number, clip)| {
                        let played = talk.played.iter().filter(|&&clip| clip == number).count();
                        played.abs_diff(times_heard(text, &clip.words))
                    });
                    println!(
                        "{name:8} sentences of {} lost or too many, {whose}: {}",
                        talk.played.len(),
                        wrong.sum::<usize>()
                    );
                }
            }
        }
    }
    if missed.is_empty() {
        println!("Every goal is met.");
    } else {
        println!("Missed:\n{}", missed.join("\n"));
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

/// The most memory that a process had in use since [`forget_peak`], in MiB.
#[expect(clippy::cast_precision_loss, reason = "a few gibibytes")]
fn peak_mebibytes(process: u32) -> f64 {
    memory_kib(process, "VmHWM:") as f64 / 1024.0
}

/// A Python process that has loaded the model.
struct FasterWhisper {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl FasterWhisper {
    fn start(name: &str, threads: usize) -> Self {
        let script = root().join("tests/bench/witness.py");
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
