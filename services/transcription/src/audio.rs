//! What the bytes of a recording are: the container, told from its first bytes, and the length, told by its headers.

use std::time::Duration;

use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::{self, TimeBase};
use symphonia::default::get_probe;

use self::guard::Guarded;

#[cfg(feature = "whisper")]
pub mod decode;
mod guard;
mod sniff;
mod wav;

/// As many bytes as decide the format.
pub const SNIFF_BYTES: usize = 64 * 1024;

/// What the service takes, in the words of an error message.
pub const TAKEN: &str =
    "WAV, FLAC, MP3, Ogg (Vorbis, Opus), WebM or Matroska, M4A or MP4, AIFF, AAC";

/// A container format that the service takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioFormat {
    /// RIFF WAVE, and RF64 of the same shape.
    Wav,
    /// Native FLAC.
    Flac,
    /// MPEG audio, layer III.
    Mp3,
    /// Ogg: Vorbis or Opus.
    Ogg,
    /// WebM.
    WebM,
    /// Matroska.
    Matroska,
    /// ISO base media: M4A, MP4.
    Mp4,
    /// AIFF and AIFF-C.
    Aiff,
    /// AAC in ADTS frames.
    Aac,
}

impl AudioFormat {
    /// The format of a file that begins with `head` (up to [`SNIFF_BYTES`] bytes), if it is one that we take. Labels and
    /// file names are not asked: they are often wrong.
    pub fn of(head: &[u8]) -> Option<Self> {
        sniff::format_of(head)
    }

    /// The extension of the stored object.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Mp3 => "mp3",
            Self::Ogg => "ogg",
            Self::WebM => "webm",
            Self::Matroska => "mka",
            Self::Mp4 => "m4a",
            Self::Aiff => "aiff",
            Self::Aac => "aac",
        }
    }

    /// The media type of the stored object.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Flac => "audio/flac",
            Self::Mp3 => "audio/mpeg",
            Self::Ogg => "audio/ogg",
            Self::WebM => "audio/webm",
            Self::Matroska => "audio/matroska",
            Self::Mp4 => "audio/mp4",
            Self::Aiff => "audio/aiff",
            Self::Aac => "audio/aac",
        }
    }

    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Flac => "FLAC",
            Self::Mp3 => "MP3",
            Self::Ogg => "Ogg",
            Self::WebM => "WebM",
            Self::Matroska => "Matroska",
            Self::Mp4 => "M4A/MP4",
            Self::Aiff => "AIFF",
            Self::Aac => "AAC",
        }
    }
}

/// The recording's length in seconds as the container's headers tell it; `None` when they do not, cannot be read, or not within
/// `limit`.
///
/// Reads from `source` where it stands: call it where blocking is allowed.
pub fn duration_seconds(
    mut source: Box<dyn MediaSource>,
    format: AudioFormat,
    limit: Duration,
) -> Option<f64> {
    let at_most = match format {
        AudioFormat::Wav => wav::most_seconds(&mut *source),
        _ => None,
    };
    source.rewind().ok()?;
    let reader = open_within(source, format, Some(limit)).ok()?;
    let track = reader.default_track(TrackType::Audio)?;
    // Also where there is no decoder: the container tells the length.
    let parameters = track.codec_params.as_ref();
    let sample_rate = parameters.and_then(|parameters| parameters.audio()?.sample_rate);
    let of_frames = || Some(frames_to_seconds(track.num_frames?, sample_rate?));
    let of_track = || seconds(track.time_base?, track.duration?);
    // Matroska notes it for the whole file.
    let whole = reader.media_info();
    let of_whole = || seconds(whole.time_base?, whole.duration?);
    let told = of_frames().or_else(of_track).or_else(of_whole)?;
    let seconds = at_most.map_or(told, |at_most| told.min(at_most));
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

fn seconds(time_base: TimeBase, duration: units::Duration) -> Option<f64> {
    Some(time_base.calc_duration(duration)?.as_secs_f64())
}

/// The reader for the container.
#[cfg(feature = "whisper")]
fn open(
    source: Box<dyn MediaSource>,
    format: AudioFormat,
) -> symphonia::core::errors::Result<Box<dyn FormatReader>> {
    open_within(source, format, None)
}

/// The reader for the container, if there is a sound within a bound of bytes and of time. The bounds are for the way there only.
fn open_within(
    source: Box<dyn MediaSource>,
    format: AudioFormat,
    limit: Option<Duration>,
) -> symphonia::core::errors::Result<Box<dyn FormatReader>> {
    let mut source = Guarded::new(source, limit);
    let guard = source.guard();
    source.skip_tags(format)?;
    let mut hint = Hint::new();
    hint.with_extension(format.extension());
    let stream = MediaSourceStream::new(
        Box::new(source),
        symphonia::core::io::MediaSourceStreamOptions::default(),
    );
    let reader = get_probe().probe(
        &hint,
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    )?;
    guard.lift();
    Ok(reader)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^52 frames are thousands of years"
)]
fn frames_to_seconds(frames: u64, sample_rate: u32) -> f64 {
    frames as f64 / f64::from(sample_rate)
}
