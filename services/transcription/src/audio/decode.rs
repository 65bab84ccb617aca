//! Recordings decoded in a stream to what Whisper hears: one channel, 16 kHz, samples of -1 to 1.

use std::io::{self, Read, Seek, SeekFrom};

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::{FormatReader, TrackType};
use symphonia::core::io::{MediaSource, ReadOnlySource};
use symphonia::core::packet::Packet;
use symphonia::default::register_enabled_codecs;
use symphonia_adapter_libopus::OpusDecoder;

use self::resample::Resample;
use super::AudioFormat;
use crate::stop::{Stop, Stopped};
use crate::storage::StorageError;

mod resample;

/// Samples a second, as Whisper was trained.
pub const SAMPLE_RATE: u32 = 16_000;

/// A decoder takes the room for a packet at once, and headers can say that it is as large as they like. The largest that a program
/// writes are of FLAC: 65,535 samples of 8 channels.
const MAX_PACKET_SAMPLES: u64 = 1 << 20;
/// The same of a packet that a reader gives, of the widest samples that there are.
const MAX_PACKET_BYTES: usize = 8 << 20;
/// No format but WAV and AIFF can have more.
const MAX_CHANNELS: usize = 255;

/// Why a recording cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The recording itself: said to the client.
    #[error("{0}")]
    Undecodable(String),
    /// Reading it failed: the storage's fault, not the recording's.
    #[error("reading the recording")]
    Read(#[source] StorageError),
    /// It was time to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A recording that is decoded as far as it is asked for.
pub struct Samples {
    reader: Box<dyn FormatReader>,
    track: Track,
    codecs: CodecRegistry,
    format: AudioFormat,
    stop: Stop,
    resampler: Option<Resample>,
    interleaved: Vec<f32>,
    decoded_any: bool,
    /// Why the first packet that could not be decoded could not.
    damage: Option<String>,
    ended: bool,
}

/// The track that is heard, the first or the one that is marked so: a film has others.
struct Track {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
}

impl Samples {
    /// Opens a recording. `source` gives a reader at its start. Whatever it takes ends when it is time to stop.
    pub fn open(
        source: impl Fn() -> Box<dyn MediaSource>,
        format: AudioFormat,
        stop: Stop,
    ) -> Result<Self, DecodeError> {
        // A file that is shorter than its head says is read to where it breaks off. The reader of MP4 then loses the sound unless it
        // is told that the file is longer, which it believes of any file but one with its index at the end; that of Matroska
        // takes such a file only as a stream.
        let plainly = || super::open(source(), format);
        let reader = match format {
            AudioFormat::Mp4 => {
                super::open(Box::new(Longer(source())), format).or_else(|_| plainly())
            }
            _ => plainly().or_else(|error| {
                let stream = ReadOnlySource::new(source());
                super::open(Box::new(stream), format).map_err(|_| error)
            }),
        };
        let reader = reader.map_err(|error| match of_source(error) {
            Ok(error) => error,
            // The end of its time may have looked to it like the end of the file.
            Err(error) => match stop.check() {
                Ok(()) => refuse(format, &error.to_string()),
                Err(stopped) => stopped.into(),
            },
        })?;
        let mut codecs = CodecRegistry::new();
        register_enabled_codecs(&mut codecs);
        codecs.register_audio_decoder::<OpusDecoder>();
        let track = Track::of(&*reader, &codecs).map_err(|why| refuse(format, &why))?;
        Ok(Self {
            reader,
            track,
            codecs,
            format,
            stop,
            resampler: None,
            interleaved: Vec::new(),
            decoded_any: false,
            damage: None,
            ended: false,
        })
    }

    /// Appends samples to `samples` until it holds `wanted` of them or the recording ends.
    pub fn fill(&mut self, samples: &mut Vec<f32>, wanted: usize) -> Result<(), DecodeError> {
        while samples.len() < wanted && !self.ended {
            // A film can have hours of pictures between two sounds.
            self.stop.check()?;
            match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track.id => {
                    if packet.data.len() > MAX_PACKET_BYTES {
                        return Err(refuse(self.format, "one of its packets is too large"));
                    }
                    self.decode(&packet, samples)?;
                }
                Ok(Some(_)) => {}
                Ok(None) => self.end(samples)?,
                // Another recording follows in the same file: Ogg allows that.
                Err(SymphoniaError::ResetRequired) => {
                    match Track::of(&*self.reader, &self.codecs) {
                        Ok(track) => self.track = track,
                        Err(why) => {
                            self.damage.get_or_insert(why);
                            self.end(samples)?;
                        }
                    }
                }
                Err(error) => match of_source(error) {
                    Ok(error) => return Err(error),
                    // A recording that breaks off is transcribed up to there.
                    Err(error) => {
                        self.stop.check()?;
                        self.damage.get_or_insert_with(|| error.to_string());
                        self.end(samples)?;
                    }
                },
            }
        }
        Ok(())
    }

    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) -> Result<(), DecodeError> {
        let decoded = match self.track.decoder.decode(packet) {
            Ok(decoded) => decoded,
            // One damaged packet; the next may be whole.
            Err(error) => {
                self.damage.get_or_insert_with(|| error.to_string());
                if matches!(error, SymphoniaError::ResetRequired) {
                    self.track.decoder.reset();
                }
                return Ok(());
            }
        };
        let channels = decoded.spec().channels().count().max(1);
        let rate = decoded.spec().rate();
        decoded.copy_to_vec_interleaved(&mut self.interleaved);
        if self.interleaved.is_empty() {
            return Ok(());
        }
        self.decoded_any = true;
        if let Some(before) = &mut self.resampler
            && before.rate() != u64::from(rate)
        {
            before.finish(samples)?;
            self.resampler = None;
        }
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
            let why = self.damage.as_deref().unwrap_or("it holds no audio");
            return Err(refuse(self.format, why));
        }
        match &mut self.resampler {
            Some(resampler) => resampler.finish(samples),
            None => Ok(()),
        }
    }
}

