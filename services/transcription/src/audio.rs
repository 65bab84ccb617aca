//! What the bytes of a recording are: the container, told from its first bytes, and the length, told by its headers.

use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::units::{Duration, TimeBase};
use symphonia::default::get_probe;

#[cfg(feature = "whisper")]
pub mod decode;

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
        let tag = |at: usize| head.get(at..at + 4).unwrap_or_default();
        match (tag(0), tag(8)) {
            (b"RIFF" | b"RF64", b"WAVE") => return Some(Self::Wav),
            (b"FORM", b"AIFF" | b"AIFC") => return Some(Self::Aiff),
            (b"fLaC", _) => return Some(Self::Flac),
            (b"OggS", _) => return Some(Self::Ogg),
            ([0x1a, 0x45, 0xdf, 0xa3], _) => return of_matroska(head),
            _ => {}
        }
        if tag(4) == b"ftyp" {
            return Some(Self::Mp4);
        }
        // MP3 and AAC have no signature of their own: an optional ID3 tag, then frames that follow one another.
        let frames = &head[id3_length(head).min(head.len())..];
        if frames.is_empty() && head.starts_with(b"ID3") {
            // The tag (a cover picture, say) is longer than what we look at; only MP3 files have such tags in practice.
            return Some(Self::Mp3);
        }
        if frames.starts_with(b"fLaC") {
            return Some(Self::Flac);
        }
        let follows = |length: fn(&[u8]) -> Option<usize>| {
            length(frames).is_some_and(|first| {
                let rest = frames.get(first..).unwrap_or_default();
                rest.is_empty() || length(rest).is_some()
            })
        };
        if follows(mp3_frame_length) {
            Some(Self::Mp3)
        } else if follows(adts_frame_length) {
            Some(Self::Aac)
        } else {
            None
        }
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

/// The recording's length in seconds as the container's headers tell it; `None` when they do not, or cannot be read.
///
/// Reads from `source` where it stands: call it where blocking is allowed.
pub fn duration_seconds(source: Box<dyn MediaSource>, format: AudioFormat) -> Option<f64> {
    let reader = open(source, format).ok()?;
    let track = reader.default_track(TrackType::Audio)?;
    // Also where there is no decoder: the container tells the length.
    let parameters = track.codec_params.as_ref();
    let sample_rate = parameters.and_then(|parameters| parameters.audio()?.sample_rate);
    let of_frames = || Some(frames_to_seconds(track.num_frames?, sample_rate?));
    let of_track = || seconds(track.time_base?, track.duration?);
    // Matroska notes it for the whole file.
    let whole = reader.media_info();
    let of_whole = || seconds(whole.time_base?, whole.duration?);
    of_frames()
        .or_else(of_track)
        .or_else(of_whole)
        .filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

fn seconds(time_base: TimeBase, duration: Duration) -> Option<f64> {
    Some(time_base.calc_duration(duration)?.as_secs_f64())
}

/// The reader for the container.
fn open(
    source: Box<dyn MediaSource>,
    format: AudioFormat,
) -> symphonia::core::errors::Result<Box<dyn FormatReader>> {
    let mut hint = Hint::new();
    hint.with_extension(format.extension());
    let stream = MediaSourceStream::new(
        source,
        symphonia::core::io::MediaSourceStreamOptions::default(),
    );
    get_probe().probe(
        &hint,
        stream,
        FormatOptions::default(),
        MetadataOptions::default(),
    )
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^52 frames are thousands of years"
)]
fn frames_to_seconds(frames: u64, sample_rate: u32) -> f64 {
    frames as f64 / f64::from(sample_rate)
}

/// Matroska says in its EBML header which of its two document types it is.
fn of_matroska(head: &[u8]) -> Option<AudioFormat> {
    let header = &head[..head.len().min(64)];
    let names = |name: &[u8]| header.windows(name.len()).any(|window| window == name);
    if names(b"webm") {
        Some(AudioFormat::WebM)
    } else if names(b"matroska") {
        Some(AudioFormat::Matroska)
    } else {
        None
    }
}

