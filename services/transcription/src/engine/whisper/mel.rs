//! The log-mel spectrogram that Whisper was trained on (`log_mel_spectrogram` in OpenAI's `audio.py`).

use std::f64::consts::PI;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::audio::decode::SAMPLE_RATE;

/// Samples of a window: 30 s.
pub const WINDOW_SAMPLES: usize = 30 * SAMPLE_RATE as usize;
/// Samples from one frame to the next: 10 ms.
const HOP: usize = 160;
/// Frames of a window.
pub const FRAMES: usize = WINDOW_SAMPLES / HOP;
/// Samples of a frame: 25 ms.
const FRAME_SAMPLES: usize = 400;
const BINS: usize = FRAME_SAMPLES / 2 + 1;

/// Makes spectrograms.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    filters: Vec<Filter>,
}

/// One mel band: weights of the neighbouring frequency bins from `first_bin` on.
struct Filter {
    first_bin: usize,
    weights: Vec<f32>,
}

impl LogMel {
    /// For a model with so many mel bands (80, or 128 from large-v3 on).
    pub fn new(bands: usize) -> Self {
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(FRAME_SAMPLES),
            hann: hann_window(),
            filters: mel_filters(bands),
        }
    }

    /// The number of mel bands.
    pub fn bands(&self) -> usize {
        self.filters.len()
    }

    /// The spectrogram of up to 30 s of samples, padded with silence: `bands` rows of [`FRAMES`] values, scaled over
    /// the whole window.
    pub fn of(&self, samples: &[f32]) -> Vec<f32> {
        let padded = pad(samples);
        let mut spectrogram = vec![0.0_f32; self.bands() * FRAMES];
        let mut input = self.fft.make_input_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut output = self.fft.make_output_vec();
        for frame in 0..FRAMES {
            let start = frame * HOP;
            let windowed = padded[start..start + FRAME_SAMPLES]
                .iter()
                .zip(&self.hann)
                .map(|(sample, weight)| sample * weight);
            for (slot, sample) in input.iter_mut().zip(windowed) {
                *slot = sample;
            }
            // The lengths are the plan's own, so this cannot fail; if it did the frame would be silent.
            if self
                .fft
                .process_with_scratch(&mut input, &mut output, &mut scratch)
                .is_err()
            {
                continue;
            }
            for (band, filter) in self.filters.iter().enumerate() {
                spectrogram[band * FRAMES + frame] = filter.energy(&output);
            }
        }
        scale(&mut spectrogram);
        spectrogram
    }
}

impl Filter {
    fn energy(&self, spectrum: &[Complex<f32>]) -> f32 {
        self.weights
            .iter()
            .zip(&spectrum[self.first_bin..])
            .map(|(weight, bin)| weight * bin.norm_sqr())
            .sum()
    }
}

/// Silence up to the window's end, and half a frame mirrored at both ends, as `torch.stft` centres its frames.
fn pad(samples: &[f32]) -> Vec<f32> {
    const EDGE: usize = FRAME_SAMPLES / 2;
    let mut padded = vec![0.0; WINDOW_SAMPLES + 2 * EDGE];
    let length = samples.len().min(WINDOW_SAMPLES);
    padded[EDGE..EDGE + length].copy_from_slice(&samples[..length]);
    for i in 1..=EDGE {
        padded[EDGE - i] = padded[EDGE + i];
        padded[EDGE + WINDOW_SAMPLES - 1 + i] = padded[EDGE + WINDOW_SAMPLES - 1 - i];
    }
    padded
}

/// Decibels, cut 80 dB below the loudest value of the window, brought to about -1 to 1.
fn scale(spectrogram: &mut [f32]) {
    let mut loudest = f32::MIN;
    for value in &mut *spectrogram {
        *value = value.max(1e-10).log10();
        loudest = loudest.max(*value);
    }
    for value in spectrogram {
        *value = (value.max(loudest - 8.0) + 4.0) / 4.0;
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a few hundred samples; the model takes f32"
)]
fn hann_window() -> Vec<f32> {
    (0..FRAME_SAMPLES)
        .map(|i| (0.5 - 0.5 * (2.0 * PI * i as f64 / FRAME_SAMPLES as f64).cos()) as f32)
        .collect()
}