/// A source that says it is as long as any file can be, and just ends.
struct Longer(Box<dyn MediaSource>);

impl Longer {
    const BYTES: u64 = 1 << 62;
}

impl Read for Longer {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.read(target)
    }
}

impl Seek for Longer {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::End(offset) => {
                let position = Self::BYTES.checked_add_signed(offset);
                let position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
                self.0.seek(SeekFrom::Start(position?))
            }
            to => self.0.seek(to),
        }
    }
}

impl MediaSource for Longer {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        // Else tags would be looked for at an end that is not there.
        None
    }
}

impl Track {
    /// Takes the track and a decoder for it, or says why not.
    fn of(reader: &dyn FormatReader, codecs: &CodecRegistry) -> Result<Self, String> {
        let track = reader
            .default_track(TrackType::Audio)
            .ok_or("it has no audio track")?;
        let parameters = track.codec_params.as_ref();
        let parameters = parameters
            .and_then(|parameters| parameters.audio())
            .ok_or("its headers name no codec")?;
        let channels = parameters.channels.as_ref().map_or(0, Channels::count);
        if channels > MAX_CHANNELS {
            return Err(format!("it has {channels} channels"));
        }
        let frames = parameters.max_frames_per_packet.unwrap_or(0);
        if frames.saturating_mul(channels.max(1) as u64) > MAX_PACKET_SAMPLES {
            return Err(format!("its headers tell of packets of {frames} samples"));
        }
        let decoder = codecs
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map_err(|error| error.to_string())?;
        Ok(Self {
            id: track.id,
            decoder,
        })
    }
}

fn refuse(format: AudioFormat, why: &str) -> DecodeError {
    let name = format.name();
    DecodeError::Undecodable(format!(
        "The {name} recording cannot be decoded: {why}. Check that it plays; convert it, for example to FLAC, and send it again."
    ))
}

/// The error of what the recording is read from, if that is what stopped the reading; a file that breaks off is an I/O error too.
fn of_source(error: SymphoniaError) -> Result<DecodeError, SymphoniaError> {
    let SymphoniaError::IoError(error) = error else {
        return Err(error);
    };
    let error = match error.downcast::<StorageError>() {
        Ok(error) => return Ok(DecodeError::Read(error)),
        Err(error) => error,
    };
    let stopped = error.downcast::<Stopped>();
    stopped
        .map(DecodeError::Stopped)
        .map_err(SymphoniaError::IoError)
}

/// One channel of samples from -1 to 1. Files of floating-point numbers hold larger ones too, and some that are none, with which
/// neither the model nor the detector of voices can do anything.
fn mix_down(interleaved: &[f32], channels: usize) -> impl Iterator<Item = f32> {
    #[expect(clippy::cast_precision_loss, reason = "a handful of channels")]
    let share = 1.0 / channels as f32;
    interleaved.chunks_exact(channels).map(move |frame| {
        let mixed = frame.iter().sum::<f32>() * share;
        if mixed.is_nan() {
            0.0
        } else {
            mixed.clamp(-1.0, 1.0)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_mixed_evenly() {
        let mono = mix_down(&[1.0, 0.0, 0.5, 0.5, -1.0, 1.0], 2).collect::<Vec<_>>();
        assert_eq!(mono, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn what_is_no_sound_becomes_one() {
        let mono = mix_down(&[f32::NAN, f32::INFINITY, -1e30, 0.25], 1).collect::<Vec<_>>();
        assert_eq!(mono, [0.0, 1.0, -1.0, 0.25]);
        // The sum of two infinities.
        let mono = mix_down(&[f32::INFINITY, f32::NEG_INFINITY], 2).collect::<Vec<_>>();
        assert_eq!(mono, [0.0]);
    }
}
