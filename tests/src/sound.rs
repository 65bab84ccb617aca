//! Sounds: what tests put together from the recordings, noise and silence, and how ffmpeg packs it.

use std::f32::consts::TAU;
use std::fs;
use std::process::Command;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::files::cached;
use crate::process::run;
use crate::speech::Clip;
use crate::transcription::wav_header;

/// Samples a second of all sounds here.
pub const RATE: usize = 16_000;

/// The samples of a clip.
pub fn samples(clip: &Clip) -> Vec<f32> {
    // The clips' headers are the plain 44 bytes.
    let samples = clip.wav[44..].as_chunks::<2>().0.iter();
    samples
        .map(|&bytes| f32::from(i16::from_le_bytes(bytes)) / 32_768.0)
        .collect()
}

/// A WAV file: 16 kHz, one channel, 16 bit.
#[expect(clippy::cast_possible_truncation, reason = "brought into range before")]
pub fn wav(samples: &[f32]) -> Vec<u8> {
    let mut wav = wav_header(44 + 2 * samples.len());
    for sample in samples {
        let sample = (sample * 32_768.0).clamp(-32_768.0, 32_767.0) as i16;
        wav.extend(sample.to_le_bytes());
    }
    wav
}

/// Silence.
pub fn silence(seconds: usize) -> Vec<f32> {
    vec![0.0; seconds * RATE]
}

/// A sine.
#[expect(clippy::cast_precision_loss, reason = "a minute of samples")]
pub fn tone(hertz: f32, level: f32, seconds: usize) -> Vec<f32> {
    let step = hertz * TAU / RATE as f32;
    (0..seconds * RATE)
        .map(|i| (i as f32 * step).sin() * level)
        .collect()
}

/// Noise with as much power in each octave, by Paul Kellet's filter.
pub fn pink_noise(level: f32, seconds: usize, seed: u64) -> Vec<f32> {
    const POLES: [(f32, f32); 6] = [
        (0.998_86, 0.055_517_9),
        (0.993_32, 0.075_075_9),
        (0.969, 0.153_852),
        (0.866_5, 0.310_485_6),
        (0.55, 0.532_952_2),
        (-0.761_6, -0.016_898),
    ];
    let mut random = StdRng::seed_from_u64(seed);
    let mut state = [0.0; POLES.len()];
    let mut before = 0.0;
    let samples = (0..seconds * RATE).map(|_| {
        let white = random.random_range(-1.0_f32..1.0);
        for (state, (pole, gain)) in state.iter_mut().zip(POLES) {
            *state = pole * *state + gain * white;
        }
        let pink = state.iter().sum::<f32>() + before + white * 0.536_2;
        before = white * 0.115_926;
        pink * 0.2 * level
    });
    samples.collect()
}

/// Clips one after another with pauses between them.
pub struct Conversation {
    /// The sound.
    pub samples: Vec<f32>,
    /// Which clip was played when, by its place in the list.
    pub played: Vec<usize>,
}

/// Clips in a random order that the seed decides, until there is so much, with pauses of these seconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "seconds to samples"
)]
pub fn conversation(
    clips: &[Clip],
    seconds: usize,
    pauses: std::ops::Range<f32>,
    seed: u64,
) -> Conversation {
    let mut random = StdRng::seed_from_u64(seed);
    let spoken = clips.iter().map(samples).collect::<Vec<_>>();
    let mut all = Vec::with_capacity(seconds * RATE);
    let mut played = Vec::new();
    loop {
        let clip = random.random_range(0..spoken.len());
        let pause = (random.random_range(pauses.clone()) * RATE as f32) as usize;
        if all.len() + pause + spoken[clip].len() > seconds * RATE {
            all.resize(seconds * RATE, 0.0);
            return Conversation {
                samples: all,
                played,
            };
        }
        all.extend(std::iter::repeat_n(0.0, pause));
        all.extend_from_slice(&spoken[clip]);
        played.push(clip);
    }
}

/// Makes another file of a WAV file by ffmpeg.
pub async fn ffmpeg(wav: &[u8], arguments: &[&str], extension: &str) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let input = folder.path().join("in.wav");
    let output = folder.path().join(format!("out.{extension}"));
    fs::write(&input, wav).unwrap();
    let mut command = Command::new(cached("ffmpeg-9.0.2").join("ffmpeg"));
    command
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(&input)
        .args(arguments)
        .arg(&output);
    let result = run(command, "").await;
    let error = String::from_utf8_lossy(&result.stderr);
    assert!(
        result.status.success(),
        "{arguments:?} {extension}: {error}"
    );
    fs::read(output).unwrap()
}
