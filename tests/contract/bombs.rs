//! Recordings that are small and say that they are large, as Whisper's decoders meet them.

use std::io::Cursor;
use std::time::{Duration, Instant};

use transcription_service::audio::AudioFormat;
use transcription_service::audio::decode::{DecodeError, Samples};
use transcription_service::stop::Stop;

/// What is said of a recording.
#[expect(
    clippy::default_trait_access,
    reason = "the token's type is another package's"
)]
fn opened(bytes: &[u8], format: AudioFormat) -> Result<(), DecodeError> {
    let stop = Stop {
        deadline: Instant::now() + Duration::from_mins(1),
        cut: Default::default(),
    };
    Samples::open(|| Box::new(Cursor::new(bytes.to_vec())), format, stop).map(drop)
}

#[track_caller]
fn assert_refused(bytes: &[u8], format: AudioFormat, why: &str) {
    let said = opened(bytes, format).unwrap_err().to_string();
    assert!(said.contains(why), "{said}");
}

/// A file of a kilobyte could take all the memory that there is.
#[test]
fn a_decoder_takes_no_more_room_than_a_recording_can_need() {
    opened(&aiff(2), AudioFormat::Aiff).unwrap();
    assert_refused(&aiff(65_535), AudioFormat::Aiff, "it has 65535 channels");

    opened(&mov(1), AudioFormat::Mp4).unwrap();
    assert_refused(
        &mov(u32::MAX),
        AudioFormat::Mp4,
        "packets of 4294967295 samples",
    );
}

/// An AIFF file with so many channels: 16 kHz, 8 bit.
fn aiff(channels: u16) -> Vec<u8> {
    let mut file = b"FORM\0\x01\0\x2eAIFFCOMM\0\0\0\x12".to_vec();
    file.extend(channels.to_be_bytes());
    file.extend(b"\0\0\0\x01\0\x08\x40\x0c\xfa\0\0\0\0\0\0\0SSND\0\x01\0\x08\0\0\0\0\0\0\0\0");
    file.resize(file.len() + (1 << 16), 0);
    file
}

/// A MOV file of samples that are not compressed, which says that each packet has so many of them (`QuickTime` File Format,
/// "Sound sample description, version 2").
fn mov(frames: u32) -> Vec<u8> {
    let atom = |name: &[u8; 4], parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u32::try_from(body.len() + 8).unwrap();
        [&length.to_be_bytes()[..], name, &body].concat()
    };
    let numbers = |numbers: &[u32]| {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect::<Vec<_>>()
    };
    let entry = [
        &[0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0][..],
        &[0, 3, 0, 16, 0xff, 0xfe, 0, 0, 0, 1, 0, 0],
        &numbers(&[72]),
        &16_000_f64.to_be_bytes(),
        // One channel, 8 bit, unsigned, packed.
        &numbers(&[1, 0x7f00_0000, 8, 8, 1, frames]),
    ]
    .concat();
    let entries = atom(b"stsd", &[&numbers(&[0, 1]), &atom(b"lpcm", &[&entry])]);
    let table = atom(
        b"stbl",
        &[
            &entries,
            &atom(b"stts", &[&numbers(&[0, 1, 8, 1])]),
            &atom(b"stsc", &[&numbers(&[0, 1, 1, 8, 1])]),
            &atom(b"stsz", &[&numbers(&[0, 1, 8])]),
            &atom(b"stco", &[&numbers(&[0, 1, 28])]),
        ],
    );
    let handler = atom(b"hdlr", &[&numbers(&[0, 0]), b"soun", &[0; 13]]);
    let header = atom(b"mdhd", &[&numbers(&[0, 0, 0, 16_000, 8, 0])]);
    let media = atom(b"mdia", &[&header, &handler, &atom(b"minf", &[&table])]);
    let of_track = numbers(&[0, 0, 0, 1, 0, 8]);
    let track = atom(b"trak", &[&atom(b"tkhd", &[&of_track, &[0; 60]]), &media]);
    let of_movie = atom(b"mvhd", &[&numbers(&[0, 0, 0, 16_000, 8]), &[0; 80]]);
    [
        atom(b"ftyp", &[b"qt  ", &[0; 4], b"qt  "]),
        atom(b"mdat", &[&[0x80; 8]]),
        atom(b"moov", &[&of_movie, &track]),
    ]
    .concat()
}
