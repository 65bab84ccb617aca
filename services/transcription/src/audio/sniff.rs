//! The container of a recording, told from its first bytes.

use super::{AudioFormat, SNIFF_BYTES};

/// An `ID3v2` header (ID3v2.4.0 §3.1).
const ID3_HEADER: usize = 10;
/// Frames that follow one another before bytes in the middle of something are taken for sound.
const FRAMES_IN_A_ROW: usize = 3;
/// Photographs are in the same container as MP4 (ISO/IEC 23008-12, AVIF, Canon's raw format).
const PHOTO_BRANDS: [&[u8; 4]; 17] = [
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"mif2",
    b"msf1", b"miaf", b"avif", b"avis", b"avci", b"avcs", b"crx ",
];

/// The format of a file that begins with `head` (up to [`SNIFF_BYTES`] bytes), if it is one that we take.
pub(super) fn format_of(head: &[u8]) -> Option<AudioFormat> {
    let tag = |at: usize| head.get(at..at + 4).unwrap_or_default();
    match (tag(0), tag(8)) {
        (b"RIFF" | b"RF64", b"WAVE") => return Some(AudioFormat::Wav),
        (b"FORM", b"AIFF" | b"AIFC") => return Some(AudioFormat::Aiff),
        // Other things in these containers, and archives, may have an MP3 file inside: they are none.
        (b"RIFF" | b"RF64" | b"FORM" | b"PK\x03\x04", _) => return None,
        (b"fLaC", _) => return Some(AudioFormat::Flac),
        (b"OggS", _) => return Some(AudioFormat::Ogg),
        ([0x1a, 0x45, 0xdf, 0xa3], _) => return of_matroska(head),
        _ => {}
    }
    if tag(4) == b"ftyp" {
        let is_photo = PHOTO_BRANDS.iter().any(|brand| tag(8) == *brand);
        return (!is_photo).then_some(AudioFormat::Mp4);
    }
    // MP3 and AAC have no signature of their own: tags perhaps, then frames that follow one another.
    let sound = head.get(tags_length(head)..).unwrap_or_default();
    if sound.len() < ID3_HEADER && id3_length(head) > 0 && head.len() >= SNIFF_BYTES {
        // The tag (a cover picture, say) is longer than what we look at; only MP3 files have such tags in practice.
        return Some(AudioFormat::Mp3);
    }
    if sound.starts_with(b"fLaC") {
        return Some(AudioFormat::Flac);
    }
    if begins_with_frames(sound, mp3_frame) {
        Some(AudioFormat::Mp3)
    } else if begins_with_frames(sound, adts_frame) {
        Some(AudioFormat::Aac)
    } else if find_frames(sound, mp3_frame).is_some() {
        Some(AudioFormat::Mp3)
    } else if find_frames(sound, adts_frame).is_some() {
        Some(AudioFormat::Aac)
    } else {
        None
    }
}

/// Length of all `ID3v2` tags that `head` begins with, and of the zeros that programs leave room for more in. The last tag may be
/// longer than `head`.
pub(super) fn tags_length(head: &[u8]) -> usize {
    let mut length = 0;
    loop {
        let rest = head.get(length..).unwrap_or_default();
        let skipped = match id3_length(rest) {
            0 => rest.iter().take_while(|byte| **byte == 0).count(),
            tag => tag,
        };
        if skipped == 0 {
            return length;
        }
        length += skipped;
    }
}

/// Where the sound of an MP3 or AAC file begins in `bytes`, which are behind its tags: a file that was cut at its front begins in
/// the middle of a frame.
pub(super) fn frames_offset(bytes: &[u8], format: AudioFormat) -> usize {
    let frame = match format {
        AudioFormat::Mp3 => mp3_frame,
        AudioFormat::Aac => adts_frame,
        _ => return 0,
    };
    if begins_with_frames(bytes, frame) {
        return 0;
    }
    find_frames(bytes, frame).unwrap_or(0)
}

/// A frame of a stream: how long it is, and what is the same in all frames of the stream.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    length: usize,
    kind: [u8; 2],
}

/// Whether a frame is there, and behind it another one or nothing.
fn begins_with_frames(bytes: &[u8], frame: fn(&[u8]) -> Option<Frame>) -> bool {
    frame(bytes).is_some_and(|first| {
        let rest = bytes.get(first.length..).unwrap_or_default();
        rest.is_empty() || frame(rest).is_some()
    })
}

fn find_frames(bytes: &[u8], frame: fn(&[u8]) -> Option<Frame>) -> Option<usize> {
    (0..bytes.len()).find(|&start| {
        let mut at = start;
        let mut kind = None;
        (0..FRAMES_IN_A_ROW).all(|_| {
            let next = bytes.get(at..).and_then(frame);
            next.is_some_and(|next| {
                at += next.length;
                *kind.get_or_insert(next.kind) == next.kind
            })
        })
    })
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

/// Length of the `ID3v2` tag that `head` begins with (ID3v2.4.0 §3.1), 0 without one. A text can begin with "ID3" too.
fn id3_length(head: &[u8]) -> usize {
    const FOOTER_FLAG: u8 = 0x10;
    let Some(&[b'I', b'D', b'3', 2..=4, revision, flags, ref size @ ..]) =
        head.first_chunk::<ID3_HEADER>()
    else {
        return 0;
    };
    if revision == 0xff || size.iter().any(|byte| *byte >= 0x80) {
        return 0;
    }
    // Four bytes of seven bits each.
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(*byte));
    let footer = if flags & FOOTER_FLAG == 0 {
        0
    } else {
        ID3_HEADER
    };
    ID3_HEADER + size + footer
}

