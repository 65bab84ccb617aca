//! Recordings that are broken or made to do harm, as both engines meet them: with Gemini the headers are read, with Whisper everything.

use std::fmt;
use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use transcription_service::audio::decode::{DecodeError, Samples};
use transcription_service::audio::{AudioFormat, SNIFF_BYTES, duration_seconds};
use transcription_service::stop::Stop;
use transcription_tests::arbitrary::{try_for_a_while, within};
use transcription_tests::files::{data, recording};
use transcription_tests::process::{forget_peak, memory_kib};

use super::change::{changed, changes};
use super::time;

/// What the service lets the headers take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// What an engine would let everything take.
const DECODE_LIMIT: Duration = Duration::from_secs(10);
/// On a machine that does other things too.
const SLACK: Duration = Duration::from_secs(20);
/// Headers may be of 16 MiB, which are kept twice; and there is the file, and a window of sound.
const MAX_KIB: u64 = 64 * 1024;
/// Samples that are asked for at a time: a window of Whisper's.
const WINDOW_SAMPLES: usize = 480_000;

/// A recording that is as it should be.
#[derive(Clone)]
struct File {
    name: String,
    bytes: Vec<u8>,
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// A second of speech in each format.
fn recordings() -> Vec<File> {
    let formats = fs::read_dir(data("formats")).unwrap();
    let mut files = formats
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension != "md"))
        .collect::<Vec<_>>();
    files.push(recording("0870.flac"));
    files.push(data("../../services/transcription/data/speech.wav"));
    files.sort();
    let file = |name: &str, bytes: Vec<u8>| File {
        name: name.to_owned(),
        bytes,
    };
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        file(&name, fs::read(path).unwrap())
    };
    let mut all = files.iter().map(read).collect::<Vec<_>>();
    let webm = all.iter().find(|file| file.name.ends_with("webm"));
    let matroska = matroska(&webm.unwrap().bytes);
    all.push(file("second.mka", matroska));
    all.push(file("compressed.wav", adpcm()));
    all
}

/// The same under the other name of its kind. The name is longer: so is the header around it.
fn matroska(webm: &[u8]) -> Vec<u8> {
    let named = b"\x42\x82\x84webm";
    let at = webm.windows(named.len()).position(|bytes| bytes == named);
    let at = at.unwrap();
    let mut all = webm.to_vec();
    all.splice(at..at + named.len(), *b"\x42\x82\x88matroska");
    // The length of the header is the byte, or the last of the bytes, behind its id.
    let length = if all[4] == 0x01 { 11 } else { 4 };
    all[length] += 4;
    all
}

/// A WAV file of blocks with four bits a sample (Microsoft's ADPCM), which nothing but the blocks' heads describes.
fn adpcm() -> Vec<u8> {
    let mut wav = b"RIFF\0\0\x01\0WAVEfmt \x32\0\0\0\x02\0\x01\0\x40\x1f\0\0\0\x10\0\0\0\x01\x04\0\x20\0\xf4\x01\x07\0".to_vec();
    let coefficients = [
        256, 0, 512, -256, 0, 0, 192, 64, 240, 0, 460, -208, 392, -232_i16,
    ];
    wav.extend(coefficients.iter().flat_map(|number| number.to_le_bytes()));
    wav.extend(b"data\0\x20\0\0");
    let block = (0..=255_u8).map(|byte| if byte == 0 { 1 } else { byte });
    wav.extend(block.cycle().take(8192));
    wav
}

#[test]
fn no_recording_causes_a_panic_a_hang_or_more_memory_than_it_may_take() {
    let files = recordings();
    for file in &files {
        let heard = hear(file.bytes.clone()).unwrap();
        assert!(
            heard.is_some_and(|samples| samples > 0),
            "{file:?}: {heard:?}"
        );
    }
    let choice = prop::sample::select(files);
    let inputs = (
        choice.clone(),
        changes(),
        prop::option::weighted(0.1, choice),
    );

    let tried = try_for_a_while(time(), &inputs, |(file, changes, other)| {
        let mut bytes = changed(file.bytes, &changes);
        // Another file within.
        if let Some(other) = other {
            let middle = bytes.len() / 2;
            bytes.splice(middle..middle, other.bytes);
        }
        hear(bytes).map(drop)
    });

    println!("{tried} recordings were tried");
}

/// How many samples are in it, if it is audio at all.
fn hear(bytes: Vec<u8>) -> Result<Option<usize>, TestCaseError> {
    let process = std::process::id();
    forget_peak(process);
    let before = memory_kib(process, "VmRSS:");
    let heard = within(PROBE_LIMIT + DECODE_LIMIT + SLACK, move || {
        read(&bytes.into())
    })?;
    let took = memory_kib(process, "VmHWM:").saturating_sub(before);
    prop_assert!(took < MAX_KIB, "it takes {took} KiB");
    Ok(heard)
}

#[expect(
    clippy::default_trait_access,
    reason = "the token's type is another package's"
)]
fn read(bytes: &Arc<[u8]>) -> Option<usize> {
    let format = AudioFormat::of(&bytes[..bytes.len().min(SNIFF_BYTES)])?;
    let seconds = duration_seconds(
        Box::new(Cursor::new(Arc::clone(bytes))),
        format,
        PROBE_LIMIT,
    );
    assert!(
        seconds.is_none_or(|seconds| seconds.is_finite() && seconds > 0.0),
        "{seconds:?}"
    );
    let stop = Stop {
        deadline: Instant::now() + DECODE_LIMIT,
        cut: Default::default(),
    };
    let opened = Samples::open(|| Box::new(Cursor::new(Arc::clone(bytes))), format, stop);
    let mut samples = opened.map_err(|error| refused(&error)).ok()?;
    let mut heard = 0;
    let mut window = Vec::new();
    loop {
        window.clear();
        if let Err(error) = samples.fill(&mut window, WINDOW_SAMPLES) {
            refused(&error);
            return Some(heard);
        }
        if window.is_empty() {
            return Some(heard);
        }
        heard += window.len();
        // A filter of a resampler may go beyond what it is given.
        let is_sound = |sample: &f32| (-4.0..=4.0).contains(sample);
        assert!(window.iter().all(is_sound), "it is no sound");
    }
}

/// What a client would be told is a sentence for people.
fn refused(error: &DecodeError) {
    let said = error.to_string();
    assert!(!said.chars().any(char::is_control), "{said:?}");
    assert!(said.len() < 1000, "{said}");
    assert!(!matches!(error, DecodeError::Read(_)), "{error:?}");
}
