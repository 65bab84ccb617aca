//! Recordings decoded in a stream to what Whisper hears: one channel, 16 kHz, samples of -1 to 1.

use std::error::Error as StdError;

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::MediaSource;
use symphonia::default::get_codecs;

use super::AudioFormat;
use crate::storage::StorageError;

/// Samples a second, as Whisper was trained.
pub const SAMPLE_RATE: u32 = 16_000;

/// Why a recording cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The recording itself: said to the client.
    #[error("{0}")]
    Undecodable(String),
    /// Reading it failed: the storage's fault, not the recording's.
    #[error("reading the recording")]
    Read(#[source] StorageError),
}

/// A recording that is decoded as far as it is asked for.
pub struct Samples {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track_id: u32,
    format: AudioFormat,
    resampler: Option<Resample>,
    interleaved: Vec<f32>,
    decoded_any: bool,
    ended: bool,
}

impl Samples {
    /// Opens a recording.
    pub fn open(source: Box<dyn MediaSource>, format: AudioFormat) -> Result<Self, DecodeError> {
        let refuse = |why: &str| {
            let name = format.name();
            DecodeError::Undecodable(format!("The {name} recording cannot be decoded: {why}."))
        };
        let reader = super::open(source, format).map_err(|error| match of_storage(error) {
            Ok(error) => DecodeError::Read(error),
            Err(error) => refuse(&error.to_string()),
        })?;
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or_else(|| refuse("it has no audio track"))?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| refuse("its headers name no codec"))?;
        let decoder = get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| refuse(&error.to_string()))?;
        let track_id = track.id;
        Ok(Self {
            reader,
            decoder,
            track_id,
            format,
            resampler: None,
            interleaved: Vec::new(),
            decoded_any: false,
            ended: false,
        })
    }

    /// Appends samples to `samples` until it holds `wanted` of them or the recording ends.
    pub fn fill(&mut self, samples: &mut Vec<f32>, wanted: usize) -> Result<(), DecodeError> {
        while samples.len() < wanted && !self.ended {
            self.decode_packet(samples)?;
        }
        Ok(())
    }

    fn decode_packet(&mut self, samples: &mut Vec<f32>) -> Result<(), DecodeError> {
        let packet = match self.reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return self.end(samples),
            Err(error) => match of_storage(error) {
                Ok(error) => return Err(DecodeError::Read(error)),
                // A recording that breaks off is transcribed up to there.
                Err(_) => return self.end(samples),
            },
        };
        if packet.track_id != self.track_id {
            return Ok(());
        }
        let Ok(decoded) = self.decoder.decode(&packet) else {
            // One damaged packet; the next may be whole.
            return Ok(());
        };
        let channels = decoded.spec().channels().count().max(1);
        let rate = decoded.spec().rate();
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        if self.interleaved.is_empty() {
            return Ok(());
        }
        self.decoded_any = true;
        let mono = mix_down(&self.interleaved, channels);
        if rate == SAMPLE_RATE {
            samples.extend(mono);
            return Ok(());
        }
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            none => none.insert(Resample::from(rate, self.format)?),
        };
        resampler.push(mono, samples)
    }

    fn end(&mut self, samples: &mut Vec<f32>) -> Result<(), DecodeError> {
        self.ended = true;
        if !self.decoded_any {
            return Err(DecodeError::Undecodable(format!(
                "The {} recording holds no audio that can be decoded.",
                self.format.name()
            )));
        }
        match &mut self.resampler {
            Some(resampler) => resampler.finish(samples),
            None => Ok(()),
        }
    }
}

/// The storage's error, if that is what stopped the reading; a file that breaks off is an I/O error too.
fn of_storage(error: SymphoniaError) -> Result<StorageError, SymphoniaError> {
    match error {
        SymphoniaError::IoError(error) => error.downcast().map_err(SymphoniaError::IoError),
        error => Err(error),
    }
}

fn mix_down(interleaved: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of channels")]
    let share = 1.0 / channels as f32;
    interleaved
        .chunks_exact(channels)
        .map(move |frame| frame.iter().sum::<f32>() * share)
}

/// Brings a stream of samples to 16 kHz.
struct Resample {
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

    fn from(rate: u32, format: AudioFormat) -> Result<Self, DecodeError> {
        let fft = Fft::new(
            rate as usize,
            SAMPLE_RATE as usize,
            Self::STEP,
            1,
            FixedSync::Input,
        )
        .map_err(|error| refuse_rate(format, &error))?;
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

    fn push(
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
    fn finish(&mut self, samples: &mut Vec<f32>) -> Result<(), DecodeError> {
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
        let refuse = |error: &dyn StdError| refuse_rate(format, error);
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

fn refuse_rate(format: AudioFormat, error: &dyn StdError) -> DecodeError {
    let name = format.name();
    DecodeError::Undecodable(format!(
        "The {name} recording's sample rate cannot be converted: {error}."
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
    fn channels_are_mixed_evenly() {
        let mono = mix_down(&[1.0, 0.0, 0.5, 0.5, -1.0, 1.0], 2).collect::<Vec<_>>();
        assert_eq!(mono, [0.5, 0.5, 0.0]);
    }
}