/// Triangles on Slaney's mel scale, each of area 1 (librosa's `filters.mel` with its defaults).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a few hundred bins; the model takes f32"
)]
fn mel_filters(bands: usize) -> Vec<Filter> {
    let nyquist = f64::from(SAMPLE_RATE) / 2.0;
    let bin_hertz = f64::from(SAMPLE_RATE) / FRAME_SAMPLES as f64;
    let top = hertz_to_mel(nyquist);
    let corners = (0..bands + 2)
        .map(|i| mel_to_hertz(top * i as f64 / (bands + 1) as f64))
        .collect::<Vec<_>>();
    corners
        .windows(3)
        .map(|corners| {
            let (low, centre, high) = (corners[0], corners[1], corners[2]);
            let weight = |bin: usize| {
                let hertz = bin as f64 * bin_hertz;
                let rising = (hertz - low) / (centre - low);
                let falling = (high - hertz) / (high - centre);
                (rising.min(falling).max(0.0) * 2.0 / (high - low)) as f32
            };
            let first_bin = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
            let weights = (first_bin..BINS).map(weight);
            Filter {
                first_bin,
                weights: weights.take_while(|&weight| weight > 0.0).collect(),
            }
        })
        .collect()
}

/// Slaney's scale: linear to 1000 Hz, logarithmic above.
const LINEAR_HERTZ_PER_MEL: f64 = 200.0 / 3.0;
const BREAK_HERTZ: f64 = 1000.0;
const BREAK_MEL: f64 = BREAK_HERTZ / LINEAR_HERTZ_PER_MEL;

fn hertz_to_mel(hertz: f64) -> f64 {
    if hertz < BREAK_HERTZ {
        hertz / LINEAR_HERTZ_PER_MEL
    } else {
        BREAK_MEL + (hertz / BREAK_HERTZ).ln() * 27.0 / 6.4_f64.ln()
    }
}

fn mel_to_hertz(mel: f64) -> f64 {
    if mel < BREAK_MEL {
        mel * LINEAR_HERTZ_PER_MEL
    } else {
        BREAK_HERTZ * ((mel - BREAK_MEL) * 6.4_f64.ln() / 27.0).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the `mel_filters.npz` that OpenAI ships with Whisper: band, bin, weight. 128 bands are large-v3's and turbo's.
    #[test]
    fn filters_are_those_that_openai_ships() {
        for (bands, expected, sum) in [
            (80, OF_80_BANDS, 1.999_024_2),
            (128, OF_128_BANDS, 3.190_985_7),
        ] {
            let filters = mel_filters(bands);
            assert_eq!(filters.len(), bands);
            for (band, bin, expected) in expected {
                let filter = &filters[band];
                let weight = bin.checked_sub(filter.first_bin);
                let weight = weight.and_then(|at| filter.weights.get(at).copied());
                let weight = weight.unwrap_or(0.0);
                assert!(
                    (weight - expected).abs() < 1e-7,
                    "{bands} bands, band {band}, bin {bin}: {weight} for {expected}",
                );
            }
            let weights = filters.iter().flat_map(|filter| &filter.weights);
            let of_all = weights.sum::<f32>();
            assert!((of_all - sum).abs() < 1e-4, "{of_all} for {sum}");
        }
    }

    const OF_80_BANDS: [(usize, usize, f32); 6] = [
        (0, 0, 0.0),
        (0, 1, 0.024_862_595),
        (1, 2, 0.022_871_772),
        (40, 43, 0.014_735_566),
        (78, 185, 0.003_406_326),
        (79, 192, 0.003_164_711_6),
    ];
    const OF_128_BANDS: [(usize, usize, f32); 6] = [
        (0, 0, 0.0),
        (0, 1, 0.012_373_987),
        (1, 1, 0.030_392_565),
        (64, 43, 0.018_091_518),
        (126, 191, 0.004_951_984),
        (127, 195, 0.005_041_601_7),
    ];

    #[test]
    fn silence_is_flat_and_a_tone_stands_out_in_its_band() {
        let mel = LogMel::new(80);
        let silence = mel.of(&[]);
        assert!(
            silence
                .iter()
                .all(|&value| (value - silence[0]).abs() < 1e-6)
        );

        #[expect(clippy::cast_precision_loss, reason = "a second of samples")]
        let tone = (0..16_000)
            .map(|i| (i as f32 * 1000.0 * std::f32::consts::TAU / 16_000.0).sin())
            .collect::<Vec<_>>();
        let spectrogram = mel.of(&tone);
        let column = |band: usize| spectrogram[band * FRAMES + 50];
        let loudest = (0..80)
            .max_by(|&a, &b| column(a).total_cmp(&column(b)))
            .unwrap();
        // 1000 Hz is mel 15 of 45.2, and the 80 centres stand 0.558 mel apart.
        assert!((25..=27).contains(&loudest), "{loudest}");
        assert!(column(loudest) - column(60) > 1.0);
    }
}