/// Length of the `ID3v2` tag that `head` begins with (ID3v2.4.0 §3.1), 0 without one.
fn id3_length(head: &[u8]) -> usize {
    const HEADER: usize = 10;
    const FOOTER_FLAG: u8 = 0x10;
    let Some(header) = head
        .get(..HEADER)
        .filter(|header| header.starts_with(b"ID3"))
    else {
        return 0;
    };
    // Four bytes of seven bits each.
    let size = header[6..]
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    let footer = if header[5] & FOOTER_FLAG == 0 {
        0
    } else {
        HEADER
    };
    HEADER + size + footer
}

/// Length of the MPEG audio layer III frame that `bytes` begins with (ISO/IEC 11172-3 §2.4.2.3).
fn mp3_frame_length(bytes: &[u8]) -> Option<usize> {
    const KBPS_V1: [usize; 14] = [
        32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const KBPS_V2: [usize; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let &[0xff, second, third, _] = bytes.first_chunk::<4>()? else {
        return None;
    };
    let layer_three = second & 0b0000_0110 == 0b0000_0010;
    if second & 0b1110_0000 != 0b1110_0000 || !layer_three {
        return None;
    }
    let (kbps, rates, factor) = match second >> 3 & 0b11 {
        0b11 => (KBPS_V1, [44_100, 48_000, 32_000], 144_000),
        0b10 => (KBPS_V2, [22_050, 24_000, 16_000], 72_000),
        0b00 => (KBPS_V2, [11_025, 12_000, 8_000], 72_000),
        _ => return None,
    };
    // 0 is the free format, which nobody writes; 15 is forbidden.
    let kbps = kbps.get(usize::from(third >> 4).checked_sub(1)?)?;
    let rate = rates.get(usize::from(third >> 2 & 0b11))?;
    let padding = usize::from(third >> 1 & 1);
    Some(factor * kbps / rate + padding)
}

/// Length of the ADTS frame that `bytes` begins with (ISO/IEC 13818-7 §6.2).
fn adts_frame_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.first_chunk::<7>()?;
    let sync = header[0] == 0xff && header[1] & 0b1111_0110 == 0b1111_0000;
    let rate_is_known = header[2] >> 2 & 0b1111 < 13;
    let length = usize::from(header[3] & 0b11) << 11
        | usize::from(header[4]) << 3
        | usize::from(header[5] >> 5);
    (sync && rate_is_known && length > header.len()).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_from_their_bytes() {
        let cases: [(&[u8], Option<AudioFormat>); 12] = [
            (b"RIFF\0\0\0\0WAVEfmt ", Some(AudioFormat::Wav)),
            (b"RIFF\0\0\0\0AVI LIST", None),
            (b"FORM\0\0\0\0AIFCFVER", Some(AudioFormat::Aiff)),
            (b"fLaC\0\0\0\x22", Some(AudioFormat::Flac)),
            (b"OggS\0\x02", Some(AudioFormat::Ogg)),
            (
                b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm",
                Some(AudioFormat::WebM),
            ),
            (
                b"\x1a\x45\xdf\xa3\x9f\x42\x82\x88matroska",
                Some(AudioFormat::Matroska),
            ),
            (b"\0\0\0\x20ftypM4A \0\0\0\0", Some(AudioFormat::Mp4)),
            (b"%PDF-1.7\n", None),
            (b"hello, this is text", None),
            (b"", None),
            (b"\xff\xfe\x61\0\x62\0", None),
        ];
        for (head, expected) in cases {
            assert_eq!(AudioFormat::of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn frames_must_follow_one_another_to_be_mp3_or_aac() {
        // MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
        let mut mp3 = vec![0xff, 0xfb, 0x90, 0x00];
        mp3.resize(417, 0);
        assert_eq!(mp3_frame_length(&mp3), Some(417));
        assert_eq!(AudioFormat::of(&mp3.repeat(2)), Some(AudioFormat::Mp3));
        let mut broken = mp3.clone();
        broken.extend_from_slice(b"not a frame");
        assert_eq!(AudioFormat::of(&broken), None);

        // AAC-LC, 44.1 kHz, a frame of 16 bytes.
        let mut aac = vec![0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc];
        aac.resize(16, 0);
        assert_eq!(adts_frame_length(&aac), Some(16));
        assert_eq!(AudioFormat::of(&aac.repeat(3)), Some(AudioFormat::Aac));

        let mut tagged = b"ID3\x04\0\0\0\0\0\x0a0123456789".to_vec();
        tagged.extend(mp3.repeat(2));
        assert_eq!(AudioFormat::of(&tagged), Some(AudioFormat::Mp3));
    }
}
