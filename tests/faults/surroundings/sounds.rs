//! Recordings that are far longer than their files are large, and headers that lie: Whisper hears them within its time, and in bounded
//! memory.

use std::fs;
use std::time::{Duration, Instant};

use transcription_tests::files::data;
use transcription_tests::process::{forget_peak, memory_kib};
use transcription_tests::sound::ffmpeg;
use transcription_tests::speech::{librivox, word_errors};
use transcription_tests::transcription::{Transcription, silent_wav, wav_header};

/// How long the engine may take here.
const LIMIT_SECONDS: u64 = 10;
/// How much longer an answer may take: the recording has to be stored too.
const SLACK: Duration = Duration::from_secs(10);

struct Bomb {
    name: &'static str,
    file: Vec<u8>,
}

/// Minutes of silence, as small as each format makes them.
async fn silence(name: &'static str, minutes: u32, arguments: &[&str], extension: &str) -> Bomb {
    let seconds = (minutes * 60).to_string();
    let endless = ["-af", "aloop=loop=-1:size=16000", "-t", &seconds];
    let arguments = [&endless[..], arguments].concat();
    let file = ffmpeg(&silent_wav(44 + 32_000), &arguments, extension).await;
    Bomb { name, file }
}

/// A WAV file with other numbers in its head: rate, channels, bits.
fn wav(rate: u32, channels: u16, bits: u16, size: usize) -> Vec<u8> {
    let mut file = wav_header(size);
    let frame = channels.wrapping_mul(bits / 8);
    file[22..24].copy_from_slice(&channels.to_le_bytes());
    file[24..28].copy_from_slice(&rate.to_le_bytes());
    file[28..32].copy_from_slice(&rate.wrapping_mul(u32::from(frame)).to_le_bytes());
    file[32..34].copy_from_slice(&frame.to_le_bytes());
    file[34..36].copy_from_slice(&bits.to_le_bytes());
    file.resize(size, 0x80);
    file
}

/// A recording of `tests/data/formats` with some bytes of it changed, so many behind the first place where `mark` is.
fn changed(name: &str, mark: &[u8], behind: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = fs::read(data("formats").join(name)).unwrap();
    let mut places = file.windows(mark.len());
    let at = places.position(|place| place == mark).unwrap() + mark.len() + behind;
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

async fn bombs() -> Vec<Bomb> {
    let bomb = |name, file| Bomb { name, file };
    let mut lying = librivox().swap_remove(1).wav;
    lying[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut flac = fs::read(data("librivox").join("0870.flac")).unwrap();
    // The number of samples: the last 36 bits before the sum (RFC 9639 §8.2).
    flac[21] |= 0x0f;
    flac[22..26].fill(0xff);
    // Recordings may follow one another in one Ogg file.
    let opus = ["-c:a", "libopus", "-b:a", "6k", "-frame_duration", "60"];
    let minute = silence("", 1, &opus, "opus").await.file;
    vec![
        silence(
            "12 hours as FLAC",
            12 * 60,
            &["-c:a", "flac", "-frame_size", "65535"],
            "flac",
        )
        .await,
        bomb(
            "2 hours as Opus, a minute after another",
            minute.repeat(120),
        ),
        silence(
            "10 minutes as WebM",
            10,
            &["-c:a", "libopus", "-b:a", "6k"],
            "webm",
        )
        .await,
        silence(
            "30 minutes as M4A",
            30,
            &["-c:a", "aac", "-b:a", "8k", "-ar", "8000"],
            "m4a",
        )
        .await,
        bomb("11 days at one sample a second", wav(1, 1, 8, 1_000_044)),
        bomb("3 hours at 100 samples a second", wav(100, 1, 8, 1_000_044)),
        bomb(
            "four thousand million samples a second",
            wav(u32::MAX, 1, 16, 1_000_044),
        ),
        bomb("no samples a second", wav(0, 1, 16, 100_044)),
        bomb("65 535 channels", wav(16_000, u16::MAX, 8, 1_000_044)),
        bomb("a WAV that says it has 4 GiB", lying),
        bomb("a FLAC that says it has 68 thousand million samples", flac),
        // The count is behind version, flags and the size of all (ISO/IEC 14496-12 §8.7.3).
        bomb(
            "an M4A that says it has 4 thousand million packets",
            changed("second.m4a", b"stsz", 8, &[0xff; 4]),
        ),
        bomb(
            "an M4A of which one packet lasts 4 thousand million samples",
            changed("second.m4a", b"stts", 12, &[0xff; 4]),
        ),
    ]
}

#[tokio::test]
async fn what_decodes_to_far_more_than_its_size_is_answered_in_time_and_in_bounded_memory() {
    let limit = LIMIT_SECONDS.to_string();
    let settings = [
        ("ENGINE_TIMEOUT_SECONDS", &*limit),
        ("WHISPER_WORKERS", "1"),
    ];
    let stack = Transcription::start_whisper("tiny.en", settings).await;
    let process = stack.process.id();
    let clip = librivox().swap_remove(1);
    // What the model needs for one window, it keeps.
    let plain = stack.transcribe("1", "a.wav", clip.wav.clone()).await;
    assert_eq!(plain.status, 200, "{plain:?}");

    for Bomb { name, file } in bombs().await {
        let size = file.len();
        let before = memory_kib(process, "VmRSS:");
        forget_peak(process);
        let start = Instant::now();

        let answer = stack.transcribe("1", "a", file).await;

        let took = start.elapsed();
        let grown = memory_kib(process, "VmHWM:").saturating_sub(before);
        let code = answer.json["code"].as_str().unwrap_or("ok").to_owned();
        println!(
            "{name}, {size} bytes: {} {code} after {took:?}, {grown} KiB more",
            answer.status
        );
        assert!(
            took < Duration::from_secs(LIMIT_SECONDS) + SLACK,
            "{took:?}"
        );
        assert!(grown < 128 * 1024, "{grown} KiB");
        match answer.status.as_u16() {
            200 => assert!(answer.json["transcription"].is_string()),
            422 => drop(answer.assert_problem(422, "audio_undecodable")),
            _ => drop(answer.assert_problem(504, "engine_timeout")),
        }
        let manifest = stack.manifest("1", &answer.json["id"]).await;
        let state = if code == "ok" { "complete" } else { "failed" };
        assert_eq!(manifest["state"], state, "{manifest}");
    }

    // Nothing of it is still computed, and the next one is heard.
    let start = Instant::now();
    let after = stack.transcribe("1", "a.wav", clip.wav).await;
    assert_eq!(after.status, 200, "{after:?}");
    let heard = after.json["transcription"].as_str().unwrap();
    assert!(word_errors(heard, &clip.words) <= 2, "{heard}");
    assert!(start.elapsed() < SLACK, "{:?}", start.elapsed());
}
