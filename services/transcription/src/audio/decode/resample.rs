//! From any sample rate to 16 kHz.

use std::error::Error as StdError;
use std::ops::RangeInclusive;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler};

use super::{DecodeError, SAMPLE_RATE};
use crate::audio::AudioFormat;

/// Rates that recordings have, in Hz. A damaged header may name any, and the filter takes memory by the rate.
const RATES: RangeInclusive<u32> = 1_000..=768_000;

/// Brings a stream of samples to 16 kHz.
pub struct Resample {
    fft: Fft<f32>,
    format: AudioFormat,
    waiting: Vec<f32>,
    output: Vec<f32>,
    /// Samples at the start of the output that only fill the filter.
    to_skip: usize,
    rate: u64,
    taken: u64,
    given: u64,
}

impl Resample {
    /// Input frames a step.
    const STEP: usize = 1024;

    /// From so many samples a second.
    pub fn from(rate: u32, format: AudioFormat) -> Result<Self, DecodeError> {
        if !RATES.contains(&rate) {
            return Err(refuse_rate(format, &format!("it is {rate} Hz")));
        }
        let fft = Fft::new(
            rate as usize,
            SAMPLE_RATE as usize,
            Self::STEP,
            1,
            FixedSync::Input,
        )
        .map_err(|error| refuse_rate(format, &error.to_string()))?;
        Ok(Self {
            output: vec![0.0; fft.output_frames_max()],
            to_skip: fft.output_delay(),
            fft,
            format,
            rate: u64::from(rate),
            waiting: Vec::new(),
            taken: 0,
            given: 0,
        })
    }

    /// The rate that it was made for.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Takes samples, and appends what comes of them to `samples`.
    pub fn push(
        &mut self,
        mono: impl Iterator<Item = f32>,
        samples: &mut Vec<f32>,
    ) -> Result<(), DecodeError> {
        let before = self.waiting.len();
        self.waiting.extend(mono);
        self.taken += (self.waiting.len() - before) as u64;
        let mut used = 0;
        while self.waiting.len() - used >= self.fft.input_frames_next() {
            used += self.step(used, None, samples)?;
        }
        self.waiting.drain(..used);
        Ok(())
    }

    /// Gives what is still in the filter, so that the output is as long as the input.
    pub fn finish(&mut self, samples: &mut Vec<f32>) -> Result<(), DecodeError> {
        let wanted = (self.taken * u64::from(SAMPLE_RATE)).div_ceil(self.rate);
        let mut left = self.waiting.len();
        self.waiting
            .resize(self.fft.input_frames_next().max(left), 0.0);
        while self.given < wanted {
            self.step(0, Some(left), samples)?;
            left = 0;
        }
        let surplus = usize::try_from(self.given - wanted).unwrap_or(0);
        samples.truncate(samples.len().saturating_sub(surplus));
        Ok(())
    }

    /// One step from `waiting[from..]`; gives how many samples it used.
    fn step(
        &mut self,
        from: usize,
        partial_len: Option<usize>,
        samples: &mut Vec<f32>,
    ) -> Result<usize, DecodeError> {
        let format = self.format;
        let refuse = |error: &dyn StdError| refuse_rate(format, &error.to_string());
        let input = &self.waiting[from..];
        let input = InterleavedSlice::new(input, 1, input.len()).map_err(|error| refuse(&error))?;
        let frames = self.output.len();
        let mut output = InterleavedSlice::new_mut(&mut self.output, 1, frames)
            .map_err(|error| refuse(&error))?;
        let indexing = partial_len.map(|frames| Indexing::new().partial_len(frames));
        let (used, made) = self
            .fft
            .process_into_buffer(&input, &mut output, indexing.as_ref())
            .map_err(|error| refuse(&error))?;
        let skipped = self.to_skip.min(made);
        self.to_skip -= skipped;
        self.given += (made - skipped) as u64;
        samples.extend_from_slice(&self.output[skipped..made]);
        Ok(used)
    }
}

fn refuse_rate(format: AudioFormat, why: &str) -> DecodeError {
    let name = format.name();
    DecodeError::Undecodable(format!(
        "The {name} recording's sample rate cannot be converted: {why}. Convert the recording, for example to FLAC with 16000 Hz, and send it again."
    ))
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "short sines"
)]
mod tests {
    use super::*;

    /// A sine of 440 Hz, sent in packets of an odd length.
    fn resampled_sine(rate: u32, seconds: f32) -> Vec<f32> {
        let count = (rate as f32 * seconds) as usize;
        let sine = (0..count)
            .map(|i| (i as f32 * 440.0 * std::f32::consts::TAU / rate as f32).sin())
            .collect::<Vec<_>>();
        let mut resampler = Resample::from(rate, AudioFormat::Wav).unwrap();
        let mut samples = Vec::new();
        for packet in sine.chunks(1531) {
            resampler
                .push(packet.iter().copied(), &mut samples)
                .unwrap();
        }
        resampler.finish(&mut samples).unwrap();
        samples
    }

    #[test]
    fn resampling_keeps_length_time_and_shape() {
        for rate in [8_000, 22_050, 44_100, 48_000] {
            let samples = resampled_sine(rate, 1.5);

            assert_eq!(samples.len(), 24_000, "{rate} Hz");
            // Away from the ends, every sample is where the same sine at 16 kHz has it, to within half a sample: the
            // filter's delay is cut in whole samples. At its steepest the sine moves 0.17 a sample.
            for (i, sample) in samples.iter().enumerate().skip(800).take(22_000) {
                let expected = (i as f32 * 440.0 * std::f32::consts::TAU / 16_000.0).sin();
                assert!(
                    (sample - expected).abs() < 0.09,
                    "{rate} Hz, sample {i}: {sample} for {expected}"
                );
            }
        }
    }

    #[test]
    fn a_recording_shorter_than_one_step_is_not_lost() {
        assert_eq!(resampled_sine(44_100, 0.01).len(), 160);
    }

    #[test]
    fn a_rate_that_no_recording_has_is_refused() {
        for rate in [0, 999, 4_294_967_295] {
            assert!(Resample::from(rate, AudioFormat::Wav).is_err(), "{rate}");
        }
    }
}
