//! Files with more in them than sound: pictures that are larger than it, padding, lengths that are not true. And what only looks
//! like sound.

use std::fs;

use reqwest::multipart::{Form, Part};
use transcription_tests::files::data;
use transcription_tests::transcription::{Transcription, silent_wav};

const MIB: usize = 1024 * 1024;

fn second(extension: &str) -> Vec<u8> {
    fs::read(data(&format!("formats/second.{extension}"))).unwrap()
}

/// An `ID3v2.3` tag with a picture of this size.
fn id3_with_picture(size: usize) -> Vec<u8> {
    let picture = b"\0image/png\0\x03\0";
    let frame = u32::try_from(picture.len() + size).unwrap();
    let sevens = [21, 14, 7, 0].map(|bits| u8::try_from((frame + 10) >> bits & 0x7f).unwrap());
    let mut tag = b"ID3\x03\0\0".to_vec();
    tag.extend(sevens);
    tag.extend(b"APIC");
    tag.extend(frame.to_be_bytes());
    tag.extend(b"\0\0");
    tag.extend(picture);
    tag.resize(tag.len() + size, 0x89);
    tag
}

/// A box of ISO base media.
fn atom(name: &str, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len() + 8).unwrap();
    [&length.to_be_bytes()[..], name.as_bytes(), content].concat()
}

/// An M4A file, whose index is at its end, with a picture of this size in the index.
fn m4a_with_picture(size: usize) -> Vec<u8> {
    let mut file = second("m4a");
    let at = file.windows(4).position(|name| name == b"moov").unwrap() - 4;
    let index = file.split_off(at);
    let picture = [&b"\0\0\0\x0e\0\0\0\0"[..], &vec![0x89; size]].concat();
    let list = atom("ilst", &atom("covr", &atom("data", &picture)));
    let handler = atom("hdlr", b"\0\0\0\0\0\0\0\0mdirappl\0\0\0\0\0\0\0\0\0");
    let meta = atom("meta", &[&[0; 4][..], &handler, &list].concat());
    let with_picture = [&index[8..], &atom("udta", &meta)].concat();
    file.extend(atom("moov", &with_picture));
    file
}

#[tokio::test]
async fn a_picture_larger_than_the_sound_takes_no_memory_to_speak_of() {
    let stack = Transcription::start().await;
    let mp3 = [id3_with_picture(190 * MIB), second("mp3")].concat();
    let m4a = m4a_with_picture(190 * MIB);
    // What the first large one sets up stays.
    let warm = stack.transcribe("1", "a.wav", silent_wav(20 * MIB)).await;
    assert_eq!(warm.status, 200, "{warm:?}");

    for (name, file) in [("mp3", mp3), ("m4a", m4a)] {
        let before = stack.resident_kib();
        stack.forget_peak();

        let answer = stack.transcribe("1", name, file).await;

        let more = stack.peak_kib().saturating_sub(before);
        println!(
            "{name}: {before} KiB before, {more} KiB more; {:?}",
            answer.json["duration_seconds"]
        );
        assert_eq!(answer.status, 200, "{answer:?}");
        if name == "mp3" {
            let seconds = answer.json["duration_seconds"].as_f64().unwrap();
            assert!((0.8..1.3).contains(&seconds), "{seconds}");
        }
        assert!(more < 64 * 1024, "{name}: {more} KiB more");
    }
}

#[tokio::test]
async fn sound_behind_tags_padding_or_half_a_frame_is_found_and_measured() {
    let stack = Transcription::start().await;
    let mp3 = second("mp3");
    let bare = &mp3[mp3
        .windows(2)
        .position(|sync| sync == b"\xff\xfb" || sync == b"\xff\xf3")
        .unwrap()..];
    let begins = [
        ("padding", [id3_with_picture(100), vec![0; 3000]].concat()),
        (
            "two tags",
            [id3_with_picture(100), id3_with_picture(90_000)].concat(),
        ),
        ("half a frame", bare[20..200].to_vec()),
    ];

    for (name, begin) in begins {
        let file = [&begin[..], bare].concat();
        let answer = stack.transcribe("1", "a", file).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        let key = answer.json["audio_key"].as_str().unwrap();
        assert_eq!(key.rsplit('.').next(), Some("mp3"), "{name}");
        let seconds = answer.json["duration_seconds"].as_f64().unwrap();
        assert!((0.8..1.3).contains(&seconds), "{name}: {seconds}");
    }
}

#[tokio::test]
async fn photographs_and_texts_are_not_taken_for_sound() {
    let stack = Transcription::start().await;
    let mut photo = atom("ftyp", b"heic\0\0\0\0mif1heic");
    photo.extend(atom("mdat", &[7; 5000]));
    let text =
        b"ID3 is what the tags of MP3 files begin with, and so does this sentence.".repeat(100);

    for file in [photo, text] {
        let part = Part::bytes(file).mime_str("audio/mp4").unwrap();
        let answer = stack
            .send("1", Form::new().part("file", part.file_name("a")))
            .await;
        answer.assert_problem(415, "not_audio");
    }
    assert_eq!(stack.s3.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_length_that_a_pipe_could_not_fill_in_is_not_believed() {
    let stack = Transcription::start().await;
    // Ten seconds.
    let mut wav = silent_wav(44 + 320_000);
    for length in [0x7fff_f000_u32, 0xffff_ffff, 0x7fff_ffff] {
        // The whole is longer than its part, or nobody would believe either.
        wav[4..8].copy_from_slice(&length.saturating_add(36).to_le_bytes());
        wav[40..44].copy_from_slice(&length.to_le_bytes());

        let answer = stack.transcribe("1", "a.wav", wav.clone()).await;

        assert_eq!(answer.status, 200, "{length:x}: {answer:?}");
        let seconds = answer.json.get("duration_seconds");
        assert!(
            seconds.is_none_or(|seconds| *seconds == 10.0),
            "{seconds:?}"
        );
    }
}