/// The MPEG audio layer III frame that `bytes` begins with (ISO/IEC 11172-3 §2.4.2.3).
fn mp3_frame(bytes: &[u8]) -> Option<Frame> {
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
    Some(Frame {
        length: factor * kbps / rate + padding,
        // The version, and the sample rate.
        kind: [second & 0b0001_1000, third & 0b0000_1100],
    })
}

/// The ADTS frame that `bytes` begins with (ISO/IEC 13818-7 §6.2).
fn adts_frame(bytes: &[u8]) -> Option<Frame> {
    let header = bytes.first_chunk::<7>()?;
    let sync = header[0] == 0xff && header[1] & 0b1111_0110 == 0b1111_0000;
    let rate_is_known = header[2] >> 2 & 0b1111 < 13;
    let length = usize::from(header[3] & 0b11) << 11
        | usize::from(header[4]) << 3
        | usize::from(header[5] >> 5);
    (sync && rate_is_known && length > header.len()).then_some(Frame {
        length,
        // The version, the profile, the sample rate and the channels.
        kind: [header[1], header[2]],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes.
    fn mp3() -> Vec<u8> {
        let mut frame = vec![0xff, 0xfb, 0x90, 0x00];
        frame.resize(417, 0);
        frame
    }

    /// A tag with this many bytes behind its header.
    fn id3(size: usize) -> Vec<u8> {
        let mut tag = b"ID3\x04\0\0".to_vec();
        tag.extend([21, 14, 7, 0].map(|bits| u8::try_from(size >> bits & 0x7f).unwrap()));
        tag.resize(ID3_HEADER + size, b'x');
        tag
    }

    #[test]
    fn formats_are_told_from_their_bytes() {
        let cases: [(&[u8], Option<AudioFormat>); 16] = [
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
            (b"\0\0\0\x20ftypheic\0\0\0\0mif1heic", None),
            (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", None),
            (b"ID3 is what MP3 files begin with.", None),
            (b"ID3\x04\0\0\0\0\0\x0a0123456789 and no sound", None),
            (b"%PDF-1.7\n", None),
            (b"hello, this is text", None),
            (b"", None),
            (b"\xff\xfe\x61\0\x62\0", None),
        ];
        for (head, expected) in cases {
            assert_eq!(format_of(head), expected, "{head:?}");
        }
    }

    #[test]
    fn frames_must_follow_one_another_to_be_mp3_or_aac() {
        assert_eq!(mp3_frame(&mp3()).unwrap().length, 417);
        assert_eq!(format_of(&mp3().repeat(2)), Some(AudioFormat::Mp3));
        let mut broken = mp3();
        broken.extend_from_slice(b"not a frame");
        assert_eq!(format_of(&broken), None);

        // AAC-LC, 44.1 kHz, a frame of 16 bytes.
        let mut aac = vec![0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc];
        aac.resize(16, 0);
        assert_eq!(adts_frame(&aac).unwrap().length, 16);
        assert_eq!(format_of(&aac.repeat(3)), Some(AudioFormat::Aac));
        assert_eq!(
            format_of(&aac.repeat(5)[9..]),
            Some(AudioFormat::Aac),
            "cut in the middle of a frame"
        );
    }

    #[test]
    fn sound_is_found_behind_tags_padding_and_half_a_frame() {
        let frames = mp3().repeat(5);
        let begins = [
            id3(10),
            [id3(300), vec![0; 2000]].concat(),
            [id3(300), id3(20_000)].concat(),
            [id3(300), vec![0; 7], id3(20), vec![0; 7]].concat(),
            vec![0; 500],
            mp3()[200..].to_vec(),
            [id3(300), mp3()[10..].to_vec()].concat(),
        ];
        for begin in begins {
            let file = [&begin[..], &frames].concat();
            assert_eq!(format_of(&file), Some(AudioFormat::Mp3), "{}", begin.len());
            let tags = tags_length(&file);
            let start = tags + frames_offset(&file[tags..], AudioFormat::Mp3);
            assert_eq!(start, begin.len());
        }
    }

    #[test]
    fn a_tag_is_believed_to_hide_sound_only_when_there_was_no_more_to_look_at() {
        let long = id3(100_000);

        assert_eq!(format_of(&long[..SNIFF_BYTES]), Some(AudioFormat::Mp3));
        assert_eq!(format_of(&long[..SNIFF_BYTES - 1]), None);
        assert_eq!(format_of(&id3(1000)), None, "a tag and nothing else");
    }

    #[test]
    fn frames_of_different_streams_are_no_stream() {
        // 48 kHz after 44.1 kHz.
        let mut other = vec![0xff, 0xfb, 0x94, 0x00];
        other.resize(384, 0);
        let mixed = [b"xx".to_vec(), mp3(), other.clone(), mp3(), other].concat();

        assert_eq!(format_of(&mixed), None);
    }
}
